//! Which errors a reply tells, for the counters: one line per message that this broker answers with.
//!
//! What must hold: a reply that is sent has its line here (it does not compile otherwise), with every place in it that
//! has an error code.

use ottla_wire::alter_configs_response::AlterConfigsResponse;
use ottla_wire::api_versions_response::ApiVersionsResponse;
use ottla_wire::create_acls_response::CreateAclsResponse;
use ottla_wire::create_partitions_response::CreatePartitionsResponse;
use ottla_wire::create_topics_response::CreateTopicsResponse;
use ottla_wire::delete_acls_response::DeleteAclsResponse;
use ottla_wire::delete_groups_response::DeleteGroupsResponse;
use ottla_wire::delete_records_response::DeleteRecordsResponse;
use ottla_wire::delete_topics_response::DeleteTopicsResponse;
use ottla_wire::describe_acls_response::DescribeAclsResponse;
use ottla_wire::describe_cluster_response::DescribeClusterResponse;
use ottla_wire::describe_configs_response::DescribeConfigsResponse;
use ottla_wire::describe_groups_response::DescribeGroupsResponse;
use ottla_wire::describe_log_dirs_response::DescribeLogDirsResponse;
use ottla_wire::describe_producers_response::DescribeProducersResponse;
use ottla_wire::describe_quorum_response::DescribeQuorumResponse;
use ottla_wire::describe_topic_partitions_response::DescribeTopicPartitionsResponse;
use ottla_wire::elect_leaders_response::ElectLeadersResponse;
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::find_coordinator_response::FindCoordinatorResponse;
use ottla_wire::heartbeat_response::HeartbeatResponse;
use ottla_wire::incremental_alter_configs_response::IncrementalAlterConfigsResponse;
use ottla_wire::init_producer_id_response::InitProducerIdResponse;
use ottla_wire::join_group_response::JoinGroupResponse;
use ottla_wire::leave_group_response::LeaveGroupResponse;
use ottla_wire::list_config_resources_response::ListConfigResourcesResponse;
use ottla_wire::list_groups_response::ListGroupsResponse;
use ottla_wire::list_offsets_response::ListOffsetsResponse;
use ottla_wire::list_partition_reassignments_response::ListPartitionReassignmentsResponse;
use ottla_wire::metadata_response::MetadataResponse;
use ottla_wire::offset_commit_response::OffsetCommitResponse;
use ottla_wire::offset_delete_response::OffsetDeleteResponse;
use ottla_wire::offset_fetch_response::OffsetFetchResponse;
use ottla_wire::offset_for_leader_epoch_response::OffsetForLeaderEpochResponse;
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::sasl_authenticate_response::SaslAuthenticateResponse;
use ottla_wire::sasl_handshake_response::SaslHandshakeResponse;
use ottla_wire::sync_group_response::SyncGroupResponse;

/// A reply that says what went wrong.
pub trait TellsErrors {
    /// Calls `tell` with every error code of the reply, 0 for none among them.
    fn each_error(&self, tell: impl FnMut(i16));
}

/// Walks down the lists to the error code.
macro_rules! each {
    ($of:expr, $tell:ident) => { $tell($of.error_code) };
    ($of:expr, $tell:ident, $list:ident $(, $rest:ident)*) => {
        for inner in &$of.$list {
            each!(inner, $tell $(, $rest)*);
        }
    };
}

/// The places of error codes: `()` for the message itself, `(a, b)` for each `b` of each `a`.
macro_rules! errors_of {
    ($($message:ty: $(($($list:ident),*))+;)*) => {
        $(impl TellsErrors for $message {
            fn each_error(&self, mut tell: impl FnMut(i16)) {
                $(each!(self, tell $(, $list)*);)+
            }
        })*
    };
}

errors_of! {
    AlterConfigsResponse<'_>: (responses);
    ApiVersionsResponse<'_>: ();
    CreateAclsResponse<'_>: (results);
    CreatePartitionsResponse<'_>: (results);
    CreateTopicsResponse<'_>: (topics);
    DeleteAclsResponse<'_>: (filter_results);
    DeleteGroupsResponse<'_>: (results);
    DeleteRecordsResponse<'_>: (topics, partitions);
    DeleteTopicsResponse<'_>: (responses);
    DescribeAclsResponse<'_>: ();
    DescribeClusterResponse<'_>: ();
    DescribeConfigsResponse<'_>: (results);
    DescribeGroupsResponse<'_>: (groups);
    DescribeLogDirsResponse<'_>: () (results);
    DescribeProducersResponse<'_>: (topics, partitions);
    DescribeQuorumResponse<'_>: () (topics, partitions);
    DescribeTopicPartitionsResponse<'_>: (topics) (topics, partitions);
    ElectLeadersResponse<'_>: () (replica_election_results, partition_result);
    FetchResponse<'_>: () (responses, partitions);
    FindCoordinatorResponse<'_>: () (coordinators);
    HeartbeatResponse: ();
    IncrementalAlterConfigsResponse<'_>: (responses);
    InitProducerIdResponse: ();
    JoinGroupResponse<'_>: ();
    LeaveGroupResponse<'_>: () (members);
    ListConfigResourcesResponse<'_>: ();
    ListGroupsResponse<'_>: ();
    ListOffsetsResponse<'_>: (topics, partitions);
    ListPartitionReassignmentsResponse<'_>: ();
    MetadataResponse<'_>: () (topics) (topics, partitions);
    OffsetCommitResponse<'_>: (topics, partitions);
    OffsetDeleteResponse<'_>: () (topics, partitions);
    OffsetFetchResponse<'_>: () (topics, partitions) (groups) (groups, topics, partitions);
    OffsetForLeaderEpochResponse<'_>: (topics, partitions);
    ProduceResponse<'_>: (responses, partition_responses);
    SaslAuthenticateResponse<'_>: ();
    SaslHandshakeResponse<'_>: ();
    SyncGroupResponse<'_>: ();
}

#[cfg(test)]
mod tests {
    use ottla_wire::produce_response::{PartitionProduceResponse, TopicProduceResponse};

    use super::*;

    #[test]
    fn every_place_is_told() {
        let mut codes = Vec::new();
        let partition = |error_code| PartitionProduceResponse { error_code, ..Default::default() };
        let topic = |codes: &[i16]| TopicProduceResponse {
            partition_responses: codes.iter().map(|code| partition(*code)).collect(),
            ..Default::default()
        };
        let reply = ProduceResponse { responses: vec![topic(&[0, 2]), topic(&[7])], ..Default::default() };
        reply.each_error(|code| codes.push(code));
        assert_eq!(codes, [0, 2, 7]);
        codes.clear();
        let reply = FindCoordinatorResponse { error_code: 15, ..Default::default() };
        reply.each_error(|code| codes.push(code));
        assert_eq!(codes, [15]);
    }
}
