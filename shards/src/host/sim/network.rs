//! The network between and inside machines: connections as two bounded pipes, with latency and faults.
//!
//! Bytes, the end of a stream and a reset travel in order on each direction of a connection. Nothing here wakes a
//! task of another shard than by an event.
//!
//! Invariants: a direction carries at most its capacity, what has arrived unread included; what has arrived is never
//! taken back; a connection is forgotten when both of its ends are.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use super::engine::{Engine, Event};
use super::process::{NodeId, Process, ProcessId};
use super::random::Random;

/// The kernel's buffers where nobody sets them: one of these for each connection, in bytes.
const BUFFER_BYTES: [usize; 3] = [8 << 10, 64 << 10, 256 << 10];
/// The least that a kernel makes of a buffer, in bytes.
const BUFFER_BYTES_MIN: usize = 4 << 10;
/// What one piece of data takes inside a machine and between two, in nanoseconds.
const LOCAL_NANOS: (u64, u64) = (3_000, 40_000);
const REMOTE_NANOS: (u64, u64) = (40_000, 400_000);
/// A piece that is lost once and sent again.
const RESENT_PER_MILLION: u32 = 500;
const RESENT_NANOS: (u64, u64) = (1_000_000, 220_000_000);
/// When the peers of a machine without power find out, in nanoseconds.
const ORPHAN_NANOS: (u64, u64) = (1_000_000, 3_000_000_000);
/// Connections that may wait to be accepted.
const BACKLOG: usize = 4_096;

/// What goes wrong by chance. Rates are per million pieces of data, or requests to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkFaults {
    /// A direction stands still for a while.
    pub stall_per_million: u32,
    /// The longest such while.
    pub stall_max: Duration,
    /// A connection is cut: some of the piece still arrives, then both ends see a reset.
    pub cut_per_million: u32,
    /// A request to connect is refused.
    pub refuse_per_million: u32,
}

impl NetworkFaults {
    /// Nothing goes wrong.
    pub const NONE: NetworkFaults = NetworkFaults {
        stall_per_million: 0,
        stall_max: Duration::from_secs(1),
        cut_per_million: 0,
        refuse_per_million: 0,
    };
}

/// An open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Its number; numbers are never used again.
    pub id: u64,
    /// Who has connected.
    pub client: SocketAddr,
    /// Who has accepted, or will.
    pub server: SocketAddr,
    /// Bytes on their way, or arrived and unread: to the server, and to the client.
    pub bytes: (usize, usize),
}

/// What travels on one direction.
enum Piece {
    Bytes(Vec<u8>),
    /// The sender sends nothing more.
    End,
    /// The connection is no more.
    Reset,
}

/// One direction.
struct Pipe {
    capacity: usize,
    /// With the moment of arrival; ascending.
    flight: VecDeque<(u64, Piece)>,
    arrived: VecDeque<Vec<u8>>,
    /// Bytes of the first arrived piece that were read.
    skip: usize,
    /// Bytes in flight and arrived.
    held: usize,
    arrived_bytes: usize,
    last_arrival: u64,
    stalled_until: u64,
    /// Bytes that still get through before a cut.
    cut_after: Option<usize>,
}

/// One end of a connection.
#[derive(Default)]
struct End {
    /// The last handle is gone, or the process.
    closed: bool,
    /// Its machine has no power: it says nothing.
    silent: bool,
    read_shut: bool,
    write_shut: bool,
    peer_ended: bool,
    reset: bool,
    /// An error that the next call takes.
    error: Option<i32>,
    waiters: BTreeMap<u64, Waker>,
}

struct Connection {
    nodes: [NodeId; 2],
    addresses: [SocketAddr; 2],
    /// By the receiving side.
    pipes: [Pipe; 2],
    ends: [End; 2],
}

/// Sides of a connection: who connected, and who accepted.
pub(super) const CLIENT: u8 = 0;
pub(super) const SERVER: u8 = 1;

