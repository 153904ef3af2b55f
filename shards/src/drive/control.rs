//! The controller, on shard 0: decides changes of the metadata, makes them durable, replays them, and hands every
//! shard the new image.
//!
//! On disk: `__cluster_metadata-0`, one batch of records per decision. What must hold: one change at a time; a change
//! is answered after its records are durable and every shard has the image that knows them; only the replay of durable
//! records makes an image, at start as well.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use ottla::canary::{self, Canary};
use ottla::controller::image::Image;
use ottla::controller::registration::{Registration, activate, log_dirs_changed};
use ottla::controller::{
    Decision, ImageBuilder, ReplayError, configs, delete, names, partitions, producer_ids as ids,
    record_version, topics,
};
use ottla::errors::ErrorCode;
use ottla::ids::{Offset, ShardId, TopicId};
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla::request::RequestContext;
use ottla_wire::abort_transaction_record::AbortTransactionRecord;
use ottla_wire::frame::decode_request_header;
use ottla_wire::{ApiKey, Message, MetadataRecord, Reader};

use crate::disk::{DiskError, Partition};
use crate::drive::append::{append_own, own_durable};
use crate::drive::dispatch::{count_errors, frame_of};
use crate::drive::errors::TellsErrors;
use crate::drive::fan_out::ask_all;
use crate::drive::messages::{ControlQuery, Query};
use crate::drive::metadata_snapshot::{self, SnapshotError};
use crate::drive::replay::{ReplayFailure, replay_records};
use crate::drive::{CONTROLLER_SHARD, Shard};
use crate::host::sync::Semaphore;
use crate::host::{now, random_bytes, spawn_detached, wall_ms};

/// What the controller's shard has besides what every shard has.
pub struct Controller {
    log: Rc<Partition>,
    /// Held by the one change that is under way.
    turn: Rc<Semaphore>,
}

/// What the metadata log says at a start.
pub struct LoadedMetadata {
    /// Decides from now on.
    pub controller: Controller,
    /// What holds.
    pub image: Image,
    /// Topics of which the log says that they were deleted.
    pub deleted: BTreeSet<TopicId>,
}

/// Why the metadata log does not make an image.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReplayFailure<MetadataError>),
    /// The log's beginning is gone, and so is what it said.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The broker's own registration could not be written.
    #[error("the metadata log takes no records: {0}")]
    Append(ErrorCode),
}

/// Why a record of the metadata log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// It contradicts what came before, or needs a later version of this broker.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// It is no metadata record.
    #[error("the metadata log has a record that cannot be decoded: {0}")]
    Decode(#[from] ottla_wire::DecodeError),
}

impl Controller {
    /// Replays the metadata log into an image, from its newest snapshot on where its beginning is gone, and registers
    /// this broker if something about it has changed.
    ///
    /// # Errors
    /// Any [`LoadError`]: the broker must not start on metadata that it does not understand.
    pub async fn load(
        log: Rc<Partition>,
        empty: &Image,
        register: impl FnOnce(&Image) -> Registration,
    ) -> Result<LoadedMetadata, LoadError> {
        let (mut builder, mut deleted) = (ImageBuilder::new(empty), BTreeSet::new());
        let from = match log.offsets().log_start {
            Offset::ZERO => Offset::ZERO,
            start => metadata_snapshot::replay_newest(log.path(), start, &mut builder).await?,
        };
        let mut last = Offset(from.0 - 1);
        replay_records(&log, |offset, (_, value)| {
            if offset < from {
                return Ok(());
            }
            last = offset;
            if is_forgotten(value) {
                return Ok(());
            }
            let record = apply(&mut builder, value.unwrap_or_default())?;
            if let MetadataRecord::RemoveTopicRecord(removed) = record {
                deleted.insert(removed.topic_id);
            }
            Ok(())
        })
        .await?;
        let mut records = Vec::new();
        if builder.is_in_transaction() {
            records.push(MetadataRecord::AbortTransactionRecord(AbortTransactionRecord {
                reason: Some("the controller that began it has gone".into()),
            }));
        }
        tell_without_effect(&builder);
        let (mut image, _) = builder.finish(last.max(empty.offset));
        image.epoch = log.with_log(|log| log.leader_epoch());
        let controller = Self { log, turn: Semaphore::new(1) };
        if !records.is_empty() {
            image.offset = controller.persist(&records, || false).await.map_err(LoadError::Append)?;
        }
        let records = activate(&image, &register(&image), controller.log_end_offset());
        if !records.is_empty() {
            let last = controller.persist(&records, || false).await.map_err(LoadError::Append)?;
            image = replayed(&image, &records, last).0;
        }
        // One that a transaction removed which was never ended is still there.
        deleted.retain(|id| image.topics.by_id(*id).is_none());
        Ok(LoadedMetadata { controller, image, deleted })
    }

