//! A connection to a broker on a shard: frames out, frames in, and a call where one answer is awaited.
//!
//! Owned by one shard's task or shared by a few of them through clones of the stream. What must hold: frames leave
//! whole and in the order in which they were given; replies come in the order of the requests, and one that does
//! not is an error that ends the connection.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use ottla::time::Monotonic;
use ottla_shards::host::{self, Shutdown, Stream, sync::Notify};
use ottla_tools::client::ClientError;
use ottla_wire::frame::{Frame, decode_response_header, encode_request};
use ottla_wire::{ApiKey, Message, Reader};

use crate::cluster::CLIENT_ID;

/// Replies longer than this are refused, in bytes.
const REPLY_BYTES_MAX: usize = 512 << 20;
/// Room that a receive is given at least, in bytes.
const RECEIVE_BYTES: usize = 64 << 10;
/// Buffers of sent batches that are kept.
const SPARE_BUFFERS: usize = 16;
/// How long a broker may take to connect and to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Connects to the first of `addresses` that answers.
pub(crate) async fn connect(addresses: &[SocketAddr]) -> io::Result<Stream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        let attempt = Box::pin(Stream::connect(*address));
        match host::timeout(PATIENCE, attempt).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// What comes in: one frame at a time, in memory that is used again.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    /// The part of the buffer that holds bytes that were not handed out.
    start: usize,
    end: usize,
}

impl Inbox {
    /// The next frame without its length; waits for it at most `patience`.
    pub(crate) async fn frame(&mut self, stream: &Stream, patience: Duration) -> Result<&[u8], ClientError> {
        let length = self.bytes(stream, 4, patience).await?;
        let length = length.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)) as usize;
        if length > REPLY_BYTES_MAX {
            return Err(ClientError::ReplyTooLarge(length));
        }
        Ok(self.bytes(stream, length, patience).await?)
    }

    /// The next `count` bytes.
    async fn bytes(&mut self, stream: &Stream, count: usize, patience: Duration) -> io::Result<&[u8]> {
        while self.end - self.start < count {
            self.make_room(count);
            match stream.try_receive(&mut BytesMut::new(), 0, &mut self.buffer[self.end..])? {
                Some((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some((_, got)) => {
                    self.end += got;
                    if self.end - self.start < count {
                        // A long frame is no reason to keep the other tasks waiting.
                        host::yield_now().await;
                    }
                }
                None => match host::timeout(patience, stream.readable()).await {
                    Ok(ready) => ready?,
                    Err(_) => return Err(io::ErrorKind::TimedOut.into()),
                },
            }
        }
        let start = self.start;
        self.start += count;
        Ok(&self.buffer[start..self.start])
    }

    /// Makes room for `count` bytes from the start of what is there, and for a receive that is worth its call.
    fn make_room(&mut self, count: usize) {
        let wanted = count.max(RECEIVE_BYTES);
        if self.buffer.len() - self.start >= wanted {
            return;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted.next_power_of_two(), 0);
        }
    }
}

/// What goes out: pieces of frames, at once as far as the kernel takes them, the rest by a task.
pub(crate) struct Outbox {
    stream: Stream,
    pieces: RefCell<VecDeque<Piece>>,
    /// Bytes of the first piece that are sent.
    sent: Cell<usize>,
    writing: Cell<bool>,
    failed: RefCell<Option<io::Error>>,
    /// Memory of batches that were sent.
    spare: RefCell<Vec<Vec<u8>>>,
    /// Frames that have not left.
    waiting: Cell<usize>,
    /// Where somebody waits for frames to leave: who, and when those left that were not asked for yet.
    waiter: RefCell<Option<Rc<Notify>>>,
    left: RefCell<VecDeque<Monotonic>>,
}

/// A part of a frame.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    /// It is a batch, whose memory is used again.
    is_batch: bool,
    /// The frame ends with it.
    is_last: bool,
}

impl Piece {
    fn of(bytes: Vec<u8>) -> Piece {
        Piece { bytes, is_batch: false, is_last: false }
    }
}

impl Outbox {
    pub(crate) fn new(stream: Stream) -> Rc<Outbox> {
        Rc::new(Outbox {
            stream,
            pieces: RefCell::default(),
            sent: Cell::new(0),
            writing: Cell::new(false),
            failed: RefCell::default(),
            spare: RefCell::default(),
            waiting: Cell::new(0),
            waiter: RefCell::default(),
            left: RefCell::default(),
        })
    }

