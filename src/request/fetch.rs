//! Fetch (key 1, versions 4-18): what to read where, when a reply is due, and how the outcomes make one reply.
//!
//! The connection's shard owns a plan. The owner shards answer with descriptors (memory slices and file ranges), so
//! that reading more than the reply has room for costs nothing. What must hold: the first partition with records
//! gives at least one whole batch whatever the limits say (KIP-74); records are empty, never null, beside an error;
//! aborted transactions are a list for `read_committed` and null otherwise.

use std::sync::Arc;

use ottla_wire::fetch_request::FetchRequest;
use ottla_wire::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData,
};
use ottla_wire::{Records, Uuid};

use crate::controller::image::Image;
use crate::errors::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, ProducerId, TopicIdPartition};
use crate::request::RequestContext;
use crate::request::fetch_session::{PartitionRef, SessionRequest, Told, TopicRef, Wanted};

/// From this version on topics are named by id (KIP-516).
const TOPIC_ID_VERSION_MIN: i16 = 13;
/// From this version on the replica's state is a tagged structure (KIP-903).
const REPLICA_STATE_VERSION_MIN: i16 = 15;
/// Up to this version a failed disk is called another leader, for clients older than KIP-112.
const STORAGE_ERROR_HIDDEN_MAX: i16 = 5;

/// The limits and the patience of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchParams {
    /// How long the reply may wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// The bytes of records that make a reply due before its time.
    pub min_bytes: i32,
    /// The most bytes of records of the reply.
    pub max_bytes: i32,
    /// Whether only decided records may be seen.
    pub read_committed: bool,
    /// Whether the request claims to come from a broker: there is none in a cluster of one.
    pub from_replica: bool,
}

/// What one request says, apart from its partitions' limits.
#[derive(Debug)]
pub struct FetchQuestion {
    /// The limits and the patience.
    pub params: FetchParams,
    /// The session.
    pub session: SessionRequest,
    /// The partitions named, in order.
    pub wanted: Vec<(PartitionRef, Wanted)>,
    /// The partitions that the session shall forget.
    pub forgotten: Vec<PartitionRef>,
}

/// One partition's question for its owner shard.
#[derive(Clone, Copy, Debug)]
pub struct FetchPart {
    /// The place in the plan that the outcome goes back to.
    pub slot: u32,
    /// The partition.
    pub partition: TopicIdPartition,
    /// What the client wants of it.
    pub wanted: Wanted,
}

/// One partition's answer. `S` is what stands for the records until they are sent.
#[derive(Clone, Debug)]
pub struct FetchOutcome<S> {
    /// The error, or none.
    pub error: ErrorCode,
    /// The high watermark; -1 with an error.
    pub high_watermark: Offset,
    /// The last stable offset; -1 with an error.
    pub last_stable_offset: Offset,
    /// The log start offset; -1 where unknown.
    pub log_start_offset: Offset,
    /// Where the client's log diverges from ours (KIP-595); none if it does not.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// Aborted transactions in the range read, by first offset.
    pub aborted: Vec<(ProducerId, Offset)>,
    /// The records.
    pub records: S,
    /// Their bytes.
    pub bytes: u32,
    /// The bytes that are there to be read, up to what is wanted: no fewer than the records', which end with a batch.
    pub available: u32,
    /// More may be read, and lies in a newer segment.
    pub is_behind: bool,
}

impl<S: Default> FetchOutcome<S> {
    /// A refusal.
    #[must_use]
    pub fn refused(error: ErrorCode) -> Self {
        Self {
            error,
            high_watermark: Offset::NONE,
            last_stable_offset: Offset::NONE,
            log_start_offset: Offset::NONE,
            diverging: None,
            aborted: Vec::new(),
            records: S::default(),
            bytes: 0,
            available: 0,
            is_behind: false,
        }
    }
}

