//! One connection: a task that reads and starts requests, and sends that happen where replies become ready.
//!
//! Owned by the shard that adopted it. Idle, it is one task with a poll in the ring: no buffers.
//!
//! Invariants: requests start in the order of their frames, each when the [pipeline](Pipeline) lets it; replies leave
//! in that order; `sending` is touched by one party at a time, the writer task while `writing`, else whoever flushes;
//! nothing is read while the budget is used up.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use ottla::connection::{
    Activity, Answer, Class, FrameError, Frames, IdleClock, Next, Pipeline, Ticket, Verdict,
};
use ottla::metrics::Counter;
use ottla::time::Monotonic;

use super::ahead::Readers;
use super::connections::{Connections, RECEIVE_BYTES};
use super::context::ConnectionContext;
use super::journey::Journey;
use super::listener::ConnectionGuard;
use super::reply::{Piece, Reply};
use super::send::{Outgoing, SendQueue, Stop};
use crate::disk::told;
use crate::host::sync::Permit;
use crate::host::{self, SharedFd, Shutdown, Sleep, Stream};

/// What a request counts for beside its bytes: its task, its future, its place in the order.
const REQUEST_OVERHEAD_BYTES: usize = 512;
/// What the first part of a frame may reserve beyond the bytes that arrived (see `Frames`).
const FRAME_START_BYTES: usize = 16 << 10;
/// A file range is sent in steps of this many bytes, after each of which the connection counts as moving.
const FILE_STEP_BYTES: usize = 1 << 20;
/// Pieces of a reply that waits behind others are copied up to this many bytes, out of chunks of a mebibyte that they
/// would hold beyond what they count for. Where the memory for replies is used up they stay parts of chunks, which
/// replies to requests of the same time have in common.
const WAITING_COPY_BYTES_MAX: usize = 256 << 10;
/// The same of what the socket does not take, which most clients take soon.
const SENDING_COPY_BYTES_MAX: usize = 4 << 10;
/// Replies that wait behind a Fetch which waits for records may hold this much.
const HELD_UP_BYTES_MAX: usize = 64 << 10;
/// One connection's unsent replies may take this part of the memory for them before it reads no more requests.
const UNSENT_PART: usize = 4;

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client has closed it.
    Client,
    /// The broker stops.
    Stopping,
    /// A request was answered with a close.
    Answered,
    /// All connections are closed now.
    Ordered,
    /// A frame's length was out of bounds.
    BadFrame(FrameError),
    /// The socket failed.
    Failed(io::Error),
    /// Idle for `connections.max.idle.ms`.
    Idle,
    /// It stood still while others waited for memory.
    Stalled,
    /// The client had closed it, and its last requests took too long.
    Gone,
}

impl End {
    /// Whether requests in progress are still answered.
    fn drains(&self) -> bool {
        matches!(self, End::Client | End::Stopping)
    }
}

pub(super) struct Connection {
    stream: Stream,
    context: Rc<ConnectionContext>,
    shard: Rc<Connections>,
    pipeline: RefCell<Pipeline<Outgoing>>,
    sending: RefCell<SendQueue>,
    /// Files that the client reads from front to back.
    readers: RefCell<Readers>,
    /// Memory of replies that have not left.
    unsent: Cell<usize>,
    /// A writer task is at work: something has to be waited for.
    writing: Cell<bool>,
    /// In the shard's list of connections to flush, or about to flush by itself.
    listed: Cell<bool>,
    /// An answer has closed the connection: it ends when all is sent.
    closing: Cell<bool>,
    end: Cell<Option<End>>,
    clock: Cell<IdleClock>,
    reader: RefCell<Option<Waker>>,
    /// The reader waits for something else than the client: for room, for a turn, or for the last reply to leave.
    wants_room: Cell<bool>,
    _guard: ConnectionGuard,
}

impl Connection {
    pub(super) fn new(
        stream: Stream,
        context: ConnectionContext,
        shard: Rc<Connections>,
        guard: ConnectionGuard,
    ) -> Connection {
        let clock = IdleClock::new(host::now(), shard.config.idle_ms_max);
        Connection {
            stream,
            context: Rc::new(context),
            pipeline: RefCell::new(Pipeline::new(shard.config.requests_in_progress_max)),
            shard,
            sending: RefCell::default(),
            readers: RefCell::default(),
            unsent: Cell::new(0),
            writing: Cell::new(false),
            listed: Cell::new(false),
            closing: Cell::new(false),
            end: Cell::new(None),
            clock: Cell::new(clock),
            reader: RefCell::new(None),
            wants_room: Cell::new(false),
            _guard: guard,
        }
    }

