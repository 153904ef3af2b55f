//! Memory that the disk can read and write directly: aligned, pooled per shard, shared without copies.
//!
//! A block belongs to nobody in particular: it may be freed on another shard than the one that took it, and goes
//! to the pool of the shard that frees it. Pools are bounded, so idle memory is bounded. Small blocks come from the
//! allocator, larger ones are parts of [huge pages](super::huge) as soon as such are ready.
//!
//! Invariants: the start of every block is a multiple of 4,096; every byte of a block is initialised from its
//! allocation on; bytes of an [`AppendBuf`] below its length never change again.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;
use ottla::limits::BLOCK_BYTES;

use super::huge::{self, REGION_BYTES, Region};

/// A size of blocks that the pool keeps for reuse.
struct Class {
    bytes: usize,
    /// How many blocks of the allocator's one shard keeps.
    plain_max: usize,
    /// How many parts of huge pages it keeps.
    parts_max: usize,
}

impl Class {
    const fn new(bytes: usize, plain_max: usize, parts_max: usize) -> Class {
        Class { bytes, plain_max, parts_max }
    }
}

/// The sizes, ascending. A shard under load takes and gives back about as much as is in flight; an idle one
/// [trims](trim_pool) its pool.
const CLASSES: [Class; 5] = [
    Class::new(4 << 10, 256, 0),
    Class::new(16 << 10, 64, 0),
    Class::new(64 << 10, 32, 256),
    Class::new(256 << 10, 16, 64),
    Class::new(1 << 20, 8, 16),
];

const _: () = assert!(CLASSES[0].bytes == BLOCK_BYTES);

/// Free blocks of one class.
struct Free {
    plain: Vec<Memory>,
    parts: Vec<Memory>,
}

impl Free {
    const NONE: Free = Free { plain: Vec::new(), parts: Vec::new() };
}

/// Free blocks of all classes.
type Pool = [Free; CLASSES.len()];

const EMPTY: Pool = [Free::NONE; CLASSES.len()];

thread_local! {
    /// Free memory of this thread.
    static POOL: RefCell<Pool> = const { RefCell::new(EMPTY) };
}

/// One aligned piece of memory, freed when it is dropped.
struct Memory {
    start: NonNull<u8>,
    bytes: usize,
    /// Whether it has been handed out before and may hold old bytes.
    used: bool,
    /// What it is a part of; `None` when it is the allocator's.
    region: Option<Arc<Region>>,
}

// SAFETY: plain memory without thread affinity; it has one owner, and sharing is arranged by the types that wrap it.
unsafe impl Send for Memory {}
// SAFETY: `Memory` itself offers no access through a shared reference other than its address and size.
unsafe impl Sync for Memory {}

impl Memory {
    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, BLOCK_BYTES).expect("block sizes are far below the address space")
    }

    fn allocate(bytes: usize) -> Memory {
        assert!(bytes > 0, "a block has at least one page");
        // SAFETY: the layout has a size above zero.
        let start = unsafe { alloc_zeroed(Memory::layout(bytes)) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(Memory::layout(bytes)) };
        Memory { start, bytes, used: false, region: None }
    }

    /// A block of `class`: a part of a huge page if its reads and writes gain by that, and one is ready.
    fn take(class: usize) -> Memory {
        let Class { bytes, parts_max, .. } = CLASSES[class];
        let kept = |of: fn(&mut Free) -> &mut Vec<Memory>| {
            POOL.try_with(|pool| of(&mut pool.borrow_mut()[class]).pop()).ok().flatten()
        };
        if parts_max > 0 {
            if let Some(part) = kept(|free| &mut free.parts) {
                return part;
            }
            if let Some(region) = huge::ready() {
                return Memory::cut(region, bytes);
            }
            huge::ask();
        }
        kept(|free| &mut free.plain).unwrap_or_else(|| Memory::allocate(bytes))
    }

    /// The first part of a region; the others go to the pool.
    fn cut(region: Region, bytes: usize) -> Memory {
        let region = Arc::new(region);
        let part = |at: usize| {
            let region = Arc::clone(&region);
            Memory { start: region.at(at * bytes), bytes, used: false, region: Some(region) }
        };
        // Backwards, so that the pool gives them out from the front.
        (1..REGION_BYTES / bytes).rev().for_each(|at| part(at).keep());
        part(0)
    }

    /// Goes to the pool if that has room.
    fn keep(self) {
        let Some(class) = CLASSES.iter().position(|class| class.bytes == self.bytes) else { return };
        // A thread that ends has no pool any more.
        let _ = POOL.try_with(move |pool| {
            let Free { plain, parts } = &mut pool.borrow_mut()[class];
            if self.region.is_none() {
                if plain.len() < CLASSES[class].plain_max {
                    plain.push(self);
                }
            } else if parts.len() < CLASSES[class].parts_max {
                parts.push(self);
                // It takes the place of a block that was used while no part was there.
                plain.pop();
            }
        });
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.region.is_none() {
            // SAFETY: allocated with this very layout, and not used any more.
            unsafe { dealloc(self.start.as_ptr(), Memory::layout(self.bytes)) };
        }
    }
}

