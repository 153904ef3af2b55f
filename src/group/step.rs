//! The frame of one event: what time it is, and what the event caused.
//!
//! Built by the coordinator for each input and drained when the input is done, on the shard that owns the group.
//! Nothing here is on disk; what an event wants on disk is an [`Append`]. What must hold: an append's replies and
//! follow-up happen only after its records are durable, in the order of the appends of a partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::errors::ErrorCode;
use crate::group::config::GroupConfig;
use crate::group::member::Member;
use crate::group::records::Change;
use crate::group::reply::{DeleteOffsetsReply, GroupReply, LeaveReply};
use crate::ids::TimestampMs;
use crate::time::Monotonic;

/// Names one request for the shell that asked; the coordinator answers each token once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// The two times of an event. Deadlines come from `now`; `wall` only goes into records and retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The monotonic clock.
    pub now: Monotonic,
    /// The wall clock.
    pub wall: TimestampMs,
}

/// A request's token and the random number that a new member's id is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) token: Token,
    pub(crate) random: u128,
}

/// Records that one event wants to be durable, and what happens then.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) changes: Vec<Change>,
    pub(crate) then: Then,
    /// Answered when the records are durable; turned into errors when they cannot be.
    pub(crate) replies: Vec<(Token, GroupReply)>,
}

/// What to do to a group once an append is durable or has failed, beyond replaying its records.
#[derive(Debug)]
pub(crate) enum Then {
    /// Nothing.
    Nothing,
    /// Hand out the assignment of a generation.
    Assign(Assignment),
    /// Tell a static member that it took its predecessor's place, or undo that.
    ReplaceStatic(Box<StaticReplacement>),
    /// The tombstones of these groups are durable, or the groups live on.
    Bury(Vec<Arc<str>>),
}

/// The assignment of one generation on its way to the disk.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) group_id: Arc<str>,
    pub(crate) generation_id: i32,
    pub(crate) by_member: BTreeMap<String, Bytes>,
}

/// A static member's new id on its way to the disk while its group stays stable.
#[derive(Debug)]
pub(crate) struct StaticReplacement {
    pub(crate) group_id: Arc<str>,
    pub(crate) generation_id: i32,
    pub(crate) group_instance_id: String,
    pub(crate) new_member_id: String,
    pub(crate) token: Token,
    /// What the member was before, to return to if the write fails.
    pub(crate) predecessor: Member,
    /// The leader before the replacement: what clients that cannot skip the assignment are told.
    pub(crate) previous_leader: String,
    pub(crate) supports_skip_assignment: bool,
}

/// One event being handled.
pub(crate) struct Step<'a> {
    pub(crate) clock: Clock,
    pub(crate) config: &'a GroupConfig,
    pub(crate) replies: Vec<(Token, GroupReply)>,
    pub(crate) appends: Vec<Append>,
}

impl<'a> Step<'a> {
    /// An event at `clock` that has not caused anything yet.
    pub(crate) fn new(clock: Clock, config: &'a GroupConfig) -> Self {
        Step { clock, config, replies: Vec::new(), appends: Vec::new() }
    }

    /// Answers at once.
    pub(crate) fn reply(&mut self, token: Token, reply: GroupReply) {
        self.replies.push((token, reply));
    }

    /// Asks for `changes` to be made durable.
    pub(crate) fn append(&mut self, changes: Vec<Change>, then: Then) {
        assert!(!changes.is_empty(), "an append has at least one record");
        self.appends.push(Append { changes, then, replies: Vec::new() });
    }

    /// Answers once everything that this event appended is durable; at once if it appended nothing.
    pub(crate) fn reply_after_appends(&mut self, token: Token, reply: GroupReply) {
        match self.appends.last_mut() {
            Some(append) => append.replies.push((token, reply)),
            None => self.reply(token, reply),
        }
    }
}

impl GroupReply {
    /// What this answer becomes when the records that it waited for could not be written.
    pub(crate) fn failed(self, error: ErrorCode) -> GroupReply {
        match self {
            GroupReply::CommitOffsets(reply) => GroupReply::CommitOffsets(reply.failed(error)),
            GroupReply::Leave(_) => GroupReply::Leave(LeaveReply { error, members: Vec::new() }),
            GroupReply::DeleteOffsets(_) => {
                GroupReply::DeleteOffsets(DeleteOffsetsReply { error, topics: Vec::new() })
            }
            GroupReply::Delete(mut reply) => {
                reply.error = error;
                GroupReply::Delete(reply)
            }
            GroupReply::Heartbeat(_) => GroupReply::Heartbeat(error),
            reply @ (GroupReply::Join(_)
            | GroupReply::Sync(_)
            | GroupReply::FetchOffsets(_)
            | GroupReply::Describe(_)
            | GroupReply::List(_)) => {
                unreachable!("this answer never waits in an append's replies: {reply:?}")
            }
        }
    }
}

/// What a client is told when the log refused records (Kafka's `appendGroupMetadataErrorToResponseError`).
pub(crate) fn append_error_to_response(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}