    /// Has this woken whenever a frame has left whole, and notes when that was.
    pub(crate) fn wake_when_sent(&self, waiter: &Rc<Notify>) {
        *self.waiter.borrow_mut() = Some(Rc::clone(waiter));
    }

    /// When the next frame left whole, of those that were not asked for yet; `None` where nobody is woken.
    pub(crate) fn take_left(&self) -> Option<Monotonic> {
        self.left.borrow_mut().pop_front()
    }

    /// Sends a frame with the batches that go into it. A failure of what is sent later shows at the receiving side as
    /// the end of the connection, and here at the next frame.
    pub(crate) fn send(self: &Rc<Self>, frame: &Frame, batches: Vec<Vec<u8>>) -> io::Result<()> {
        if let Some(error) = self.failed.borrow_mut().take() {
            return Err(error);
        }
        assert_eq!(frame.splices.len(), batches.len(), "every splice point has its batch");
        {
            let mut pieces = self.pieces.borrow_mut();
            let mut at = 0;
            for (point, batch) in frame.splices.iter().zip(batches) {
                assert_eq!(point.bytes as usize, batch.len(), "a batch is as long as its frame says");
                pieces.push_back(Piece::of(frame.head[at..point.at].to_vec()));
                pieces.push_back(Piece { is_batch: true, ..Piece::of(batch) });
                at = point.at;
            }
            if at < frame.head.len() {
                pieces.push_back(Piece::of(frame.head[at..].to_vec()));
            }
            pieces.back_mut().expect("no frame is empty").is_last = true;
            self.waiting.set(self.waiting.get() + 1);
        }
        if self.writing.get() || self.send_now()? {
            return Ok(());
        }
        self.writing.set(true);
        host::spawn_detached(Rc::clone(self).write());
        Ok(())
    }

    /// Frames that have not left whole.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// Memory for another batch.
    pub(crate) fn take_spare(&self) -> Option<Vec<u8>> {
        self.spare.borrow_mut().pop()
    }

    /// Ends the connection in both directions; whoever receives sees its end.
    pub(crate) fn close(&self) {
        // That it has ended already is no news.
        drop(self.stream.shutdown(Shutdown::Both));
    }

    async fn write(self: Rc<Self>) {
        if let Err(error) = self.send_rest().await {
            *self.failed.borrow_mut() = Some(error);
            self.close();
        }
        self.writing.set(false);
    }

    async fn send_rest(&self) -> io::Result<()> {
        loop {
            match host::timeout(PATIENCE, self.stream.writable()).await {
                Ok(ready) => ready?,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
            if self.send_now()? {
                return Ok(());
            }
        }
    }

    /// Sends what the kernel takes; whether that was all.
    fn send_now(&self) -> io::Result<bool> {
        loop {
            let took = {
                let pieces = self.pieces.borrow();
                if pieces.is_empty() {
                    return Ok(true);
                }
                let skips = std::iter::once(self.sent.get()).chain(std::iter::repeat(0));
                let slices: Vec<IoSlice<'_>> = pieces
                    .iter()
                    .zip(skips)
                    .map(|(piece, skip)| IoSlice::new(&piece.bytes[skip..]))
                    .collect();
                self.stream.try_send(&slices, false)?
            };
            let Some(took) = took else { return Ok(false) };
            self.advance(took);
        }
    }

    fn advance(&self, took: usize) {
        let mut sent = self.sent.get() + took;
        let mut pieces = self.pieces.borrow_mut();
        while pieces.front().is_some_and(|first| first.bytes.len() <= sent) {
            let piece = pieces.pop_front().expect("it was just looked at");
            sent -= piece.bytes.len();
            if piece.is_last {
                self.frame_left();
            }
            let mut spare = self.spare.borrow_mut();
            if piece.is_batch && spare.len() < SPARE_BUFFERS {
                spare.push(piece.bytes);
            }
        }
        self.sent.set(sent);
    }

    fn frame_left(&self) {
        self.waiting.set(self.waiting.get() - 1);
        if let Some(waiter) = &*self.waiter.borrow() {
            self.left.borrow_mut().push_back(host::now());
            waiter.notify_one();
        }
    }
}

/// A connection whose requests are awaited one at a time.
pub(crate) struct Link {
    stream: Stream,
    inbox: Inbox,
    outbox: Rc<Outbox>,
    next_correlation_id: i32,
}

impl Link {
    /// Connects to the first of `addresses` that answers.
    pub(crate) async fn open(addresses: &[SocketAddr]) -> io::Result<Link> {
        let stream = connect(addresses).await?;
        let outbox = Outbox::new(stream.clone());
        Ok(Link { stream, inbox: Inbox::default(), outbox, next_correlation_id: 0 })
    }

