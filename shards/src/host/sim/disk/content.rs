//! The bytes of one file at one moment: sparse pages, which blocks are allocated, and a length.
//!
//! A gigabyte of zeros costs a few words; copies share their pages until one of them changes.
//!
//! Invariants: every page that is stored is allocated; what lies behind the length reads as zeros once the file is
//! extended over it, as nothing is stored there (except while [`super::file`] puts a torn file together).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::piece::{Data, PAGE, PAGE_BYTES, Page, Piece, ZEROS, in_memory, pages_of};

/// Pages that one node of the page tree holds: what a copy of the file costs per gigabyte is 512 nodes.
const NODE_PAGES: u64 = 512;

/// Ranges of allocated pages.
#[derive(Clone, Debug, Default)]
struct Extents {
    /// From the first page to the one behind the last; neither overlapping nor touching.
    ranges: BTreeMap<u64, u64>,
    pages: u64,
}

impl Extents {
    /// Pages of `range` that are not allocated yet.
    fn missing(&self, range: &Range<u64>) -> u64 {
        let covered: u64 = self
            .ranges
            .range(..range.end)
            .rev()
            .take_while(|&(_, &end)| end > range.start)
            .map(|(&start, &end)| end.min(range.end) - start.max(range.start))
            .sum();
        range.end.saturating_sub(range.start) - covered
    }

    /// The first page of `range` that is not allocated, if any.
    fn first_missing(&self, range: &Range<u64>) -> Option<u64> {
        let covered = self.ranges.range(..=range.start).next_back().map(|(_, &end)| end);
        let first = covered.map_or(range.start, |end| end.max(range.start));
        (first < range.end).then_some(first)
    }

    fn add(&mut self, range: &Range<u64>) {
        if self.missing(range) == 0 {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&from, &to)) = self.ranges.range(..=end).next_back() {
            if to < start {
                break;
            }
            self.ranges.remove(&from);
            self.pages -= to - from;
            (start, end) = (start.min(from), end.max(to));
        }
        self.ranges.insert(start, end);
        self.pages += end - start;
    }

    /// Frees all pages from `page` on.
    fn cut(&mut self, page: u64) {
        for (start, end) in self.ranges.split_off(&page) {
            self.pages -= end - start;
        }
        if let Some((_, end)) = self.ranges.range_mut(..page).next_back() {
            self.pages -= end.saturating_sub(page);
            *end = page.min(*end);
        }
    }
}

/// The state of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    nodes: BTreeMap<u64, Arc<BTreeMap<u64, Page>>>,
    extents: Extents,
    len: u64,
}

impl Content {
    /// The length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Allocated pages.
    pub(super) fn blocks(&self) -> u64 {
        self.extents.pages
    }

    /// Pages that a write of `range` has to allocate.
    pub(super) fn missing(&self, range: &Range<u64>) -> u64 {
        self.extents.missing(&pages_of(range))
    }

    /// Where a write of `range` ends when only `room` pages can be allocated.
    pub(super) fn fitting(&self, range: &Range<u64>, room: u64) -> u64 {
        let (mut pages, mut room) = (pages_of(range), room);
        while let Some(first) = self.extents.first_missing(&pages) {
            if room == 0 {
                return (first * PAGE).max(range.start);
            }
            room -= 1;
            pages.start = first + 1;
        }
        range.end
    }

    fn page(&self, page: u64) -> Option<&Page> {
        self.nodes.get(&(page / NODE_PAGES))?.get(&page)
    }

    fn store(&mut self, page: u64, bytes: Page) {
        let node = self.nodes.entry(page / NODE_PAGES).or_default();
        Arc::make_mut(node).insert(page, bytes);
    }

    /// The bytes of a page, to be changed.
    fn page_mut(&mut self, page: u64) -> &mut [u8; PAGE_BYTES] {
        let node = self.nodes.entry(page / NODE_PAGES).or_default();
        Arc::make_mut(Arc::make_mut(node).entry(page).or_insert_with(|| Arc::new(ZEROS)))
    }

    /// The pages of `range` that hold more than zeros.
    pub(super) fn stored(&self, range: Range<u64>) -> impl Iterator<Item = u64> {
        let nodes = range.start / NODE_PAGES..range.end.div_ceil(NODE_PAGES);
        let nodes = self.nodes.range(nodes);
        nodes.flat_map(move |(_, node)| node.range(range.clone()).map(|(&page, _)| page))
    }