    /// The connection's task.
    pub(super) async fn run(self: Rc<Self>) {
        let mut reader = Reader::new(Rc::clone(&self));
        let mut end = reader.read().await;
        if end.drains() {
            if matches!(end, End::Client) {
                self.client_is_gone();
            }
            reader.release();
            if let Err(other) = reader.drained().await {
                end = other;
            }
        }
        self.close(&end);
    }

    fn close(&self, end: &End) {
        let (id, peer) = (self.context.id(), self.context.peer());
        match end {
            End::BadFrame(error) => self.shard.complaint.once_in_a_while(|left_out| {
                tracing::warn!(%peer, %error, left_out, "a connection was closed");
            }),
            End::Stalled => self.shard.complaint.once_in_a_while(|left_out| {
                let reason = "it stood still while memory was short (queued.max.request.bytes)";
                tracing::warn!(%peer, reason, left_out, "a connection was closed");
            }),
            End::Failed(error) => tracing::debug!(id, %peer, %error, "a connection failed"),
            End::Client | End::Stopping | End::Answered | End::Ordered | End::Idle | End::Gone => {
                tracing::debug!(id, %peer, ?end, "a connection closed");
            }
        }
        self.context.set_closed();
        self.pipeline.borrow_mut().close();
        // Also ends the wait of a writer, which then finds the socket closed and lets go of what it has.
        let _ = self.stream.shutdown(Shutdown::Both);
        if !self.writing.get() {
            drop(self.sending.take());
        }
        self.shard.remove(id);
    }

    /// Ends the connection at the reader's next turn; the first reason counts.
    pub(super) fn end(&self, end: End) {
        let first = self.end.take().unwrap_or(end);
        self.end.set(Some(first));
        self.wake_reader();
    }

    pub(super) fn wake_reader(&self) {
        let waker = self.reader.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The client has ended its direction: what only waits for something to happen need wait no longer, and what is
    /// answered soon is still sent, for a client that ended no more than its own direction.
    fn client_is_gone(&self) {
        self.context.set_closed();
        let mut clock = self.clock.get();
        clock.on_gone(host::now());
        self.clock.set(clock);
    }

    fn moved(&self, now: Monotonic) {
        let mut clock = self.clock.get();
        clock.on_moved(now);
        self.clock.set(clock);
    }

    /// Whether requests may be read, and the next one, if it is known, may start.
    fn may_go_on(&self, next: Option<Class>) -> bool {
        let unsent_max = self.shard.replies.total() / UNSENT_PART;
        let pipeline = self.pipeline.borrow();
        let its_turn = next.map_or(pipeline.has_room(), |class| pipeline.may_start(class));
        its_turn && self.unsent.get() <= unsent_max && !self.closing.get()
    }

    /// Whether replies wait behind one that has not been made, and hold memory that others want.
    fn is_held_up(&self, pipeline: &Pipeline<Outgoing>) -> bool {
        let is_much = self.unsent.get() > HELD_UP_BYTES_MAX || self.shard.replies.free() == 0;
        is_much && pipeline.holds_replies()
    }

    /// Hands one frame to the handler, polls its future once, and lets it go on as a task if it is not ready. The task
    /// may outlive the connection, whose socket and place among the connections it does not hold.
    fn start(
        self: &Rc<Self>,
        (class, frame): (Class, Bytes),
        ready: Monotonic,
        permits: (Permit, Option<Permit>),
    ) {
        let ticket = self.pipeline.borrow_mut().start(class);
        let journey = Journey::new(&frame, ready);
        self.context.set_ready(ready);
        let mut future = self.shard.handler.handle(frame, &self.context);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => self.answer(ticket, answer, journey),
            Poll::Pending => {
                let connection = Rc::downgrade(self);
                host::spawn_detached(async move {
                    let answer = future.await;
                    drop(permits);
                    if let Some(connection) = Weak::upgrade(&connection) {
                        connection.answer(ticket, answer, journey);
                    }
                });
            }
        }
    }

