//! DescribeQuorum (key 55, versions 0-2): the metadata quorum, which is this node alone.
//!
//! | version | change |
//! |---|---|
//! | 1 | when each replica last fetched and last had everything |
//! | 2 | error messages, directory ids, the controllers' endpoints |
//!
//! Asked for anything but partition 0 of `__cluster_metadata` Kafka refuses every partition of the request.

use std::borrow::Cow;

use ottla_wire::Uuid;
use ottla_wire::describe_quorum_request::DescribeQuorumRequest;
use ottla_wire::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};

use super::RequestContext;
use crate::controller::image::Endpoint;
use crate::controller::names::CLUSTER_METADATA;
use crate::errors::ErrorCode;
use crate::ids::{LeaderEpoch, NodeId, Offset};

/// From this version on the response names the controllers' endpoints and may carry messages.
const ENDPOINTS: i16 = 2;

/// Kafka's words for UNKNOWN_TOPIC_OR_PARTITION.
const UNKNOWN: &str = "This server does not host this topic-partition.";

/// The state of a quorum of one.
#[derive(Clone, Debug)]
pub struct QuorumState<'a> {
    /// This node, which is voter and leader.
    pub node_id: NodeId,
    /// The epoch in which it leads the metadata log.
    pub leader_epoch: LeaderEpoch,
    /// The end of what is durable in the metadata log.
    pub high_watermark: Offset,
    /// The end of the metadata log.
    pub log_end_offset: Offset,
    /// The controller listeners; none when clients cannot reach one.
    pub endpoints: &'a [Endpoint],
}

/// Answers a request.
#[must_use]
pub fn handle<'a>(
    context: &RequestContext<'_>,
    quorum: &QuorumState<'a>,
    request: &'a DescribeQuorumRequest<'_>,
) -> DescribeQuorumResponse<'a> {
    let is_asked_rightly = match request.topics.as_slice() {
        [topic] => {
            topic.topic_name == CLUSTER_METADATA
                && matches!(&topic.partitions[..], [p] if p.partition_index == 0)
        }
        _ => false,
    };
    // Kafka answers with an empty text where there is no error.
    let no_text = (context.version >= ENDPOINTS).then_some(Cow::Borrowed(""));
    if !is_asked_rightly {
        let topics = request.topics.iter().map(|topic| TopicData {
            topic_name: Cow::Borrowed(&*topic.topic_name),
            partitions: topic
                .partitions
                .iter()
                .map(|p| unknown(context.version, p.partition_index))
                .collect(),
        });
        return DescribeQuorumResponse {
            error_message: no_text,
            topics: topics.collect(),
            ..Default::default()
        };
    }
    let partition = PartitionData {
        partition_index: 0,
        error_message: no_text.clone(),
        leader_id: quorum.node_id.0,
        leader_epoch: quorum.leader_epoch.0,
        high_watermark: quorum.high_watermark.0,
        current_voters: vec![own_state(context, quorum)],
        ..Default::default()
    };
    let topic = TopicData { topic_name: Cow::Borrowed(CLUSTER_METADATA), partitions: vec![partition] };
    DescribeQuorumResponse {
        error_message: no_text,
        topics: vec![topic],
        nodes: if context.version >= ENDPOINTS { vec![own_node(quorum)] } else { Vec::new() },
        ..Default::default()
    }
}

/// The leader has fetched everything just now. Its directory's id is zero where the voters are configured and not
/// recorded in the log (`controller.quorum.voters`).
fn own_state(context: &RequestContext<'_>, quorum: &QuorumState<'_>) -> ReplicaState {
    ReplicaState {
        replica_id: quorum.node_id.0,
        replica_directory_id: Uuid::ZERO,
        log_end_offset: quorum.log_end_offset.0,
        last_fetch_timestamp: context.now_wall.0,
        last_caught_up_timestamp: context.now_wall.0,
    }
}

fn own_node<'a>(quorum: &QuorumState<'a>) -> Node<'a> {
    let listeners = quorum.endpoints.iter().map(|endpoint| Listener {
        name: Cow::Borrowed(&*endpoint.listener),
        host: Cow::Borrowed(&*endpoint.host),
        port: endpoint.port,
    });
    Node { node_id: quorum.node_id.0, listeners: listeners.collect() }
}

fn unknown(version: i16, partition_index: i32) -> PartitionData<'static> {
    PartitionData {
        partition_index,
        error_code: ErrorCode::UnknownTopicOrPartition.code(),
        error_message: (version >= ENDPOINTS).then_some(Cow::Borrowed(UNKNOWN)),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_wire::describe_quorum_request::{PartitionData as Asked, TopicData as AskedTopic};
    use ottla_wire::{ApiKey, Message};

    use super::*;
    use crate::request::tests::context;

    fn ask(topic: &'static str, partitions: &[i32]) -> DescribeQuorumRequest<'static> {
        let partitions = partitions.iter().map(|index| Asked { partition_index: *index }).collect();
        DescribeQuorumRequest { topics: vec![AskedTopic { topic_name: topic.into(), partitions }] }
    }

    fn quorum(endpoints: &[Endpoint]) -> QuorumState<'_> {
        QuorumState {
            node_id: NodeId(1),
            leader_epoch: LeaderEpoch(5),
            high_watermark: Offset(40),
            log_end_offset: Offset(42),
            endpoints,
        }
    }

    #[test]
    fn one_node_is_voter_and_leader() {
        let endpoint = Endpoint {
            listener: Arc::from("CONTROLLER"),
            host: Arc::from("here"),
            port: 9093,
            security_protocol: 0,
        };
        let endpoints = [endpoint];
        let request = ask(CLUSTER_METADATA, &[0]);
        for version in 0..=2 {
            let context = context(ApiKey::DescribeQuorum, version);
            let reply = handle(&context, &quorum(&endpoints), &request);
            reply.size(version).expect("the version carries it");
            let partition = &reply.topics[0].partitions[0];
            assert_eq!((partition.leader_id, partition.leader_epoch, partition.high_watermark), (1, 5, 40));
            assert_eq!(partition.current_voters[0].log_end_offset, 42);
            assert_eq!(partition.current_voters[0].last_caught_up_timestamp, context.now_wall.0);
            assert_eq!(reply.error_message.is_some(), version == 2);
            assert_eq!(
                reply.nodes.first().map(|node| node.listeners[0].port),
                (version == 2).then_some(9093)
            );
        }
    }

    #[test]
    fn anything_else_is_unknown() {
        for request in [
            ask("t", &[0]),
            ask(CLUSTER_METADATA, &[1]),
            ask(CLUSTER_METADATA, &[0, 1]),
            ask(CLUSTER_METADATA, &[]),
        ] {
            let reply = handle(&context(ApiKey::DescribeQuorum, 2), &quorum(&[]), &request);
            assert_eq!(reply.error_code, 0);
            assert!(reply.nodes.is_empty());
            assert_eq!(reply.topics[0].partitions.len(), request.topics[0].partitions.len());
            for partition in &reply.topics[0].partitions {
                assert_eq!(partition.error_code, 3);
                assert_eq!(partition.error_message.as_deref(), Some(UNKNOWN));
            }
        }
        let none = DescribeQuorumRequest::default();
        assert!(handle(&context(ApiKey::DescribeQuorum, 0), &quorum(&[]), &none).topics.is_empty());
    }
}
