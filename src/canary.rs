//! Planted bugs, to prove that the simulator is not blind: each is off unless somebody asks for it by its number.
//!
//! Whatever owns the place where the real code does the right thing asks [`is`] there and does the wrong one; the
//! question comes last in its condition, so that a yes is mostly a difference. `--cfg canary_N` plants bug N for good.
//! The feature `canaries`, which only the simulated build turns on, chooses one at run time with [`select`], per
//! thread. What must hold: without either, [`is`] is a constant false and no branch of a canary is compiled; with the
//! feature and nothing selected a broker does what it does without.

/// Makes the enum and its table, which cannot get out of step.
macro_rules! canaries {
    ($($number:literal $flag:ident $name:ident: $breaks:literal, $known:literal;)*) => {
        /// A planted bug, named after what goes wrong; its number is that of its `--cfg canary_N`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Canary {
            $(#[doc = $breaks] $name = $number,)*
        }

        impl Canary {
            /// Every one, by number.
            pub const ALL: &[Canary] = &[$(Canary::$name,)*];

            /// What it breaks.
            #[must_use]
            pub const fn breaks(self) -> &'static str {
                match self { $(Canary::$name => $breaks,)* }
            }

            /// The bug of this kind that a broker has shipped, by ticket or commit; empty where none is on record.
            #[must_use]
            pub const fn known_as(self) -> &'static str {
                match self { $(Canary::$name => $known,)* }
            }

            const fn is_compiled(self) -> bool {
                match self { $(Canary::$name => cfg!($flag),)* }
            }
        }
    };
}

canaries! {
    1 canary_1 AckedBeforeWritten: "a produce is answered before its batch is on disk", "NATS #7564";
    2 canary_2 FlushUnsynced: "a flush is a write without a sync", "NATS #7564";
    3 canary_3 IoErrorIgnored: "a flush that failed counts as done", "";
    4 canary_4 SyncRetried: "a sync that failed is repeated, and its success believed", "PostgreSQL fsyncgate, 2018";
    5 canary_5 ServedAfterIoError: "a log takes appends behind a flush that failed", "KAFKA-10778";
    6 canary_6 TailBlockNotCarried: "the begun last block is written without what it held", "";
    7 canary_7 DurableByLogEnd: "the durable end is the log's end, not that of the flush", "etcd #14370";
    8 canary_8 LaterSegmentFirst: "the newest segment is flushed before an older one", "";
    9 canary_9 ZeroedOverRecords: "zeroing ahead does not keep out of a flush's way", "";
    10 canary_10 RollNotAwaited: "the recovery point passes a segment whose file is not finished", "";
    11 canary_11 RecoveryStopsAtPoint: "recovery takes the recovery point for the log's end", "";
    12 canary_12 CrcUnchecked: "recovery takes batches whose CRC is wrong", "etcd #16596";
    13 canary_13 TornTailKept: "recovery leaves stale bytes behind the log's end", "";
    14 canary_14 SegmentNameUnsynced: "a new segment's name is not made durable", "";
    15 canary_15 PartitionNameUnsynced: "a new partition's directory is not made durable", "NATS #6888";
    16 canary_16 DirectoryReused: "a new topic takes the directory of a deleted one of its name", "";
    17 canary_17 DeletedTopicBack: "the start forgets that topics were deleted", "";
    18 canary_18 CleanMarkerKept: "the note of a clean stop outlives the next start", "Redpanda #9711";
    19 canary_19 CleanDespiteFailure: "a stop that could not close all counts as clean", "KAFKA-15375, KAFKA-10471";
    20 canary_20 SnapshotAhead: "a producer snapshot is written before its records, and trusted", "";
    21 canary_21 ProducersForgotten: "a start forgets what the producer snapshot holds", "";
    22 canary_22 SequenceUnchecked: "a batch of any sequence number is taken", "";
    23 canary_23 AppendedOutOfTurn: "an append that waits lets a later one pass", "KAFKA-19407";
    24 canary_24 DirtyRead: "readers see what is not on disk", "";
    25 canary_25 WatermarkReadTwice: "a fetch shows one high watermark and reads by a later one", "KAFKA-9835";
    26 canary_26 ProducerIdsEarly: "a block of producer ids is handed out before its record is durable", "";
    27 canary_27 MetadataEarly: "a change of the metadata is answered before it is durable", "";
    28 canary_28 CommitEarly: "a group's commit is answered before it is durable", "KAFKA-17507";
    29 canary_29 OlderCommitWins: "loading the offsets takes the first commit of a key, not the last", "";
    30 canary_30 DeletionEarly: "DeleteRecords is answered before its checkpoint is durable", "";
    31 canary_31 RepliesSwapped: "a reply that is ready first leaves first", "";
    32 canary_32 RecoveredUnsynced: "recovery serves what it found without syncing it", "";
    33 canary_33 EndForgotten: "retention removes the last records before anything durable says where the log ends", "";
    34 canary_34 RetryAckedEarly: "a repeated batch is answered before the first one is on disk", "Redpanda PR #5356";
    35 canary_35 FullDiskIgnored: "a write that a full disk refused counts as done", "";
    36 canary_36 JournalUnsynced: "a frame of the journal is written without a sync", "";
    37 canary_37 JournalNotPlayed: "a start drops the journal instead of playing it", "";
    38 canary_38 JournalReleasedEarly: "the journal forgets a frame before the segments have it", "";
    39 canary_39 JournalOfOtherTopic: "the journal is played into a later topic of the same name", "";
    40 canary_40 SwapUnsynced: "compaction swaps its files without syncing their names in between", "KAFKA-12520";
    41 canary_41 LastValueDropped: "compaction drops the last record of a key and keeps the older ones", "";
    42 canary_42 TombstonesDropped: "compaction drops tombstones at once", "KAFKA-8522, KAFKA-4529";
    43 canary_43 NamesUnsynced: "a start relies on names that a killed process did not sync", "";
    44 canary_44 RollAtPointTrusted: "recovery trusts the file of a segment that ends at the recovery point", "";
    45 canary_45 DeletionTakenBack: "retention writes a log start offset from before it waited", "";
    46 canary_46 RollUnsettled: "the recovery point passes closed segments whose files were not synced", "";
    47 canary_47 PartsOneByOne: "a part of a request takes its place when the part before it is appended", "";
    48 canary_48 CleanThoughUnloaded: "a stop counts as clean though a partition was never loaded", "";
    49 canary_49 NamesakeOffsets: "a new topic finds in the checkpoints what they say of a deleted one of its name", "";
    50 canary_50 CutIsDamage: "a batch that a read of the replay cuts is taken for a damaged one", "";
}