    fn answer(self: &Rc<Self>, ticket: Ticket, answer: Answer<Reply>, mut journey: Journey) {
        let now = host::now();
        let answer = match answer {
            Answer::Reply(mut reply) => {
                if self.writing.get() && self.shard.replies.free() > 0 {
                    reply.own(WAITING_COPY_BYTES_MAX);
                }
                let memory = self.shard.charge(&reply);
                self.unsent.set(self.unsent.get() + memory.amount());
                journey.answered(&self.shard.metrics, reply.since(), now);
                Answer::Reply(Outgoing { reply, memory, journey })
            }
            Answer::Silence => Answer::Silence,
            Answer::Close => Answer::Close,
        };
        let mut pipeline = self.pipeline.borrow_mut();
        pipeline.answer(ticket, answer);
        let ready = pipeline.is_ready();
        self.context.set_held_up(self.is_held_up(&pipeline));
        drop(pipeline);
        self.moved(now);
        if ready && !self.writing.get() && !self.listed.replace(true) {
            self.shard.flush_soon(self);
        } else if !ready && self.wants_room.get() {
            // Nothing leaves, behind a Fetch that waits, but another request's turn may have come.
            self.wake_reader();
        }
    }
}

impl Connection {
    /// The shard's flush has come to this connection.
    pub(super) fn flush_listed(self: &Rc<Self>) {
        self.listed.set(false);
        self.flush();
    }

    /// Sends what is ready as far as the socket takes it; a task goes on if that is not all.
    fn flush(self: &Rc<Self>) {
        if self.writing.get() {
            return;
        }
        loop {
            self.fill();
            if self.sending.borrow().is_empty() {
                self.all_sent();
                return;
            }
            match self.send_memory() {
                Ok(Stop::Done) => {}
                Ok(Stop::Full | Stop::File) => {
                    self.writing.set(true);
                    self.sending.borrow_mut().own(SENDING_COPY_BYTES_MAX);
                    host::spawn_detached(Rc::clone(self).write());
                    // The reader sees to it that a client which takes nothing does not hold us for ever.
                    self.wake_reader();
                    return;
                }
                Err(error) => {
                    self.end(End::Failed(error));
                    return;
                }
            }
        }
    }

    /// Moves replies whose turn has come into the send queue.
    fn fill(&self) {
        let mut pipeline = self.pipeline.borrow_mut();
        let mut sending = self.sending.borrow_mut();
        let turn = host::turn_began();
        while sending.takes_more() {
            match pipeline.leave() {
                Some(Next::Reply(mut outgoing)) => {
                    outgoing.journey.in_order(&self.shard.metrics, turn);
                    sending.push(outgoing);
                }
                Some(Next::Close) => self.closing.set(true),
                None => {
                    self.context.set_held_up(self.is_held_up(&pipeline));
                    return;
                }
            }
        }
    }

    fn send_memory(&self) -> io::Result<Stop> {
        let mut sending = self.sending.borrow_mut();
        let before = sending.memory();
        let (moved, stop) = sending.send_memory(&self.stream, &self.shard.metrics)?;
        self.unsent.set(self.unsent.get() - (before - sending.memory()));
        drop(sending);
        if let Some(now) = moved {
            self.moved(now);
        }
        Ok(stop)
    }

    /// Nothing waits to be sent.
    fn all_sent(&self) {
        self.pipeline.borrow_mut().shrink();
        if self.closing.get() {
            self.end(End::Answered);
        } else if self.wants_room.get() {
            self.wake_reader();
        }
    }

    /// The writer task: sends until nothing is ready, waiting for the client and for the disk.
    async fn write(self: Rc<Self>) {
        let outcome = self.write_all().await;
        self.writing.set(false);
        match outcome {
            Ok(()) => self.all_sent(),
            Err(error) => {
                drop(self.sending.take());
                self.end(End::Failed(error));
            }
        }
    }

    async fn write_all(&self) -> io::Result<()> {
        loop {
            self.fill();
            if self.sending.borrow().is_empty() {
                return Ok(());
            }
            match self.send_memory()? {
                Stop::Done => {}
                Stop::Full => self.stream.writable().await?,
                Stop::File => self.send_file_step().await?,
            }
        }
    }

    /// Says why a connection ends in the middle of a reply that was promised whole: its file ends before, or cannot be
    /// read. What is wrong with the socket is the client's affair.
    fn tell_failed(&self, error: &io::Error, fd: &SharedFd, sent: &Range<u64>) {
        let is_of_file =
            error.kind() == io::ErrorKind::UnexpectedEof || error.raw_os_error() == Some(libc::EIO);
        let path = fd.path();
        if is_of_file && told::is_due(&path) {
            let (peer, path, from, to) = (self.context.peer(), path.display(), sent.start, sent.end);
            tracing::error!(%peer, %error, "{path}: bytes {from} to {to} cannot be sent; the connection was closed");
        }
    }

