//! Old bytes of files: from the disk into buffers of this shard, past the page cache.
//!
//! Pages that are new to the cache cost more than the copy that they save, and the reader of old records leaves as
//! many behind as it reads, at the cost of everybody else's. So what is not in the page cache is read directly, in
//! pieces, and sent from memory; who goes on reading gets the next two read meanwhile, beside synced writes the next.
//! What a reader leaves of a piece waits for its next request, so that pieces follow each other and nothing is read
//! twice.
//!
//! What several readers have had a moment ago goes through the page cache ([`touched`](super::touched)), and is there
//! for whoever follows. Not beside synced writes: making room for new pages holds those up far longer than a read does.
//!
//! A shard has one such read on its way at a time: it keeps a disk as busy as more would, and a synced write that
//! comes in between waits for one read at most; none begins while one is under way ([`synced`]). While there are synced
//! writes the reads are short; otherwise they are large, which costs less. Files that cannot be read directly, and
//! those of which the kernel does not tell what the page cache has, are read through the cache.
//!
//! The kernel reads nothing ahead of its own ([`OpenHow::exact`]): told by one page that a reader went on, it would
//! bring megabytes at a time into the cache, which synced writes wait for, and so on as long as the reader does.
//!
//! What must hold: buffers of readers that do not take what they asked for go to others; a piece that nobody came for
//! is forgotten soon after [`AHEAD_KEPT`], and at once where its memory is wanted; a piece is given to readers of its
//! own file only.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use ottla::limits::BLOCK_BYTES;
use ottla::time::Monotonic;

use super::driver;
use super::executor::{spawn_detached, yield_now};
use super::file::{File, SharedFd, checked};
use super::sendfile::{Residency, residency};
use super::synced;
use super::timer::{now, sleep};
use super::touched::Touched;
use crate::host::buffer::AlignedBuf;
use crate::host::sync::{Notified, Notify, OneReceiver, Permit, Semaphore, oneshot};
use crate::host::types::OpenHow;

/// How a shard reads.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Bytes that are read at a time.
    piece: u64,
    /// As long as no more than this waits for a reader another piece is read for it.
    enough: u64,
}

/// What a reader asks for ends within a piece that it has not had, so that one that waits is soon used up, and the disk
/// would rest while the reader takes what it got.
const ALONE: Pace = Pace { piece: 1 << 20, enough: 3 << 19 };
/// The way of writes to the disk is not to be taken for long.
const BESIDE_WRITES: Pace = Pace { piece: 64 << 10, enough: 32 << 10 };
/// Writes leave no time between them: reads are few then, and longer.
const AMONG_WRITES: Pace = Pace { piece: 256 << 10, enough: 128 << 10 };

/// Bytes of pieces that a shard has in memory at a time.
const ROOM_BYTES: usize = 16 << 20;
/// Bytes of those that may be read before somebody asks.
const AHEAD_BYTES_MAX: usize = ROOM_BYTES / 4 * 3;
/// What is left of a piece is copied where it is no more than one of so many parts of it.
const SMALL_REST_PART: usize = 8;
/// How long a piece waits for its reader.
const AHEAD_KEPT: Duration = Duration::from_secs(1);
/// How often the pieces that wait are looked at.
const SWEEP: Duration = Duration::from_millis(250);

/// A shard's pace now.
fn pace(cold: &ColdReads) -> Pace {
    match (synced::go_on(), cold.is_among_writes.get()) {
        (false, _) => ALONE,
        (true, false) => BESIDE_WRITES,
        (true, true) => AMONG_WRITES,
    }
}

/// A shard's reads of old bytes.
pub(super) struct ColdReads {
    turn: Rc<Semaphore>,
    room: Rc<Semaphore>,
    ahead: RefCell<VecDeque<Ahead>>,
    sweeping: Cell<bool>,
    /// By device whether the kernel tells what the page cache has of its files: an overlay reports an empty cache.
    tells: RefCell<BTreeMap<u64, Tells>>,
    touched: RefCell<Touched>,
    /// No synced write is under way any more.
    way_freed: Notify,
    /// The last read has begun while one was.
    is_among_writes: Cell<bool>,
}

