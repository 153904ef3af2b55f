//! Every limit of the broker that is not a setting, with the relations that must hold between them.
//!
//! A limit that users may change is a setting (`src/config`); what stands here is what makes those settings safe.

/// The direct-I/O unit: segment writes start and end on multiples of this many bytes.
pub const BLOCK_BYTES: usize = 4096;

/// Bytes of the header of a version 2 record batch, up to its first record.
pub const BATCH_HEADER_BYTES: usize = 61;

/// The most bytes of a file that is read whole: an index, a snapshot, a checkpoint, an archive of the log dir. The
/// largest of them, of 100,000 partitions with ten segments each, has a tenth of it.
pub const WHOLE_FILE_BYTES_MAX: usize = 1 << 30;

/// The most elements that one array of a request may have (Kafka 4.4's own bound).
pub const ARRAY_ELEMENTS_MAX: usize = 1_000_000;

/// The most partitions that the fetch sessions of one shard remember together: some 24 MiB.
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 100_000;

/// The most tagged fields that one structure may carry (Kafka 4.4's own bound).
pub const TAGGED_FIELDS_MAX: usize = 10_000;

/// The most bytes that one record batch may decompress to.
pub const DECOMPRESSED_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The most invalid records that the answer to one produced batch names; the rest fail with their batch, unnamed.
pub const RECORD_ERRORS_MAX: usize = 1_000;

/// The most bytes of a topic's name (KIP-1 rules: letters, digits, `.`, `_`, `-`).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// The most partitions that one topic may have.
pub const PARTITIONS_PER_TOPIC_MAX: i32 = 100_000;

/// The most shards that one process runs.
pub const SHARDS_MAX: u16 = 512;

/// Batches remembered per producer and partition for duplicate detection (Kafka's `NUM_BATCHES_TO_RETAIN`).
pub const PRODUCER_BATCHES_RETAINED: usize = 5;

const _: () = assert!(BLOCK_BYTES.is_power_of_two());
const _: () = assert!(BATCH_HEADER_BYTES < BLOCK_BYTES);

/// The most members that one group may have, whatever `group.max.size` says: a generation is one record.
pub const GROUP_MEMBERS_MAX: usize = 16_384;

/// The most member ids of one group that were handed out and not yet used (KIP-394).
pub const GROUP_PENDING_MEMBERS_MAX: usize = 16_384;

/// The most groups that one shard coordinates; further ones are refused, loaded ones are kept.
pub const GROUPS_PER_SHARD_MAX: usize = 200_000;

/// The most assignors that one member may offer.
pub const GROUP_PROTOCOLS_MAX: usize = 128;

/// The most bytes that one member's assignors may carry together.
pub const GROUP_MEMBER_METADATA_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most bytes that the assignors of all members of one group may carry together.
pub const GROUP_METADATA_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most bytes of a string that goes into a record of `__consumer_offsets`: its length is a signed 16-bit number.
pub const GROUP_STRING_BYTES_MAX: usize = i16::MAX as usize;

/// The most bytes of a client's or instance's name that become part of a generated member id.
pub const GROUP_MEMBER_ID_NAME_BYTES_MAX: usize = 1_024;

/// The most UTF-16 units of a commit's metadata string, whatever `offset.metadata.max.bytes` says: three bytes each
/// must fit a string of a record.
pub const GROUP_OFFSET_METADATA_UNITS_MAX: i32 = 10_922;

/// The most bytes of coordinator records of one shard that wait for the disk.
pub const GROUP_APPEND_BYTES_IN_FLIGHT_MAX: usize = 64 * 1024 * 1024;

/// The most tombstones that go into one append of the coordinator.
pub const GROUP_TOMBSTONES_PER_APPEND_MAX: usize = 1_000;

/// The most bytes of tombstones that go into one append of the coordinator.
pub const GROUP_TOMBSTONE_BYTES_PER_APPEND_MAX: usize = 256 * 1024;