impl FetchQuestion {
    /// Reads a request. Names become counted strings once, here. `bytes_max` is `fetch.max.bytes`: the most that the
    /// client may ask for, whatever it writes, and so also the most that it can wait for (Kafka's
    /// `KafkaApis.handleFetchRequest`).
    #[must_use]
    pub fn new(context: &RequestContext<'_>, request: &FetchRequest<'_>, bytes_max: u32) -> Self {
        let max_bytes = request.max_bytes.min(i32::try_from(bytes_max).unwrap_or(i32::MAX));
        let uses_topic_ids = context.version >= TOPIC_ID_VERSION_MIN;
        let topic_ref = |name: &str, id: Uuid| match uses_topic_ids {
            true => TopicRef::Id(id),
            false => TopicRef::Name(Arc::from(name)),
        };
        let mut wanted = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
        for topic in &request.topics {
            let name = topic_ref(&topic.topic, topic.topic_id);
            for asked in &topic.partitions {
                let partition = PartitionRef { topic: name.clone(), partition: asked.partition };
                wanted.push((
                    partition,
                    Wanted {
                        fetch_offset: Offset(asked.fetch_offset),
                        max_bytes: asked.partition_max_bytes,
                        current_leader_epoch: asked.current_leader_epoch,
                        last_fetched_epoch: asked.last_fetched_epoch,
                    },
                ));
            }
        }
        let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
            let name = topic_ref(&topic.topic, topic.topic_id);
            topic.partitions.iter().map(move |&partition| PartitionRef { topic: name.clone(), partition })
        });
        let replica_id = match context.version {
            REPLICA_STATE_VERSION_MIN.. => request.replica_state.replica_id,
            _ => request.replica_id,
        };
        Self {
            params: FetchParams {
                max_wait_ms: request.max_wait_ms,
                min_bytes: request.min_bytes.min(max_bytes),
                max_bytes,
                read_committed: request.isolation_level == 1,
                from_replica: replica_id >= 0,
            },
            session: SessionRequest {
                session_id: request.session_id,
                epoch: request.session_epoch,
                uses_topic_ids,
            },
            forgotten: forgotten.collect(),
            wanted,
        }
    }
}

/// A Fetch request between its session and its reply: an outcome for each partition, refilled by each read.
#[derive(Debug)]
pub struct FetchPlan<S> {
    /// The limits and the patience.
    pub params: FetchParams,
    partitions: Vec<(PartitionRef, Wanted)>,
    targets: Vec<Result<TopicIdPartition, ErrorCode>>,
    outcomes: Vec<Option<FetchOutcome<S>>>,
}

impl<S: Default> FetchPlan<S> {
    /// Resolves the partitions of a session's list.
    #[must_use]
    pub fn new(image: &Image, params: FetchParams, partitions: Vec<(PartitionRef, Wanted)>) -> Self {
        let target = |(partition, _): &(PartitionRef, Wanted)| match params.from_replica {
            true => Err(ErrorCode::NotLeaderOrFollower),
            false => resolve(image, partition),
        };
        let targets = partitions.iter().map(target).collect();
        Self { params, partitions, targets, outcomes: Vec::new() }
    }

    /// Starts a read: forgets earlier outcomes and returns a question for each partition that can be read.
    pub fn parts(&mut self) -> Vec<FetchPart> {
        self.outcomes.clear();
        let mut parts = Vec::with_capacity(self.targets.len());
        for (slot, (target, (_, wanted))) in self.targets.iter().zip(&self.partitions).enumerate() {
            let slot = u32::try_from(slot).expect("a request has under 2^32 partitions");
            match target {
                Ok(partition) => {
                    parts.push(FetchPart { slot, partition: *partition, wanted: *wanted });
                    self.outcomes.push(None);
                }
                Err(error) => self.outcomes.push(Some(FetchOutcome::refused(*error))),
            }
        }
        parts
    }

    /// Lets go of what was read, before a wait for more.
    pub fn forget(&mut self) {
        self.outcomes = Vec::new();
    }

    /// Puts one part's outcome into its place.
    ///
    /// # Panics
    /// When the slot is answered twice in one read.
    pub fn answer(&mut self, slot: u32, outcome: FetchOutcome<S>) {
        let place = &mut self.outcomes[slot as usize];
        assert!(place.is_none(), "a partition of a Fetch request is answered once");
        *place = Some(outcome);
    }

    /// Whether the reply is due now: nothing to read, no patience, enough bytes, an error or a divergence, or a reader
    /// in a segment that will not grow (Kafka's `ReplicaManager.fetchMessages` and `DelayedFetch.tryComplete`).
    /// Partitions that do not exist hurry nobody who waits for others.
    #[must_use]
    pub fn is_due(&self) -> bool {
        let (mut bytes, mut is_idle) = (0, true);
        let readable = self.outcomes.iter().zip(&self.targets).filter(|(_, target)| target.is_ok());
        for outcome in readable.filter_map(|(outcome, _)| outcome.as_ref()) {
            if !outcome.error.is_none() || outcome.diverging.is_some() || outcome.is_behind {
                return true;
            }
            bytes += i64::from(outcome.available);
            is_idle = false;
        }
        is_idle || self.params.max_wait_ms <= 0 || bytes >= i64::from(self.params.min_bytes)
    }

    /// Cuts the outcomes to the request's `max_bytes`: in order, whole partitions, the first one with records always.
    /// Each owner shard has let a first batch of its own pass the limits: of these, too, only the first of all stays.
    pub fn limit(&mut self) {
        let mut left = i64::from(self.params.max_bytes);
        let mut is_first = true;
        for ((_, wanted), outcome) in self.partitions.iter().zip(&mut self.outcomes) {
            let Some(outcome) = outcome.as_mut().filter(|outcome| outcome.bytes > 0) else { continue };
            let bytes = i64::from(outcome.bytes);
            if is_first || bytes <= left.min(i64::from(wanted.max_bytes)) {
                left -= bytes;
                is_first = false;
            } else {
                outcome.records = S::default();
                outcome.bytes = 0;
                outcome.aborted.clear();
            }
        }
    }

