//! The table of what is counted: each row's family, its label, and the family's help.
//!
//! Constants without an owner. What must hold (a test walks the tables): rows of one family stand together and have the
//! same help, a family is in one table only, names are `ottla_` and end with the base unit, counters with `_total`.

/// What one row is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The family: the metric's name.
    pub name: &'static str,
    /// What the family counts, for people.
    pub help: &'static str,
    /// The row's own label within the family, beside the shard's.
    pub label: Option<(&'static str, &'static str)>,
}

/// Declares an enum of rows: variant, family, label, help.
macro_rules! rows {
    ($(#[$doc:meta])* $name:ident {
        $($variant:ident = $family:literal $([$label:literal = $value:literal])?, $help:expr;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs)]
        pub enum $name { $($variant,)* }

        impl $name {
            /// All of them, in the order of the text.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// Its family, label and help.
            #[must_use]
            pub const fn row(self) -> Row {
                match self {
                    $($name::$variant => Row { name: $family, help: $help, label: rows!(@label $($label $value)?) },)*
                }
            }
        }
    };
    (@label) => { None };
    (@label $label:literal $value:literal) => { Some(($label, $value)) };
}

rows! {
    /// What only grows.
    Counter {
        ReceivedBytes = "ottla_received_bytes_total", "Bytes received from clients.";
        SentBytes = "ottla_sent_bytes_total", "Bytes sent to clients.";
        ConnectionsAccepted = "ottla_connections_accepted_total", "Connections that this shard has taken over.";
        ConnectionsRefused = "ottla_connections_refused_total",
            "Connections closed at once for max.connections or max.connections.per.ip.";
        AppendedBatches = "ottla_appended_batches_total", "Batches of clients appended to logs of this shard.";
        AppendedRecords = "ottla_appended_records_total", "Records in them.";
        AppendedBytes = "ottla_appended_bytes_total", "Bytes of them, as they came.";
        DuplicateBatches = "ottla_duplicate_batches_total",
            "Batches of idempotent producers that were in the log already.";
        RejectedBatches = "ottla_rejected_batches_total", "Batches that were not appended.";
        FetchedMemory = "ottla_fetched_bytes_total" ["source" = "memory"], FETCHED;
        FetchedPageCache = "ottla_fetched_bytes_total" ["source" = "page_cache"], FETCHED;
        FetchedDisk = "ottla_fetched_bytes_total" ["source" = "disk"], FETCHED;
        FetchedRecordsMemory = "ottla_fetched_records_total" ["source" = "memory"],
            "Records sent from memory, in whole batches and without the marks of transactions' ends; in what is sent \
             from files nobody looks for records.";
        JournalBytes = "ottla_commit_bytes_total" ["kind" = "journal"], COMMIT_BYTES;
        SegmentBytes = "ottla_commit_bytes_total" ["kind" = "segment"], COMMIT_BYTES;
        WriteBackBytes = "ottla_commit_bytes_total" ["kind" = "write_back"], COMMIT_BYTES;
        SegmentsRolled = "ottla_segments_rolled_total", "Segments closed because a new one began.";
        SegmentsDeleted = "ottla_segments_deleted_total", "Segments removed by retention or DeleteRecords.";
        CleanerPasses = "ottla_cleaner_passes_total", "Logs compacted, once each.";
        CleanerFailures = "ottla_cleaner_failures_total", "Cleanings that ended without a result.";
        CleanerReadBytes = "ottla_cleaner_read_bytes_total", "Bytes that the cleaner has read.";
        CleanerWrittenBytes = "ottla_cleaner_written_bytes_total", "Bytes that the cleaner has kept and written.";
        MeshQuestions = "ottla_mesh_questions_total", "Questions that this shard has asked others.";
        LoopSleeps = "ottla_loop_sleeps_total", "Times that the shard had nothing to do and slept.";
        TaskPolls = "ottla_task_polls_total", "Polls of tasks.";
    }
}

const FETCHED: &str =
    "Bytes of records sent: from memory, from the page cache, or read from the disk for it.";
const COMMIT_BYTES: &str = "Bytes of durable writes: to the journal, to a segment at once, or to a segment what the \
                            journal has had before.";

rows! {
    /// What goes up and down; read when somebody asks.
    Gauge {
        Connections = "ottla_connections", "Connections that are open.";
        PartitionsLed = "ottla_partitions_led", "Partitions that this shard leads.";
        LogDirsOffline = "ottla_log_dirs_offline", "Log directories that are offline.";
        RequestMemory = "ottla_request_memory_bytes", "Memory of requests in progress and replies unsent.";
        RequestMemoryLimit = "ottla_request_memory_limit_bytes",
            "The most of it: this shard's part of queued.max.request.bytes.";
        UnflushedBytes = "ottla_unflushed_bytes", "Bytes that are appended and not on disk.";
        UnflushedLimit = "ottla_unflushed_limit_bytes", "The most of them; appends wait beyond.";
        TailBytes = "ottla_tail_memory_bytes", "Memory of the newest blocks of the partitions.";
        TailLimit = "ottla_tail_memory_limit_bytes",
            "The most of it that is kept when it is on disk: ottla.tail.cache.bytes.";
        SegmentFilesOpen = "ottla_segment_files_open", "Segment files that are kept open.";
        FlushQueue = "ottla_flush_queue_partitions", "Partitions that write to their segments or wait to.";
        MeshQueue = "ottla_mesh_queue_messages", "Messages to other shards that these have not taken.";
        CleanerDirtyRatio = "ottla_cleaner_dirty_ratio",
            "The highest part of a compacted log that was dirty when the cleaner last looked.";
        CleanerLastPass = "ottla_cleaner_last_pass_seconds", "How long the last cleaning of a log has taken.";
        LoopTurnMax = "ottla_loop_turn_max_seconds",
            "The longest turn of the shard's loop in the last 10 to 20 seconds: nothing else ran meanwhile.";
    }
}

