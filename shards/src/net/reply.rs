//! Replies as lists of pieces: memory that is sent as it is, and ranges of files that are never copied here.

use bytes::Bytes;
use ottla::time::Monotonic;

use crate::host::SharedFd;

/// A part of a reply.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Bytes in memory, perhaps another shard's.
    Bytes(Bytes),
    /// A range of a file that was opened without `direct` and is never rewritten.
    File {
        /// The file.
        fd: SharedFd,
        /// Where the range begins, in bytes.
        position: u64,
        /// Its length.
        bytes: u32,
        /// What may be read ahead of it ends here.
        readable_end: u64,
    },
}

impl Piece {
    /// Bytes of the piece.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File { bytes, .. } => *bytes as usize,
        }
    }

    /// Whether the bytes are in memory.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        matches!(self, Piece::Bytes(_))
    }

    /// Copies bytes in memory, if there are no more than `bytes_max`, out of what they are part of.
    pub(super) fn own(&mut self, bytes_max: usize) {
        if let Piece::Bytes(bytes) = self
            && bytes.len() <= bytes_max
        {
            *bytes = Bytes::copy_from_slice(bytes);
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One reply: its pieces in order, the frame's length in front.
#[derive(Clone, Debug)]
pub struct Reply {
    pieces: Vec<Piece>,
    /// When all that it tells was so.
    since: Option<Monotonic>,
}

impl Reply {
    /// A reply of `pieces`, of which the first begins with the frame's length as four bytes, big-endian.
    ///
    /// # Panics
    /// When the length is not that of the pieces: the client could not find the next reply.
    #[must_use]
    pub fn new(pieces: Vec<Piece>) -> Reply {
        let total: usize = pieces.iter().map(Piece::len).sum();
        let length = match pieces.first() {
            Some(Piece::Bytes(first)) => first.first_chunk::<4>().copied(),
            Some(Piece::File { .. }) | None => None,
        };
        let length = i32::from_be_bytes(length.expect("a reply begins with its length in memory"));
        assert_eq!(usize::try_from(length), Ok(total - 4), "a reply's length is that of its pieces");
        Reply { pieces, since: None }
    }

    /// A reply that is whole in memory; see [`Reply::new`].
    #[must_use]
    pub fn of_bytes(bytes: Bytes) -> Reply {
        Reply::new(vec![Piece::Bytes(bytes)])
    }

    /// Says when all that the reply tells was so: from then on the time counts as the reply's own.
    #[must_use]
    pub fn counted_from(mut self, since: Monotonic) -> Reply {
        self.since = Some(since);
        self
    }

    pub(super) fn since(&self) -> Option<Monotonic> {
        self.since
    }

    /// Bytes of the reply that are held in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        let in_memory = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File { .. } => 0,
        };
        self.pieces.iter().map(in_memory).sum()
    }

    /// Gives pieces of no more than `bytes_max` memory of their own: a reply that has to wait holds no more than it
    /// counts for, where a piece of a hundred bytes may be part of a mebibyte.
    pub(super) fn own(&mut self, bytes_max: usize) {
        self.pieces.iter_mut().for_each(|piece| piece.own(bytes_max));
    }

    pub(super) fn into_pieces(self) -> Vec<Piece> {
        self.pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_knows_its_memory() {
        let reply = Reply::of_bytes(Bytes::from_static(&[0, 0, 0, 1, 7]));
        assert_eq!(reply.memory(), 5);
    }

    #[test]
    fn what_waits_in_small_pieces_holds_nothing_else() {
        let [small, large] = [100, 101].map(|bytes| (bytes, Bytes::from(vec![7; 1 << 20])));
        let pieces = [small.1.slice(..small.0), large.1.slice(..large.0)].map(Piece::Bytes);
        let head = Piece::Bytes(Bytes::copy_from_slice(&201_i32.to_be_bytes()));
        let mut reply = Reply::new([head].into_iter().chain(pieces).collect());
        reply.own(100);
        assert!(small.1.is_unique(), "its bytes are copied");
        assert!(!large.1.is_unique(), "it is lent on");
        assert_eq!(reply.memory(), 205);
    }

    #[test]
    #[should_panic(expected = "a reply's length is that of its pieces")]
    fn a_wrong_length_is_a_bug() {
        let _ = Reply::of_bytes(Bytes::from_static(&[0, 0, 0, 2, 7]));
    }

    #[test]
    #[should_panic(expected = "a reply begins with its length in memory")]
    fn a_reply_without_length_is_a_bug() {
        let _ = Reply::of_bytes(Bytes::from_static(&[0, 0]));
    }
}