/// A socket that listens.
pub(super) struct ListenerState {
    node: NodeId,
    process: ProcessId,
    /// Empty for every address.
    addresses: Vec<IpAddr>,
    port: u16,
    pub(super) queue: VecDeque<u64>,
    pub(super) waiter: Option<Waker>,
}

/// A request to connect.
struct Connect {
    from: NodeId,
    local: SocketAddr,
    to: SocketAddr,
    result: Option<Result<u64, i32>>,
    waker: Option<Waker>,
}

/// Everything on the network of a world.
pub(super) struct Network {
    random: Random,
    pub(super) faults: NetworkFaults,
    connections: BTreeMap<u64, Connection>,
    pub(super) listeners: BTreeMap<u64, ListenerState>,
    connects: BTreeMap<u64, Connect>,
    /// Pairs of machines that do not reach each other, the lower first.
    partitions: Vec<(NodeId, NodeId)>,
}

/// A result of a call that does not wait: `None` where it would have to.
pub(super) type Tried<T> = io::Result<Option<T>>;

fn failure(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

fn other(side: u8) -> u8 {
    1 - side
}

impl Pipe {
    fn new(capacity: usize) -> Pipe {
        Pipe {
            capacity,
            flight: VecDeque::new(),
            arrived: VecDeque::new(),
            skip: 0,
            held: 0,
            arrived_bytes: 0,
            last_arrival: 0,
            stalled_until: 0,
            cut_after: None,
        }
    }

    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.held)
    }

    /// Forgets what has not arrived.
    fn forget_flight(&mut self) {
        self.flight.clear();
        self.held = self.arrived_bytes;
    }

    /// Moves bytes that have arrived into `into`.
    fn read(&mut self, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            let Some(first) = self.arrived.front() else { break };
            let part = (first.len() - self.skip).min(into.len() - done);
            into[done..done + part].copy_from_slice(&first[self.skip..self.skip + part]);
            done += part;
            self.skip += part;
            if self.skip == first.len() {
                self.arrived.pop_front();
                self.skip = 0;
            }
        }
        self.arrived_bytes -= done;
        self.held -= done;
        done
    }
}

impl End {
    fn wake(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.waiters).into_values().collect()
    }
}

impl Connection {
    fn new(nodes: [NodeId; 2], addresses: [SocketAddr; 2], capacity: usize) -> Connection {
        let pipes = [Pipe::new(capacity), Pipe::new(capacity)];
        Connection { nodes, addresses, pipes, ends: Default::default() }
    }

    fn is_readable(&self, side: u8) -> bool {
        let (end, pipe) = (&self.ends[usize::from(side)], &self.pipes[usize::from(side)]);
        pipe.arrived_bytes > 0 || end.error.is_some() || end.peer_ended || end.reset || end.read_shut
    }

    fn is_writable(&self, side: u8) -> bool {
        let (end, pipe) = (&self.ends[usize::from(side)], &self.pipes[usize::from(other(side))]);
        let has_room = pipe.room() * 3 >= pipe.capacity;
        has_room || end.error.is_some() || end.reset || end.write_shut
    }

    fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.closed) && self.pipes.iter().all(|pipe| pipe.flight.is_empty())
    }
}

impl Network {
    pub(super) fn new(seed: u64) -> Network {
        Network {
            random: Random::new(seed, 2),
            faults: NetworkFaults::NONE,
            connections: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connects: BTreeMap::new(),
            partitions: Vec::new(),
        }
    }

    fn latency(&mut self, nodes: [NodeId; 2]) -> u64 {
        let (low, high) = if nodes[0] == nodes[1] { LOCAL_NANOS } else { REMOTE_NANOS };
        let resent = nodes[0] != nodes[1] && self.random.chance(RESENT_PER_MILLION);
        let again = if resent { self.random.between(RESENT_NANOS.0, RESENT_NANOS.1) } else { 0 };
        self.random.between(low, high) + again
    }

    fn is_parted(&self, nodes: [NodeId; 2]) -> bool {
        let pair = (nodes[0].min(nodes[1]), nodes[0].max(nodes[1]));
        self.partitions.contains(&pair)
    }

