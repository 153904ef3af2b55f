//! Blocks of producer ids: the metadata log says only where the next block begins.
//!
//! A shard that runs out asks the controller shard, which hands out a block once its record is durable; what a shard
//! had left of its block when the process ended is never given again. The rule is Kafka's `ProducerIdControlManager`.

use ottla_wire::MetadataRecord;
use ottla_wire::producer_ids_record::ProducerIdsRecord;

use super::{Decision, Image};
use crate::errors::ErrorCode;
use crate::ids::{NodeId, ProducerId};

/// The ids of one block (Kafka's `PRODUCER_ID_BLOCK_SIZE`).
pub const PRODUCER_IDS_PER_BLOCK: i64 = 1000;

/// A block of producer ids that nobody else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdsBlock {
    /// The first id.
    pub first: ProducerId,
    /// How many there are.
    pub count: i64,
}

/// The next block, for a broker that is registered. An unregistered one gets STALE_BROKER_EPOCH, and when 2^63 ids are
/// used up the answer is UNKNOWN_SERVER_ERROR.
pub fn next_block(image: &Image, broker: NodeId) -> Result<Decision<ProducerIdsBlock>, ErrorCode> {
    let registration = image.brokers.get(&broker).ok_or(ErrorCode::StaleBrokerEpoch)?;
    let first = image.next_producer_id;
    let next = first.0.checked_add(PRODUCER_IDS_PER_BLOCK).ok_or(ErrorCode::UnknownServerError)?;
    let record =
        ProducerIdsRecord { broker_id: broker.0, broker_epoch: registration.epoch, next_producer_id: next };
    Ok(Decision {
        records: vec![MetadataRecord::ProducerIdsRecord(record)],
        reply: ProducerIdsBlock { first, count: PRODUCER_IDS_PER_BLOCK },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::{image, replayed};

    #[test]
    fn blocks_follow_each_other() {
        let mut image = image();
        for first in [0, 1000, 2000] {
            let decision = next_block(&image, NodeId(1)).expect("the broker is registered");
            assert_eq!(decision.reply, ProducerIdsBlock { first: ProducerId(first), count: 1000 });
            image = replayed(&image, &decision.records).0;
            assert_eq!(image.next_producer_id, ProducerId(first + 1000));
        }
        let MetadataRecord::ProducerIdsRecord(record) =
            &next_block(&image, NodeId(1)).expect("it is").records[0]
        else {
            panic!("a block is one record")
        };
        assert_eq!((record.broker_id, record.broker_epoch), (1, image.brokers[&NodeId(1)].epoch));
    }

    #[test]
    fn strangers_and_the_end_of_all_ids() {
        let mut image = image();
        assert_eq!(next_block(&image, NodeId(2)).map(|_| ()), Err(ErrorCode::StaleBrokerEpoch));
        image.next_producer_id = ProducerId(i64::MAX - 999);
        assert_eq!(next_block(&image, NodeId(1)).map(|_| ()), Err(ErrorCode::UnknownServerError));
        image.next_producer_id = ProducerId(i64::MAX - 1000);
        assert!(next_block(&image, NodeId(1)).is_ok());
    }
}