    /// Reads from `position` until `into` is full or the file ends.
    pub(super) fn read(&self, position: u64, into: &mut [u8]) -> usize {
        let bytes = in_memory(self.len.saturating_sub(position).min(into.len() as u64));
        let mut rest = &mut into[..bytes];
        let mut position = position;
        while !rest.is_empty() {
            let at = in_memory(position % PAGE);
            let (piece, after) = rest.split_at_mut((PAGE_BYTES - at).min(rest.len()));
            match self.page(position / PAGE) {
                Some(page) => piece.copy_from_slice(&page[at..at + piece.len()]),
                None => piece.fill(0),
            }
            position += piece.len() as u64;
            rest = after;
        }
        bytes
    }

    /// Writes a piece; the length stays.
    pub(super) fn put(&mut self, piece: &Piece) {
        self.extents.add(&piece.pages());
        let page = piece.position / PAGE;
        match &piece.data {
            Data::Page(bytes) => self.store(page, Arc::clone(bytes)),
            Data::Bytes(bytes) => {
                let at = in_memory(piece.position % PAGE);
                self.page_mut(page)[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Data::Zeros(_) => self.zero(&piece.range()),
        }
    }

    /// Writes the pieces of one write, which ends at `end`.
    pub(super) fn write(&mut self, pieces: &[Piece], end: u64) {
        for piece in pieces {
            self.put(piece);
        }
        self.extend(end);
    }

    /// Makes a range read as zeros; its blocks and the length stay.
    pub(super) fn zero(&mut self, range: &Range<u64>) {
        let whole = range.start.div_ceil(PAGE)..range.end / PAGE;
        if !range.start.is_multiple_of(PAGE) {
            self.zero_in_page(range.start..range.end.min(whole.start * PAGE));
        }
        if !range.end.is_multiple_of(PAGE) && whole.end >= whole.start {
            self.zero_in_page(whole.end * PAGE..range.end);
        }
        let stored: Vec<u64> = if whole.is_empty() { Vec::new() } else { self.stored(whole).collect() };
        for page in stored {
            self.forget(page);
        }
    }

    fn zero_in_page(&mut self, range: Range<u64>) {
        let page = range.start / PAGE;
        if self.page(page).is_some() {
            let at = in_memory(range.start % PAGE);
            self.page_mut(page)[at..at + in_memory(range.end - range.start)].fill(0);
        }
    }

    fn forget(&mut self, page: u64) {
        let number = page / NODE_PAGES;
        let node = Arc::make_mut(self.nodes.get_mut(&number).expect("a stored page is in a node"));
        node.remove(&page);
        if node.is_empty() {
            self.nodes.remove(&number);
        }
    }

    /// Makes the file at least `len` bytes long.
    pub(super) fn extend(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Cuts or extends the file.
    pub(super) fn set_len(&mut self, len: u64) {
        self.len = len;
        self.clear_behind_len();
    }

    /// Forgets what is stored behind the length, and frees its blocks.
    pub(super) fn clear_behind_len(&mut self) {
        let pages = self.len.div_ceil(PAGE);
        if !self.len.is_multiple_of(PAGE) {
            self.zero_in_page(self.len..pages * PAGE);
        }
        let behind = self.stored(pages..u64::MAX).collect::<Vec<_>>();
        for page in behind {
            self.forget(page);
        }
        self.extents.cut(pages);
    }

    /// Allocates the blocks of `range` and extends the file over it.
    pub(super) fn allocate(&mut self, range: &Range<u64>) {
        self.allocate_blocks(range);
        self.extend(range.end);
    }

    /// Allocates the blocks of `range`; the length stays.
    pub(super) fn allocate_blocks(&mut self, range: &Range<u64>) {
        self.extents.add(&pages_of(range));
    }

    /// Shares the page with `other` where both hold the same bytes.
    pub(super) fn share(&mut self, other: &Content, page: u64) {
        if let (Some(own), Some(theirs)) = (self.page(page), other.page(page))
            && !Arc::ptr_eq(own, theirs)
            && own == theirs
        {
            self.store(page, Arc::clone(theirs));
        }
    }

    /// Turns one bit over, if the file is as long.
    pub(super) fn flip(&mut self, position: u64, mask: u8) {
        if position < self.len {
            self.extents.add(&pages_of(&(position..position + 1)));
            self.page_mut(position / PAGE)[in_memory(position % PAGE)] ^= mask;
        }
    }

    /// The whole of it.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; in_memory(self.len)];
        self.read(0, &mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(content: &mut Content, position: u64, bytes: &[u8]) {
        content.write(&Piece::cut_up(position, bytes), position + bytes.len() as u64);
    }

    #[test]
    fn a_sparse_gigabyte_stores_what_was_written() {
        let mut content = Content::default();
        content.allocate(&(0..1 << 30));
        assert_eq!((content.len(), content.blocks()), (1 << 30, 1 << 18));
        put(&mut content, 4090, &[1; 12]);
        put(&mut content, 1 << 20, &[0; 1 << 20]);
        assert_eq!(content.stored(0..u64::MAX).collect::<Vec<_>>(), [0, 1]);
        let mut read = [9; 16];
        assert_eq!(content.read(4088, &mut read), 16);
        assert_eq!(read, [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn what_was_cut_off_reads_as_zeros_later() {
        let mut content = Content::default();
        put(&mut content, 0, &[5; 3 * PAGE_BYTES]);
        content.set_len(10);
        assert_eq!(content.blocks(), 1);
        content.set_len(20_000);
        assert_eq!(content.blocks(), 1);
        let bytes = content.to_vec();
        assert!(bytes[..10].iter().all(|&byte| byte == 5));
        assert!(bytes[10..].iter().all(|&byte| byte == 0));
        content.set_len(0);
        assert_eq!((content.blocks(), content.stored(0..u64::MAX).count()), (0, 0));
    }

    #[test]
    fn zeros_over_bytes_are_zeros() {
        let mut content = Content::default();
        put(&mut content, 0, &[5; 4 * PAGE_BYTES]);
        let zeros = Piece { position: 100, data: Data::Zeros(2 * PAGE) };
        content.put(&zeros);
        let bytes = content.to_vec();
        let zero: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == 0).collect();
        assert_eq!((zero[0], zero.len()), (100, 2 * PAGE_BYTES));
        content.put(&Piece { position: 50, data: Data::Zeros(10) });
        assert_eq!(content.to_vec()[45..65].iter().filter(|&&byte| byte == 0).count(), 10);
    }

    #[test]
    fn blocks_are_counted_once() {
        let mut extents = Extents::default();
        extents.add(&(2..4));
        extents.add(&(6..8));
        assert_eq!(extents.missing(&(0..10)), 6);
        extents.add(&(3..7));
        assert_eq!((extents.pages, extents.ranges.len()), (6, 1));
        extents.add(&(8..9));
        assert_eq!((extents.pages, extents.ranges.len()), (7, 1));
        assert_eq!(extents.first_missing(&(0..3)), Some(0));
        assert_eq!(extents.first_missing(&(2..9)), None);
        assert_eq!(extents.first_missing(&(4..20)), Some(9));
        extents.cut(5);
        assert_eq!((extents.pages, extents.missing(&(0..10))), (3, 7));
        extents.cut(0);
        assert_eq!(extents.pages, 0);
    }

    #[test]
    fn what_fits_ends_where_the_blocks_run_out() {
        let mut content = Content::default();
        put(&mut content, 4096, &[1; 100]);
        assert_eq!(content.missing(&(0..3 * PAGE)), 2);
        assert_eq!(content.fitting(&(10..3 * PAGE), 0), 10);
        assert_eq!(content.fitting(&(10..3 * PAGE), 1), 2 * PAGE);
        assert_eq!(content.fitting(&(10..3 * PAGE), 2), 3 * PAGE);
        assert_eq!(content.fitting(&(5000..3 * PAGE), 0), 2 * PAGE);
    }

    #[test]
    fn copies_do_not_see_each_other() {
        let mut content = Content::default();
        put(&mut content, 0, &[5; PAGE_BYTES]);
        let copy = content.clone();
        put(&mut content, 1, &[6]);
        content.flip(0, 0x80);
        assert_eq!(copy.to_vec(), [5; PAGE_BYTES]);
        assert_eq!(content.to_vec()[..3], [0x85, 6, 5]);
    }
}
