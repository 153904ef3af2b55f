//! Connections over real sockets on the loopback interface, with a handler whose requests say how to answer them.

mod hostile;
mod order;

use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_wire::ApiKey;

use super::{
    AcceptLimits, Acceptor, Answer, ConnectionContext, Connections, Handler, NetConfig, Piece, Reply,
};
use crate::host::sync::Notify;
use crate::host::{self, Listener, LocalBoxFuture, SharedFd, Stream};

/// How a request wants to be answered: the byte behind its API key. The rest is the payload.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Op {
    /// With the payload, at once.
    Echo = 0,
    /// With the payload, after a millisecond.
    EchoLater = 1,
    /// With silence.
    Silence = 2,
    /// With the end of the connection.
    Close = 3,
    /// With the payload, when the test says so.
    EchoReleased = 4,
    /// With as many bytes of memory as the payload says (four bytes).
    Memory = 5,
    /// With as many bytes of the file, the length of the payload again after them.
    File = 6,
    /// With silence when it is wanted: the connection closes, or replies wait behind it.
    UntilHurried = 7,
    /// With the payload; the connection is muted for 20 ms.
    Mute = 8,
}

/// What the handler has seen, and what the test tells it.
#[derive(Default)]
struct Seen {
    /// The payload of each request, in the order in which they started.
    started: RefCell<Vec<Bytes>>,
    in_progress: Cell<usize>,
    most_in_progress: Cell<usize>,
    release: Notify,
    released: Cell<bool>,
    file: RefCell<Option<SharedFd>>,
    saw_close: Cell<bool>,
}

struct Echo(Rc<Seen>);

/// The length and the bytes of a frame.
fn framed(payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(4 + payload.len());
    frame.put_i32(i32::try_from(payload.len()).expect("short"));
    frame.put_slice(payload);
    frame.freeze()
}

fn echo(payload: &[u8]) -> Answer {
    Answer::Reply(Reply::of_bytes(framed(payload)))
}

fn number(payload: &[u8]) -> usize {
    u32::from_be_bytes(payload.try_into().expect("four bytes")) as usize
}

impl Seen {
    async fn answer(&self, op: u8, payload: Bytes, context: &ConnectionContext) -> Answer {
        match op {
            op if op == Op::Echo as u8 => echo(&payload),
            op if op == Op::EchoLater as u8 => {
                host::sleep(Duration::from_millis(1)).await;
                echo(&payload)
            }
            op if op == Op::Silence as u8 => Answer::Silence,
            op if op == Op::EchoReleased as u8 => {
                while !self.released.get() {
                    self.release.notified().await;
                }
                echo(&payload)
            }
            op if op == Op::Memory as u8 => echo(&vec![7; number(&payload)]),
            op if op == Op::File as u8 => self.file_answer(number(&payload)),
            op if op == Op::UntilHurried as u8 => {
                context.hurried().await;
                self.saw_close.set(context.is_closed());
                Answer::Silence
            }
            op if op == Op::Mute as u8 => {
                context.mute_until(host::now().after_ms(20));
                echo(&payload)
            }
            _ => Answer::Close,
        }
    }

    fn file_answer(&self, bytes: usize) -> Answer {
        let length = u32::try_from(bytes).expect("short");
        let mut head = BytesMut::new();
        head.put_u32(length + 4);
        let fd = self.file.borrow().clone().expect("the test has a file");
        let file = Piece::File { fd, position: 1, bytes: length, readable_end: u64::from(length) };
        let tail = Piece::Bytes(Bytes::copy_from_slice(&length.to_be_bytes()));
        Answer::Reply(Reply::new(vec![Piece::Bytes(head.freeze()), file, tail]))
    }
}