    /// Parts two machines, or lets them reach each other again.
    pub(super) fn set_parted(&mut self, engine: &Engine, nodes: [NodeId; 2], parted: bool) {
        let pair = (nodes[0].min(nodes[1]), nodes[0].max(nodes[1]));
        self.partitions.retain(|known| *known != pair);
        if parted {
            self.partitions.push(pair);
            return;
        }
        for (number, connection) in &self.connections {
            for side in [CLIENT, SERVER] {
                if !connection.pipes[usize::from(side)].flight.is_empty() {
                    engine.after(0, Event::Arrive(*number, side));
                }
            }
        }
        self.connects.keys().for_each(|connect| engine.after(0, Event::Knock(*connect)));
    }

    pub(super) fn connections(&self) -> Vec<ConnectionInfo> {
        let info = |(id, connection): (&u64, &Connection)| ConnectionInfo {
            id: *id,
            client: connection.addresses[0],
            server: connection.addresses[1],
            bytes: (connection.pipes[usize::from(SERVER)].held, connection.pipes[usize::from(CLIENT)].held),
        };
        self.connections.iter().map(info).collect()
    }

    /// Lets both directions of a connection stand still until a moment.
    pub(super) fn stall(&mut self, engine: &Engine, connection: u64, until: u64) {
        let Some(known) = self.connections.get_mut(&connection) else { return };
        for side in [CLIENT, SERVER] {
            known.pipes[usize::from(side)].stalled_until = until;
            engine.at(until.max(engine.now().0), Event::Arrive(connection, side));
        }
    }

    /// Cuts a connection when so many more bytes have arrived at `side`.
    pub(super) fn cut(&mut self, engine: &Engine, connection: u64, side: u8, after_bytes: usize) {
        let Some(known) = self.connections.get_mut(&connection) else { return };
        known.pipes[usize::from(side)].cut_after = Some(after_bytes);
        if after_bytes == 0 {
            engine.after(0, Event::Arrive(connection, side));
        }
    }

    /// Sends a piece towards `side`.
    fn send(&mut self, engine: &Engine, number: u64, side: u8, piece: Piece) {
        let Some(connection) = self.connections.get(&number) else { return };
        let mut latency = self.latency(connection.nodes);
        let faults = self.faults;
        if self.random.chance(faults.stall_per_million) {
            latency +=
                self.random.below(u64::try_from(faults.stall_max.as_nanos()).unwrap_or(u64::MAX).max(1));
        }
        let is_cut = self.random.chance(faults.cut_per_million);
        let part = match &piece {
            Piece::Bytes(bytes) => self.random.below(bytes.len() as u64 + 1),
            Piece::End | Piece::Reset => 0,
        };
        let connection = self.connections.get_mut(&number).expect("it was looked at");
        let pipe = &mut connection.pipes[usize::from(side)];
        if is_cut {
            pipe.cut_after.get_or_insert(usize::try_from(part).expect("a part of a piece"));
        }
        if let Piece::Bytes(bytes) = &piece {
            pipe.held += bytes.len();
            engine.mark(52, u64::from(crc32c::crc32c(bytes)));
        }
        let at = pipe.last_arrival.max(engine.now().0 + latency);
        pipe.last_arrival = at;
        pipe.flight.push_back((at, piece));
        engine.at(at, Event::Arrive(number, side));
    }

    /// Both ends of a connection see that it is no more.
    fn break_off(&mut self, engine: &Engine, number: u64) -> Vec<Waker> {
        engine.note(|| format!("connection {number} is reset"));
        let Some(connection) = self.connections.get_mut(&number) else { return Vec::new() };
        let mut woken = Vec::new();
        connection.pipes.iter_mut().for_each(Pipe::forget_flight);
        for end in &mut connection.ends {
            end.reset = true;
            end.error.get_or_insert(libc::ECONNRESET);
            woken.extend(end.wake());
        }
        if connection.is_over() {
            self.connections.remove(&number);
        }
        woken
    }

