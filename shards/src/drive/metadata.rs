//! Requests about metadata on the connection's shard: answered from the image, or sent to the controller's shard.
//!
//! What must hold: the answer to a change is given after every shard has the new image, so that a client that creates
//! a topic on one connection finds it on any other (KIP-4).

use std::rc::Rc;
use std::sync::Arc;

use ottla::controller::image::Image;
use ottla::controller::names::CONSUMER_OFFSETS;
use ottla::group::wire::find_coordinator::{self, CoordinatorNode};
use ottla::request::{RequestContext, metadata as metadata_request};
use ottla_wire::find_coordinator_request::FindCoordinatorRequest;
use ottla_wire::metadata_request::MetadataRequest;

use crate::drive::dispatch::Body;
use crate::drive::messages::{self, ControlQuery, Query};
use crate::drive::{CONTROLLER_SHARD, Shard};
use crate::host::spawn_detached;
use crate::net::{Answer, Reply};

/// Serves one Metadata request. Topics that are to be created are on their way when the reply leaves.
pub async fn metadata(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    let request: MetadataRequest<'_> = match body.decode() {
        Ok(request) => request,
        Err(answer) => return answer,
    };
    let image = shard.image();
    let auto_create = shard.config().topics.auto_create;
    let plan = metadata_request::handle(&body.context, &image, auto_create, &request);
    if !plan.create.is_empty() {
        let names = plan.create.iter().map(|&name| name.to_owned()).collect();
        let created = shard.mesh.call(CONTROLLER_SHARD, Query::AutoCreate(names));
        spawn_detached(async move {
            let _: messages::Answer = created.await;
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
    let is_ready = |image: &Image| image.topics.by_name(CONSUMER_OFFSETS).is_some();
    if find_coordinator::needs_offsets_topic(&request) && !is_ready(&shard.image()) {
        let names = vec![CONSUMER_OFFSETS.to_owned()];
        shard.mesh.call(CONTROLLER_SHARD, Query::AutoCreate(names)).await;
    }
    let image = shard.image();
    let coordinator = |_: &str| if is_ready(&image) { this_node(&body.context, &image) } else { None };
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