    async fn send_file_step(&self) -> io::Result<()> {
        let next = self.sending.borrow().file_step(FILE_STEP_BYTES);
        let Some(Piece::File { fd, position, bytes, readable_end }) = next else { return Ok(()) };
        let sent = position..position + u64::from(bytes);
        let cold = self.stream.send_file(&fd, position, u64::from(bytes)).await;
        let cold = cold.inspect_err(|error| self.tell_failed(error, &fd, &sent))?;
        let (end, now, metrics) = (sent.end, host::now(), &self.shard.metrics);
        metrics.add(Counter::FetchedDisk, cold.min(u64::from(bytes)));
        metrics.add(Counter::FetchedPageCache, u64::from(bytes).saturating_sub(cold));
        if self.readers.borrow_mut().sent(fd.identity(), sent) {
            host::read_ahead(&fd, end, readable_end);
        }
        let mut sending = self.sending.borrow_mut();
        let before = sending.memory();
        sending.advance(bytes as usize, metrics, now);
        self.unsent.set(self.unsent.get() - (before - sending.memory()));
        drop(sending);
        self.moved(now);
        Ok(())
    }
}

/// A frame with its class, which is looked at before the request starts and when it does.
fn classed(frame: Bytes) -> (Class, Bytes) {
    (Class::of(&frame), frame)
}

/// The reading half of a connection's task.
struct Reader {
    connection: Rc<Connection>,
    frames: Frames,
    /// A request whose turn has not come.
    next: Option<(Class, Bytes)>,
    /// Bytes received behind it.
    leftover: Bytes,
    /// Counts the unfinished frame, the next request and the leftover.
    held: Permit,
    /// Held while this connection is the shard's finisher.
    finisher: Option<Permit>,
    timer: Option<Sleep>,
    /// When the bytes were there that were received last: what waited for this shard counts from the turn of the loop
    /// that saw it, what is received in one go with it from the receive before.
    ready: Monotonic,
    /// When that was received.
    received: Monotonic,
}

/// What a wait is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// The client's bytes.
    Client,
    /// This broker: memory, room, time.
    Broker,
    /// The last replies of a connection that reads no more.
    Drain,
}

/// What one receive has brought.
struct Received {
    into_frame: usize,
    into_rest: usize,
    /// There was no room for more, so that more may be there.
    is_full: bool,
}

/// Memory to receive into.
enum Grant {
    Budget(Permit),
    Finisher(Permit),
}

impl Reader {
    fn new(connection: Rc<Connection>) -> Reader {
        let frames = Frames::new(connection.shard.config.request_bytes_max);
        let held = connection.shard.memory.force(0);
        Reader {
            connection,
            frames,
            next: None,
            leftover: Bytes::new(),
            held,
            finisher: None,
            timer: None,
            ready: Monotonic::ZERO,
            received: Monotonic::ZERO,
        }
    }

    /// Reads and starts requests until the connection ends.
    async fn read(&mut self) -> End {
        loop {
            if let Err(end) = self.read_once().await {
                return end;
            }
        }
    }

    /// Waits for bytes and takes all that are there.
    async fn read_once(&mut self) -> Result<(), End> {
        self.wait_for_turn().await?;
        let stream = self.connection.stream.clone();
        let mut readable = stream.readable();
        self.wait(For::Client, |cx| Pin::new(&mut readable).poll(cx)).await?.map_err(End::Failed)?;
        loop {
            self.wait_for_turn().await?;
            let memory = self.wait_for_memory().await?;
            self.held.merge(memory);
            let more = self.receive();
            self.charge_kept();
            if !more? {
                return Ok(());
            }
            host::yield_now().await;
        }
    }

    /// Whether the connection is to end; looked at also where nothing has to be waited for.
    fn ended(&self, what: For) -> Option<End> {
        let stopping = what != For::Drain && self.connection.shard.is_stopping();
        self.connection.end.take().or(stopping.then_some(End::Stopping))
    }

