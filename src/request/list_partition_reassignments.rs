//! ListPartitionReassignments (key 46, version 0): partitions that are moving between brokers (KIP-455).
//!
//! One node has nowhere to move a partition to: the answer is an empty list, whatever is asked for. Topics and
//! partitions that do not exist are left out by Kafka as well, without an error.

use ottla_wire::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use ottla_wire::list_partition_reassignments_response::ListPartitionReassignmentsResponse;

/// Answers a request.
#[must_use]
pub fn handle(_: &ListPartitionReassignmentsRequest<'_>) -> ListPartitionReassignmentsResponse<'static> {
    ListPartitionReassignmentsResponse {
        error_message: None,
        ..ListPartitionReassignmentsResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
    use ottla_wire::{Message, Writer};

    use super::*;

    #[test]
    fn nothing_moves() {
        let topic = ListPartitionReassignmentsTopics { name: "nope".into(), partition_indexes: vec![0] };
        for topics in [None, Some(Vec::new()), Some(vec![topic])] {
            let reply = handle(&ListPartitionReassignmentsRequest { topics, ..Default::default() });
            let mut writer = Writer::with_capacity(reply.size(0).expect("version 0 carries it"));
            reply.encode(&mut writer, 0);
            // What Kafka 4.3.1 answers to each: no throttle, no error, no sentence, no topics, no tags.
            assert_eq!(writer.buf, [0, 0, 0, 0, 0, 0, 0, 1, 0]);
        }
    }
}
