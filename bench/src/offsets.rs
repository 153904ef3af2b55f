//! Where the logs of a topic begin and end, as their leader says; and whether it leads them yet.

use ottla::errors::ErrorCode;
use ottla::ids::Offset;
use ottla_tools::client::Client;
use ottla_wire::ApiKey;
use ottla_wire::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_wire::list_offsets_response::ListOffsetsResponse;

use crate::cluster::{Cluster, Topic, patiently};
use crate::error::BenchError;

/// An end of a log, as the timestamp that stands for it in ListOffsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The log start offset.
    Earliest = -2,
    /// The high watermark.
    Latest = -1,
}

/// What a leader says of one partition: an offset, or an error code.
type Answer = Result<Offset, i16>;

/// A connection to one leader, to ask for offsets.
pub(crate) struct Offsets<'c> {
    client: &'c mut Client,
    address: &'c str,
    topic: &'c Topic,
    version: i16,
}

impl<'c> Offsets<'c> {
    /// Asks the broker `node`, to which `client` is connected.
    pub(crate) fn of(
        cluster: &'c Cluster,
        node: i32,
        client: &'c mut Client,
        topic: &'c Topic,
    ) -> Result<Self, BenchError> {
        let version = cluster.version(ApiKey::ListOffsets)?;
        Ok(Self { client, address: cluster.broker_address(node), topic, version })
    }

    /// The offsets at this end, in the order of `partitions`.
    pub(crate) fn list(&mut self, end: End, partitions: &[i32]) -> Result<Vec<Offset>, BenchError> {
        let refused = |code| BenchError::refused(ApiKey::ListOffsets, code, None);
        self.ask(end, partitions)?.into_iter().map(|answer| answer.map_err(refused)).collect()
    }

    fn ask(&mut self, end: End, partitions: &[i32]) -> Result<Vec<Answer>, BenchError> {
        let api = ApiKey::ListOffsets;
        let request = list_request(&self.topic.name, end, partitions.iter().copied());
        let address = self.address;
        let reply: ListOffsetsResponse<'_> = self
            .client
            .call(api, self.version, &request)
            .map_err(|error| BenchError::Call { api, address: address.to_owned(), error })?;
        let answers: Vec<_> = reply.topics.iter().flat_map(|topic| &topic.partitions).collect();
        let answer_of = |partition: &i32| match answers.iter().find(|a| a.partition_index == *partition) {
            None => Err(ErrorCode::UnknownServerError.code()),
            Some(answer) if answer.error_code != ErrorCode::None.code() => Err(answer.error_code),
            Some(answer) => Ok(Offset(answer.offset)),
        };
        Ok(partitions.iter().map(answer_of).collect())
    }
}

/// The request for this end of partitions of a topic.
pub(crate) fn list_request(
    topic: &str,
    end: End,
    partitions: impl Iterator<Item = i32>,
) -> ListOffsetsRequest<'_> {
    let asked = partitions.map(|partition_index| ListOffsetsPartition {
        partition_index,
        current_leader_epoch: -1,
        timestamp: end as i64,
    });
    let topic = ListOffsetsTopic { name: topic.into(), partitions: asked.collect() };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() }
}

/// Waits until every leader of `topic` knows that it leads: Metadata names the leaders of a new topic before the
/// brokers have made its logs.
pub(crate) fn await_leaders(cluster: &Cluster, topic: &Topic) -> Result<(), BenchError> {
    for (node, partitions) in &topic.leaders {
        let mut client = cluster.connect(*node)?;
        let mut offsets = Offsets::of(cluster, *node, &mut client, topic)?;
        let led = patiently(|| {
            let answers = offsets.ask(End::Latest, partitions)?;
            let last = answers.into_iter().find_map(Result::err);
            match last {
                None => Ok(Some(())),
                Some(code) if is_passing(code) => Ok(None),
                Some(code) => Err(BenchError::refused(ApiKey::ListOffsets, code, None)),
            }
        })?;
        if led.is_none() {
            let what = format!("broker {node} does not take its partitions");
            return Err(BenchError::Topic { name: topic.name.clone(), what });
        }
    }
    Ok(())
}

/// Whether a leader that answers this may answer otherwise soon after a topic was created.
fn is_passing(code: i16) -> bool {
    matches!(
        ErrorCode::from_code(code),
        Some(
            ErrorCode::NotLeaderOrFollower
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::ReplicaNotAvailable
                | ErrorCode::OffsetNotAvailable
        )
    )
}
