//! The way out of one connection: pieces of one or more replies, in order, as few system calls as they allow.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use ottla::metrics::{Counter, ShardMetrics};
use ottla::time::Monotonic;

use super::journey::Journey;
use super::reply::{Piece, Reply};
use crate::host::sync::Permit;
use crate::host::{self, Stream};

/// Pieces that one system call gathers.
const GATHERED_MAX: usize = 64;
/// Bytes that one system call gathers, after which more replies are left for the next.
const GATHERED_BYTES: usize = 1 << 20;

/// What stopped a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nothing: all is sent.
    Done,
    /// The kernel takes no more now.
    Full,
    /// A range of a file is next.
    File,
}

/// A reply on its way out, with the memory that it counts for.
pub(super) struct Outgoing {
    pub(super) reply: Reply,
    pub(super) memory: Permit,
    pub(super) journey: Journey,
}

/// What is to be sent, in order.
#[derive(Default)]
pub(super) struct SendQueue {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are sent.
    sent: usize,
    /// Each reply's memory and journey, with how many of `pieces` are left when the reply is sent.
    replies: VecDeque<(usize, Permit, Journey)>,
}

impl SendQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether another reply would still go out with what is here.
    pub(super) fn takes_more(&self) -> bool {
        let bytes: usize = self.pieces.iter().map(Piece::len).sum();
        self.pieces.len() < GATHERED_MAX && bytes < GATHERED_BYTES
    }

    /// Gives small pieces memory of their own: see [`Reply::own`].
    pub(super) fn own(&mut self, bytes_max: usize) {
        self.pieces.iter_mut().for_each(|piece| piece.own(bytes_max));
    }

    /// Adds a reply behind the others.
    pub(super) fn push(&mut self, outgoing: Outgoing) {
        let pieces = outgoing.reply.into_pieces();
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        let before = self.pieces.len();
        self.pieces.extend(pieces);
        let added = self.pieces.len() - before;
        for (left, ..) in &mut self.replies {
            *left += added;
        }
        self.replies.push_back((0, outgoing.memory, outgoing.journey));
    }

    /// Sends memory until all is sent, the kernel takes no more, or a file range is next. Returns when a byte moved
    /// last, and what stopped it.
    pub(super) fn send_memory(
        &mut self,
        stream: &Stream,
        metrics: &ShardMetrics,
    ) -> io::Result<(Option<Monotonic>, Stop)> {
        let mut moved = None;
        loop {
            let in_memory = |piece: &&Piece| matches!(piece, Piece::Bytes(_));
            let gathered: Vec<&Piece> = self.pieces.iter().take_while(in_memory).take(GATHERED_MAX).collect();
            if gathered.is_empty() {
                let stop = if self.pieces.is_empty() { Stop::Done } else { Stop::File };
                return Ok((moved, stop));
            }
            let more = gathered.len() < self.pieces.len();
            let skips = std::iter::once(self.sent).chain(std::iter::repeat(0));
            let slices: Vec<IoSlice<'_>> = gathered
                .iter()
                .zip(skips)
                .map(|(piece, skip)| match piece {
                    Piece::Bytes(bytes) => IoSlice::new(&bytes[skip..]),
                    Piece::File { .. } => IoSlice::new(&[]),
                })
                .collect();
            let Some(bytes) = stream.try_send(&slices, more)? else { return Ok((moved, Stop::Full)) };
            let now = host::now();
            moved = Some(now);
            self.advance(bytes, metrics, now);
        }
    }

    /// What is next to send of the file range in front, at most `bytes_max` bytes of it.
    pub(super) fn file_step(&self, bytes_max: usize) -> Option<Piece> {
        let Some(Piece::File { fd, position, bytes, readable_end }) = self.pieces.front() else {
            return None;
        };
        let left = (*bytes as usize - self.sent).min(bytes_max);
        let bytes = u32::try_from(left).expect("no more than the range, which is counted by u32");
        let position = position + self.sent as u64;
        Some(Piece::File { fd: fd.clone(), position, bytes, readable_end: *readable_end })
    }

    /// What the replies in the queue count for.
    pub(super) fn memory(&self) -> usize {
        self.replies.iter().map(|(_, permit, _)| permit.amount()).sum()
    }

    /// `bytes` more bytes are sent, as of `now`.
    pub(super) fn advance(&mut self, bytes: usize, metrics: &ShardMetrics, now: Monotonic) {
        metrics.add(Counter::SentBytes, bytes as u64);
        self.sent += bytes;
        while let Some(first) = self.pieces.front().filter(|first| first.len() <= self.sent) {
            self.sent -= first.len();
            self.pieces.pop_front();
        }
        while let Some((_, _, journey)) = self.replies.pop_front_if(|(left, ..)| *left >= self.pieces.len()) {
            journey.sent(metrics, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use ottla::metrics::Timing;

    use super::*;
    use crate::host::sync::Semaphore;

    fn journey() -> Journey {
        Journey::new(&[0, 0], Monotonic(1))
    }

    fn reply(pieces: &[&'static [u8]]) -> Reply {
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let length = i32::try_from(total).expect("short").to_be_bytes();
        let first = Piece::Bytes(Bytes::copy_from_slice(&length));
        let rest = pieces.iter().map(|piece| Piece::Bytes(Bytes::from_static(piece)));
        Reply::new(std::iter::once(first).chain(rest).collect())
    }

    #[test]
    fn memory_is_given_back_reply_by_reply_as_it_is_sent() {
        let budget = Semaphore::new(100);
        let mut queue = SendQueue::default();
        for pieces in [&[&b"abc"[..], b""][..], &[b"defgh"]] {
            let reply = reply(pieces);
            let memory = budget.force(reply.memory());
            queue.push(Outgoing { reply, memory, journey: journey() });
        }
        assert_eq!(budget.taken(), 7 + 9);
        let metrics = ShardMetrics::default();
        let mut sent = |bytes, at| {
            queue.advance(bytes, &metrics, Monotonic(at));
            let snapshot = metrics.snapshot(0);
            let times = *snapshot.times(Timing::ProduceTotal);
            (budget.taken(), times.count(), times.sum_nanos, queue.is_empty())
        };
        assert_eq!(sent(6, 10), (7 + 9, 0, 0, false));
        assert_eq!(sent(1, 11), (9, 1, 10, false));
        assert_eq!(sent(8, 12), (9, 1, 10, false));
        assert_eq!(sent(1, 21), (0, 2, 30, true));
        assert_eq!(metrics.get(Counter::SentBytes), 16);
    }

    #[test]
    fn a_queue_takes_so_many_pieces_at_once() {
        let budget = Semaphore::new(1);
        let mut queue = SendQueue::default();
        let mut replies = 0;
        while queue.takes_more() {
            queue.push(Outgoing { reply: reply(&[b"x"]), memory: budget.force(0), journey: journey() });
            replies += 1;
        }
        assert_eq!(replies, GATHERED_MAX / 2);
    }
}