    /// Waits until a request may start, and starts those that were received before.
    async fn wait_for_turn(&mut self) -> Result<(), End> {
        loop {
            if let Some(end) = self.ended(For::Broker) {
                return Err(end);
            }
            let muted_until = self.connection.context.muted_until();
            if muted_until > host::now() {
                let mut sleep = host::sleep_until(muted_until);
                self.wait(For::Broker, |cx| Pin::new(&mut sleep).poll(cx)).await?;
            }
            let class = self.next_class();
            if !self.connection.may_go_on(class) {
                let connection = Rc::clone(&self.connection);
                let may_go_on = || connection.may_go_on(class);
                self.wait(For::Broker, |_| if may_go_on() { Poll::Ready(()) } else { Poll::Pending }).await?;
            }
            if !self.may_be_answered() {
                let replies = Rc::clone(&self.connection.shard.replies);
                let mut room = pin!(replies.acquire(1));
                self.wait(For::Broker, |cx| room.as_mut().poll(cx)).await?;
            }
            if self.next.is_none() && self.leftover.is_empty() {
                return Ok(());
            }
            let leftover = std::mem::take(&mut self.leftover);
            self.start_frames(&leftover)?;
            self.charge_kept();
        }
    }

    fn next_class(&self) -> Option<Class> {
        self.next.as_ref().map(|(class, _)| *class)
    }

    /// Whether there is memory for the reply to the next request, if that may be large. Replies other than to Fetch go
    /// as far into debt as there is memory for all, so that readers who do not read hold up nobody else.
    fn may_be_answered(&self) -> bool {
        let replies = &self.connection.shard.replies;
        match self.next_class() {
            Some(Class::Read) => replies.free() > 0,
            Some(Class::Alone) => replies.debt() < replies.total(),
            Some(Class::Append) | None => true,
        }
    }

    /// Bytes of requests that have not started.
    fn kept(&self) -> usize {
        self.frames.memory() + self.next.as_ref().map_or(0, |(_, frame)| frame.len()) + self.leftover.len()
    }

    /// What is kept is charged, also a frame that begins in what was received before it.
    fn charge_kept(&mut self) {
        let kept = self.kept();
        let more = kept.saturating_sub(self.held.amount());
        self.held.merge(self.connection.shard.memory.force(more));
        self.held.shrink_to(kept);
    }

    /// Waits for the memory that one receive may take.
    async fn wait_for_memory(&mut self) -> Result<Permit, End> {
        let shard = Rc::clone(&self.connection.shard);
        let amount = self.frames.memory_to_grow() + RECEIVE_BYTES + FRAME_START_BYTES;
        if let Some(permit) = shard.memory.try_acquire(amount) {
            return Ok(permit);
        }
        if self.finisher.is_none() {
            let mut budget = pin!(shard.memory.acquire(amount));
            let mut finisher = pin!(shard.finisher.acquire(1));
            let mid_frame = self.frames.memory() > 0;
            let grant = self.wait(For::Broker, |cx| {
                if let Poll::Ready(permit) = budget.as_mut().poll(cx) {
                    return Poll::Ready(Grant::Budget(permit));
                }
                if mid_frame { finisher.as_mut().poll(cx).map(Grant::Finisher) } else { Poll::Pending }
            });
            match grant.await? {
                Grant::Budget(permit) => return Ok(permit),
                Grant::Finisher(permit) => self.finisher = Some(permit),
            }
        }
        Ok(shard.memory.force(self.frames.memory_to_grow()))
    }

    /// Receives once and starts the requests that are whole. Returns whether more may be there.
    fn receive(&mut self) -> Result<bool, End> {
        let shard = Rc::clone(&self.connection.shard);
        let mut scratch = shard.scratch.take();
        scratch.resize(RECEIVE_BYTES, 0);
        // A finisher reads its own frame alone.
        let rest = if self.finisher.is_some() { 0 } else { RECEIVE_BYTES };
        let outcome = self.receive_into(&mut scratch[..rest]);
        let more = match outcome {
            Ok(Some(Received { into_frame, into_rest, is_full })) => {
                self.ready = host::turn_began().max(self.received);
                self.received = host::now();
                shard.metrics.add(Counter::ReceivedBytes, (into_frame + into_rest) as u64);
                self.connection.moved(self.received);
                let started = self.start_received(&scratch[..into_rest]);
                started.map(|()| is_full)
            }
            Ok(None) => Ok(false),
            Err(end) => Err(end),
        };
        shard.scratch.set(scratch);
        self.connection.flush();
        more
    }