/// Memory in use, which goes to the pool afterwards. Whoever holds it decides who may read and write it.
struct Block {
    memory: ManuallyDrop<Memory>,
}

impl Block {
    /// The smallest pooled class that holds `bytes`; `None` for sizes above all classes.
    fn class_of(bytes: usize) -> Option<usize> {
        CLASSES.iter().position(|class| class.bytes >= bytes)
    }

    /// A block of at least `bytes`, and whether it holds nothing but zeros.
    fn take(bytes: usize) -> (Block, bool) {
        let mut memory = match Block::class_of(bytes) {
            Some(class) => Memory::take(class),
            None => Memory::allocate(bytes.next_multiple_of(BLOCK_BYTES)),
        };
        let is_zero = !std::mem::replace(&mut memory.used, true);
        (Block { memory: ManuallyDrop::new(memory) }, is_zero)
    }

    fn bytes(&self) -> usize {
        self.memory.bytes
    }

    fn start(&self) -> NonNull<u8> {
        self.memory.start
    }

    /// # Safety
    /// Nobody may write to `range` while the result lives.
    unsafe fn slice(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end, "a range does not run backwards");
        assert!(range.end <= self.bytes(), "a range ends inside its block");
        // SAFETY: in bounds by the asserts, initialised by `alloc_zeroed`, unshared with writers by the caller.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr().add(range.start), range.len()) }
    }

    /// # Safety
    /// Nobody else may read or write `range` while the result lives.
    #[allow(clippy::mut_from_ref)]
    unsafe fn slice_mut(&self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end, "a range does not run backwards");
        assert!(range.end <= self.bytes(), "a range ends inside its block");
        // SAFETY: in bounds by the asserts, initialised by `alloc_zeroed`, exclusive by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr().add(range.start), range.len()) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: a block is dropped once, and its memory is not looked at again.
        unsafe { ManuallyDrop::take(&mut self.memory) }.keep();
    }
}

/// Frees what this thread's pool keeps: when a shard has nothing in memory any more.
pub fn trim_pool() {
    let kept = POOL.with(|pool| std::mem::replace(&mut *pool.borrow_mut(), EMPTY));
    drop((kept, huge::ready()));
}

/// A buffer whose start is a multiple of 4,096, with one owner: what direct reads fill and direct writes take.
pub struct AlignedBuf {
    block: Block,
    len: usize,
}

impl AlignedBuf {
    /// A buffer of `len` bytes with any contents (never another process's).
    #[must_use]
    pub fn new(len: usize) -> AlignedBuf {
        let (block, _) = Block::take(len.max(1));
        AlignedBuf { block, len }
    }

    /// A buffer of `len` zero bytes.
    #[must_use]
    pub fn zeroed(len: usize) -> AlignedBuf {
        let (block, is_zero) = Block::take(len.max(1));
        if !is_zero {
            // SAFETY: nobody else has the block yet.
            unsafe { block.slice_mut(0..block.bytes()) }.fill(0);
        }
        AlignedBuf { block, len }
    }

    /// A copy of `bytes`, the rest of its last 4,096-byte unit zeroed; its length is `bytes.len()`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> AlignedBuf {
        let mut buf = AlignedBuf::new(bytes.len().next_multiple_of(BLOCK_BYTES));
        buf[..bytes.len()].copy_from_slice(bytes);
        buf[bytes.len()..].fill(0);
        buf.set_len(bytes.len());
        buf
    }

    /// Bytes that a buffer takes which is made with `len`.
    #[must_use]
    pub fn bytes_taken(len: usize) -> usize {
        let class = Block::class_of(len.max(1));
        class.map_or_else(|| len.next_multiple_of(BLOCK_BYTES), |class| CLASSES[class].bytes)
    }

    /// Bytes that the buffer can hold; at least the length it was made with.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.block.bytes()
    }

    /// Shows `len` bytes of the buffer; bytes that come into view hold whatever was there.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.block.bytes(), "a length within the capacity");
        self.len = len;
    }

    /// Gives up writing: the same memory as shared immutable bytes, which may cross shards.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer owns its block alone.
        unsafe { self.block.slice(0..self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the buffer owns its block alone, and is borrowed mutably.
        unsafe { self.block.slice_mut(0..self.len) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} of {} bytes)", self.len, self.block.bytes())
    }
}

