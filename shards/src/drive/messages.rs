//! What shards ask of each other: the queries and answers that cross the mesh.
//!
//! Values are moved, never serialised. A query names partitions by topic id, so that one that was deleted and made
//! again is never taken for its predecessor. Only descriptors of records cross, never records.

use std::sync::Arc;

use bytes::Bytes;
use ottla::controller::{Image, ImageDelta};
use ottla::errors::ErrorCode;
use ottla::group::{GroupReply, GroupRequest};
use ottla::ids::{Offset, TopicIdPartition};
use ottla::log::EpochEndOffset;
use ottla::log::timestamp::FoundOffset;
use ottla::metrics::Snapshot;
use ottla::request::delete_records::DeleteRecordsPart;
use ottla::request::describe_log_dirs::LogDirUsage;
use ottla::request::describe_producers::{ProducersOutcome, ProducersPart};
use ottla::request::fetch::{FetchOutcome, FetchPart};
use ottla::request::list_offsets::ListOffsetsPart;
use ottla::request::offset_for_leader_epoch::EpochPart;
use ottla::request::produce::{ProduceOutcome, ProducePart};
use ottla::time::Monotonic;

use crate::boot::Begin;
use crate::disk::CommitSpan;
use crate::net::{Accepted, Piece};

/// A question from one shard to the owner of something.
#[derive(Debug)]
pub enum Query {
    /// Append these parts of one Produce request.
    Append(AppendQuery),
    /// Read these parts of one Fetch request.
    Read(ReadQuery),
    /// Answer when one of these partitions has something new, or at the deadline.
    Watch(WatchQuery),
    /// End a watch of the asking shard early. Needs no answer.
    Unwatch(WatchId),
    /// Look offsets up.
    ListOffsets(Vec<ListOffsetsPart>),
    /// Look the ends of epochs up.
    EpochEnds(Vec<EpochPart>),
    /// Move log start offsets.
    DeleteRecords(Vec<DeleteRecordsPart>),
    /// Tell what logs remember of their producers.
    Producers(Vec<ProducersPart>),
    /// Tell what the shard's partitions take on disk.
    LogDirs,
    /// Ask this shard's group coordinator.
    Group {
        /// The partition of the offsets topic that the group belongs to; of no meaning for a list.
        partition: i32,
        /// What is asked.
        request: GroupRequest,
    },
    /// Let the controller decide on a request that changes metadata; the frame is the client's.
    Control(ControlQuery),
    /// Give the asking shard a block of producer ids.
    ProducerIds,
    /// Create these topics with the broker's defaults, as a Metadata or FindCoordinator request needs them.
    AutoCreate(Vec<String>),
    /// Take this image and open and close logs accordingly.
    Publish {
        /// The new image.
        image: Arc<Image>,
        /// What changed since the one before.
        delta: Arc<ImageDelta>,
    },
    /// Take over a connection that was just accepted.
    Connection(Box<Accepted>),
    /// Begin to be a shard: the first query that one gets.
    Begin(Box<Begin>),
    /// Tell what the shard has counted.
    Metrics,
    /// Every shard has begun, and clients are let in.
    Serve,
    /// Answer what is in flight and take nothing more.
    Quiesce,
    /// Close every log.
    Close,
    /// End the shard.
    End,
}

/// The answer to a [`Query`], of the same name.
#[derive(Debug)]
pub enum Answer {
    /// Each part's slot and outcome, and when the owner did what.
    Appended(Vec<(u32, ProduceOutcome)>, AppendTimes),
    /// Each part's slot and outcome, and when a question of another shard was here.
    Read(Vec<(u32, FetchOutcome<Vec<Piece>>)>, Option<Visit>),
    /// Each part's slot and outcome.
    Offsets(Vec<(u32, Result<FoundOffset, ErrorCode>)>),
    /// Each part's slot and outcome.
    EpochEnds(Vec<(u32, Result<EpochEndOffset, ErrorCode>)>),
    /// Each part's slot and new low watermark.
    RecordsDeleted(Vec<(u32, Result<Offset, ErrorCode>)>),
    /// Each part's slot and outcome.
    Producers(Vec<(u32, ProducersOutcome)>),
    /// The directories as this shard's partitions fill them.
    LogDirs(Vec<LogDirUsage>),
    /// The coordinator's reply.
    Group(GroupReply),
    /// The reply to the client, ready to send; `None` closes the connection.
    Control(Option<Bytes>),
    /// The first id and their number, or why there are none.
    ProducerIds(Result<(i64, i64), ErrorCode>),
    /// What the shard has counted.
    Metrics(Box<Snapshot>),
    /// Done, and there is nothing to say about it.
    Done,
}

/// Parts of one Produce request for one owner shard.
#[derive(Debug)]
pub struct AppendQuery {
    /// Whether the answer waits until the records are acknowledged; without it (`acks=0`) the answer says only
    /// whether they were accepted.
    pub wait: bool,
    /// When the connection's shard has asked.
    pub asked: Monotonic,
    /// The parts, in the request's order.
    pub parts: Vec<ProducePart>,
}

/// When a question of another shard was with the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// It was taken up.
    pub taken: Monotonic,
    /// The answer was handed back.
    pub answered: Monotonic,
}

/// When the owner did what for the parts of a Produce request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendTimes {
    /// All parts were appended or refused.
    pub appended: Monotonic,
    /// The commit that was waited for last; none where nothing was waited for.
    pub commit: Option<CommitSpan>,
    /// Of a question of another shard; the asker's own is served at once and nobody looks at the clock.
    pub visit: Option<Visit>,
}

/// Parts of one Fetch request for one owner shard.
#[derive(Debug)]
pub struct ReadQuery {
    /// Whether only decided records may be seen.
    pub read_committed: bool,
    /// The most bytes of records over all parts.
    pub max_bytes: i32,
    /// The parts, in the request's order.
    pub parts: Vec<FetchPart>,
}

/// The number that the asking shard gave a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(pub u64);

/// Partitions to watch for a Fetch request that waits.
#[derive(Debug)]
pub struct WatchQuery {
    /// The watch's number, unique on the asking shard.
    pub id: WatchId,
    /// When to answer at the latest.
    pub deadline: Monotonic,
    /// Each partition with the high watermark that the asker has seen.
    pub partitions: Vec<(TopicIdPartition, Offset)>,
}

/// A request that changes metadata, on its way to the controller's shard.
#[derive(Debug)]
pub struct ControlQuery {
    /// The frame as it came, header included.
    pub frame: Bytes,
    /// The client's address.
    pub client_host: Arc<str>,
    /// The name of the listener that it came through.
    pub listener: Arc<str>,
}
