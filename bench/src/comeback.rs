//! How a client of a soak comes back to a broker that it has lost.
//!
//! It runs on the client's shard. What must hold: nobody tries more often than Kafka's clients do; a client is back
//! once the broker answers for each of its partitions, since one that has just begun refuses what is sent before that;
//! whoever is not back when the load is over stays away.

use std::time::Duration;

use ottla::errors::ErrorCode;
use ottla::ids::{ProducerEpoch, ProducerId};
use ottla_shards::host;
use ottla_wire::ApiKey;
use ottla_wire::init_producer_id_response::InitProducerIdResponse;
use ottla_wire::list_offsets_response::ListOffsetsResponse;

use crate::cluster::producer_id_request;
use crate::link::Link;
use crate::offsets::{End, list_request};
use crate::places::Places;

/// The first pause between two tries and the longest one; each is twice the one before. Kafka's
/// `reconnect.backoff.ms` and `reconnect.backoff.max.ms`.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The broker that was lost, and what is wanted of it.
pub(crate) struct Comeback<'p> {
    /// The topic.
    pub places: &'p Places,
    /// The broker, as its number among the places' nodes.
    pub node: usize,
    /// The partitions that it is to answer for.
    pub partitions: &'p [i32],
}

impl Comeback<'_> {
    /// A new connection; `None` where the load is over first.
    pub(crate) async fn link(&self, is_over: impl Fn() -> bool) -> Option<Link> {
        self.until_over(is_over, async |link| Some(link)).await
    }

    /// A new connection, and a producer id: what was sent with the one before may be there or not, so that no sequence
    /// number can follow it.
    pub(crate) async fn idempotent(
        &self,
        version: i16,
        is_over: impl Fn() -> bool,
    ) -> Option<(Link, (ProducerId, ProducerEpoch))> {
        let with_id = async |mut link| producer_id(&mut link, version).await.map(|id| (link, id));
        self.until_over(is_over, with_id).await
    }

    /// Tries until the broker answers as it is to and `next` has got what it wants of it.
    async fn until_over<T>(
        &self,
        is_over: impl Fn() -> bool,
        next: impl AsyncFn(Link) -> Option<T>,
    ) -> Option<T> {
        let (mut pause, longest) = BACKOFF;
        while !is_over() {
            if let Some(link) = self.once().await
                && let Some(wanted) = next(link).await
            {
                return Some(wanted);
            }
            host::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        None
    }

    async fn once(&self) -> Option<Link> {
        let mut link = Link::open(&self.places.nodes[self.node]).await.ok()?;
        let request = list_request(self.places.name(), End::Latest, self.partitions.iter().copied());
        let version = self.places.list_version;
        let reply: ListOffsetsResponse<'_> = link.call(ApiKey::ListOffsets, version, &request).await.ok()?;
        let answers = reply.topics.iter().flat_map(|topic| &topic.partitions);
        let led = answers.filter(|answer| answer.error_code == ErrorCode::None.code()).count();
        drop(reply);
        (led == self.partitions.len()).then_some(link)
    }
}

async fn producer_id(link: &mut Link, version: i16) -> Option<(ProducerId, ProducerEpoch)> {
    let request = producer_id_request();
    let reply: InitProducerIdResponse = link.call(ApiKey::InitProducerId, version, &request).await.ok()?;
    let is_given = reply.error_code == ErrorCode::None.code();
    is_given.then_some((ProducerId(reply.producer_id), ProducerEpoch(reply.producer_epoch)))
}