/// An aligned buffer that one writer fills from front to back while readers and the disk use what is filled.
///
/// This is a log's tail: appended bytes are at once readable ([`AppendBuf::bytes`]) and writable to disk
/// ([`AppendBuf::write_slice`], which may run past the filled part up to the next 4,096 bytes: zeros, or bytes of a
/// later append that arrive while the write is in flight and are written again later).
pub struct AppendBuf {
    block: Arc<Block>,
    len: usize,
    /// Bytes from `len` up to here are zero.
    zeros_end: usize,
}

impl AppendBuf {
    /// An empty buffer of at least `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> AppendBuf {
        let (block, is_zero) = Block::take(capacity.max(1));
        let zeros_end = if is_zero { block.bytes() } else { 0 };
        AppendBuf { block: Arc::new(block), len: 0, zeros_end }
    }

    /// Bytes appended so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was appended yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the buffer can hold in all; a multiple of 4,096.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.block.bytes()
    }

    /// Bytes that still fit.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.block.bytes() - self.len
    }

    /// Appends `bytes`, which must fit.
    pub fn append(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.remaining(), "an append fits in what remains");
        // SAFETY: bytes at and above `len` are written by this one writer alone (`&mut self`), and no slice of them
        // exists: `bytes` refuses ranges above `len`, and a `WriteSlice` is read by the kernel only.
        let room = unsafe { self.block.slice_mut(self.len..self.len + bytes.len()) };
        room.copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The appended bytes of `range` (positions in this buffer), shared without a copy.
    #[must_use]
    pub fn bytes(&self, range: Range<usize>) -> Bytes {
        assert!(range.start <= range.end, "a range does not run backwards");
        assert!(range.end <= self.len, "only appended bytes can be read");
        Bytes::from_owner(Appended { block: Arc::clone(&self.block), range })
    }

    /// The appended bytes as a slice.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        // SAFETY: bytes below `len` never change again.
        unsafe { self.block.slice(0..self.len) }
    }

    /// Bytes `range` of the buffer as something to write; the range may end above the appended part, in zeros.
    #[must_use]
    pub fn write_slice(&mut self, range: Range<usize>) -> WriteSlice {
        assert!(range.start <= range.end, "a range does not run backwards");
        assert!(range.end <= self.block.bytes(), "a range ends inside its buffer");
        let known = self.len.max(self.zeros_end);
        if known < range.end {
            // SAFETY: as in `append`; no write in flight reaches above `known`.
            unsafe { self.block.slice_mut(known..range.end) }.fill(0);
            self.zeros_end = range.end;
        }
        // SAFETY: the offset lies inside the allocation.
        let start = unsafe { self.block.start().add(range.start) };
        WriteSlice { start, len: range.len(), _owner: Owner::Block(Arc::clone(&self.block)) }
    }
}

impl std::fmt::Debug for AppendBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AppendBuf({} of {} bytes)", self.len, self.block.bytes())
    }
}

/// A view of appended bytes that keeps their block alive.
struct Appended {
    block: Arc<Block>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Appended {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range lay below the writer's length when the view was made, and such bytes never change.
        unsafe { self.block.slice(self.range.clone()) }
    }
}

/// Who keeps a [`WriteSlice`]'s bytes alive; never read.
#[derive(Clone)]
#[allow(dead_code)]
enum Owner {
    Bytes(Bytes),
    Block(Arc<Block>),
}

/// Bytes on their way to a file: their memory lives as long as this value, and nobody reads it through it but the
/// kernel.
#[derive(Clone)]
pub struct WriteSlice {
    start: NonNull<u8>,
    len: usize,
    _owner: Owner,
}

// SAFETY: the memory is kept alive by the owner, which is `Send + Sync`, and is only read, by the kernel.
unsafe impl Send for WriteSlice {}
// SAFETY: as for `Send`; a shared reference gives out the address and length alone.
unsafe impl Sync for WriteSlice {}

impl WriteSlice {
    /// Bytes to write.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether start and length suit direct I/O.
    #[must_use]
    pub fn is_aligned(&self) -> bool {
        (self.start.as_ptr() as usize).is_multiple_of(BLOCK_BYTES) && self.len.is_multiple_of(BLOCK_BYTES)
    }