    /// What arrives at `side` now; the waiters to wake.
    fn take_arrivals(&mut self, engine: &Engine, number: u64, side: u8) -> Vec<Waker> {
        let now = engine.now().0;
        let mut woken = Vec::new();
        loop {
            let Some(connection) = self.connections.get(&number) else { return woken };
            let pipe = &connection.pipes[usize::from(side)];
            if pipe.stalled_until > now || self.is_parted(connection.nodes) {
                return woken;
            }
            if pipe.cut_after == Some(0) {
                woken.extend(self.break_off(engine, number));
                return woken;
            }
            if pipe.flight.front().is_none_or(|(at, _)| *at > now) {
                if connection.is_over() {
                    self.connections.remove(&number);
                }
                return woken;
            }
            woken.extend(self.take_one(engine, number, side));
        }
    }

    fn take_one(&mut self, engine: &Engine, number: u64, side: u8) -> Vec<Waker> {
        let connection = self.connections.get_mut(&number).expect("the caller has looked");
        let (end, pipe) = (&mut connection.ends[usize::from(side)], &mut connection.pipes[usize::from(side)]);
        let (_, piece) = pipe.flight.pop_front().expect("the caller has looked");
        if end.silent {
            // Nobody says that it came: it keeps its room at the sender.
            return Vec::new();
        }
        match piece {
            Piece::Bytes(mut bytes) => {
                if let Some(left) = &mut pipe.cut_after {
                    pipe.held -= bytes.len().saturating_sub(*left);
                    bytes.truncate(*left);
                    *left -= bytes.len();
                }
                if end.closed {
                    pipe.held -= bytes.len();
                    self.send(engine, number, other(side), Piece::Reset);
                    return Vec::new();
                }
                if !bytes.is_empty() {
                    pipe.arrived_bytes += bytes.len();
                    pipe.arrived.push_back(bytes);
                }
            }
            Piece::End => end.peer_ended = true,
            Piece::Reset => {
                end.reset = true;
                end.error.get_or_insert(libc::ECONNRESET);
                let back = &mut connection.pipes[usize::from(other(side))];
                back.forget_flight();
            }
        }
        connection.ends[usize::from(side)].wake()
    }

