//! The connections of one shard: their budget, their settings, their end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ottla::metrics::{Counter, Gauge, ShardMetrics, Snapshot};

use super::connection::{Connection, End};
use super::context::ConnectionContext;
use super::listener::{Accepted, Complaint};
use super::{Handler, Reply};
use crate::host::sync::{Notify, Semaphore};
use crate::host::{self, Stream};

/// Bytes that one receive takes at most beside the frame that it continues.
pub(super) const RECEIVE_BYTES: usize = 64 << 10;

/// The settings of a shard's connections.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// `socket.request.max.bytes`: a longer frame closes its connection.
    pub request_bytes_max: usize,
    /// Memory of requests in progress of all connections of the shard (its part of `queued.max.request.bytes`); that
    /// of unsent replies may be half as much again, and that of replies to others than Fetch that much on top.
    pub memory_bytes_max: usize,
    /// Requests of one connection in progress or with unsent replies; the next is not read before.
    pub requests_in_progress_max: usize,
    /// `connections.max.idle.ms`; negative for no limit.
    pub idle_ms_max: i64,
    /// `socket.send.buffer.bytes`; `None` (-1 there) leaves it to the kernel.
    pub send_buffer_bytes: Option<usize>,
    /// `socket.receive.buffer.bytes`; `None` (-1 there) leaves it to the kernel.
    pub receive_buffer_bytes: Option<usize>,
}

impl Default for NetConfig {
    /// Kafka's defaults where it has them, but for the kernel's buffers, which the kernel sizes better.
    fn default() -> NetConfig {
        NetConfig {
            request_bytes_max: 100 << 20,
            memory_bytes_max: 256 << 20,
            requests_in_progress_max: 64,
            idle_ms_max: 600_000,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
        }
    }
}

/// All connections of one shard.
pub struct Connections {
    pub(super) config: NetConfig,
    pub(super) handler: Box<dyn Handler>,
    /// The budget of [`NetConfig::memory_bytes_max`].
    pub(super) memory: Rc<Semaphore>,
    /// The memory of unsent replies: what clients do not take keeps other clients' Fetch requests waiting, and nobody
    /// who has something to write.
    pub(super) replies: Rc<Semaphore>,
    /// One connection at a time may finish a frame in debt; see the module's text.
    pub(super) finisher: Rc<Semaphore>,
    /// Where receives go that continue no frame; taken while one is looked at.
    pub(super) scratch: Cell<Vec<u8>>,
    pub(super) complaint: Complaint,
    pub(super) metrics: Rc<ShardMetrics>,
    live: RefCell<BTreeMap<u64, Rc<Connection>>>,
    next_id: Cell<u64>,
    /// Connections with replies that became ready since the last flush.
    to_flush: RefCell<Vec<Rc<Connection>>>,
    flush: Notify,
    stopping: Cell<bool>,
    left: Notify,
}

/// Forgets the connections of a shard that ends: each of them holds all.
struct AtTheEnd(Rc<Connections>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let all = (self.0.live.take(), self.0.to_flush.take());
        drop(all);
    }
}

impl Connections {
    /// The connections of the current shard; none so far.
    #[must_use]
    pub fn new(config: NetConfig, handler: impl Handler) -> Rc<Connections> {
        let connections = Rc::new(Connections {
            memory: Semaphore::new(config.memory_bytes_max),
            replies: Semaphore::new(config.memory_bytes_max / 2),
            finisher: Semaphore::new(1),
            config,
            handler: Box::new(handler),
            scratch: Cell::new(Vec::new()),
            complaint: Complaint::default(),
            metrics: host::shard_slot(),
            live: RefCell::default(),
            next_id: Cell::new(0),
            to_flush: RefCell::default(),
            flush: Notify::new(),
            stopping: Cell::new(false),
            left: Notify::new(),
        });
        host::spawn_detached(Rc::clone(&connections).flush_ready_replies());
        connections
    }

