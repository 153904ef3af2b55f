//! From a frame to the code that serves it: one line per API that this broker serves.
//!
//! Runs on the connection's shard. What must hold: a request of an API or version that is not served closes the
//! connection, as Kafka does, but for ApiVersions, which is answered in a form that every client can read; a body that
//! does not decode closes it too.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use ottla::metrics::ShardMetrics;
use ottla::request::{RequestContext, api_versions, served};
use ottla::time::Monotonic;
use ottla_wire::frame::{Frame, decode_request_header, encode_response};
use ottla_wire::{ApiKey, Message, Reader};

use crate::drive::errors::TellsErrors;
use crate::drive::{Shard, coordinate, describe, fetch, metadata, offsets, produce};
use crate::host::{LocalBoxFuture, now, wall_ms};
use crate::net::{Answer, ConnectionContext, Handler, Reply};

/// A request whose header is read.
#[derive(Clone, Copy)]
pub struct Body<'a> {
    /// What the header says, and where the request came from.
    pub context: RequestContext<'a>,
    /// The whole frame.
    pub frame: &'a Bytes,
    /// Where the body begins in it.
    pub at: usize,
    /// Where it came from, and its end.
    pub connection: &'a Rc<ConnectionContext>,
    /// When its bytes were there.
    pub ready: Monotonic,
    /// Where the connection's shard counts.
    pub metrics: &'a ShardMetrics,
}

impl<'a> Body<'a> {
    /// Decodes the body; what does not decode closes the connection. Bytes behind the message are left alone, as Kafka
    /// leaves them: librdkafka ends a Metadata request for all topics with some.
    pub fn decode<M: Message<'a>>(&self) -> Result<M, Answer> {
        let mut reader = Reader::new(&self.frame[self.at..]);
        M::decode(&mut reader, self.context.version).map_err(|error| {
            tracing::debug!(api = %self.context.api, version = self.context.version, %error, "refused a request");
            Answer::Close
        })
    }

    /// The reply in the request's version.
    pub fn reply<'m, M: Message<'m> + TellsErrors>(&self, message: &M) -> Answer {
        count_errors(self.metrics, self.context.api, message);
        reply_of(&self.context, message)
    }

    /// The same, where all that it tells was so at `since`: from then on the time counts as the reply's.
    pub fn reply_since<'m, M: Message<'m> + TellsErrors>(&self, message: &M, since: Monotonic) -> Answer {
        match self.reply(message) {
            Answer::Reply(reply) => Answer::Reply(reply.counted_from(since)),
            other => other,
        }
    }
}

/// Counts the errors of a reply.
pub fn count_errors(metrics: &ShardMetrics, api: ApiKey, reply: &impl TellsErrors) {
    reply.each_error(|code| metrics.error_code(api, code));
}

/// Encodes a reply. One that has no form in the request's version is our own bug: it is told, and costs the connection
/// and nothing else.
pub fn frame_of<'m, M: Message<'m>>(context: &RequestContext<'_>, message: &M) -> Result<Frame, Answer> {
    encode_response(context.api, context.version, context.correlation_id, message).map_err(|error| {
        tracing::error!(api = %context.api, version = context.version, %error, "a reply cannot be encoded");
        Answer::Close
    })
}

/// A reply without splices, ready to send.
pub fn reply_of<'m, M: Message<'m>>(context: &RequestContext<'_>, message: &M) -> Answer {
    match frame_of(context, message) {
        Ok(frame) => {
            assert!(frame.splices.is_empty(), "only Fetch splices records");
            Answer::Reply(Reply::of_bytes(frame.head.into()))
        }
        Err(answer) => answer,
    }
}

impl Handler for Rc<Shard> {
    fn handle(&self, frame: Bytes, connection: &Rc<ConnectionContext>) -> LocalBoxFuture<Answer> {
        let (shard, connection) = (Rc::clone(self), Rc::clone(connection));
        Box::pin(async move { dispatch(&shard, &frame, &connection).await })
    }
}

