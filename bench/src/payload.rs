//! The batches that a load sends: built once, stamped anew for every send.
//!
//! Records have no key and a value of random capital letters, as those of Kafka's producer-perf-test, so that
//! compression finds about as much as it does there. The letters come from a fixed seed: two runs send the same.

use ottla::ids::{ProducerEpoch, ProducerId, TimestampMs};
use ottla::limits::BATCH_HEADER_BYTES;
use ottla::protocol::compression::Codec;
use ottla::protocol::records::{BatchBuilder, BatchHeader, NewRecord, edit};

/// Different batches that are sent in turn.
const BATCHES: usize = 8;
/// Fewer of them where they would take more than this many bytes together.
const BATCHES_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Where the letters start.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// What each batch is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PayloadSpec {
    /// Bytes of a record's value.
    pub record_bytes: usize,
    /// Records of a whole batch.
    pub batch_records: u32,
    /// How the batches are compressed.
    pub codec: Codec,
}

/// The idempotent producer that a batch comes from, and the place of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record.
    pub base_sequence: i32,
}

/// The batches of a load, shared by its connections.
#[derive(Debug)]
pub(crate) struct Payload {
    spec: PayloadSpec,
    templates: Vec<Vec<u8>>,
}

impl Payload {
    pub(crate) fn new(spec: PayloadSpec) -> Self {
        let bytes = (spec.record_bytes * spec.batch_records as usize).max(1);
        let count = (BATCHES_BYTES_MAX / bytes).clamp(1, BATCHES);
        let templates = (0..count).map(|n| template(&spec, spec.batch_records, n as u64)).collect();
        Self { spec, templates }
    }

    /// A batch of `records` records written at `now`; `turn` chooses among the different ones.
    pub(crate) fn batch(
        &self,
        turn: usize,
        records: u32,
        now: TimestampMs,
        sequence: Option<Sequence>,
    ) -> Vec<u8> {
        assert!(
            records > 0 && records <= self.spec.batch_records,
            "a batch is whole or the last of its load"
        );
        if records == self.spec.batch_records {
            stamp(&self.templates[turn % self.templates.len()], now, sequence)
        } else {
            stamp(&template(&self.spec, records, 0), now, sequence)
        }
    }
}

fn template(spec: &PayloadSpec, records: u32, number: u64) -> Vec<u8> {
    let mut letters = Letters(SEED ^ (number + 1));
    let mut builder = BatchBuilder::new().compression(spec.codec, None);
    let mut value = vec![0; spec.record_bytes];
    for _ in 0..records {
        letters.fill(&mut value);
        let timestamp = TimestampMs(0);
        builder.append(&NewRecord { timestamp, key: None, value: Some(&value), headers: &[] });
    }
    builder.build()
}

/// The batch with this time for all of its records and with this producer.
fn stamp(template: &[u8], now: TimestampMs, sequence: Option<Sequence>) -> Vec<u8> {
    let mut header = BatchHeader::parse(template).expect("the builder made it");
    // All deltas are 0: moving the base moves every record.
    header.base_timestamp = now;
    header.max_timestamp = now;
    if let Some(sequence) = sequence {
        header.producer_id = sequence.producer_id;
        header.producer_epoch = sequence.producer_epoch;
        header.base_sequence = sequence.base_sequence;
    }
    edit::assemble(&header, &template[BATCH_HEADER_BYTES..]).expect("the template was of this size")
}

/// A xorshift generator of capital letters.
struct Letters(u64);

impl Letters {
    fn fill(&mut self, value: &mut [u8]) {
        for byte in value {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = b'A' + ((self.0 >> 32) % 26) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla::protocol::compression::Decompressor;
    use ottla::protocol::records::{TimestampType, ValidationPolicy, validate};

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

    fn check(batch: &[u8]) -> BatchHeader {
        let policy = ValidationPolicy {
            compacted: false,
            timestamp_type: TimestampType::CreateTime,
            before_max_ms: 1,
            after_max_ms: 1,
            max_message_bytes: usize::MAX,
            compression: None,
            now: NOW,
            zstd_allowed: true,
        };
        let validated =
            validate(&policy, batch, &mut Decompressor::new()).expect("a batch that brokers take");
        assert_eq!(validated.max_timestamp, NOW);
        BatchHeader::parse(batch).expect("it was just validated")
    }

    #[test]
    fn every_codec_makes_batches_that_a_broker_accepts() {
        for codec in Codec::ALL {
            let payload = Payload::new(PayloadSpec { record_bytes: 200, batch_records: 7, codec });
            for (turn, records) in [(0, 7), (1, 7), (9, 7), (0, 1)] {
                let header = check(&payload.batch(turn, records, NOW, None));
                assert_eq!(header.record_count as u32, records);
                assert!(!header.has_producer_id());
            }
        }
    }

    #[test]
    fn batches_differ_in_turn_and_carry_their_sequence() {
        let payload = Payload::new(PayloadSpec { record_bytes: 50, batch_records: 3, codec: Codec::None });
        let sequence = Sequence {
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(2),
            base_sequence: i32::MAX - 1,
        };
        let (first, second) =
            (payload.batch(0, 3, NOW, Some(sequence)), payload.batch(1, 3, NOW, Some(sequence)));
        assert_ne!(first[BATCH_HEADER_BYTES..], second[BATCH_HEADER_BYTES..]);
        let header = check(&first);
        assert_eq!((header.producer_id, header.producer_epoch), (ProducerId(7), ProducerEpoch(2)));
        assert_eq!((header.base_sequence, header.last_sequence()), (i32::MAX - 1, 0));
    }

    #[test]
    fn large_batches_are_not_kept_eight_times() {
        let spec = PayloadSpec { record_bytes: 10 * 1024 * 1024, batch_records: 1, codec: Codec::None };
        assert_eq!(Payload::new(spec).templates.len(), 1);
        let empty = PayloadSpec { record_bytes: 0, batch_records: 1, codec: Codec::None };
        check(&Payload::new(empty).batch(0, 1, NOW, None));
    }
}