    /// Serves an accepted connection on this shard from now on; closes it if the shard is stopping.
    pub fn adopt(self: &Rc<Self>, accepted: Accepted) {
        if self.stopping.get() {
            return;
        }
        let Accepted { seed, listener, guard } = accepted;
        let stream = Stream::from_seed(seed);
        let buffers = stream.set_buffers(self.config.send_buffer_bytes, self.config.receive_buffer_bytes);
        let local = match buffers.and_then(|()| stream.local()) {
            Ok(local) => local,
            Err(error) => {
                tracing::debug!(peer = %stream.peer(), %error, "a connection ended before it was served");
                return;
            }
        };
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let context = ConnectionContext::new(id, listener, stream.peer(), local);
        let connection = Rc::new(Connection::new(stream, context, Rc::clone(self), guard));
        self.metrics.add(Counter::ConnectionsAccepted, 1);
        self.live.borrow_mut().insert(id, Rc::clone(&connection));
        host::spawn_detached(connection.run());
    }

    /// Connections that are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.borrow().len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.borrow().is_empty()
    }

    /// Sets the gauges of the connections.
    pub fn tell(&self, snapshot: &mut Snapshot) {
        snapshot.set(Gauge::Connections, self.len() as f64);
        snapshot.set(Gauge::RequestMemory, self.memory_taken() as f64);
        snapshot.set(Gauge::RequestMemoryLimit, (self.memory.total() + self.replies.total()) as f64);
    }

    /// Bytes that are taken by requests and unsent replies.
    #[must_use]
    pub fn memory_taken(&self) -> usize {
        self.memory.taken() + self.replies.taken()
    }

    /// Whether connections wait for memory, or replies take more than there is.
    #[must_use]
    pub fn memory_is_short(&self) -> bool {
        let in_debt = self.replies.debt() > 0;
        in_debt || self.memory.has_waiters() || self.replies.has_waiters() || self.finisher.has_waiters()
    }

    /// Reads no further requests. What is in progress is answered, and each connection closes when its last reply has
    /// left; [`Connections::emptied`] waits for that.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.each(|connection| connection.wake_reader());
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Waits until no connection is open.
    pub async fn emptied(&self) {
        while !self.is_empty() {
            self.left.notified().await;
        }
    }

    /// Closes all connections now, whatever is in progress.
    pub fn close_all(&self) {
        self.each(|connection| connection.end(End::Ordered));
    }

    fn each(&self, act: impl Fn(&Connection)) {
        let all: Vec<Rc<Connection>> = self.live.borrow().values().cloned().collect();
        all.iter().for_each(|connection| act(connection));
    }

    /// A connection has closed.
    pub(super) fn remove(&self, id: u64) {
        let removed = self.live.borrow_mut().remove(&id);
        drop(removed);
        if self.is_empty() {
            self.left.notify_all();
        }
    }

    /// Has the connection's ready replies sent when the tasks that are ready now have run: replies that become ready
    /// together leave together.
    pub(super) fn flush_soon(&self, connection: &Rc<Connection>) {
        self.to_flush.borrow_mut().push(Rc::clone(connection));
        self.flush.notify_one();
    }

    async fn flush_ready_replies(self: Rc<Self>) {
        let _end = AtTheEnd(Rc::clone(&self));
        loop {
            self.flush.notified().await;
            let mut ready = self.to_flush.take();
            for connection in ready.drain(..) {
                connection.flush_listed();
            }
            // The list keeps its memory, unless it was a burst.
            let mut list = self.to_flush.borrow_mut();
            if list.is_empty() && ready.capacity() <= 1024 {
                *list = ready;
            }
        }
    }

    /// What a reply counts for from now on until it is sent.
    pub(super) fn charge(&self, reply: &Reply) -> crate::host::sync::Permit {
        self.replies.force(reply.memory())
    }
}