    /// What each partition will be told, for the session to decide what is news.
    ///
    /// # Panics
    /// When a part was never answered.
    #[must_use]
    pub fn told(&self) -> Vec<(PartitionRef, Wanted, Told)> {
        let told = |((partition, wanted), outcome): (&(PartitionRef, Wanted), &Option<FetchOutcome<S>>)| {
            let outcome = outcome.as_ref().expect("every part is answered before the reply is made");
            let told = Told {
                error: outcome.error,
                high_watermark: outcome.high_watermark,
                last_stable_offset: outcome.last_stable_offset,
                log_start_offset: outcome.log_start_offset,
                has_news: outcome.bytes > 0 || outcome.diverging.is_some(),
            };
            (partition.clone(), *wanted, told)
        };
        self.partitions.iter().zip(&self.outcomes).map(told).collect()
    }

    /// The reply with the partitions that `include` marks, and the records of each splice in its order.
    #[must_use]
    pub fn into_reply(
        self,
        version: i16,
        session_id: i32,
        include: &[bool],
    ) -> (FetchResponse<'static>, Vec<S>) {
        let read_committed = self.params.read_committed;
        let mut responses: Vec<FetchableTopicResponse<'static>> = Vec::new();
        let mut splices = Vec::new();
        let mut last: Option<TopicRef> = None;
        for (((partition, _), outcome), _) in
            self.partitions.into_iter().zip(self.outcomes).zip(include).filter(|(_, include)| **include)
        {
            let outcome = outcome.expect("every part is answered before the reply is made");
            if last.as_ref() != Some(&partition.topic) {
                responses.push(topic_reply(&partition.topic));
                last = Some(partition.topic);
            }
            let topic = responses.last_mut().expect("a topic was just begun");
            topic.partitions.push(partition_reply(version, partition.partition, read_committed, &outcome));
            if outcome.bytes > 0 {
                splices.push(outcome.records);
            }
        }
        (FetchResponse { session_id, responses, ..FetchResponse::default() }, splices)
    }
}

/// The reply that refuses the whole request.
#[must_use]
pub fn refusal(error: ErrorCode) -> FetchResponse<'static> {
    FetchResponse { error_code: error.code(), ..FetchResponse::default() }
}

fn resolve(image: &Image, partition: &PartitionRef) -> Result<TopicIdPartition, ErrorCode> {
    let topic = match &partition.topic {
        TopicRef::Id(id) => image.topics.by_id(*id).ok_or(ErrorCode::UnknownTopicId)?,
        TopicRef::Name(name) => image.topics.by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?,
    };
    if partition.partition < 0 || partition.partition as usize >= topic.partitions.len() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    Ok(TopicIdPartition { topic_id: topic.id, partition: partition.partition })
}

fn topic_reply(topic: &TopicRef) -> FetchableTopicResponse<'static> {
    match topic {
        TopicRef::Id(id) => FetchableTopicResponse { topic_id: *id, ..FetchableTopicResponse::default() },
        TopicRef::Name(name) => {
            FetchableTopicResponse { topic: name.to_string().into(), ..FetchableTopicResponse::default() }
        }
    }
}

fn partition_reply<S>(
    version: i16,
    partition_index: i32,
    read_committed: bool,
    outcome: &FetchOutcome<S>,
) -> PartitionData<'static> {
    let error = match outcome.error {
        ErrorCode::KafkaStorageError if version <= STORAGE_ERROR_HIDDEN_MAX => ErrorCode::NotLeaderOrFollower,
        error => error,
    };
    let aborted = outcome
        .aborted
        .iter()
        .map(|(producer, first)| AbortedTransaction { producer_id: producer.0, first_offset: first.0 });
    let records = match outcome.bytes {
        0 => Records::Inline(Vec::new().into()),
        bytes => Records::Splice { bytes },
    };
    let diverging_epoch = outcome.diverging.map_or_else(EpochEndOffset::default, |(epoch, end_offset)| {
        EpochEndOffset { epoch: epoch.0, end_offset: end_offset.0 }
    });
    PartitionData {
        partition_index,
        error_code: error.code(),
        high_watermark: outcome.high_watermark.0,
        last_stable_offset: outcome.last_stable_offset.0,
        log_start_offset: outcome.log_start_offset.0,
        diverging_epoch,
        aborted_transactions: read_committed.then(|| aborted.collect()),
        records: Some(records),
        ..PartitionData::default()
    }
}

#[cfg(test)]
mod tests;
