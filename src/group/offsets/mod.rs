//! The committed offsets of a group: by topic and partition, as the log has them.
//!
//! Held by the shard that owns the group. On disk: one record of `__consumer_offsets` per entry, a tombstone ends it.
//! What must hold: entries change only by replaying durable records in the order of the log, at start and live alike,
//! so that what is answered is what a restart would find.

pub(crate) mod commit;
pub(crate) mod delete;
pub(crate) mod expiry;
pub(crate) mod fetch;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{Offset, TimestampMs, TopicId};

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    /// The next offset to consume.
    pub(crate) offset: i64,
    /// The epoch of the last consumed record; -1 for none.
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: Box<str>,
    pub(crate) committed_at: TimestampMs,
    /// Given by clients of versions 2 to 4 alone.
    pub(crate) expires_at: Option<TimestampMs>,
    /// Zero in records older than topic ids.
    pub(crate) topic_id: TopicId,
    /// Where the record stands in `__consumer_offsets`.
    pub(crate) record_offset: Offset,
}

/// A group's committed offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupOffsets {
    by_topic: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
    count: usize,
}

impl GroupOffsets {
    /// Whether nothing is committed.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many partitions have an offset.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The offset of a partition.
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.by_topic.get(topic)?.get(&partition)
    }

    /// Every topic with its partitions, both ascending.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&Arc<str>, &BTreeMap<i32, CommittedOffset>)> {
        self.by_topic.iter()
    }

    /// Every committed offset with its topic and partition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &CommittedOffset)> {
        self.by_topic.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, offset)| (topic, *partition, offset))
        })
    }

    /// Takes a record of the log: a newer offset, or the end of one. A commit of a transaction takes effect with the
    /// transaction's end, and loses to one that was written between the two (as by Kafka's `OffsetMetadataManager`):
    /// compaction would keep that one.
    pub(crate) fn replay(&mut self, topic: &Arc<str>, partition: i32, value: Option<CommittedOffset>) {
        match value {
            Some(offset) => {
                let partitions = self.by_topic.entry(topic.clone()).or_default();
                let is_older = |known: &CommittedOffset| known.record_offset > offset.record_offset;
                if partitions.get(&partition).is_some_and(is_older) {
                    return;
                }
                self.count += usize::from(partitions.insert(partition, offset).is_none());
            }
            None => {
                let Some(partitions) = self.by_topic.get_mut(topic) else { return };
                self.count -= usize::from(partitions.remove(&partition).is_some());
                if partitions.is_empty() {
                    self.by_topic.remove(topic);
                }
            }
        }
    }
}
