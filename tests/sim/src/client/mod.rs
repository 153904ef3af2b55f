//! A small Kafka client on the host seam, so that it runs in the same virtual time as the brokers that it loads.
//!
//! One [`Connection`] is one socket; any number of requests may be in flight on it, and replies come in the order of
//! the requests, as Kafka promises. It keeps no metadata, retries nothing and guesses nothing: every call ends as an
//! [`Outcome`]. A connection belongs to the shard that made it. What must hold: a reply that comes out of order or
//! does not decode is [`Outcome::Garbled`], a fault of the broker and never of the world.

mod admin;
mod alone;
mod groups;
mod outcome;
mod records;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ottla_shards::host::sync::{OneReceiver, OneSender, oneshot};
use ottla_shards::host::{Shutdown, Stream, spawn_detached, timeout};
use ottla_wire::frame::{decode_response_header, encode_request};
use ottla_wire::{ApiKey, Message, Reader};

pub use admin::{NewTopic, SeenPartition, SeenTopic};
pub use alone::{run_alone, start_alone};
pub use groups::CommittedOffset;
pub use outcome::{CallError, Outcome, Unknown};
pub use records::{Acks, FetchAsk, Fetched, FoundOffset, OffsetQuery, TopicName};

/// A reply of more bytes is refused: none that is asked for here is longer.
const REPLY_BYTES_MAX: usize = 64 << 20;
/// How many bytes are received at once.
const RECEIVE_BYTES: usize = 64 << 10;

/// A request on its way: which reply is due, and who waits for it.
struct Due {
    correlation_id: i32,
    api: ApiKey,
    version: i16,
    waiter: OneSender<Result<ReplyBody, CallError>>,
}

/// The parts of a connection that its tasks share.
struct Shared {
    stream: Stream,
    due: RefCell<VecDeque<Due>>,
    /// Frames that wait for room in the socket.
    outgoing: RefCell<VecDeque<Vec<u8>>>,
    is_sending: Cell<bool>,
    next_correlation_id: Cell<i32>,
    is_closed: Cell<bool>,
}

/// One connection to a broker, which closes when it is dropped.
pub struct Connection {
    shared: Rc<Shared>,
    client_id: String,
    patience: Cell<Duration>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// A reply that came whole: the bytes behind its header.
pub struct ReplyBody {
    frame: Vec<u8>,
    at: usize,
    version: i16,
}

impl ReplyBody {
    /// Decodes it; the message borrows from it.
    ///
    /// # Errors
    /// [`CallError::Garbled`] where it is not what its version promises.
    pub fn read<'a, M: Message<'a>>(&'a self) -> Result<M, CallError> {
        // A broker that is asked is trusted with the memory that its reply needs.
        let mut reader = Reader::with_memory(&self.frame[self.at..], usize::MAX);
        Ok(M::decode(&mut reader, self.version)?)
    }
}

impl Connection {
    /// Connects to `address`; `patience` is how long that, and then each reply, may take.
    ///
    /// # Errors
    /// [`CallError::NotSent`] whatever the reason: nothing has been asked yet.
    pub async fn open(
        address: SocketAddr,
        client_id: &str,
        patience: Duration,
    ) -> Result<Connection, CallError> {
        let stream = match timeout(patience, Box::pin(Stream::connect(address))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) | Err(_) => return Err(CallError::NotSent),
        };
        let shared = Rc::new(Shared {
            stream,
            due: RefCell::default(),
            outgoing: RefCell::default(),
            is_sending: Cell::new(false),
            next_correlation_id: Cell::new(0),
            is_closed: Cell::new(false),
        });
        let reading = Rc::clone(&shared);
        spawn_detached(async move {
            let why = receive_replies(&reading).await;
            reading.end(&why);
        });
        Ok(Connection { shared, client_id: client_id.to_owned(), patience: Cell::new(patience) })
    }

    /// How long the replies to later requests may take.
    pub fn set_patience(&self, patience: Duration) {
        self.patience.set(patience);
    }