    /// Takes what has arrived; how many bytes, or `None` when nothing is there.
    pub(super) fn receive(&mut self, number: u64, side: u8, into: &mut [u8]) -> Tried<usize> {
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(Some(0)) };
        let end = &mut connection.ends[usize::from(side)];
        let pipe = &mut connection.pipes[usize::from(side)];
        if pipe.arrived_bytes == 0 {
            return match end.error.take() {
                Some(errno) => Err(failure(errno)),
                None if end.peer_ended || end.reset || end.read_shut => Ok(Some(0)),
                None => Ok(None),
            };
        }
        // A kernel may say that nothing is there yet, or give a part.
        let luck = self.random.below(64);
        if luck == 0 {
            return Ok(None);
        }
        let most = into.len().min(pipe.arrived_bytes) as u64;
        let part = if luck < 8 { self.random.between(1, most) } else { most };
        let got = pipe.read(&mut into[..usize::try_from(part).expect("a part of a buffer")]);
        Ok(Some(got))
    }

    /// Tells the sending side that there is room again, as an event.
    pub(super) fn tell_of_room(&mut self, engine: &Engine, number: u64, side: u8) {
        let Some(connection) = self.connections.get(&number) else { return };
        let sender = other(side);
        if connection.is_writable(sender) && !connection.ends[usize::from(sender)].waiters.is_empty() {
            let latency = self.latency(connection.nodes);
            engine.after(latency, Event::Room(number, sender));
        }
    }

    /// Takes bytes to send; how many, or `None` where there is no room.
    pub(super) fn offer(
        &mut self,
        engine: &Engine,
        (number, side): (u64, u8),
        parts: &[io::IoSlice<'_>],
    ) -> Tried<usize> {
        let Some(connection) = self.connections.get_mut(&number) else { return Err(failure(libc::EPIPE)) };
        let end = &mut connection.ends[usize::from(side)];
        if let Some(errno) = end.error.take() {
            return Err(failure(errno));
        }
        if end.reset || end.write_shut {
            return Err(failure(libc::EPIPE));
        }
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let room = connection.pipes[usize::from(other(side))].room().min(total);
        if total == 0 {
            return Ok(Some(0));
        }
        let luck = self.random.below(64);
        if room == 0 || luck == 0 {
            return Ok(None);
        }
        let taken = if luck < 6 { self.random.between(1, room as u64) } else { room as u64 };
        let taken = usize::try_from(taken).expect("a part of the room");
        let mut bytes = Vec::with_capacity(taken);
        for part in parts {
            let left = taken - bytes.len();
            bytes.extend_from_slice(&part[..part.len().min(left)]);
        }
        if luck > 56 && taken > 1 {
            let split = usize::try_from(self.random.between(1, taken as u64 - 1)).expect("inside the piece");
            let rest = bytes.split_off(split);
            self.send(engine, number, other(side), Piece::Bytes(bytes));
            bytes = rest;
        }
        self.send(engine, number, other(side), Piece::Bytes(bytes));
        Ok(Some(taken))
    }

    /// Whether a wait would end now; remembers whom to wake otherwise.
    pub(super) fn poll_ready(
        &mut self,
        (number, side): (u64, u8),
        write: bool,
        waiter: u64,
        waker: &Waker,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(&number) else { return true };
        let ready = if write { connection.is_writable(side) } else { connection.is_readable(side) };
        if !ready {
            connection.ends[usize::from(side)].waiters.insert(waiter, waker.clone());
        }
        ready
    }

    pub(super) fn forget_waiter(&mut self, (number, side): (u64, u8), waiter: u64) -> Option<Waker> {
        let connection = self.connections.get_mut(&number)?;
        connection.ends[usize::from(side)].waiters.remove(&waiter)
    }

    /// Ends directions of a connection; the own waiters to wake.
    pub(super) fn shut(
        &mut self,
        engine: &Engine,
        (number, side): (u64, u8),
        read: bool,
    ) -> io::Result<Vec<Waker>> {
        let connection = self.connections.get_mut(&number).ok_or_else(|| failure(libc::ENOTCONN))?;
        let end = &mut connection.ends[usize::from(side)];
        if end.reset {
            return Err(failure(libc::ENOTCONN));
        }
        end.read_shut |= read;
        let ends_now = !std::mem::replace(&mut end.write_shut, true);
        let woken = end.wake();
        if ends_now {
            self.send(engine, number, other(side), Piece::End);
        }
        Ok(woken)
    }

    /// The last handle of an end is gone.
    pub(super) fn close(&mut self, engine: &Engine, number: u64, side: u8) -> Vec<Waker> {
        let Some(connection) = self.connections.get_mut(&number) else { return Vec::new() };
        let end = &mut connection.ends[usize::from(side)];
        if std::mem::replace(&mut end.closed, true) {
            return Vec::new();
        }
        let forgotten = end.wake();
        let (has_ended, is_reset, is_silent) = (end.write_shut, end.reset, end.silent);
        let pipe = &mut connection.pipes[usize::from(side)];
        let unread = pipe.arrived_bytes > 0;
        (pipe.arrived, pipe.skip, pipe.arrived_bytes) = (VecDeque::new(), 0, 0);
        pipe.held = pipe.flight.iter().map(|(_, piece)| piece.bytes()).sum();
        if !is_reset && !is_silent {
            if unread {
                self.send(engine, number, other(side), Piece::Reset);
            } else if !has_ended {
                self.send(engine, number, other(side), Piece::End);
            }
        }
        if self.connections.get(&number).is_some_and(Connection::is_over) {
            self.connections.remove(&number);
        }
        forgotten
    }

    /// Whether the other end of a connection has ended it, or it is broken.
    pub(super) fn is_hung_up(&self, number: u64, side: u8) -> bool {
        let end = |connection: &Connection| {
            let end = &connection.ends[usize::from(side)];
            end.peer_ended || end.reset || end.error.is_some()
        };
        self.connections.get(&number).is_none_or(end)
    }

    /// Both addresses of a connection: the own and the peer's.
    pub(super) fn addresses(&self, number: u64, side: u8) -> Option<(SocketAddr, SocketAddr)> {
        let connection = self.connections.get(&number)?;
        Some((connection.addresses[usize::from(side)], connection.addresses[usize::from(other(side))]))
    }

    /// Sets what the directions of a connection hold, in bytes.
    pub(super) fn set_buffers(&mut self, number: u64, side: u8, send: Option<usize>, receive: Option<usize>) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        for (side, bytes) in [(other(side), send), (side, receive)] {
            if let Some(bytes) = bytes {
                connection.pipes[usize::from(side)].capacity = bytes.max(BUFFER_BYTES_MIN);
            }
        }
    }

    /// Opens a listening socket on `addresses` (none: on all) of a process's machine.
    pub(super) fn listen(
        &mut self,
        engine: &Engine,
        process: &Process,
        addresses: Vec<IpAddr>,
        port: u16,
    ) -> io::Result<u64> {
        let node = process.node.id;
        let overlaps = |listener: &ListenerState| {
            let shared = addresses.iter().any(|address| listener.addresses.contains(address));
            listener.node == node && (addresses.is_empty() || listener.addresses.is_empty() || shared)
        };
        if self.listeners.values().any(|listener| listener.port == port && overlaps(listener)) {
            return Err(failure(libc::EADDRINUSE));
        }
        let number = engine.number();
        let state = ListenerState {
            node,
            process: process.id,
            addresses,
            port,
            queue: VecDeque::new(),
            waiter: None,
        };
        self.listeners.insert(number, state);
        Ok(number)
    }

    /// Closes a listening socket; those who wait to be accepted are reset.
    pub(super) fn stop_listening(&mut self, engine: &Engine, listener: u64) -> Option<Waker> {
        let state = self.listeners.remove(&listener)?;
        for number in state.queue {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.ends[usize::from(SERVER)].closed = true;
            }
            self.send(engine, number, CLIENT, Piece::Reset);
        }
        state.waiter
    }

    /// Begins to connect.
    pub(super) fn connect(
        &mut self,
        engine: &Engine,
        from: NodeId,
        local: SocketAddr,
        to: SocketAddr,
    ) -> u64 {
        let number = engine.number();
        self.connects.insert(number, Connect { from, local, to, result: None, waker: None });
        let target = target(engine, from, to.ip());
        let latency = self.latency([from, target.unwrap_or(from)]);
        engine.after(latency, Event::Knock(number));
        number
    }

    /// The outcome of a request to connect.
    pub(super) fn poll_connect(&mut self, number: u64, waker: &Waker) -> Option<Result<u64, i32>> {
        let connect = self.connects.get_mut(&number)?;
        // What `Answer` has not brought yet is not known here.
        let known = connect.waker.is_none() && connect.result.is_some();
        if known {
            return self.connects.remove(&number)?.result;
        }
        connect.waker = Some(waker.clone());
        None
    }

    /// Nobody waits for a request to connect any more.
    pub(super) fn give_up_connect(&mut self, engine: &Engine, number: u64) {
        if let Some(Connect { result: Some(Ok(connection)), .. }) = self.connects.remove(&number) {
            let forgotten = self.close(engine, connection, CLIENT);
            drop(forgotten);
        }
    }

    /// A request to connect is at its machine: `None` while it does not get there.
    fn meet(&mut self, engine: &Engine, number: u64) -> Option<Option<Waker>> {
        let connect = self.connects.get(&number).filter(|connect| connect.result.is_none())?;
        let (from, local, to) = (connect.from, connect.local, connect.to);
        let Some(node) = target(engine, from, to.ip()) else {
            self.connects.get_mut(&number)?.result = Some(Err(libc::EHOSTUNREACH));
            engine.after(0, Event::Answer(number));
            return Some(None);
        };
        if self.is_parted([from, node]) {
            return None;
        }
        let latency = self.latency([from, node]);
        engine.after(latency, Event::Answer(number));
        let is_refused = self.random.chance(self.faults.refuse_per_million);
        let listens = |listener: &&mut ListenerState| {
            let hears = listener.addresses.is_empty() || listener.addresses.contains(&to.ip());
            listener.node == node && listener.port == to.port() && hears && listener.queue.len() < BACKLOG
        };
        let listener = self.listeners.values_mut().find(listens).filter(|_| !is_refused);
        let Some(listener) = listener else {
            self.connects.get_mut(&number)?.result = Some(Err(libc::ECONNREFUSED));
            return Some(None);
        };
        listener.queue.push_back(number);
        let waiter = listener.waiter.take();
        let buffer =
            BUFFER_BYTES[usize::try_from(self.random.below(BUFFER_BYTES.len() as u64)).expect("three")];
        self.connections.insert(number, Connection::new([from, node], [local, to], buffer));
        self.connects.get_mut(&number)?.result = Some(Ok(number));
        Some(waiter)
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::End | Piece::Reset => 0,
        }
    }
}

