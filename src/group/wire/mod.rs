//! Between Kafka's wire and the coordinator's owned requests and replies, one file per API.
//!
//! Runs on the shard that owns the connection; nothing is held beyond one request. Each file has a pure `decode` (or a
//! plan, where a request fans out over groups or names topics that do not exist) and a pure `encode`. What must hold:
//! results stand in the request's order; what a version does not have is left out, not refused.

pub mod delete_groups;
pub mod describe_groups;
pub mod find_coordinator;
pub mod heartbeat;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod sync_group;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;

use crate::ids::TopicId;

/// Who sent a request, as members are described with.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// The client id of the request header; empty for none.
    pub id: &'a str,
    /// The client's address as Kafka prints it: a slash and the IP address without the port, as `/127.0.0.1`.
    pub host: &'a str,
}

/// What the metadata image says about topics.
pub trait TopicNames {
    /// The name of an existing topic.
    fn name_of(&self, topic_id: TopicId) -> Option<&str>;
    /// The id of an existing topic.
    fn id_of(&self, name: &str) -> Option<TopicId>;
    /// Whether the existing topic has that partition.
    fn has_partition(&self, topic_id: TopicId, partition: i32) -> bool;
}

/// Group ids as far as they are named for the first time, in their order.
fn distinct<'a>(group_ids: &'a [Cow<'_, str>]) -> impl Iterator<Item = &'a str> {
    let mut seen = BTreeSet::new();
    group_ids.iter().map(|group_id| &**group_id).filter(move |group_id| seen.insert(*group_id))
}

fn owned(text: &Option<Cow<'_, str>>) -> Option<String> {
    text.as_deref().map(str::to_owned)
}

fn bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn text(text: String) -> Cow<'static, str> {
    Cow::Owned(text)
}

fn blob(bytes: &Bytes) -> Cow<'static, [u8]> {
    Cow::Owned(bytes.to_vec())
}

/// Takes the reply apart, or ends the process: the shell mixed replies up, and no client may get another's.
macro_rules! expect_reply {
    ($reply:expr, $variant:ident) => {
        match $reply {
            $crate::group::GroupReply::$variant(reply) => reply,
            other => unreachable!("a reply of another kind than its request: {other:?}"),
        }
    };
}
use expect_reply;