    /// Sends a request and waits for its reply, which borrows from this link.
    pub(crate) async fn call<'q, 'r, Q: Message<'q>, R: Message<'r>>(
        &'r mut self,
        api: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<R, ClientError> {
        let frame = encode_request(api, version, self.next_correlation_id, Some(CLIENT_ID), request)?;
        self.outbox.send(&frame, Vec::new())?;
        let expected = self.next_correlation_id;
        self.next_correlation_id = expected.wrapping_add(1);
        let frame = self.inbox.frame(&self.stream, PATIENCE).await?;
        decode_reply(frame, api, version, expected)
    }

    /// Its parts, for one task that sends and one that receives.
    pub(crate) fn split(self) -> (Stream, Inbox, Rc<Outbox>) {
        (self.stream, self.inbox, self.outbox)
    }
}

/// The body of a reply, whose correlation id must be `expected`.
pub(crate) fn decode_reply<'r, R: Message<'r>>(
    frame: &'r [u8],
    api: ApiKey,
    version: i16,
    expected: i32,
) -> Result<R, ClientError> {
    let (got, body) = decode_response_header(frame, api, version)?;
    if got != expected {
        return Err(ClientError::Correlation { expected, got });
    }
    // A broker that is asked is trusted with the memory that its reply needs.
    Ok(R::decode(&mut Reader::with_memory(&frame[body..], usize::MAX), version)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn frames_come_whole_however_they_were_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let sizes = [0, 1, 70_000, 5, 300_000, 12];
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut bytes = Vec::new();
            for size in sizes {
                bytes.extend_from_slice(&(size as u32).to_be_bytes());
                bytes.extend(std::iter::repeat_n(size as u8, size));
            }
            for chunk in bytes.chunks(7_777) {
                stream.write_all(chunk).expect("the client reads");
            }
        });
        host::run_local(async move {
            let stream = connect(&[address]).await.expect("it listens");
            let mut inbox = Inbox::default();
            for size in sizes {
                let frame = inbox.frame(&stream, PATIENCE).await.expect("a frame");
                assert_eq!(frame.len(), size);
                assert!(frame.iter().all(|byte| *byte == size as u8));
            }
            let error = inbox.frame(&stream, PATIENCE).await.expect_err("the end");
            assert!(matches!(error, ClientError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof));
        });
        peer.join().expect("no panic");
    }

    #[test]
    fn what_the_kernel_does_not_take_follows_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("it is read to its end");
            all
        });
        // Far more than socket buffers hold.
        let batch = |n: u8| vec![n; 3 << 20];
        host::run_local(async move {
            let stream = connect(&[address]).await.expect("it listens");
            let outbox = Outbox::new(stream.clone());
            let wake = Rc::new(Notify::new());
            outbox.wake_when_sent(&wake);
            for n in 0..6 {
                let splices = vec![ottla_wire::SplicePoint { at: 2, bytes: 3 << 20 }];
                let frame = Frame { head: vec![100, 101, 102], splices };
                outbox.send(&frame, vec![batch(n)]).expect("it is taken");
            }
            while outbox.waiting() > 0 {
                assert!(outbox.waiting() <= 6, "a frame is one, however many pieces it has");
                host::timeout(PATIENCE, wake.notified()).await.expect("a frame that leaves wakes");
            }
            let left: Vec<_> = std::iter::from_fn(|| outbox.take_left()).collect();
            assert!(left.len() == 6 && left.is_sorted(), "each has left once: {left:?}");
            stream.shutdown(Shutdown::Write).expect("open");
            assert_eq!(outbox.take_spare().map(|spare| spare.len()), Some(3 << 20));
        });
        let all = peer.join().expect("no panic");
        let expected: Vec<u8> = (0..6).flat_map(|n| [&[100, 101][..], &batch(n), &[102]].concat()).collect();
        assert!(all == expected, "{} bytes of {}", all.len(), expected.len());
    }
}