impl Canary {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The one of this number.
    #[must_use]
    pub fn by_number(number: u16) -> Option<Canary> {
        Canary::ALL.iter().copied().find(|canary| canary.number() == number)
    }
}

/// Whether the bug is planted. Ask last in a condition: what counts the answers then counts differences.
#[cfg(not(feature = "canaries"))]
#[inline(always)]
#[must_use]
pub const fn is(canary: Canary) -> bool {
    canary.is_compiled()
}

#[cfg(feature = "canaries")]
mod selected {
    use std::cell::Cell;

    use super::Canary;

    thread_local! {
        static SELECTED: Cell<Option<Canary>> = const { Cell::new(None) };
        static STRUCK: Cell<u64> = const { Cell::new(0) };
    }

    /// Whether the bug is planted. Ask last in a condition: what counts the answers then counts differences.
    #[must_use]
    pub fn is(canary: Canary) -> bool {
        let is = canary.is_compiled() || SELECTED.get() == Some(canary);
        if is {
            STRUCK.set(STRUCK.get() + 1);
        }
        is
    }

    /// Plants a bug, or none, in everything that this thread runs from now on.
    pub fn select(canary: Option<Canary>) {
        SELECTED.set(canary);
        STRUCK.set(0);
    }

    /// How often [`is`] has said yes since a bug was selected: never means that its place was not reached.
    #[must_use]
    pub fn struck() -> u64 {
        STRUCK.get()
    }
}

#[cfg(feature = "canaries")]
pub use selected::{is, select, struck};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_table() {
        for (canary, number) in Canary::ALL.iter().zip(1..) {
            assert_eq!(canary.number(), number);
            assert_eq!(Canary::by_number(number), Some(*canary));
            assert!(!canary.breaks().is_empty());
        }
        assert_eq!(Canary::by_number(0), None);
    }

    #[cfg(not(feature = "canaries"))]
    #[test]
    fn an_ordinary_build_has_none_and_knows_it_when_it_is_compiled() {
        const PLANTED: usize = {
            let (mut at, mut planted) = (0, 0);
            while at < Canary::ALL.len() {
                planted += is(Canary::ALL[at]) as usize;
                at += 1;
            }
            planted
        };
        let asked_for = Canary::ALL.iter().filter(|canary| canary.is_compiled()).count();
        assert_eq!(PLANTED, asked_for);
    }

    #[cfg(feature = "canaries")]
    #[test]
    fn one_is_planted_at_a_time_and_its_answers_are_counted() {
        select(Some(Canary::CrcUnchecked));
        let planted: Vec<_> = Canary::ALL.iter().filter(|canary| is(**canary)).collect();
        assert_eq!((planted, struck()), (vec![&Canary::CrcUnchecked], 1));
        select(None);
        assert!(!is(Canary::CrcUnchecked));
    }
}