    /// A copy of what the kernel would see.
    #[cfg(test)]
    pub(crate) fn to_vec_for_test(&self) -> Vec<u8> {
        // SAFETY: the owner keeps the memory alive; tests have no append in flight on another thread.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }.to_vec()
    }

    /// Adds what the kernel would see to `into`.
    #[cfg(feature = "sim")]
    pub(super) fn copy_to(&self, into: &mut Vec<u8>) {
        // SAFETY: the owner keeps the memory alive; a simulated shard shares its thread with the only writer, whose
        // borrow does not live across this call.
        into.extend_from_slice(unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) });
    }

    /// The slice as the kernel takes it, its first `skip` bytes left out.
    #[cfg(not(feature = "sim"))]
    pub(super) fn iovec(&self, skip: usize) -> libc::iovec {
        assert!(skip <= self.len, "no more is skipped than there is");
        // SAFETY: the offset lies inside the slice.
        let start = unsafe { self.start.add(skip) };
        libc::iovec { iov_base: start.as_ptr().cast(), iov_len: self.len - skip }
    }
}

impl From<Bytes> for WriteSlice {
    fn from(bytes: Bytes) -> WriteSlice {
        let start = NonNull::new(bytes.as_ptr().cast_mut()).expect("a slice's address is never null");
        WriteSlice { start, len: bytes.len(), _owner: Owner::Bytes(bytes) }
    }
}

impl From<AlignedBuf> for WriteSlice {
    fn from(buf: AlignedBuf) -> WriteSlice {
        WriteSlice::from(buf.freeze())
    }
}

