//! DescribeLogDirs (key 35, versions 1-5): how many bytes each partition takes in each log directory (KIP-113),
//! and how much room the directory's disk has (KIP-827).

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::describe_log_dirs_request::DescribeLogDirsRequest;
use ottla_wire::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

use crate::errors::ErrorCode;

/// One partition's share of a log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionUsage {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// Bytes of its segments.
    pub bytes: u64,
}

/// One log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirUsage {
    /// Its absolute path.
    pub path: String,
    /// `KAFKA_STORAGE_ERROR` when it is offline.
    pub error: ErrorCode,
    /// Bytes of its disk; -1 where unknown.
    pub total_bytes: i64,
    /// Bytes that are free there; -1 where unknown.
    pub usable_bytes: i64,
    /// The partitions that lie in it.
    pub partitions: Vec<PartitionUsage>,
}

/// The reply: the directories of all shards merged by path, with the partitions that were asked for.
#[must_use]
pub fn reply(
    request: &DescribeLogDirsRequest<'_>,
    usages: Vec<LogDirUsage>,
) -> DescribeLogDirsResponse<'static> {
    let asked = request.topics.as_ref().map(|topics| {
        let pairs =
            topics.iter().flat_map(|topic| topic.partitions.iter().map(|&index| (&*topic.topic, index)));
        pairs.collect::<BTreeSet<(&str, i32)>>()
    });
    let mut by_path: BTreeMap<String, LogDirUsage> = BTreeMap::new();
    for usage in usages {
        match by_path.get_mut(&usage.path) {
            Some(merged) => merged.partitions.extend(usage.partitions),
            None => {
                by_path.insert(usage.path.clone(), usage);
            }
        }
    }
    let results = by_path.into_values().map(|usage| directory(asked.as_ref(), usage)).collect();
    DescribeLogDirsResponse { results, ..DescribeLogDirsResponse::default() }
}

fn directory(asked: Option<&BTreeSet<(&str, i32)>>, usage: LogDirUsage) -> DescribeLogDirsResult<'static> {
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in usage.partitions {
        if asked.is_none_or(|asked| asked.contains(&(partition.topic.as_str(), partition.partition))) {
            topics.entry(partition.topic).or_default().push(DescribeLogDirsPartition {
                partition_index: partition.partition,
                partition_size: i64::try_from(partition.bytes).expect("a partition has under 2^63 bytes"),
                offset_lag: 0,
                is_future_key: false,
            });
        }
    }
    for partitions in topics.values_mut() {
        partitions.sort_by_key(|partition| partition.partition_index);
    }
    let topics =
        topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name: name.into(), partitions });
    DescribeLogDirsResult {
        error_code: usage.error.code(),
        log_dir: usage.path.into(),
        topics: topics.collect(),
        total_bytes: usage.total_bytes,
        usable_bytes: usage.usable_bytes,
        ..DescribeLogDirsResult::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_several_shards_are_merged() {
        let usage = |partition| LogDirUsage {
            path: "/d".into(),
            error: ErrorCode::None,
            total_bytes: 10,
            usable_bytes: 5,
            partitions: vec![PartitionUsage { topic: "t".into(), partition, bytes: 7 }],
        };
        let reply = reply(&DescribeLogDirsRequest { topics: None }, vec![usage(1), usage(0)]);
        assert_eq!(reply.results.len(), 1);
        let indexes: Vec<_> =
            reply.results[0].topics[0].partitions.iter().map(|partition| partition.partition_index).collect();
        assert_eq!(indexes, vec![0, 1]);
    }
}