impl Default for ColdReads {
    fn default() -> ColdReads {
        ColdReads {
            turn: Semaphore::new(1),
            room: Semaphore::new(ROOM_BYTES),
            ahead: RefCell::default(),
            sweeping: Cell::new(false),
            tells: RefCell::default(),
            touched: RefCell::default(),
            way_freed: Notify::new(),
            is_among_writes: Cell::new(false),
        }
    }
}

/// Whether the kernel tells what the page cache has of a device's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    Yes,
    /// So many times in a row it did not tell of what had just been read. Now and then that has gone again already.
    Not(u8),
}

/// So many make it certain.
const SILENCES: u8 = 8;

/// A piece that waits for its reader.
struct Ahead {
    /// Held, so that no other file takes its identity.
    fd: SharedFd,
    range: Range<u64>,
    piece: Coming,
    since: Monotonic,
}

enum Coming {
    /// It is being read.
    Read(OneReceiver<io::Result<Piece>>),
    /// Its reader has had the bytes before it.
    Here(Piece),
}

/// Bytes of a file in memory.
pub(super) struct Piece {
    start: u64,
    bytes: AlignedBuf,
    room: Permit,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// What it has from `at` on and before `end`.
    pub(super) fn from(&self, at: u64, end: u64) -> &[u8] {
        let place = |offset: u64| {
            usize::try_from(offset.saturating_sub(self.start))
                .map_or(self.bytes.len(), |at| at.min(self.bytes.len()))
        };
        &self.bytes[place(at)..place(end)]
    }

    /// What it has from `at` on: where that is little, in a buffer of that size. A reader of many files leaves less
    /// than a block of each.
    fn rest(mut self, at: u64) -> Piece {
        let rest = self.from(at, self.end());
        if rest.len() > self.bytes.len() / SMALL_REST_PART {
            return self;
        }
        let bytes = AlignedBuf::copy_of(rest);
        self.room.shrink_to(bytes.capacity());
        Piece { start: at, bytes, room: self.room }
    }
}

/// Reads the piece that has byte `at`, of which `end` is the last that is wanted, or takes the one that was read ahead.
/// While the caller sends it those behind it are read.
pub(super) async fn piece_at(fd: &SharedFd, at: u64, end: u64) -> io::Result<Piece> {
    let driver = driver::current();
    let cold = &driver.cold;
    let piece = match cold.take_ahead(fd, at) {
        Some(Coming::Read(piece)) => piece.await.ok().and_then(Result::ok),
        Some(Coming::Here(piece)) => Some(piece),
        None => None,
    };
    let piece = piece.filter(|piece| !piece.from(at, end).is_empty());
    let piece = match piece {
        Some(piece) => piece,
        None => {
            let range = piece_range(at, end, pace(cold));
            cold.make_room(memory_of(&range));
            let room = cold.room.acquire(memory_of(&range)).await;
            read(fd, range, room).await?
        }
    };
    if begin_ahead(fd, piece.end()..end, pace(cold)) {
        // One round for its task, and one for the ring that has its read by then: else both would wait for the caller.
        yield_now().await;
        yield_now().await;
    }
    Ok(piece)
}

/// The reader of `piece` has had what is before `at`: what it has of the rest waits for the next request.
pub(super) fn keep_rest(fd: &SharedFd, piece: Piece, at: u64) {
    let (cold, range) = (&driver::current().cold, at..piece.end());
    // Whoever waits for memory goes before whoever may come back.
    if !range.is_empty() && !cold.room.has_waiters() && cold.place_of(fd, at).is_none() {
        let piece = Coming::Here(piece.rest(at));
        cold.keep(Ahead { fd: SharedFd::clone(fd), range, piece, since: now() });
    }
}

/// Copies what is at `at` out of a piece of the file that waits for its reader, or is on its way; false where none has
/// all of `into`.
pub async fn peek_piece(fd: &SharedFd, at: u64, into: &mut [u8]) -> bool {
    let driver = driver::current();
    driver.cold.arrival(fd, at).await;
    let ahead = driver.cold.ahead.borrow();
    ahead.iter().any(|ahead| match &ahead.piece {
        Coming::Here(piece) if ahead.fd.identity() == fd.identity() && at >= piece.start => {
            let there = piece.from(at, at + into.len() as u64);
            let is_whole = there.len() == into.len();
            if is_whole {
                into.copy_from_slice(there);
            }
            is_whole
        }
        Coming::Here(_) | Coming::Read(_) => false,
    })
}

