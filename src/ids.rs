//! The nouns that name things: brokers, topics, partitions, offsets, epochs, producers.
//!
//! Each is a type of its own so that the compiler refuses to take one for another. None owns anything; all are
//! plain values that cross shards freely.

use std::fmt;
use std::sync::Arc;

pub use ottla_wire::Uuid;

/// Declares a number that is a type of its own, with Kafka's "unset" value of -1.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A broker's or controller's `node.id`.
    NodeId(i32)
}
number! {
    /// The index of an executor of this process, 0-based: one per core that the broker was given.
    ShardId(u16)
}
number! {
    /// A record's place in its partition, counted in records.
    Offset(i64)
}
number! {
    /// A byte's place in a segment file.
    FilePosition(u64)
}
number! {
    /// The number that fences stale leaders of one partition; -1 where none is known.
    LeaderEpoch(i32)
}
number! {
    /// The number that the broker gives an idempotent producer; -1 for a producer that has none.
    ProducerId(i64)
}
number! {
    /// The number that fences older instances of one producer; -1 for none.
    ProducerEpoch(i16)
}
number! {
    /// Milliseconds since 1970 as clients and records carry them; -1 for none. Never used to measure a duration.
    TimestampMs(i64)
}

impl Offset {
    /// The offset before any record was ever written.
    pub const ZERO: Offset = Offset(0);
    /// Kafka's "no such offset".
    pub const NONE: Offset = Offset(-1);

    /// The offset `records` further on.
    #[must_use]
    pub fn plus(self, records: i64) -> Offset {
        Offset(self.0.checked_add(records).expect("an offset never passes 2^63 - 1"))
    }
}

impl LeaderEpoch {
    /// No epoch known.
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}

impl ProducerId {
    /// The producer is not idempotent.
    pub const NONE: ProducerId = ProducerId(-1);
}

impl ProducerEpoch {
    /// The producer is not idempotent.
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);
}

impl TimestampMs {
    /// No timestamp.
    pub const NONE: TimestampMs = TimestampMs(-1);
}

impl FilePosition {
    /// The position `bytes` further on.
    #[must_use]
    pub fn plus(self, bytes: u64) -> FilePosition {
        FilePosition(self.0.checked_add(bytes).expect("a file never passes 2^64 - 1 bytes"))
    }
}

/// A topic's identity: a recreated topic of the same name has another.
pub type TopicId = Uuid;

/// A partition by topic id: what placement, the mesh and the disk path use as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicIdPartition {
    /// The topic's id.
    pub topic_id: TopicId,
    /// The partition's index, 0-based.
    pub partition: i32,
}

/// A partition by topic name: what directories, logs and old request versions use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's index, 0-based.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    /// Kafka's directory name of the partition: `<topic>-<partition>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
