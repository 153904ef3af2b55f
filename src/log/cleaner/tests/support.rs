//! A log with its files in memory, records with keys, and everything that is left of them after a cleaning.

use std::collections::BTreeMap;

use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::log::cleaner::{CleanError, Cleanable, Cleaning, DirtyLook, MapBounds};
use crate::log::producers::TransactionCheck;
use crate::log::testing::disk::{Disk, NOW};
use crate::log::{Appended, Log, LogConfig, NewBatch};
use crate::protocol::compression::{Codec, decompress};
use crate::protocol::records::{
    BatchBuilder, BatchHeader, BatchIter, EndTransactionMarker, NewRecord, RecordIter, crc_is_valid,
};

/// Key and value of a record that is to be appended.
pub type Row<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// A record as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// A batch as it stands in the log.
#[derive(Clone, Debug)]
pub struct FoundBatch {
    pub header: BatchHeader,
    pub records: Vec<Found>,
}

/// A log, its files, and the offset up to which it is clean.
pub struct World {
    pub log: Log,
    pub disk: Disk,
    pub clean_to: Option<Offset>,
}

pub fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 900,
        index_interval_bytes: 150,
        compact: true,
        delete: false,
        delete_retention_ms: 1_000,
        ..LogConfig::default()
    }
}

/// Room for that many keys.
pub fn bounds(keys: usize) -> MapBounds {
    MapBounds { bytes_max: (keys + 1) * super::super::offset_map::SLOT_BYTES, load_permille: 1_000 }
}

impl World {
    pub fn new(config: LogConfig) -> World {
        let mut log = Log::new(config, Offset(0), 1, NOW);
        log.become_leader(LeaderEpoch(3));
        let mut disk = Disk::new(&log);
        // What only the first batches of an epoch could tell has to be on disk before they go.
        disk.epochs = Some(log.epochs().encode().into_bytes());
        World { log, disk, clean_to: None }
    }

    pub fn append(&mut self, bytes: Vec<u8>, marker: Option<EndTransactionMarker>) -> Appended {
        let header = BatchHeader::parse(&bytes).expect("a batch");
        let transaction = TransactionCheck { verified: true, ..TransactionCheck::default() };
        let new = match marker {
            None => NewBatch { transaction, ..NewBatch::of_client(header) },
            Some(_) => NewBatch { marker, ..NewBatch::of_coordinator(header) },
        };
        let appended = self.disk.append_bytes(&mut self.log, bytes, new);
        self.log.mark_durable(self.log.log_end_offset());
        appended
    }

    /// Appends a plain batch; returns the offset of its first record.
    pub fn put(&mut self, rows: &[Row<'_>]) -> i64 {
        self.append(rows_of(BatchBuilder::new(), 10, rows).build(), None).base_offset.0
    }

    /// Ends a producer's transaction.
    pub fn end(&mut self, producer: i64, epoch: i16, committed: bool) -> i64 {
        let marker = EndTransactionMarker { committed, coordinator_epoch: 1 };
        let mut control = BatchBuilder::new().transactional().control().producer(
            ProducerId(producer),
            ProducerEpoch(epoch),
            -1,
        );
        control.append_marker(TimestampMs(20), &marker);
        self.append(control.build(), Some(marker)).base_offset.0
    }

    pub fn roll(&mut self) {
        if let Some(roll) = self.log.roll(NOW) {
            self.disk.roll(&roll);
        }
    }

    /// What is to be cleaned at `now`.
    pub fn look(&self, now: i64) -> Cleanable {
        match self.log.look_for_dirt(self.clean_to, TimestampMs(now), &BTreeMap::new()) {
            DirtyLook::Found(cleanable) => cleanable,
            other => panic!("nothing has to be read for that: {other:?}"),
        }
    }

    /// Cleans everything that may be cleaned at `now`, with a map of `keys` keys.
    pub fn clean(&mut self, now: i64, keys: usize) -> Cleaning {
        self.try_clean(now, keys).expect("nothing is damaged")
    }

    pub fn try_clean(&mut self, now: i64, keys: usize) -> Result<Cleaning, CleanError> {
        let mut input = self.log.cleaning_input(self.look(now), bounds(keys), TimestampMs(now));
        input.window_bytes = 300;
        let cleaning = self.disk.clean(&mut self.log, Cleaning::new(input))?;
        self.clean_to = Some(cleaning.end());
        Ok(cleaning)
    }

    /// Every batch of the log, with its records.
    pub fn batches(&self) -> Vec<FoundBatch> {
        self.disk.segments.values().flat_map(|bytes| decode(bytes)).collect()
    }

    /// Every record that is no control record.
    pub fn records(&self) -> Vec<Found> {
        let data = self.batches().into_iter().filter(|batch| !batch.header.attributes.is_control());
        data.flat_map(|batch| batch.records).collect()
    }

    pub fn offsets(&self) -> Vec<i64> {
        self.records().iter().map(|record| record.offset).collect()
    }
}

/// The batches of one segment, each checked.
pub fn decode(segment: &[u8]) -> Vec<FoundBatch> {
    BatchIter::new(segment)
        .map(|batch| {
            let batch = batch.expect("whole batches");
            assert!(crc_is_valid(batch.bytes), "every batch has its CRC");
            let codec = batch.header.attributes.compression().expect("a codec");
            let payload = match batch.header.record_count {
                0 => Vec::new(),
                _ => decompress(codec, batch.payload(), 1 << 20).expect("own bytes"),
            };
            let records = RecordIter::new(&payload, batch.header.record_count).map(|record| {
                let record = record.expect("own bytes");
                Found {
                    offset: record.offset(&batch.header).0,
                    timestamp: record.timestamp(&batch.header).0,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                }
            });
            FoundBatch { header: batch.header, records: records.collect() }
        })
        .collect()
}

/// The builder with these records, the first at `timestamp` and each a millisecond later.
pub fn rows_of(mut builder: BatchBuilder, timestamp: i64, rows: &[Row<'_>]) -> BatchBuilder {
    for (at, &(key, value)) in (0..).zip(rows) {
        builder.append(&NewRecord { timestamp: TimestampMs(timestamp + at), key, value, headers: &[] });
    }
    builder
}

/// A batch of an idempotent producer.
pub fn sequenced(producer: i64, epoch: i16, sequence: i32, rows: &[Row<'_>]) -> BatchBuilder {
    let builder = BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(epoch), sequence);
    rows_of(builder, 10, rows)
}

pub fn with_codec(builder: BatchBuilder, codec: Codec) -> Vec<u8> {
    builder.compression(codec, None).build()
}