/// Where a connection comes from and through, as requests name it.
struct Place {
    /// The client's address in Kafka's form: `/127.0.0.1`.
    client_host: String,
    /// The listener's name.
    listener: Arc<str>,
}

impl Place {
    fn of(shard: &Shard, connection: &ConnectionContext) -> Self {
        let client_host = format!("/{}", connection.peer().ip().to_canonical());
        Self { client_host, listener: Arc::clone(&shard.listeners[connection.listener()]) }
    }
}

/// Serves one frame.
async fn dispatch(shard: &Rc<Shard>, frame: &Bytes, connection: &Rc<ConnectionContext>) -> Answer {
    let Ok((header, at)) = decode_request_header(frame) else { return Answer::Close };
    let Some(api) = ApiKey::from_code(header.request_api_key) else {
        tell_unserved(shard, connection, format_args!("API key {}", header.request_api_key));
        return Answer::Close;
    };
    let place = connection.session(|| Place::of(shard, connection));
    let context = RequestContext {
        api,
        version: header.request_api_version,
        correlation_id: header.correlation_id,
        client_id: header.client_id.as_deref(),
        client_host: &place.client_host,
        listener: &place.listener,
        now: now(),
        now_wall: wall_ms(),
    };
    shard.metrics.request(api);
    let body = Body { context, frame, at, connection, ready: connection.ready(), metrics: &shard.metrics };
    if !served::accepts(api, context.version) {
        return match api {
            ApiKey::ApiVersions => api_versions_unknown(body),
            _ => {
                tell_unserved(shard, connection, format_args!("{api} version {}", context.version));
                Answer::Close
            }
        };
    }
    serve(shard, body).await
}

/// Says why a connection ends, of which its client learns no more than that it does, as from Kafka.
fn tell_unserved(shard: &Shard, connection: &ConnectionContext, asked: std::fmt::Arguments<'_>) {
    shard.unserved.once_in_a_while(|left_out| {
        let peer = connection.peer();
        tracing::warn!(%peer, left_out, "{asked} is not served; the connection was closed");
    });
}

/// The answer to an ApiVersions request of a version to come: version 0, which every client reads (KIP-511).
fn api_versions_unknown(body: Body<'_>) -> Answer {
    let context = RequestContext { version: 0, ..body.context };
    let reply = api_versions::unsupported_version();
    count_errors(body.metrics, context.api, &reply);
    reply_of(&context, &reply)
}

/// Serves one request of an API and version that are served.
async fn serve(shard: &Rc<Shard>, body: Body<'_>) -> Answer {
    match body.context.api {
        ApiKey::Produce => produce::produce(shard, body).await,
        ApiKey::Fetch => fetch::fetch(shard, body).await,
        ApiKey::ListOffsets => offsets::list_offsets(shard, body).await,
        ApiKey::OffsetForLeaderEpoch => offsets::epoch_ends(shard, body).await,
        ApiKey::DeleteRecords => offsets::delete_records(shard, body).await,
        ApiKey::DescribeProducers => offsets::describe_producers(shard, body).await,
        ApiKey::DescribeLogDirs => offsets::describe_log_dirs(shard, body).await,
        ApiKey::InitProducerId => produce::init_producer_id(shard, body).await,
        ApiKey::Metadata => metadata::metadata(shard, body).await,
        ApiKey::FindCoordinator => metadata::find_coordinator(shard, body).await,
        ApiKey::CreateTopics
        | ApiKey::DeleteTopics
        | ApiKey::CreatePartitions
        | ApiKey::AlterConfigs
        | ApiKey::IncrementalAlterConfigs => metadata::control(shard, body).await,
        ApiKey::JoinGroup
        | ApiKey::SyncGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::OffsetCommit
        | ApiKey::OffsetFetch
        | ApiKey::DescribeGroups
        | ApiKey::ListGroups
        | ApiKey::DeleteGroups
        | ApiKey::OffsetDelete => coordinate::coordinate(shard, body).await,
        _ => describe::describe(shard, body),
    }
}
