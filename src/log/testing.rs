//! Batches for the tests of the log: headers with whatever fields a test cares about, and bytes with a true CRC.

pub mod disk;

use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::protocol::records::{Attributes, BatchHeader, EndTransactionMarker, edit};

/// A batch in the making.
#[derive(Clone, Copy, Debug)]
pub struct TestBatch {
    header: BatchHeader,
    marker: Option<EndTransactionMarker>,
}

/// A batch of `records` records without a producer, of 70 bytes, leader epoch 0 and timestamp 1,000.
pub fn batch(base_offset: i64, records: i32) -> TestBatch {
    TestBatch {
        header: BatchHeader {
            base_offset: Offset(base_offset),
            batch_bytes: 70,
            partition_leader_epoch: LeaderEpoch(0),
            magic: 2,
            crc: 0,
            attributes: Attributes(0),
            last_offset_delta: records - 1,
            base_timestamp: TimestampMs(1_000),
            max_timestamp: TimestampMs(1_000),
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            record_count: records,
        },
        marker: None,
    }
}

/// A control batch of a transaction's end, of 78 bytes as Kafka writes it; a commit of coordinator epoch 0.
pub fn control(base_offset: i64, producer_id: i64, epoch: i16) -> TestBatch {
    let mut control = batch(base_offset, 1).bytes_total(78).producer(producer_id, epoch, -1);
    control.header.attributes = Attributes(0x30);
    control.marker = Some(EndTransactionMarker { committed: true, coordinator_epoch: 0 });
    control
}

impl TestBatch {
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> TestBatch {
        self.header.producer_id = ProducerId(id);
        self.header.producer_epoch = ProducerEpoch(epoch);
        self.header.base_sequence = base_sequence;
        self
    }

    pub fn transactional(mut self) -> TestBatch {
        self.header.attributes = self.header.attributes.with_transactional(true);
        self
    }

    pub fn timestamp(mut self, ms: i64) -> TestBatch {
        self.header.max_timestamp = TimestampMs(ms);
        self
    }

    pub fn leader_epoch(mut self, epoch: i32) -> TestBatch {
        self.header.partition_leader_epoch = LeaderEpoch(epoch);
        self
    }

    pub fn bytes_total(mut self, bytes: usize) -> TestBatch {
        self.header.batch_bytes = bytes;
        self
    }

    pub fn marker(mut self, committed: bool, coordinator_epoch: i32) -> TestBatch {
        self.marker = Some(EndTransactionMarker { committed, coordinator_epoch });
        self
    }

    /// A control batch whose payload is filler.
    pub fn without_marker(mut self) -> TestBatch {
        self.marker = None;
        self
    }

    pub fn header(&self) -> BatchHeader {
        self.header
    }

    pub fn end_marker(&self) -> Option<EndTransactionMarker> {
        self.marker
    }

    /// The batch as it stands on disk; the payload of a data batch is filler that depends on the offset.
    pub fn bytes(&self) -> Vec<u8> {
        let header = &self.header;
        let mut bytes = Vec::with_capacity(header.batch_bytes);
        bytes.extend_from_slice(&header.base_offset.0.to_be_bytes());
        let length = i32::try_from(header.batch_bytes - 12).expect("a small batch");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&header.partition_leader_epoch.0.to_be_bytes());
        bytes.push(2);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&header.attributes.0.to_be_bytes());
        bytes.extend_from_slice(&header.last_offset_delta.to_be_bytes());
        bytes.extend_from_slice(&header.base_timestamp.0.to_be_bytes());
        bytes.extend_from_slice(&header.max_timestamp.0.to_be_bytes());
        bytes.extend_from_slice(&header.producer_id.0.to_be_bytes());
        bytes.extend_from_slice(&header.producer_epoch.0.to_be_bytes());
        bytes.extend_from_slice(&header.base_sequence.to_be_bytes());
        bytes.extend_from_slice(&header.record_count.to_be_bytes());
        bytes.extend_from_slice(&self.payload());
        assert_eq!(bytes.len(), header.batch_bytes, "the payload fills the batch");
        edit::set_crc(&mut bytes);
        bytes
    }

    fn payload(&self) -> Vec<u8> {
        let Some(marker) = self.marker else {
            let filler = self.header.base_offset.0.to_le_bytes();
            return filler.iter().cycle().take(self.header.batch_bytes - 61).copied().collect();
        };
        // Record of 16 bytes: attributes, two deltas, key of 4 bytes, value of 6 bytes, no headers.
        let mut record = vec![32, 0, 0, 0, 8, 0, 0, 0, u8::from(marker.committed), 12, 0, 0];
        record.extend_from_slice(&marker.coordinator_epoch.to_be_bytes());
        record.push(0);
        record
    }
}