/// The most committed offsets that one step of the search for expired ones looks at.
pub const GROUP_SWEEP_OFFSETS_MAX: usize = 10_000;

/// The most groups that one step of the search for expired offsets looks at.
pub const GROUP_SWEEP_GROUPS_MAX: usize = 1_000;

/// The most groups whose timers one call of the coordinator's `on_timeout` serves.
pub const GROUP_TIMERS_PER_CALL_MAX: usize = 1_024;

/// The most OffsetFetch requests of one partition that wait for commits under way.
pub const GROUP_FETCHES_PARKED_MAX: usize = 1_024;

const _: () = assert!(GROUP_MEMBER_METADATA_BYTES_MAX <= GROUP_METADATA_BYTES_MAX);
const _: () = assert!(GROUP_OFFSET_METADATA_UNITS_MAX as usize * 3 <= GROUP_STRING_BYTES_MAX);
const _: () = assert!(GROUP_MEMBER_ID_NAME_BYTES_MAX + 37 <= GROUP_STRING_BYTES_MAX);

/// Leader epochs remembered per partition; the oldest make room.
pub const LEADER_EPOCHS_MAX: usize = 65_536;

/// Producers remembered per partition; those idle longest make room.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 10_000;

/// The most bytes of a segment: Kafka's positions and sizes in a segment are 32-bit.
pub const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// Batches of a log whose boundaries are kept in memory where there are as many: 24 bytes each.
pub const TAIL_BATCHES: usize = 256;

/// The most boundaries kept of batches that are above the high watermark.
pub const TAIL_BATCHES_MAX: usize = 16_384;

const _: () = assert!(TAIL_BATCHES < TAIL_BATCHES_MAX);

/// Entries of the last segment's indexes that a clean start reads and keeps in memory.
pub const INDEX_TAIL_ENTRIES: usize = 512;

/// How far a start looks for later batches behind zeros, which a preallocated segment ends with.
pub const SEARCH_BYTES_BEHIND_ZEROS: u64 = 64 * 1024;

/// How far a start looks for later batches behind a torn one, whose write may have been this large.
pub const SEARCH_BYTES_BEHIND_DAMAGE: u64 = 4 * 1024 * 1024;

/// The most partitions that one request may create (Kafka's `MAX_PARTITIONS_PER_BATCH`): they are one batch of records.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// The most partitions that all topics together may have.
pub const PARTITIONS_TOTAL_MAX: usize = 200_000;

/// The most memory, roughly, that the configuration overrides of all resources together may take.
pub const CONFIG_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The most settings that one DescribeConfigs answer holds: those of some ten thousand topics.
pub const DESCRIBED_CONFIGS_MAX: usize = 400_000;

/// The most producers that one DescribeProducers answer holds, and that one shard looks up for it at a time: several
/// partitions with as many as they remember.
pub const DESCRIBED_PRODUCERS_MAX: usize = 200_000;
const _: () = assert!(DESCRIBED_PRODUCERS_MAX >= PRODUCERS_PER_PARTITION_MAX);

const _: () = assert!(PARTITIONS_PER_TOPIC_MAX as usize <= PARTITIONS_TOTAL_MAX);
const _: () = assert!(PARTITIONS_PER_REQUEST_MAX <= PARTITIONS_PER_TOPIC_MAX as usize);

/// The largest batch that the cleaner looks at; a segment with a larger one is left as it is.
pub const CLEANED_BATCH_BYTES_MAX: usize = 128 * 1024 * 1024;

const _: () = assert!(CLEANED_BATCH_BYTES_MAX as u64 <= SEGMENT_BYTES_MAX);

/// The most bytes of one frame of a journal: one group commit.
pub const JOURNAL_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most bytes of a journal file that a start reads.
pub const JOURNAL_BYTES_MAX: usize = 256 * 1024 * 1024;

const _: () = assert!(JOURNAL_FRAME_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(JOURNAL_FRAME_BYTES_MAX < JOURNAL_BYTES_MAX);
