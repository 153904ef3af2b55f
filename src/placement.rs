//! Which shard owns a partition: a stable function of the topic id, the partition and the number of shards.
//!
//! Every shard computes the same answer without asking. The partitions of one topic go round the shards from a start
//! that the topic's id decides, so that they spread evenly however few they are and so that topics of one partition do
//! not all meet on the first shard. Nothing of it is on disk: a restart with another number of shards moves the
//! partitions, not their files.

use crate::ids::{LeaderEpoch, ShardId, TopicId, TopicIdPartition};
use crate::limits::SHARDS_MAX;

/// Kafka's fixed id of `__cluster_metadata`.
pub const CLUSTER_METADATA_TOPIC_ID: TopicId = {
    let mut id = [0; 16];
    id[15] = 1;
    ottla_wire::Uuid(id)
};

/// The leader epoch of a metadata log that begins while this node is its whole quorum, as after a first election. One
/// that a broker of Kafka's has written goes on in the last epoch that it has.
pub const CLUSTER_METADATA_LEADER_EPOCH: LeaderEpoch = LeaderEpoch(1);

/// The shard that holds the metadata log and decides changes of the metadata.
pub const CONTROLLER_SHARD: ShardId = ShardId(0);

/// The shard that owns a partition among `shards` of them (1 to [`SHARDS_MAX`]).
#[must_use]
pub fn owner(partition: TopicIdPartition, shards: u16) -> ShardId {
    assert!(shards > 0, "a process has at least one shard");
    assert!(shards <= SHARDS_MAX, "{shards} shards are more than {SHARDS_MAX}");
    if partition.topic_id == CLUSTER_METADATA_TOPIC_ID {
        return CONTROLLER_SHARD;
    }
    let index = u64::from(partition.partition.cast_unsigned());
    let shard = first_of_topic(partition.topic_id).wrapping_add(index) % u64::from(shards);
    ShardId(u16::try_from(shard).expect("a remainder of a u16 is a u16"))
}

/// 64-bit FNV-1a of the id's bytes, halved so that adding a partition's index cannot wrap.
fn first_of_topic(topic: TopicId) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in topic.0 {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // The low bits of FNV see only the low bits of the input: fold the high half onto them.
    (hash ^ (hash >> 32)) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(n: u128) -> TopicId {
        ottla_wire::Uuid(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes())
    }

    #[test]
    fn partitions_of_one_topic_spread_evenly() {
        for shards in [1u16, 2, 3, 7, 16, 512] {
            for n in 0..20 {
                let mut owned = vec![0usize; usize::from(shards)];
                for partition in 0..1024 {
                    owned
                        [usize::from(owner(TopicIdPartition { topic_id: topic(n), partition }, shards).0)] +=
                        1;
                }
                let (least, most) =
                    (owned.iter().min().expect("not empty"), owned.iter().max().expect("not empty"));
                assert!(most - least <= 1, "{shards} shards own {owned:?}");
            }
        }
    }

    #[test]
    fn topics_of_one_partition_spread_as_well() {
        for shards in [2u16, 4, 16] {
            let mut owned = vec![0usize; usize::from(shards)];
            for n in 0..4096 {
                owned[usize::from(owner(TopicIdPartition { topic_id: topic(n), partition: 0 }, shards).0)] +=
                    1;
            }
            let fair = 4096 / usize::from(shards);
            assert!(owned.iter().all(|count| *count > fair * 7 / 10 && *count < fair * 13 / 10), "{owned:?}");
        }
    }

    #[test]
    fn the_answer_is_the_same_for_ever() {
        let partition = TopicIdPartition { topic_id: topic(42), partition: 5 };
        assert_eq!(owner(partition, 4), owner(partition, 4));
        assert_eq!([2u16, 3, 4, 8, 64].map(|shards| owner(partition, shards).0), [0, 1, 2, 2, 10]);
        for shards in [1, 2, 64] {
            let metadata = TopicIdPartition { topic_id: CLUSTER_METADATA_TOPIC_ID, partition: 0 };
            assert_eq!(owner(metadata, shards), CONTROLLER_SHARD);
        }
        assert_eq!(CLUSTER_METADATA_TOPIC_ID.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
    }
}
