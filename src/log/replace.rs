//! A cleaned segment in the place of those it was made of.
//!
//! Owned by the partition's owner shard, which calls this when the files of the new segment have taken the place of
//! the old ones; every reader that planned with the old ones plans anew. Epochs, producers and the log's offsets stay
//! as they are: a cleaned log has gaps between its batches, and nothing else that is new.

use super::aborted::AbortedSearch;
use super::partition_log::Log;
use super::segment::ClosedSegment;
use crate::ids::Offset;

impl Log {
    /// Puts `cleaned` in the place of the closed segments at the base offsets `sources`, the first of which it has.
    ///
    /// # Panics
    /// When these are not neighbours in the log: whoever cleans a log keeps its segments from going.
    pub fn replace_segments(&mut self, sources: &[Offset], cleaned: ClosedSegment) {
        let at = self.closed.partition_point(|segment| segment.base_offset < cleaned.base_offset);
        let range = at..at + sources.len();
        assert!(range.end <= self.closed.len(), "only closed segments are cleaned");
        let bases = self.closed.range(range.clone()).map(|segment| segment.base_offset);
        assert!(bases.eq(sources.iter().copied()), "the segments that were cleaned are still there");
        assert_eq!(
            sources.first(),
            Some(&cleaned.base_offset),
            "a cleaned segment begins where the first one did"
        );
        self.closed.drain(range);
        self.closed.insert(at, cleaned);
        self.tail.forget_up_to(*sources.last().expect("a segment is cleaned"));
    }

    /// A search for the aborted transactions that overlap `from..to`.
    #[must_use]
    pub fn aborted_between(&self, from: Offset, to: Offset) -> AbortedSearch {
        AbortedSearch::between(self.segment_of(from).0, from, to)
    }
}
