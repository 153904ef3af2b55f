//! Requests about metadata on the connection's shard: answered from the image, or sent to the controller's shard.
//!
//! What must hold: the answer to a change is given after every shard has the new image, so that a client that creates
//! a topic on one connection finds it on any other (KIP-4); a topic that clients ask for again while it is created is
//! not created again, so that nothing grows while the controller waits for its disk.

use std::cell::RefCell;
use std::collections::BTreeSet;

use std::rc::Rc;
use std::sync::Arc;

use ottla::controller::image::Image;
use ottla::controller::names::CONSUMER_OFFSETS;
use ottla::group::partition_for_group;
use ottla::group::wire::find_coordinator::{self, CoordinatorNode};
use ottla::request::{RequestContext, metadata as metadata_request};
use ottla_wire::find_coordinator_request::FindCoordinatorRequest;
use ottla_wire::metadata_request::MetadataRequest;

use crate::drive::dispatch::Body;
use crate::drive::messages::{self, ControlQuery, Query};
use crate::drive::{CONTROLLER_SHARD, Shard};
use crate::host::spawn_detached;
use crate::net::{Answer, Reply};

/// Names that one shard has the controller create at a time; a client that asks for more asks again.
const CREATING_MAX: usize = 10_000;

/// Topics that this shard's clients asked for and that the controller is creating (Kafka's
/// `DefaultAutoTopicCreationManager.inflightTopics`).
#[derive(Default)]
pub struct Creating(RefCell<BTreeSet<String>>);

impl Creating {
    /// Those of `names` that are not being created yet, as far as there is room; they are from now on.
    fn begin(&self, names: &[&str]) -> Vec<String> {
        let mut creating = self.0.borrow_mut();
        let mut begun = Vec::new();
        for &name in names {
            if creating.len() < CREATING_MAX && !creating.contains(name) {
                creating.insert(name.to_owned());
                begun.push(name.to_owned());
            }
        }
        begun
    }

    fn end(&self, names: &[String]) {
        let mut creating = self.0.borrow_mut();
        for name in names {
            creating.remove(name);
        }
    }
}

/// Serves one Metadata request. Topics that are to be created are on their way when the reply leaves.
pub async fn metadata(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    let request: MetadataRequest<'_> = match body.decode() {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    let image = shard.image();
    let auto_create = shard.config().topics.auto_create;
    let plan = metadata_request::handle(&body.context, &image, auto_create, &request);
    let names = shard.creating.begin(&plan.create);
    if !names.is_empty() {
        let created = shard.mesh.call(CONTROLLER_SHARD, Query::AutoCreate(names.clone()));
        let shard = Rc::clone(shard);
        spawn_detached(async move {
            let _: messages::Answer = created.await;
            shard.creating.end(&names);
        });
    }
    body.reply(&plan.response)
}

/// Serves one FindCoordinator request. The offsets topic comes into being with the first.
pub async fn find_coordinator(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    let request: FindCoordinatorRequest<'_> = match body.decode() {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    let is_missing = shard.image().topics.by_name(CONSUMER_OFFSETS).is_none();
    if find_coordinator::needs_offsets_topic(&request) && is_missing {
        let names = vec![CONSUMER_OFFSETS.to_owned()];
        shard.mesh.call(CONTROLLER_SHARD, Query::AutoCreate(names)).await;
    }
    let image = shard.image();
    let coordinator = |group: &str| {
        let topic = image.topics.by_name(CONSUMER_OFFSETS)?;
        let partition = topic.partition(partition_for_group(group, topic.partition_count()))?;
        (partition.leader == image.node_id).then(|| this_node(&body.context, &image))?
    };
    body.reply(&find_coordinator::answer(body.context.version, &request, coordinator))
}

/// This broker, at the address of the listener that the request came through.
fn this_node(context: &RequestContext<'_>, image: &Image) -> Option<CoordinatorNode> {
    let broker = image.alive_broker(image.node_id)?;
    let endpoint = broker.endpoint(context.listener)?;
    Some(CoordinatorNode {
        node_id: broker.id.0,
        host: endpoint.host.to_string(),
        port: i32::from(endpoint.port),
    })
}

/// Sends a request that changes metadata to the controller's shard.
pub async fn control(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    let query = ControlQuery {
        frame: body.frame.clone(),
        client_host: Arc::from(body.context.client_host),
        listener: Arc::from(body.context.listener),
    };
    let answer = shard.mesh.call(CONTROLLER_SHARD, Query::Control(query)).await;
    let messages::Answer::Control(reply) = answer else { unreachable!("asked the controller") };
    match reply {
        Some(bytes) => Answer::Reply(Reply::of_bytes(bytes)),
        None => Answer::Close,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_asked_for_once_until_it_is_there_or_not() {
        let creating = Creating::default();
        assert_eq!(creating.begin(&["a", "b"]), ["a", "b"]);
        assert_eq!(creating.begin(&["b", "c"]), ["c"]);
        assert!(creating.begin(&["a", "b", "c"]).is_empty());
        creating.end(&["a".to_owned(), "b".to_owned()]);
        assert_eq!(creating.begin(&["a", "c"]), ["a"]);
    }

    #[test]
    fn no_more_than_so_many_are_asked_for_at_a_time() {
        let creating = Creating::default();
        let names: Vec<String> = (0..CREATING_MAX + 5).map(|number| format!("topic-{number}")).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let begun = creating.begin(&all);
        assert_eq!(begun.len(), CREATING_MAX);
        assert!(creating.begin(&all).is_empty());
        creating.end(&begun);
        assert_eq!(creating.begin(&all[CREATING_MAX..]).len(), 5);
    }
}