rows! {
    /// What takes time: histograms.
    Timing {
        ProduceReceive = "ottla_produce_stage_seconds" ["stage" = "receive"], PRODUCE;
        ProduceDecode = "ottla_produce_stage_seconds" ["stage" = "decode"], PRODUCE;
        ProduceMesh = "ottla_produce_stage_seconds" ["stage" = "mesh"], PRODUCE;
        ProduceAppend = "ottla_produce_stage_seconds" ["stage" = "append"], PRODUCE;
        ProduceCommitWait = "ottla_produce_stage_seconds" ["stage" = "commit_wait"], PRODUCE;
        ProduceCommit = "ottla_produce_stage_seconds" ["stage" = "commit"], PRODUCE;
        ProduceReply = "ottla_produce_stage_seconds" ["stage" = "reply"], PRODUCE;
        ProduceOrder = "ottla_produce_stage_seconds" ["stage" = "order"], PRODUCE;
        ProduceSend = "ottla_produce_stage_seconds" ["stage" = "send"], PRODUCE;
        FetchReceive = "ottla_fetch_stage_seconds" ["stage" = "receive"], FETCH;
        FetchPlan = "ottla_fetch_stage_seconds" ["stage" = "plan"], FETCH;
        FetchMesh = "ottla_fetch_stage_seconds" ["stage" = "mesh"], FETCH;
        FetchRead = "ottla_fetch_stage_seconds" ["stage" = "read"], FETCH;
        FetchWait = "ottla_fetch_stage_seconds" ["stage" = "wait"], FETCH;
        FetchReply = "ottla_fetch_stage_seconds" ["stage" = "reply"], FETCH;
        FetchOrder = "ottla_fetch_stage_seconds" ["stage" = "order"], FETCH;
        FetchSend = "ottla_fetch_stage_seconds" ["stage" = "send"], FETCH;
        ProduceTotal = "ottla_request_seconds" ["api" = "Produce"], REQUEST;
        FetchTotal = "ottla_request_seconds" ["api" = "Fetch"], REQUEST;
        OtherTotal = "ottla_request_seconds" ["api" = "other"], REQUEST;
        CommitJournal = "ottla_commit_seconds" ["kind" = "journal"], COMMIT;
        CommitSegment = "ottla_commit_seconds" ["kind" = "segment"], COMMIT;
        WriteBack = "ottla_commit_seconds" ["kind" = "write_back"], COMMIT;
        LoopTurn = "ottla_loop_turn_seconds",
            "Turns of the shard's loop, from one look at the kernel to the next, without sleep.";
    }
}

const PRODUCE: &str = "Where Produce requests spend their time, per request on the shard of its connection: until it \
                       is taken up (receive), decoded, to the owner shard and back (mesh), appended, until a commit \
                       that covers it begins (commit_wait), the write and its sync (commit), until the reply stands \
                       (reply), behind earlier replies of the connection (order), until the kernel has it (send).";
const FETCH: &str = "Where Fetch requests spend their time: until it is taken up (receive), decoded (plan), to the \
                     owner shards and back (mesh), looking records up (read), waiting for records that are not there \
                     (wait), until the reply stands (reply), behind earlier replies (order), until the kernel has all \
                     of it, reads of the disk with it (send).";
const REQUEST: &str = "From a request's bytes to its reply's last byte handed to the kernel.";
const COMMIT: &str = "Durable writes: to the journal, to a segment at once, or to a segment what the journal has had \
                      before (write_back); _count is their number.";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn check(rows: &[Row], units: &[&str]) -> BTreeSet<&'static str> {
        let mut families: Vec<(&str, &str)> = Vec::new();
        let mut series = BTreeSet::new();
        for row in rows {
            assert!(series.insert((row.name, row.label)), "{row:?} stands once");
            assert!(row.name.starts_with("ottla_"), "{row:?}");
            assert!(units.iter().any(|unit| row.name.ends_with(unit)), "{row:?} names no unit");
            match families.last() {
                Some((name, help)) if *name == row.name => assert_eq!(*help, row.help, "{row:?}"),
                _ => families.push((row.name, row.help)),
            }
        }
        let names: BTreeSet<&str> = families.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), families.len(), "rows of one family stand together");
        names
    }

    #[test]
    fn names_are_one_family_each_with_their_unit() {
        let rows = |rows: &[Row]| rows.to_vec();
        let counters = rows(&Counter::ALL.iter().map(|it| it.row()).collect::<Vec<_>>());
        let gauges = rows(&Gauge::ALL.iter().map(|it| it.row()).collect::<Vec<_>>());
        let timings = rows(&Timing::ALL.iter().map(|it| it.row()).collect::<Vec<_>>());
        let units = [
            "_bytes",
            "_seconds",
            "_ratio",
            "_partitions",
            "_messages",
            "_connections",
            "_led",
            "_open",
            "_offline",
        ];
        let mut all = check(&counters, &["_total"]);
        let mut count = all.len();
        for names in [check(&gauges, &units), check(&timings, &["_seconds"])] {
            count += names.len();
            all.extend(names);
        }
        assert_eq!(all.len(), count, "a family is in one table");
    }

    #[test]
    fn the_place_of_a_row_is_its_number() {
        assert!(Counter::ALL.iter().enumerate().all(|(at, counter)| *counter as usize == at));
        assert!(Gauge::ALL.iter().enumerate().all(|(at, gauge)| *gauge as usize == at));
        assert!(Timing::ALL.iter().enumerate().all(|(at, timing)| *timing as usize == at));
    }
}