    /// The log end offset, as DescribeQuorum reports it.
    pub fn log_end_offset(&self) -> Offset {
        self.log.offsets().log_end
    }

    /// Appends the records of one decision as one batch and waits until they are durable. Returns the last offset.
    async fn persist(
        &self,
        records: &[MetadataRecord<'static>],
        is_patient: impl Fn() -> bool,
    ) -> Result<Offset, ErrorCode> {
        let mut batch = BatchBuilder::new();
        let timestamp = wall_ms();
        for record in records {
            let value = record.encode(record_version(record));
            batch.append(&NewRecord { timestamp, key: None, value: Some(&value), headers: &[] });
        }
        let last = append_own(&self.log, batch.build()).await?;
        own_durable(&self.log, last, is_patient).await.map_err(|error| error.code())?;
        Ok(last)
    }

    /// Closes the log's files. Nothing may be decided afterwards.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn close(&self) -> Result<(), DiskError> {
        let _turn = self.turn.acquire(1).await;
        self.log.close().await
    }
}

/// A planted bug: what was deleted comes back.
fn is_forgotten(value: Option<&[u8]>) -> bool {
    let record = value.map(MetadataRecord::decode);
    matches!(record, Some(Ok(MetadataRecord::RemoveTopicRecord(_)))) && canary::is(Canary::DeletedTopicBack)
}

/// Says what of a log of Kafka's is kept and has no effect here.
fn tell_without_effect(builder: &ImageBuilder) {
    for (kind, count) in builder.without_effect() {
        tracing::warn!("{count} records of the kind {kind} stay in the metadata log and have no effect here");
    }
}

/// Applies one record of the log or of a snapshot, and returns it.
pub(super) fn apply<'a>(
    builder: &mut ImageBuilder,
    value: &'a [u8],
) -> Result<MetadataRecord<'a>, MetadataError> {
    let record = MetadataRecord::decode(value)?;
    builder.apply(&record)?;
    Ok(record)
}