/// Begins to read what follows `at` before somebody asks for it, up to `end`, where it is not in the page cache: a few
/// pieces, if there is room and not enough waits already. The file must have been opened without `direct`.
pub fn read_ahead(fd: &SharedFd, at: u64, end: u64) {
    let _ = begin_ahead(fd, at..end, pace(&driver::current().cold));
}

/// [`read_ahead`] of the bytes that are `wanted`; returns whether a read begins.
fn begin_ahead(fd: &SharedFd, wanted: Range<u64>, pace: Pace) -> bool {
    let begins = begin_piece(fd, &wanted, pace);
    while begins && begin_piece(fd, &wanted, pace) {}
    begins
}

/// Begins to read the next piece; whether it does.
fn begin_piece(fd: &SharedFd, wanted: &Range<u64>, pace: Pace) -> bool {
    let driver = driver::current();
    let cold = &driver.cold;
    let (at, end) = (wanted.start, wanted.end);
    let waits = cold.end_of_what_waits(fd, at);
    if waits >= end || waits - at > pace.enough {
        return false;
    }
    let range = piece_range(waits, end, pace);
    let memory = memory_of(&range);
    if cold.room.taken() + memory > AHEAD_BYTES_MAX {
        return false;
    }
    if residency(fd, waits, range.end.min(end) - waits) != Residency::Part {
        return false;
    }
    let Some(room) = cold.room.try_acquire(memory) else { return false };
    let (sender, piece) = oneshot();
    let piece = Coming::Read(piece);
    let fd = SharedFd::clone(fd);
    cold.keep(Ahead { fd: SharedFd::clone(&fd), range: range.clone(), piece, since: now() });
    spawn_detached(async move {
        let result = read(&fd, range, room).await;
        drop(fd);
        sender.send(result);
    });
    true
}

impl ColdReads {
    /// The last synced write has ended.
    pub(super) fn way_is_free(&self) {
        self.way_freed.notify_all();
    }

    /// Waits for that.
    pub(super) fn way_freed(&self) -> Notified<'_> {
        self.way_freed.notified()
    }

    fn place_of(&self, fd: &SharedFd, at: u64) -> Option<usize> {
        let covers = |it: &Ahead| it.fd.identity() == fd.identity() && it.range.contains(&at);
        self.ahead.borrow().iter().position(covers)
    }

    fn take_ahead(&self, fd: &SharedFd, at: u64) -> Option<Coming> {
        let place = self.place_of(fd, at)?;
        self.ahead.borrow_mut().remove(place).map(|ahead| ahead.piece)
    }

    /// Waits until the piece that has byte `at` is no longer on its way. One that cannot be read is forgotten.
    async fn arrival(&self, fd: &SharedFd, at: u64) {
        let Some(place) = self.place_of(fd, at) else { return };
        if matches!(&self.ahead.borrow()[place].piece, Coming::Here(_)) {
            return;
        }
        let Some(Ahead { fd, range, piece: Coming::Read(piece), since }) =
            self.ahead.borrow_mut().remove(place)
        else {
            return;
        };
        if let Ok(Ok(piece)) = piece.await {
            self.keep(Ahead { fd, range, piece: Coming::Here(piece), since });
        }
    }

    /// Up to where the pieces that wait follow `at` without a gap.
    fn end_of_what_waits(&self, fd: &SharedFd, mut at: u64) -> u64 {
        while let Some(place) = self.place_of(fd, at) {
            at = self.ahead.borrow()[place].range.end;
        }
        at
    }

    /// Lets go of what waits for its reader, the oldest first, until so many bytes are free: whoever reads now goes
    /// before whoever may come back.
    fn make_room(&self, bytes: usize) {
        let mut ahead = self.ahead.borrow_mut();
        while self.room.free() < bytes {
            let waits = ahead.iter().position(|ahead| match &ahead.piece {
                Coming::Here(_) => true,
                Coming::Read(piece) => piece.is_ready(),
            });
            let Some(place) = waits else { return };
            drop(ahead.remove(place));
        }
    }

    fn keep(&self, ahead: Ahead) {
        self.ahead.borrow_mut().push_back(ahead);
        if !self.sweeping.replace(true) {
            spawn_detached(forget_the_old());
        }
    }
}