impl Handler for Echo {
    fn handle(&self, frame: Bytes, context: &Rc<ConnectionContext>) -> LocalBoxFuture<Answer> {
        let seen = Rc::clone(&self.0);
        let op = frame.get(KEY_BYTES).copied().unwrap_or(u8::MAX);
        let payload = frame.slice((KEY_BYTES + 1).min(frame.len())..);
        seen.started.borrow_mut().push(payload.clone());
        seen.in_progress.set(seen.in_progress.get() + 1);
        seen.most_in_progress.set(seen.most_in_progress.get().max(seen.in_progress.get()));
        let context = Rc::clone(context);
        Box::pin(async move {
            let answer = seen.answer(op, payload, &context).await;
            seen.in_progress.set(seen.in_progress.get() - 1);
            answer
        })
    }
}

/// A server on a port of its own.
struct Server {
    address: SocketAddr,
    seen: Rc<Seen>,
    connections: Rc<Connections>,
    acceptor: Rc<Acceptor>,
}

impl Server {
    async fn start(config: NetConfig) -> Server {
        Server::start_within(config, AcceptLimits::default()).await
    }

    async fn start_within(config: NetConfig, limits: AcceptLimits) -> Server {
        let seen = Rc::new(Seen::default());
        let connections = Connections::new(config, Echo(Rc::clone(&seen)));
        let acceptor = Acceptor::new(limits);
        let listener = Listener::bind("127.0.0.1", 0).await.expect("binds");
        let address = listener.addresses()[0];
        let place = {
            let connections = Rc::clone(&connections);
            move |accepted| connections.adopt(accepted)
        };
        host::spawn_detached(Rc::clone(&acceptor).run(listener, 3, place));
        Server { address, seen, connections, acceptor }
    }

    async fn connect(&self) -> Client {
        Client { stream: Stream::connect(self.address).await.expect("connects") }
    }

    /// Waits until this many requests have started.
    async fn has_started(&self, requests: usize) {
        while self.seen.started.borrow().len() < requests {
            host::sleep(Duration::from_micros(200)).await;
        }
    }

    fn release(&self) {
        self.seen.released.set(true);
        self.seen.release.notify_all();
    }

    /// Waits until nothing is open and nothing is taken.
    async fn is_clean(&self) {
        self.connections.emptied().await;
        // A request or a writer of a closed connection ends in its own time.
        while self.seen.in_progress.get() > 0 || self.connections.memory_taken() > 0 {
            host::sleep(Duration::from_micros(200)).await;
        }
        assert_eq!(self.acceptor.connections(), 0);
    }
}

#[derive(Clone)]
struct Client {
    stream: Stream,
}

/// Bytes of an API key.
const KEY_BYTES: usize = 2;

/// A request as it goes over the wire, of the kind that may be in progress beside others.
fn request(op: Op, payload: &[u8]) -> Vec<u8> {
    request_of(ApiKey::Produce, op, payload)
}

fn request_of(api: ApiKey, op: Op, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (i32::try_from(KEY_BYTES + 1 + payload.len()).expect("short")).to_be_bytes().to_vec();
    bytes.extend_from_slice(&api.code().to_be_bytes());
    bytes.push(op as u8);
    bytes.extend_from_slice(payload);
    bytes
}

impl Client {
    async fn send(&self, bytes: &[u8]) {
        self.stream.send_vectored(&[IoSlice::new(bytes)]).await.expect("sends");
    }

    async fn ask(&self, op: Op, payload: &[u8]) {
        self.send(&request(op, payload)).await;
    }

    async fn receive_exactly(&self, bytes: usize) -> Vec<u8> {
        let mut all = vec![0; bytes];
        let mut got = 0;
        while got < bytes {
            let step = self.stream.receive(&mut all[got..]).await.expect("receives");
            assert!(step > 0, "closed after {got} of {bytes} bytes");
            got += step;
        }
        all
    }

    /// The next reply.
    async fn reply(&self) -> Vec<u8> {
        let length = self.receive_exactly(4).await;
        self.receive_exactly(number(&length)).await
    }

    /// Whether the server has closed the connection; waits for bytes or the end.
    async fn is_closed(&self) -> bool {
        !matches!(self.stream.receive(&mut [0; 1]).await, Ok(1..))
    }
}