/// The machine of an address as `from` sees it.
fn target(engine: &Engine, from: NodeId, address: IpAddr) -> Option<NodeId> {
    if address.is_loopback() || address.is_unspecified() {
        return Some(from);
    }
    engine.nodes.borrow().iter().find(|node| node.address == address).map(|node| node.id)
}

fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// Something arrives at a side of a connection.
pub(super) fn arrive(engine: &Rc<Engine>, number: u64, side: u8) {
    let woken = engine.network.borrow_mut().take_arrivals(engine, number, side);
    wake(woken);
}

/// A request to connect is at its machine.
pub(super) fn knock(engine: &Rc<Engine>, connect: u64) {
    let waiter = engine.network.borrow_mut().meet(engine, connect);
    wake(waiter.flatten().into_iter().collect());
}

/// A side of a connection learns that there may be room to send.
pub(super) fn has_room(engine: &Rc<Engine>, number: u64, side: u8) {
    let mut network = engine.network.borrow_mut();
    let woken = match network.connections.get_mut(&number) {
        Some(connection) => connection.ends[usize::from(side)].wake(),
        None => Vec::new(),
    };
    drop(network);
    wake(woken);
}

/// The answer to a request to connect is back.
pub(super) fn answer(engine: &Rc<Engine>, connect: u64) {
    let mut network = engine.network.borrow_mut();
    let waker = network.connects.get_mut(&connect).and_then(|connect| connect.waker.take());
    drop(network);
    wake(waker.into_iter().collect());
}