/// Lets pieces go that nobody has come for, until none waits.
async fn forget_the_old() {
    loop {
        sleep(SWEEP).await;
        let driver = driver::current();
        let mut ahead = driver.cold.ahead.borrow_mut();
        ahead.retain(|ahead| now() < ahead.since.after(AHEAD_KEPT));
        if ahead.is_empty() {
            driver.cold.sweeping.set(false);
            return;
        }
    }
}

/// The blocks of the piece that has byte `at`, of a file of which the bytes before `end` are wanted.
fn piece_range(at: u64, end: u64, pace: Pace) -> Range<u64> {
    let block = BLOCK_BYTES as u64;
    let start = at - at % block;
    start..end.next_multiple_of(block).min(start + pace.piece)
}

fn bytes_of(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).expect("a piece")
}

/// Bytes of the buffer that holds it.
fn memory_of(range: &Range<u64>) -> usize {
    AlignedBuf::bytes_taken(bytes_of(range))
}

async fn read(fd: &SharedFd, range: Range<u64>, room: Permit) -> io::Result<Piece> {
    let (start, wanted) = (range.start, bytes_of(&range));
    let driver = driver::current();
    let file = device_and_inode(fd)?;
    let turn = driver.cold.turn.acquire(1).await;
    let is_free = synced::give_way(&driver).await;
    synced::read_begins();
    driver.cold.is_among_writes.set(!is_free);
    let is_read_often = driver.cold.touched.borrow_mut().often(file, range) && !synced::go_on();
    let tells = driver.cold.tells.borrow().get(&file.0).copied().unwrap_or(Tells::Not(0));
    let is_asked = matches!(tells, Tells::Not(..SILENCES));
    if tells == Tells::Not(SILENCES) {
        fd.let_read_ahead();
    }
    let directly = if tells == Tells::Yes && !is_read_often { direct_twin(fd).await? } else { None };
    let bytes = match directly {
        Some(file) => file.read_at(start, wanted).await?,
        None => File::from_shared(SharedFd::clone(fd))?.read_at(start, wanted).await?,
    };
    if is_asked && !bytes.is_empty() {
        // What has just been read through the cache must show there.
        let shows = residency(fd, start, bytes.len() as u64) == Residency::All;
        let now = match tells {
            Tells::Not(times) if !shows => Tells::Not(times + 1),
            Tells::Not(_) | Tells::Yes => Tells::Yes,
        };
        driver.cold.tells.borrow_mut().insert(file.0, now);
    }
    drop(turn);
    Ok(Piece { start, bytes, room })
}

fn device_and_inode(fd: &SharedFd) -> io::Result<(u64, u64)> {
    // SAFETY: all zero bits are a value of the type.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer leads to `stat`.
    checked(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) })?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The same file past the page cache: opened when it is first needed, `None` where it cannot be.