    /// Whether the connection can carry no further request.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.get()
    }

    /// Closes the connection; what is in flight is lost.
    pub fn close(&self) {
        self.shared.end(&CallError::Lost);
    }

    /// Sends a request and returns at once with the wait for its reply, so that several can be in flight.
    ///
    /// # Errors
    /// [`CallError::NotSent`] on a closed connection.
    pub fn send<'q, Q: Message<'q>>(
        &self,
        api: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<Waiting, CallError> {
        let correlation_id = self.enqueue(api, version, request)?;
        let (waiter, reply) = oneshot();
        self.shared.due.borrow_mut().push_back(Due { correlation_id, api, version, waiter });
        let (shared, patience) = (Rc::clone(&self.shared), self.patience.get());
        Ok(Waiting { shared, patience, reply })
    }

    /// Sends a request that has no reply.
    ///
    /// # Errors
    /// [`CallError::NotSent`] on a closed connection.
    pub fn send_unanswered<'q, Q: Message<'q>>(
        &self,
        api: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<(), CallError> {
        self.enqueue(api, version, request).map(|_| ())
    }

    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// Any [`CallError`]; the connection is closed after one.
    pub async fn call<'q, Q: Message<'q>>(
        &self,
        api: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<ReplyBody, CallError> {
        self.send(api, version, request)?.reply().await
    }

    fn enqueue<'q, Q: Message<'q>>(&self, api: ApiKey, version: i16, request: &Q) -> Result<i32, CallError> {
        if self.is_closed() {
            return Err(CallError::NotSent);
        }
        let correlation_id = self.shared.next_correlation_id.get();
        self.shared.next_correlation_id.set(correlation_id.wrapping_add(1));
        let frame = encode_request(api, version, correlation_id, Some(&self.client_id), request)?;
        assert!(frame.splices.is_empty(), "this client sends its records inline");
        self.shared.outgoing.borrow_mut().push_back(frame.head);
        if !self.shared.is_sending.replace(true) {
            let sending = Rc::clone(&self.shared);
            spawn_detached(async move { send_frames(&sending).await });
        }
        Ok(correlation_id)
    }
}

/// A request in flight.
pub struct Waiting {
    shared: Rc<Shared>,
    patience: Duration,
    reply: OneReceiver<Result<ReplyBody, CallError>>,
}

impl Waiting {
    /// Waits for the reply as long as the connection's patience says, and closes the connection after that: nobody
    /// could tell what a later reply belongs to.
    ///
    /// # Errors
    /// Any [`CallError`] but `NotSent`.
    pub async fn reply(self) -> Result<ReplyBody, CallError> {
        match timeout(self.patience, self.reply).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Err(CallError::Lost),
            Err(_) => {
                self.shared.end(&CallError::Lost);
                Err(CallError::TimedOut)
            }
        }
    }
}

impl Shared {
    /// Ends the connection: the oldest request hears why, the others that it is gone.
    fn end(&self, why: &CallError) {
        if self.is_closed.replace(true) {
            return;
        }
        let _ = self.stream.shutdown(Shutdown::Both);
        self.outgoing.borrow_mut().clear();
        let due = std::mem::take(&mut *self.due.borrow_mut());
        for (index, due) in due.into_iter().enumerate() {
            due.waiter.send(Err(if index == 0 { why.clone() } else { CallError::Lost }));
        }
    }
}

/// Sends frames until none is left.
async fn send_frames(shared: &Shared) {
    loop {
        let Some(frame) = shared.outgoing.borrow_mut().pop_front() else { break };
        if shared.stream.send_vectored(&[IoSlice::new(&frame)]).await.is_err() {
            shared.end(&CallError::Lost);
            break;
        }
    }
    shared.is_sending.set(false);
}

/// Hands out replies until the connection ends, and says why it did.
async fn receive_replies(shared: &Shared) -> CallError {
    let mut gathered: Vec<u8> = Vec::new();
    let mut chunk = vec![0; RECEIVE_BYTES];
    loop {
        match shared.stream.receive(&mut chunk).await {
            Ok(0) | Err(_) => return CallError::Lost,
            Ok(received) => gathered.extend_from_slice(&chunk[..received]),
        }
        loop {
            match split_frame(&mut gathered) {
                Ok(Some(frame)) => {
                    if let Err(error) = hand_out(shared, frame) {
                        return error;
                    }
                }
                Ok(None) => break,
                Err(error) => return error,
            }
        }
    }
}

/// Takes the first whole frame, without its length, from the bytes that have come.
fn split_frame(gathered: &mut Vec<u8>) -> Result<Option<Vec<u8>>, CallError> {
    let Some(length) = gathered.first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    let bytes = usize::try_from(length).ok().filter(|&bytes| bytes <= REPLY_BYTES_MAX);
    let bytes = bytes.ok_or_else(|| CallError::Garbled(format!("a reply of {length} bytes")))?;
    if gathered.len() < 4 + bytes {
        return Ok(None);
    }
    let rest = gathered.split_off(4 + bytes);
    let mut frame = std::mem::replace(gathered, rest);
    frame.drain(..4);
    Ok(Some(frame))
}

/// Gives a reply to the request that it answers: the oldest.
fn hand_out(shared: &Shared, frame: Vec<u8>) -> Result<(), CallError> {
    if shared.is_closed.get() {
        return Err(CallError::Lost);
    }
    let head = shared.due.borrow().front().map(|due| (due.correlation_id, due.api, due.version));
    let Some((expected, api, version)) = head else {
        return Err(CallError::Garbled("a reply to nothing".to_owned()));
    };
    let (got, at) = decode_response_header(&frame, api, version)?;
    if got != expected {
        return Err(CallError::Garbled(format!("reply {got} came where {expected} was due")));
    }
    let due = shared.due.borrow_mut().pop_front().expect("it was just looked at");
    due.waiter.send(Ok(ReplyBody { frame, at, version }));
    Ok(())
}