/// The peer of a machine without power sees its connection reset.
pub(super) fn orphan(engine: &Rc<Engine>, number: u64, side: u8) {
    let mut network = engine.network.borrow_mut();
    network.send(engine, number, side, Piece::Reset);
}

/// The connections of a process whose machine loses its power say nothing more; their peers find out later.
pub(super) fn fall_silent(engine: &Engine, process: &Process) {
    let mut network = engine.network.borrow_mut();
    for (number, side) in process.sockets.borrow().iter() {
        let after = network.random.between(ORPHAN_NANOS.0, ORPHAN_NANOS.1);
        let Some(connection) = network.connections.get_mut(number) else { continue };
        connection.ends[usize::from(*side)].silent = true;
        engine.after(after, Event::Orphan(*number, other(*side)));
    }
}

/// Closes what a process that has ended still holds.
pub(super) fn end_process(engine: &Engine, process: &Process) {
    let (sockets, listeners) = (process.sockets.take(), process.listeners.take());
    let mut network = engine.network.borrow_mut();
    let mut forgotten: Vec<Waker> = Vec::new();
    for (number, side) in sockets {
        forgotten.extend(network.close(engine, number, side));
    }
    let more = listeners.into_iter().filter_map(|listener| network.stop_listening(engine, listener));
    forgotten.extend(more.collect::<Vec<_>>());
    debug_assert!(!network.listeners.values().any(|listener| listener.process == process.id));
    drop(network);
    drop(forgotten);
}
