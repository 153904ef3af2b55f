//! The sets of operations that a client may do, as the bit fields of Metadata, DescribeCluster and their like.
//!
//! A bit's number is that of Kafka's `AclOperation`; the sets are those of `AclEntry.supportedOperations`. As long as
//! nobody is refused anything every client may do everything.

/// "Not asked for".
pub const NOT_ASKED: i32 = i32::MIN;

const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const CLUSTER_ACTION: i32 = 1 << 9;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;

/// Everything that can be done with a topic.
pub const TOPIC_ALL: i32 =
    READ | WRITE | CREATE | DESCRIBE | DELETE | ALTER | DESCRIBE_CONFIGS | ALTER_CONFIGS;
/// Everything that can be done with a group.
pub const GROUP_ALL: i32 = READ | DESCRIBE | DELETE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
/// Everything that can be done with the cluster.
pub const CLUSTER_ALL: i32 =
    CREATE | CLUSTER_ACTION | DESCRIBE_CONFIGS | ALTER_CONFIGS | IDEMPOTENT_WRITE | ALTER | DESCRIBE;

#[cfg(test)]
mod tests {
    #[test]
    fn the_numbers_that_kafka_answers() {
        assert_eq!(super::TOPIC_ALL, 3576);
        assert_eq!(super::CLUSTER_ALL, 8096);
    }
}