async fn direct_twin(fd: &SharedFd) -> io::Result<Option<File>> {
    if fd.twin().get().is_none() {
        // Some file systems take the flag and go through the cache all the same.
        let how = OpenHow { read: true, direct: true, exact: true, ..OpenHow::default() };
        let twin = File::open(format!("/proc/self/fd/{}", fd.as_raw_fd()), how).await;
        if matches!(&twin, Err(error) if is_shortage(error)) {
            // This piece comes through the cache; the next one asks again.
            return Ok(None);
        }
        fd.twin().get_or_init(|| twin.ok().map(|twin| twin.shared_fd()));
    }
    fd.twin().get().cloned().flatten().map(File::from_shared).transpose()
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::glommio::synced::SyncedWrite;
    use crate::host::glommio::tests::sockets::{pair, pattern, receive_all};
    use crate::host::{self, Durability, WriteSlice};

    /// A file that the page cache does not have, where that can be.
    async fn cold_file(path: &std::path::Path, bytes: &[u8]) -> SharedFd {
        let how = OpenHow { read: true, write: true, create: true, exact: true, ..OpenHow::default() };
        let file = File::open(path, how).await.expect("opens");
        let slices: Vec<WriteSlice> = vec![AlignedBuf::copy_of(bytes).into()];
        file.write_at(slices, 0, Durability::None).await.expect("writes");
        file.sync_all().await.expect("syncs");
        let fd = file.shared_fd();
        // SAFETY: no pointers are passed.
        let _ = unsafe { libc::posix_fadvise(fd.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        fd
    }

    /// A cold file of a file system that is known to tell what its page cache has; `None` where no file is cold.
    async fn told_cold_file(path: &std::path::Path, bytes: &[u8]) -> Option<SharedFd> {
        let fd = cold_file(path, bytes).await;
        let is_cold = residency(&fd, 0, bytes.len() as u64) == Residency::Part;
        driver::current()
            .cold
            .tells
            .borrow_mut()
            .insert(device_and_inode(&fd).expect("a file").0, Tells::Yes);
        is_cold.then_some(fd)
    }

    #[test]
    fn cold_bytes_come_as_they_are_directly_and_through_the_cache() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let bytes = pattern(3_000_000);
            for (name, tells) in
                [("unknown", None), ("direct", Some(Tells::Yes)), ("blind", Some(Tells::Not(SILENCES)))]
            {
                let fd = cold_file(&dir.path().join(name), &bytes).await;
                let (device, _) = device_and_inode(&fd).expect("a file");
                if let Some(tells) = tells {
                    driver::current().cold.tells.borrow_mut().insert(device, tells);
                }
                for range in [0..3_000_000, 1..300_000, 262_143..262_145, 4_096..8_192, 2_999_999..3_000_000]
                {
                    let (client, server) = pair().await;
                    let (fd, len) = (fd.clone(), range.len());
                    let start = range.start as u64;
                    let sender = host::spawn(async move { server.send_file(&fd, start, len as u64).await });
                    assert!(receive_all(&client, len).await == bytes[range.clone()], "{name} {range:?}");
                    sender.await.expect("sends");
                }
                let (_client, server) = pair().await;
                let error = server.send_file(&fd, 2_999_999, 2).await.expect_err("is too short");
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
        });
    }

    #[test]
    fn beside_synced_writes_nothing_goes_into_the_page_cache() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let bytes = pattern(1 << 20);
            let Some(fd) = told_cold_file(&dir.path().join("segment"), &bytes).await else { return };
            let part = 256 << 10;
            for _ in 0..8 {
                drop(SyncedWrite::begin());
                let piece = piece_at(&fd, 0, part).await.expect("reads");
                assert_eq!(piece.from(0, 4_096), &bytes[..4_096]);
                assert_eq!(residency(&fd, 0, part), Residency::Part);
            }
        });
    }

    #[test]
    fn the_system_reads_nothing_ahead_on_its_own_account() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let bytes = pattern(8 << 20);
            let fd = cold_file(&dir.path().join("segment"), &bytes).await;
            if residency(&fd, 0, 8 << 20) != Residency::Part {
                return;
            }
            // A look at headers through the cache; then what comes through it because nobody knows yet who tells.
            let file = File::from_shared(fd.clone()).expect("a file");
            for at in 0..4 {
                assert_eq!(file.read_at(at << 14, 16 << 10).await.expect("reads").len(), 16 << 10);
            }
            let (client, server) = pair().await;
            let sent = fd.clone();
            let sender = host::spawn(async move { server.send_file(&sent, 0, 4 << 20).await });
            assert!(receive_all(&client, 4 << 20).await == bytes[..4 << 20]);
            let cold = sender.await.expect("sends");
            assert!(cold >= (4 << 20) - (256 << 10), "{cold} bytes were read by nobody else");
            assert_eq!(residency(&fd, 7 << 20, 4_096), Residency::Part, "what nobody asked for");
        });
    }

    #[test]
    fn who_takes_nothing_holds_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let bytes = pattern(8 << 20);
            let fd = cold_file(&dir.path().join("segment"), &bytes).await;
            let readers = ROOM_BYTES / usize::try_from(BESIDE_WRITES.piece).expect("small") + 4;
            drop(SyncedWrite::begin());
            let mut waiting = Vec::new();
            for _ in 0..readers {
                let (client, server) = pair().await;
                server.set_buffers(Some(64 << 10), None).expect("a small buffer");
                let fd = fd.clone();
                let sender = host::spawn(async move { server.send_file(&fd, 0, 8 << 20).await });
                waiting.push((client, sender));
            }
            let cold = || driver::current();
            let deadline = host::now().after(Duration::from_secs(20));
            while cold().cold.room.taken() > 0 || !cold().cold.ahead.borrow().is_empty() {
                assert!(host::now() < deadline, "the pieces of readers that wait are let go of");
                host::sleep(Duration::from_millis(10)).await;
            }
            // And they go on where they were.
            for (client, sender) in waiting {
                assert!(receive_all(&client, 8 << 20).await == bytes);
                sender.await.expect("sends");
            }
        });
    }

    #[test]
    fn who_takes_little_at_a_time_does_not_look_like_many() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let bytes = pattern(2 << 20);
            let Some(fd) = told_cold_file(&dir.path().join("segment"), &bytes).await else { return };
            let (client, server) = pair().await;
            server.set_buffers(Some(64 << 10), None).expect("a small buffer");
            client.set_buffers(None, Some(64 << 10)).expect("a small buffer");
            let sent = fd.clone();
            let sender = host::spawn(async move { server.send_file(&sent, 0, 2 << 20).await });
            for part in bytes.chunks(64 << 10) {
                // Longer than bytes stay in the hands of one that waits.
                host::sleep(Duration::from_millis(30)).await;
                assert!(receive_all(&client, part.len()).await == part);
            }
            assert_eq!(sender.await.expect("sends"), 2 << 20, "all of it was cold");
            for at in (0..2 << 20).step_by(64 << 10) {
                assert_eq!(
                    residency(&fd, at, 64 << 10),
                    Residency::Part,
                    "{at}: read once, and past the page cache"
                );
            }
        });
    }

    #[test]
    fn what_was_read_ahead_for_nobody_makes_room() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let bytes = pattern(1 << 20);
            let cold = || driver::current();
            let Some(fd) = told_cold_file(&dir.path().join("gone"), &bytes).await else { return };
            assert!(begin_ahead(&fd, 0..1 << 20, ALONE));
            cold().cold.make_room(ROOM_BYTES);
            assert_eq!(cold().cold.ahead.borrow().len(), 1, "it is on its way");
            while !matches!(&cold().cold.ahead.borrow()[0].piece, Coming::Read(piece) if piece.is_ready()) {
                yield_now().await;
            }
            cold().cold.make_room(ROOM_BYTES);
            assert_eq!((cold().cold.ahead.borrow().len(), cold().cold.room.taken()), (0, 0));
        });
    }

    #[test]
    fn a_piece_is_charged_with_the_memory_that_it_takes() {
        assert_eq!(
            [4_096, 68 << 10, 256 << 10, 260 << 10].map(|end| memory_of(&(0..end))),
            [4 << 10, 256 << 10, 256 << 10, 1 << 20]
        );
    }

    #[test]
    fn a_reader_of_many_files_leaves_no_more_than_it_left() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let bytes = pattern(2 << 20);
            let cold = || driver::current();
            let files = 3 * (ROOM_BYTES >> 20);
            for number in 0..files {
                let fd = cold_file(&dir.path().join(number.to_string()), &bytes).await;
                // All but a hundred bytes of the last block.
                let (mut at, end) = (0, (1 << 20) - 100);
                while at < end {
                    let piece = piece_at(&fd, at, end).await.expect("reads");
                    at += piece.from(at, end).len() as u64;
                    keep_rest(&fd, piece, at);
                }
                let mut next = [0; 100];
                assert!(peek_piece(&fd, end, &mut next).await, "what is left waits for its reader");
                assert_eq!(next, bytes[(1 << 20) - 100..1 << 20]);
            }
            let taken = cold().cold.room.taken();
            assert!(taken <= files * BLOCK_BYTES, "{taken} bytes for what is left of {files} files");
        });
    }

    #[test]
    fn whoever_reads_goes_before_whoever_may_come_back() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let bytes = pattern(1 << 20);
            let cold = || driver::current();
            let mut files = Vec::new();
            while cold().cold.room.free() > 0 {
                let fd = cold_file(&dir.path().join(files.len().to_string()), &bytes).await;
                let range = 0..1 << 20;
                let room = cold().cold.room.acquire(1 << 20).await;
                let piece = read(&fd, range, room).await.expect("reads");
                keep_rest(&fd, piece, 4_096);
                files.push(fd);
            }
            cold().cold.make_room(3 << 19);
            assert_eq!(cold().cold.room.free(), 2 << 20, "two whole pieces");
            let left = |fd: &SharedFd| cold().cold.place_of(fd, 1 << 19).is_some();
            assert!(!left(&files[0]) && !left(&files[1]), "the oldest have gone");
            assert!(files[2..].iter().all(left));
        });
    }

    #[test]
    fn two_pieces_wait_for_a_reader_and_one_beside_synced_writes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let bytes = pattern(4 << 20);
            let Some(fd) = told_cold_file(&dir.path().join("segment"), &bytes).await else { return };
            let cold = || driver::current();
            let waiting = || {
                let driver = cold();
                let ahead = driver.cold.ahead.borrow();
                ahead.iter().map(|ahead| ahead.range.clone()).collect::<Vec<_>>()
            };
            let wanted = |from: u64| from..4 << 20;
            assert!(begin_ahead(&fd, wanted(0), ALONE) && !begin_ahead(&fd, wanted(0), ALONE));
            assert_eq!(waiting(), [0..1 << 20, 1 << 20..2 << 20]);
            drop(cold().cold.take_ahead(&fd, 0));
            assert!(begin_ahead(&fd, wanted(1 << 20), ALONE), "one is had, and one more is read");
            assert_eq!(waiting(), [1 << 20..2 << 20, 2 << 20..3 << 20]);
            let other = cold_file(&dir.path().join("other"), &bytes).await;
            assert!(begin_ahead(&other, wanted(0), BESIDE_WRITES));
            assert!(!begin_ahead(&other, wanted(0), BESIDE_WRITES));
            assert_eq!((waiting().len(), waiting().pop()), (3, Some(0..BESIDE_WRITES.piece)));
        });
    }

    #[test]
    fn what_is_read_ahead_is_taken_once_or_forgotten() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        host::run_local(async move {
            let bytes = pattern(1 << 20);
            let Some(fd) = told_cold_file(&dir.path().join("segment"), &bytes).await else { return };
            drop(SyncedWrite::begin());
            let cold = || driver::current();
            read_ahead(&fd, 5_000, 1 << 20);
            read_ahead(&fd, 5_000, 1 << 20);
            assert_eq!(cold().cold.ahead.borrow().len(), 1, "not twice");
            let mut first = [0; 100];
            assert!(peek_piece(&fd, 5_000, &mut first).await, "it comes");
            assert_eq!(first, bytes[5_000..5_100]);
            let piece = piece_at(&fd, 6_000, 1 << 20).await.expect("reads");
            assert_eq!((piece.start, piece.from(6_000, 7_000)), (4_096, &bytes[6_000..7_000]));
            assert_eq!(cold().cold.ahead.borrow()[0].range.start, piece.end(), "the next one follows");
            let (end, rest) = (piece.end(), 7_000);
            keep_rest(&fd, piece, rest);
            assert_eq!(cold().cold.ahead.borrow().len(), 2);
            let mut header = [0; 61];
            for at in [4_096, 6_500, end - 61] {
                assert!(peek_piece(&fd, at, &mut header).await, "{at}");
                assert_eq!(header, bytes[at as usize..][..61]);
            }
            assert!(!peek_piece(&fd, 4_095, &mut header).await, "before the piece");
            assert!(!peek_piece(&fd, end - 60, &mut header).await, "not all of it");
            let other = cold_file(&dir.path().join("other"), &bytes).await;
            assert!(!peek_piece(&other, 6_500, &mut header).await);
            read_ahead(&fd, rest, 1 << 20);
            assert_eq!(cold().cold.ahead.borrow().len(), 2, "enough of it waits");
            let piece = piece_at(&fd, rest, end).await.expect("is there");
            assert_eq!((piece.start, piece.end()), (4_096, end), "not read again");
            for at in 0..20_u64 {
                read_ahead(&fd, at << 15, 1 << 20);
            }
            assert!(
                cold().cold.ahead.borrow().iter().map(|it| bytes_of(&it.range)).sum::<usize>()
                    <= AHEAD_BYTES_MAX
            );
            drop(piece);
            host::sleep(AHEAD_KEPT + Duration::from_millis(500)).await;
            assert_eq!((cold().cold.ahead.borrow().len(), cold().cold.room.taken()), (0, 0));
        });
    }
}
