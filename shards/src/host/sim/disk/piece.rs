//! The bytes of a write, cut along pages so that a file, its durable image and the writes between share them.
//!
//! Invariants: a piece of bytes lies in one page; a piece that is a page begins on one; no piece is empty; the pieces
//! of one write do not overlap and stand in the order of their positions.

use std::ops::Range;
use std::sync::Arc;

/// Bytes of a page, which is also the block that direct operations are made of and that a device counts.
pub(super) const PAGE: u64 = 4096;

/// [`PAGE`] as a length in memory.
pub(super) const PAGE_BYTES: usize = 4096;

/// The bytes of one page; shared until one of its owners changes it.
pub(super) type Page = Arc<[u8; PAGE_BYTES]>;

/// A page of zeros, to compare with.
pub(super) static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

#[derive(Clone, Debug)]
pub(super) enum Data {
    /// One whole page.
    Page(Page),
    /// Less than a page.
    Bytes(Arc<[u8]>),
    /// So many zeros.
    Zeros(u64),
}

/// Some bytes at a position.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) position: u64,
    pub(super) data: Data,
}

/// `bytes` as a length in memory; everything here is shorter than what was once one buffer.
pub(super) fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a length in memory")
}

impl Piece {
    /// Cuts a write into pieces. Pages of zeros cost nothing.
    pub(super) fn cut_up(position: u64, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        let (mut position, mut rest) = (position, bytes);
        while !rest.is_empty() {
            let to_page_end = PAGE_BYTES - in_memory(position % PAGE);
            let (piece, after) = rest.split_at(to_page_end.min(rest.len()));
            let data = match <&[u8; PAGE_BYTES]>::try_from(piece) {
                Ok(page) if page == &ZEROS => Data::Zeros(PAGE),
                Ok(page) => Data::Page(Arc::new(*page)),
                Err(_) => Data::Bytes(piece.into()),
            };
            match (pieces.last_mut().map(|last| &mut last.data), &data) {
                (Some(Data::Zeros(run)), Data::Zeros(more)) => *run += more,
                _ => pieces.push(Piece { position, data }),
            }
            position += piece.len() as u64;
            rest = after;
        }
        pieces
    }

    /// Where the piece lies.
    pub(super) fn range(&self) -> Range<u64> {
        let bytes = match &self.data {
            Data::Page(_) => PAGE,
            Data::Bytes(bytes) => bytes.len() as u64,
            Data::Zeros(bytes) => *bytes,
        };
        self.position..self.position + bytes
    }

    /// The pages that it touches.
    pub(super) fn pages(&self) -> Range<u64> {
        pages_of(&self.range())
    }

    /// What of it lies in `range`.
    pub(super) fn part(&self, range: &Range<u64>) -> Option<Piece> {
        let own = self.range();
        let (from, to) = (own.start.max(range.start), own.end.min(range.end));
        if from >= to {
            return None;
        }
        if (from, to) == (own.start, own.end) {
            return Some(self.clone());
        }
        let slice = in_memory(from - own.start)..in_memory(to - own.start);
        let data = match &self.data {
            Data::Page(page) => Data::Bytes(page[slice].into()),
            Data::Bytes(bytes) => Data::Bytes(bytes[slice].into()),
            Data::Zeros(_) => Data::Zeros(to - from),
        };
        Some(Piece { position: from, data })
    }

    /// What of it lies outside of `range`.
    pub(super) fn without(&self, range: &Range<u64>) -> impl Iterator<Item = Piece> {
        [self.part(&(0..range.start)), self.part(&(range.end..u64::MAX))].into_iter().flatten()
    }
}

/// The pages that a range of bytes touches.
pub(super) fn pages_of(range: &Range<u64>) -> Range<u64> {
    range.start / PAGE..range.end.div_ceil(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_cut_along_pages_and_its_zeros_cost_nothing() {
        let mut bytes = vec![7; 5 * PAGE_BYTES];
        bytes[2 * PAGE_BYTES - 100..4 * PAGE_BYTES - 100].fill(0);
        let pieces = Piece::cut_up(100, &bytes);
        let ranges: Vec<_> = pieces.iter().map(Piece::range).collect();
        assert_eq!(ranges, [100..4096, 4096..8192, 8192..16384, 16384..20480, 20480..20580]);
        assert!(matches!(pieces[2].data, Data::Zeros(8192)));
        assert!(matches!(pieces[1].data, Data::Page(_)));
    }

    #[test]
    fn parts_are_what_lies_inside_and_the_rest_what_lies_outside() {
        let piece = Piece::cut_up(0, &[1; PAGE_BYTES]).remove(0);
        assert!(piece.part(&(4096..9000)).is_none());
        assert_eq!(piece.part(&(10..20)).expect("a part").range(), 10..20);
        let rest: Vec<_> = piece.without(&(10..20)).map(|piece| piece.range()).collect();
        assert_eq!(rest, [0..10, 20..4096]);
        assert_eq!(piece.without(&(0..5000)).count(), 0);
    }
}
