//! How a start finishes or undoes a swap of cleaned segments that a crash has interrupted.
//!
//! Owned by the partition's owner shard at its start; the files are those of a partition's directory. The protocol is
//! Kafka's (`LocalLog.replaceSegments`, `LogLoader`), so that either broker finishes what the other one began:
//!
//! | on disk | what it means |
//! |---|---|
//! | `.cleaned` files | the cleaned segment is not whole: they go, and every `.swap` from the first of them on |
//! | `.log.swap` | it is whole: what is left of the segments that it replaces goes, then it takes their place |
//! | `.index.swap` and the like alone | the `.log` has taken its place: they follow |
//! | `.deleted` files | they go |
//!
//! What must hold (KAFKA-12520): nothing that is live goes before the segment that replaces it is known to be whole,
//! and a crash of this very start leaves one of the same four states.

use crate::ids::Offset;
use crate::log::files::{FileStage, SegmentFile, SegmentFileKind};

/// A `.log.swap` file as its batches tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapSegment {
    /// The offset in its name.
    pub base_offset: Offset,
    /// The offset behind its last batch; the base offset where it has none.
    pub next_offset: Offset,
}

/// What to do with the files that are neither live nor a live segment's, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwapPlan {
    /// Swap files of a swap that had not begun: remove them, then make that durable.
    pub invalid: Vec<SegmentFile>,
    /// Files that were being written or are gone from the log: remove them.
    pub leftovers: Vec<SegmentFile>,
    /// Swap files of segments: find where their batches end, remove what [`SwapPlan::replaced`] says, make that
    /// durable, rename these and make that durable.
    pub logs: Vec<SegmentFile>,
    /// The other files of cleaned segments: rename them last.
    pub others: Vec<SegmentFile>,
}

impl SwapPlan {
    /// What the names in a partition's directory ask for.
    #[must_use]
    pub fn new(files: &[SegmentFile]) -> SwapPlan {
        let cleaned = files.iter().filter(|file| file.stage == FileStage::Cleaned);
        let first_cleaned = cleaned.map(|file| file.base_offset).min();
        let mut plan = SwapPlan::default();
        for &file in files {
            let list = match file.stage {
                FileStage::Live => continue,
                FileStage::Deleted | FileStage::Cleaned => &mut plan.leftovers,
                FileStage::Swap if first_cleaned.is_some_and(|first| file.base_offset >= first) => {
                    &mut plan.invalid
                }
                FileStage::Swap if file.kind == SegmentFileKind::Log => &mut plan.logs,
                FileStage::Swap => &mut plan.others,
            };
            list.push(file);
        }
        plan
    }

    /// Whether there is nothing to rename or undo: what is left over goes whenever it suits.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.invalid.is_empty() && self.logs.is_empty() && self.others.is_empty()
    }

    /// The live files that the cleaned segments replace. Producer snapshots stay: what they say of the producers at
    /// their offset is as true as before.
    #[must_use]
    pub fn replaced(live: &[SegmentFile], swaps: &[SwapSegment]) -> Vec<SegmentFile> {
        let from = swaps.iter().map(|swap| swap.base_offset).min();
        let to = swaps.iter().map(|swap| swap.next_offset).max();
        let (Some(from), Some(to)) = (from, to) else { return Vec::new() };
        let is_replaced = |file: &&SegmentFile| {
            let at = file.base_offset;
            let has_new = swaps.iter().any(|swap| swap.base_offset == at);
            let of_segment = file.stage == FileStage::Live && file.kind != SegmentFileKind::ProducerSnapshot;
            of_segment && (has_new || (from <= at && at < to))
        };
        live.iter().filter(is_replaced).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<SegmentFile> {
        let parse = |name: &&str| SegmentFile::parse(&format!("{:0>20}{}", &name[..3], &name[3..]));
        names.iter().map(|name| parse(name).expect("a name of ours")).collect()
    }

    #[test]
    fn a_swap_that_had_not_begun_is_undone() {
        let names = files(&["000.log", "050.log", "000.index.cleaned", "000.log.swap", "050.log.deleted"]);
        let plan = SwapPlan::new(&names);
        assert_eq!(plan.invalid, files(&["000.log.swap"]));
        assert_eq!(plan.leftovers, files(&["000.index.cleaned", "050.log.deleted"]));
        assert!(plan.logs.is_empty() && plan.others.is_empty() && !plan.is_quiet());
    }

    #[test]
    fn a_split_that_was_not_finished_keeps_what_came_before_it() {
        let plan = SwapPlan::new(&files(&["000.log.swap", "050.log.cleaned", "070.log.swap"]));
        assert_eq!((plan.logs, plan.invalid), (files(&["000.log.swap"]), files(&["070.log.swap"])));
    }

    #[test]
    fn a_whole_cleaned_segment_takes_the_place_of_those_it_spans() {
        let live = files(&[
            "000.log",
            "000.index",
            "000.txnindex",
            "050.log",
            "050.timeindex",
            "050.snapshot",
            "090.log",
            "090.index",
        ]);
        let plan = SwapPlan::new(&files(&["000.log.swap", "000.index.swap", "000.timeindex.swap"]));
        assert_eq!(plan.logs, files(&["000.log.swap"]));
        assert_eq!(plan.others, files(&["000.index.swap", "000.timeindex.swap"]));
        let ends = [SwapSegment { base_offset: Offset(0), next_offset: Offset(90) }];
        let gone = files(&["000.log", "000.index", "000.txnindex", "050.log", "050.timeindex"]);
        assert_eq!(SwapPlan::replaced(&live, &ends), gone);
        let empty = [SwapSegment { base_offset: Offset(50), next_offset: Offset(50) }];
        assert_eq!(SwapPlan::replaced(&live, &empty), files(&["050.log", "050.timeindex"]));
        assert_eq!(SwapPlan::replaced(&live, &[]), []);
    }

    #[test]
    fn nothing_live_goes_when_only_indexes_are_left_to_rename() {
        let plan = SwapPlan::new(&files(&["000.log", "000.index.swap", "000.txnindex.swap"]));
        assert!(plan.logs.is_empty() && plan.invalid.is_empty());
        assert_eq!(plan.others.len(), 2);
        assert!(SwapPlan::new(&files(&["000.log", "000.log.deleted"])).is_quiet());
    }
}