impl std::fmt::Debug for WriteSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WriteSlice({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_pooled_blocks_come_back_zeroed_when_asked() {
        trim_pool();
        let mut first = AlignedBuf::new(5_000);
        assert_eq!(first.as_ptr() as usize % BLOCK_BYTES, 0);
        assert_eq!(first.len(), 5_000);
        assert_eq!((first.capacity(), AlignedBuf::bytes_taken(5_000)), (16 << 10, 16 << 10));
        first.fill(0xAB);
        let address = first.as_ptr() as usize;
        drop(first);
        let second = AlignedBuf::zeroed(16 << 10);
        assert_eq!(second.as_ptr() as usize, address, "the pool gives the block back");
        assert!(second.iter().all(|&byte| byte == 0));
    }

    /// Free blocks of the class with `bytes`: the allocator's, and parts.
    fn free(bytes: usize) -> (usize, usize) {
        let class = Block::class_of(bytes).expect("a class");
        POOL.with(|pool| (pool.borrow()[class].plain.len(), pool.borrow()[class].parts.len()))
    }

    #[test]
    fn the_pool_keeps_a_bounded_number() {
        trim_pool();
        for Class { bytes, plain_max, parts_max } in CLASSES {
            let many: Vec<AlignedBuf> =
                (0..2 * plain_max.max(parts_max)).map(|_| AlignedBuf::new(bytes)).collect();
            drop(many);
            let (plain, parts) = free(bytes);
            assert!(plain <= plain_max, "{bytes}: {plain}");
            assert!(parts <= parts_max, "{bytes}: {parts}");
            assert!(plain + parts >= plain_max, "{bytes}: {plain} and {parts}");
        }
        let large = AlignedBuf::new((1 << 20) + 1);
        assert_eq!(large.capacity(), (1 << 20) + BLOCK_BYTES);
        assert_eq!(AlignedBuf::bytes_taken((1 << 20) + 1), large.capacity());
        let before = free(1 << 20);
        drop(large);
        assert_eq!(free(1 << 20), before);
        trim_pool();
        assert_eq!(free(1 << 20), (0, 0));
    }

    /// A part of a huge page, once one is ready, with nothing but its siblings in the pool.
    #[cfg(not(feature = "sim"))]
    fn part(bytes: usize) -> AlignedBuf {
        for _ in 0..20_000 {
            POOL.set(EMPTY);
            let buf = AlignedBuf::zeroed(bytes);
            if buf.block.memory.region.is_some() {
                return buf;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("no huge page is ready");
    }

    #[cfg(not(feature = "sim"))]
    #[test]
    fn larger_blocks_become_parts_of_one_huge_page_and_come_zeroed() {
        for bytes in CLASSES.into_iter().filter(|class| class.parts_max > 0).map(|class| class.bytes) {
            let mut taken = vec![part(bytes)];
            taken.extend((1..REGION_BYTES / bytes).map(|_| AlignedBuf::zeroed(bytes)));
            for (at, part) in taken.iter_mut().enumerate() {
                assert_eq!(part.as_ptr() as usize % REGION_BYTES, at * bytes);
                assert!(part.iter().all(|&byte| byte == 0));
                part.fill(0xAB);
            }
            let page = |buf: &AlignedBuf| buf.as_ptr() as usize / REGION_BYTES;
            assert!(taken.iter().all(|part| page(part) == page(&taken[0])));
            assert_ne!(page(&AlignedBuf::new(bytes)), page(&taken[0]), "the next one lies elsewhere");
            // What is left of a page is whole when the pool and the others are gone.
            let last = taken.pop().expect("at least two");
            drop(taken);
            trim_pool();
            assert!(last.iter().all(|&byte| byte == 0xAB));
            drop(last);
            assert!(AlignedBuf::zeroed(bytes).iter().all(|&byte| byte == 0), "zeroed again");
        }
        trim_pool();
    }

    #[cfg(not(feature = "sim"))]
    #[test]
    fn parts_take_the_place_of_what_was_used_before_them() {
        let bytes = 256 << 10;
        let part = part(bytes);
        let parts = REGION_BYTES / bytes - 1;
        assert_eq!(free(bytes), (0, parts));
        let plain: Vec<Memory> = (0..3).map(|_| Memory::allocate(bytes)).collect();
        plain.into_iter().for_each(Memory::keep);
        assert_eq!(free(bytes), (3, parts));
        let again = AlignedBuf::new(bytes);
        assert!(again.block.memory.region.is_some(), "parts go first");
        drop(again);
        drop(part);
        assert_eq!(free(bytes), (1, parts + 1));
        trim_pool();
    }

    #[cfg(not(feature = "sim"))]
    #[test]
    fn parts_of_a_page_may_end_on_other_threads() {
        let mut parts = vec![part(256 << 10)];
        parts.extend((1..8).map(|_| AlignedBuf::new(256 << 10)));
        let threads = parts.into_iter().map(|mut part| {
            std::thread::spawn(move || {
                part.fill(1);
                drop(part);
                trim_pool();
            })
        });
        threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!(AlignedBuf::new(256 << 10).capacity(), 256 << 10);
        trim_pool();
    }

    #[test]
    fn appended_bytes_are_shared_while_the_writer_goes_on() {
        let mut tail = AppendBuf::new(8192);
        tail.append(b"hello");
        let seen = tail.bytes(0..5);
        tail.append(b"you");
        let write = tail.write_slice(0..4096);
        assert!(write.is_aligned());
        assert!(!tail.write_slice(5..8).is_aligned());
        drop(tail);
        assert_eq!(&seen[..], b"hello");
        assert_eq!(write.len(), 4096);
    }

    #[test]
    fn what_is_written_behind_the_appended_bytes_is_zero() {
        trim_pool();
        let mut before = AlignedBuf::new(4096);
        before.fill(0xAB);
        drop(before);
        let mut tail = AppendBuf::new(4096);
        tail.append(b"hello");
        let written = tail.write_slice(0..1024);
        // SAFETY: the block is alive, and nobody writes to it.
        let written = unsafe { std::slice::from_raw_parts(written.start.as_ptr(), written.len) };
        assert_eq!((&written[..5], &written[5..]), (&b"hello"[..], &[0; 1019][..]));
        tail.append(&[1; 1000]);
        assert_eq!((tail.write_slice(0..1005).len(), tail.zeros_end), (1005, 1024));
        assert_eq!((tail.write_slice(0..4096).len(), tail.zeros_end), (4096, 4096));
    }

    #[test]
    #[should_panic(expected = "only appended bytes can be read")]
    fn bytes_that_were_not_appended_cannot_be_read() {
        let tail = AppendBuf::new(4096);
        let _ = tail.bytes(0..1);
    }

    #[test]
    #[should_panic(expected = "an append fits in what remains")]
    fn an_append_beyond_the_capacity_is_a_bug() {
        let mut tail = AppendBuf::new(4096);
        tail.append(&[0; 4097]);
    }

    #[test]
    fn a_copy_is_padded_with_zeros_to_a_whole_block() {
        let mut copy = AlignedBuf::copy_of(b"abc");
        assert_eq!(&copy[..], b"abc");
        copy.set_len(BLOCK_BYTES);
        assert!(copy[3..].iter().all(|&byte| byte == 0));
    }
}