    /// One receive, into the unfinished frame first, and beyond it only what is behind its end: a frame that needs more
    /// memory asks for it. `None` when nothing is there.
    fn receive_into(&mut self, rest: &mut [u8]) -> Result<Option<Received>, End> {
        let missing = self.frames.missing();
        let mut nowhere = bytes::BytesMut::new();
        let (frame, room) = self.frames.spare().unwrap_or((&mut nowhere, 0));
        let rest = if room < missing { &mut [] } else { rest };
        match self.connection.stream.try_receive(frame, room, rest) {
            Ok(Some((0, 0))) => Err(End::Client),
            Ok(Some((into_frame, into_rest))) => {
                let is_full = (into_frame, into_rest) == (room, rest.len());
                Ok(Some(Received { into_frame, into_rest, is_full }))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(End::Failed(error)),
        }
    }

    /// Starts the frame that a receive has finished, if it has, and those of the `rest` behind it.
    fn start_received(&mut self, rest: &[u8]) -> Result<(), End> {
        // Replies that are ready at once leave together, after the last of these requests has started.
        self.connection.listed.set(true);
        assert!(self.next.is_none(), "nothing is received before what was received before has started");
        self.next = self.frames.take_finished().map(classed);
        let started = self.start_frames(rest);
        self.connection.listed.set(false);
        started
    }

    /// Starts the next request and those in `input` as far as their turn has come; the rest is kept.
    fn start_frames(&mut self, input: &[u8]) -> Result<(), End> {
        let mut input = input;
        loop {
            if self.next.is_none() {
                self.next = self.frames.take(&mut input).map_err(End::BadFrame)?.map(classed);
            }
            let may_start = self.connection.may_go_on(self.next_class()) && self.may_be_answered();
            let Some(request) = self.next.take_if(|_| may_start) else {
                self.leftover = Bytes::copy_from_slice(input);
                return Ok(());
            };
            self.start(request);
        }
    }

    fn start(&mut self, request: (Class, Bytes)) {
        let mut memory = self.held.split(request.1.len());
        memory.merge(self.connection.shard.memory.force(REQUEST_OVERHEAD_BYTES));
        self.connection.start(request, self.ready, (memory, self.finisher.take()));
    }

    /// Gives back what reading has taken; nothing more is read.
    fn release(&mut self) {
        self.frames = Frames::new(0);
        self.next = None;
        self.leftover = Bytes::new();
        self.held.shrink_to(0);
        self.finisher = None;
    }

    /// Waits until every request is answered and every reply sent.
    async fn drained(&mut self) -> Result<(), End> {
        let connection = Rc::clone(&self.connection);
        self.wait(For::Drain, |_| {
            let idle = connection.pipeline.borrow().is_empty() && connection.sending.borrow().is_empty();
            if idle && !connection.writing.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await
    }

    /// Waits for `ready`, for the end of the connection, or until it has stood still for too long.
    async fn wait<T>(
        &mut self,
        what: For,
        mut ready: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, End> {
        self.connection.wants_room.set(what != For::Client);
        poll_fn(|cx| {
            drop(self.connection.reader.borrow_mut().take());
            if let Some(end) = self.ended(what) {
                return Poll::Ready(Err(end));
            }
            if let Poll::Ready(value) = ready(cx) {
                return Poll::Ready(Ok(value));
            }
            *self.connection.reader.borrow_mut() = Some(cx.waker().clone());
            self.judge(what, cx).map(Err)
        })
        .await
    }

    /// Ready when the connection has stood still for too long; else looks again when it may have.
    fn judge(&mut self, what: For, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let (now, short) = (host::now(), self.connection.shard.memory_is_short());
            let is_time_to_look = self.timer.as_ref().is_some_and(|timer| timer.deadline() <= now);
            if what == For::Broker && is_time_to_look && self.connection.stream.is_hung_up() {
                self.connection.client_is_gone();
            }
            match self.connection.clock.get().judge(now, self.activity(what), short) {
                Verdict::Wait => return Poll::Pending,
                Verdict::Idle => return Poll::Ready(End::Idle),
                Verdict::Stalled => return Poll::Ready(End::Stalled),
                Verdict::Gone => return Poll::Ready(End::Gone),
                Verdict::LookAt(moment) => {
                    let timer = self.timer.get_or_insert_with(|| host::sleep_until(moment));
                    // A timer that is due earlier stays: looking once too often is cheaper than moving it each time.
                    if timer.deadline() > moment || timer.deadline() <= now {
                        timer.reset(moment);
                    }
                    if Pin::new(timer).poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn activity(&self, what: For) -> Activity {
        if self.connection.writing.get() {
            return Activity::Standing;
        }
        if what == For::Client && self.frames.is_mid_frame() {
            return Activity::Standing;
        }
        match what {
            For::Broker => Activity::Deaf,
            For::Client if self.connection.pipeline.borrow().is_empty() => Activity::Resting,
            For::Client | For::Drain => Activity::Answering,
        }
    }
}
