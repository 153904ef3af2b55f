//! Group requests on the connection's shard: decoded, sent to the shard of each group, merged.
//!
//! What must hold: a request that names several groups is answered in its own order; where the offsets topic is not
//! there no group is, and the client is told to look for its coordinator again.

use std::rc::Rc;

use ottla::controller::image::{Image, TopicImage};
use ottla::controller::names::CONSUMER_OFFSETS;
use ottla::errors::ErrorCode;
use ottla::group::wire::{
    Client, TopicNames, delete_groups, describe_groups, heartbeat, join_group, leave_group, list_groups,
    offset_commit, offset_delete, offset_fetch, sync_group,
};
use ottla::group::{GroupReply, GroupRequest, partition_for_group};
use ottla::ids::{ShardId, TopicId, TopicIdPartition};
use ottla::placement::owner;
use ottla::request::operations;
use ottla_wire::ApiKey;
use ottla_wire::describe_groups_request::DescribeGroupsRequest;
use ottla_wire::offset_fetch_request::OffsetFetchRequest;

use crate::drive::Shard;
use crate::drive::dispatch::Body;
use crate::drive::fan_out::{ask_all, ask_everyone};
use crate::drive::messages::{self, Query};
use crate::net::Answer;

/// The image, as group requests look topics up.
struct Names<'a>(&'a Image);

impl TopicNames for Names<'_> {
    fn name_of(&self, topic_id: TopicId) -> Option<&str> {
        self.0.topics.by_id(topic_id).map(|topic| &*topic.name)
    }

    fn id_of(&self, name: &str) -> Option<TopicId> {
        self.0.topics.by_name(name).map(|topic| topic.id)
    }

    fn has_partition(&self, topic_id: TopicId, partition: i32) -> bool {
        self.0.topics.by_id(topic_id).is_some_and(|topic| topic.partition(partition).is_some())
    }
}

/// Serves one request about groups.
pub async fn coordinate(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    match try_coordinate(shard, body).await {
        Ok(answer) | Err(answer) => answer,
    }
}

/// The same, where a body that does not decode is an error.
async fn try_coordinate(shard: &Rc<Shard>, body: Body<'_>) -> Result<Answer, Answer> {
    let version = body.context.version;
    let image = shard.image();
    let names = Names(&image);
    Ok(match body.context.api {
        ApiKey::JoinGroup => {
            let client = Client { id: body.context.client_id.unwrap_or(""), host: body.context.client_host };
            let request = join_group::decode(version, &body.decode()?, client);
            body.reply(&join_group::encode(version, ask(shard, request).await))
        }
        ApiKey::SyncGroup => {
            let reply = match sync_group::decode(version, &body.decode()?) {
                Ok(request) => ask(shard, request).await,
                Err(refused) => refused,
            };
            body.reply(&sync_group::encode(reply))
        }
        ApiKey::Heartbeat => {
            let request = heartbeat::decode(&body.decode()?);
            body.reply(&heartbeat::encode(ask(shard, request).await))
        }
        ApiKey::LeaveGroup => {
            let request = leave_group::decode(version, &body.decode()?);
            body.reply(&leave_group::encode(version, ask(shard, request).await))
        }
        ApiKey::OffsetCommit => {
            let (plan, request) = offset_commit::decode(version, &body.decode()?, &names);
            let reply = match request {
                Some(request) => Some(ask(shard, request).await),
                None => None,
            };
            body.reply(&plan.encode(reply))
        }
        ApiKey::OffsetDelete => {
            let (plan, request) = offset_delete::decode(&body.decode()?, &names);
            body.reply(&plan.encode(ask(shard, request).await))
        }
        ApiKey::OffsetFetch => {
            let request: OffsetFetchRequest<'_> = body.decode()?;
            let (plan, requests) = offset_fetch::decode(version, &request, &names);
            body.reply(&plan.encode(version, ask_each(shard, requests).await, &names))
        }
        ApiKey::DescribeGroups => {
            let request: DescribeGroupsRequest<'_> = body.decode()?;
            let asked = describe_groups::asks_operations(version, &request);
            let operations = if asked { operations::GROUP_ALL } else { operations::NOT_ASKED };
            let replies = ask_each(shard, describe_groups::decode(&request)).await;
            body.reply(&describe_groups::encode(version, replies, operations))
        }
        ApiKey::DeleteGroups => {
            let replies = ask_each(shard, delete_groups::decode(&body.decode()?)).await;
            body.reply(&delete_groups::encode(replies))
        }
        ApiKey::ListGroups => {
            let request = list_groups::decode(&body.decode()?);
            let query = || Query::Group { partition: 0, request: request.clone() };
            let replies = ask_everyone(shard, query).await.into_iter().map(group_reply);
            body.reply(&list_groups::encode(replies.collect()))
        }
        api => unreachable!("{api} is not about groups"),
    })
}

/// Puts one request to the shard of its group.
async fn ask(shard: &Rc<Shard>, request: GroupRequest) -> GroupReply {
    ask_each(shard, vec![request]).await.pop().expect("one question, one answer")
}

/// Puts each request to the shard of its group and returns the replies in their order.
async fn ask_each(shard: &Rc<Shard>, requests: Vec<GroupRequest>) -> Vec<GroupReply> {
    let image = shard.image();
    let Some(topic) = image.topics.by_name(CONSUMER_OFFSETS) else {
        return requests.iter().map(|request| request.refusal(ErrorCode::NotCoordinator)).collect();
    };
    let queries = requests.into_iter().map(|request| {
        let (to, partition) = home_of(topic, &request, shard.shards);
        (to, Query::Group { partition, request })
    });
    ask_all(shard, queries.collect()).await.into_iter().map(group_reply).collect()
}

/// The shard and the partition of the offsets topic that a request's group belongs to.
fn home_of(topic: &TopicImage, request: &GroupRequest, shards: u16) -> (ShardId, i32) {
    let group_id = request.group_id().expect("only a list names no group");
    let partition = partition_for_group(group_id, topic.partition_count());
    (owner(TopicIdPartition { topic_id: topic.id, partition }, shards), partition)
}

fn group_reply(answer: messages::Answer) -> GroupReply {
    let messages::Answer::Group(reply) = answer else { unreachable!("asked a group coordinator") };
    reply
}