/// The image after records that were just made durable.
///
/// # Panics
/// When the image contradicts the decision that was made from it.
fn replayed(
    image: &Image,
    records: &[MetadataRecord<'static>],
    last: Offset,
) -> (Image, ottla::controller::ImageDelta) {
    let mut builder = ImageBuilder::new(image);
    for record in records {
        builder.apply(record).unwrap_or_else(|error| panic!("a decision that does not replay: {error}"));
    }
    builder.finish(last)
}

/// Makes records durable, replays them, and hands every shard the image.
async fn commit(shard: &Rc<Shard>, records: &[MetadataRecord<'static>]) -> Result<(), ErrorCode> {
    if records.is_empty() {
        return Ok(());
    }
    // On a full disk they are in the log all the same: the next decision has to know of them. A stop waits for no room.
    let last = shard.controller().persist(records, || !shard.stopping.get()).await?;
    let (image, delta) = replayed(&shard.image(), records, last);
    let (image, delta) = (Arc::new(image), Arc::new(delta));
    let publish = |to| {
        let query = Query::Publish { image: Arc::clone(&image), delta: Arc::clone(&delta) };
        (ShardId(to), query)
    };
    ask_all(shard, (0..shard.shards).map(publish).collect()).await;
    Ok(())
}

/// Decides on a client's request and returns the reply, or nothing where the connection is to be closed.
pub async fn decide(shard: &Rc<Shard>, query: ControlQuery) -> Option<Bytes> {
    assert_eq!(shard.id, CONTROLLER_SHARD, "the controller decides on its own shard");
    let (header, at) = decode_request_header(&query.frame).ok()?;
    let context = RequestContext {
        api: ApiKey::from_code(header.request_api_key)?,
        version: header.request_api_version,
        correlation_id: header.correlation_id,
        client_id: header.client_id.as_deref(),
        client_host: &query.client_host,
        listener: &query.listener,
        now: now(),
        now_wall: wall_ms(),
    };
    let _turn = shard.controller().turn.acquire(1).await;
    let (image, config, version) = (shard.image(), shard.config(), context.version);
    let body = &query.frame[at..];
    match context.api {
        ApiKey::CreateTopics => {
            let request = decode(body, version)?;
            answer(shard, &context, topics::create(&image, &config, version, &request, &mut random_bytes))
                .await
        }
        ApiKey::DeleteTopics => {
            let request = decode(body, version)?;
            answer(shard, &context, delete::delete(&image, &config, version, &request)).await
        }
        ApiKey::CreatePartitions => {
            let request = decode(body, version)?;
            answer(shard, &context, partitions::create(&image, &request)).await
        }
        ApiKey::AlterConfigs => {
            let request = decode(body, version)?;
            answer(shard, &context, configs::replace(&image, &config, &request)).await
        }
        ApiKey::IncrementalAlterConfigs => {
            let request = decode(body, version)?;
            let Decision { records, reply } =
                configs::incremental(&image, &config, &shard.loggers.list(), &request);
            let decision = Decision { records, reply: reply.response };
            let answered = answer(shard, &context, decision).await?;
            reply.loggers.iter().for_each(|change| shard.loggers.set_level(change.level));
            Some(answered)
        }
        api => unreachable!("{api} is not the controller's"),
    }
}

fn decode<'a, M: Message<'a>>(body: &'a [u8], version: i16) -> Option<M> {
    M::decode(&mut Reader::new(body), version).ok()
}

/// Commits a decision and encodes its reply. A decision that cannot be made durable closes the connection: the client
/// must not take it for made.
async fn answer<M: Message<'static> + TellsErrors>(
    shard: &Rc<Shard>,
    context: &RequestContext<'_>,
    decision: Decision<M>,
) -> Option<Bytes> {
    if let Err(error) = commit(shard, &decision.records).await {
        tracing::error!(api = %context.api, %error, "a change of the metadata could not be made durable");
        return None;
    }
    count_errors(&shard.metrics, context.api, &decision.reply);
    frame_of(context, &decision.reply).ok().map(|frame| Bytes::from(frame.head))
}

/// Creates topics with the broker's defaults. What cannot be created is left out: the client asks again and is told.
pub async fn auto_create(shard: &Rc<Shard>, names: Vec<String>) {
    let _turn = shard.controller().turn.acquire(1).await;
    let image = shard.image();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let decision = topics::auto_create(&image, &shard.config(), &names, &mut random_bytes);
    for topic in decision.reply.topics.iter().filter(|topic| topic.error_code != 0) {
        let error = ErrorCode::from_code(topic.error_code).map_or("UNKNOWN", ErrorCode::name);
        let why = topic.error_message.as_deref().unwrap_or_default();
        if names::is_internal(&topic.name) {
            // Groups wait for it, and their clients are told no reason.
            tracing::warn!(topic = %topic.name, error, why, "not created");
        } else {
            tracing::debug!(topic = %topic.name, error, why, "not created");
        }
    }
    if let Err(error) = commit(shard, &decision.records).await {
        tracing::error!(%error, "topics could not be created");
    }
}

/// Hands out a block of producer ids.
pub async fn producer_ids(shard: &Rc<Shard>) -> Result<(i64, i64), ErrorCode> {
    let turn = shard.controller().turn.acquire(1).await;
    let image = shard.image();
    let decision = ids::next_block(&image, image.node_id)?;
    if canary::is(Canary::ProducerIdsEarly) {
        let (shard, records) = (Rc::clone(shard), decision.records);
        spawn_detached(async move {
            let _ = commit(&shard, &records).await;
            drop(turn);
        });
    } else {
        commit(shard, &decision.records).await?;
    }
    Ok((decision.reply.first.0, decision.reply.count))
}

/// Takes the leadership from partitions whose directory has gone offline, so that clients hear of it in Metadata.
pub async fn dirs_changed(shard: &Rc<Shard>) {
    let _turn = shard.controller().turn.acquire(1).await;
    let dirs = shard.disk.dirs().for_topics().iter().filter(|dir| !dir.is_offline());
    let online: Vec<_> = dirs.filter_map(|dir| dir.id()).collect();
    if let Err(error) = commit(shard, &log_dirs_changed(&shard.image(), &online)).await {
        tracing::error!(%error, "the metadata could not say which log directories are online");
    }
}
