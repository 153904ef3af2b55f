//! Reads a whole partition of the broker's own and replays its records: the metadata log, a partition of the offsets
//! topic.
//!
//! Runs on the owner shard before the partition is served. Memory is bounded by one read and by the transactions that
//! are open at one time: their records wait for the marker, and count only where it commits them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use ottla::canary::{self, Canary};
use ottla::errors::ErrorCode;
use ottla::ids::Offset;
use ottla::limits::DECOMPRESSED_BYTES_MAX;
use ottla::log::ReadRequest;
use ottla::protocol::compression::{Codec, decompress};
use ottla::protocol::records::{
    Batch, BatchError, BatchIter, EndTransactionMarker, RecordIter, crc_is_valid,
};

use crate::disk::partition::read::Slice;
use crate::disk::{DiskError, Partition};
use crate::host::{File, yield_now};

/// Bytes of batches that are read at a time: fewer in a simulated world, whose logs are small.
const READ_BYTES: u64 = if cfg!(feature = "sim") { 2 << 10 } else { 1 << 20 };

/// Why a partition could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayFailure<E: Display> {
    /// The log cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file range cannot be read.
    #[error("the log cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// A batch is not what it was.
    #[error("the batch at offset {offset} is damaged: {why}")]
    Damaged {
        /// Its base offset.
        offset: Offset,
        /// In which way.
        why: String,
    },
    /// A record cannot be used.
    #[error("the record at offset {offset}: {error}")]
    Record {
        /// Its offset.
        offset: Offset,
        /// Why not.
        error: E,
    },
}

impl<E: Display> ReplayFailure<E> {
    fn damaged(offset: Offset, why: impl Display) -> Self {
        Self::Damaged { offset, why: why.to_string() }
    }
}

/// A record as the replay needs it: key and value.
pub type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// A record of a transaction that has not ended.
struct Pending {
    offset: Offset,
    key: Option<Box<[u8]>>,
    value: Option<Box<[u8]>>,
}

/// Hands every record from the log start to the high watermark to `replay`, in order; those of a transaction when its
/// marker commits it.
///
/// # Errors
/// The first failure; nothing after it is replayed.
pub async fn replay_records<E: Display>(
    partition: &Rc<Partition>,
    replay: impl FnMut(Offset, KeyValue<'_>) -> Result<(), E>,
) -> Result<(), ReplayFailure<E>> {
    let end = partition.offsets().high_watermark;
    let mut next = partition.offsets().log_start;
    let mut replayer = Replayer::new(replay);
    while next < end {
        let request = ReadRequest { from: next, up_to: end, max_bytes: READ_BYTES, at_least_one: true };
        let mut bytes = Vec::new();
        for slice in partition.read(request).await?.slices {
            match slice {
                Slice::Memory(memory) => bytes.extend_from_slice(&memory),
                Slice::File { fd, position, bytes: count, .. } => {
                    let count = usize::try_from(count).expect("a read is bounded");
                    bytes.extend_from_slice(&File::from_shared(fd)?.read_at(position.0, count).await?);
                }
            }
        }
        let before = next;
        for batch in BatchIter::new(&bytes) {
            let batch = match batch {
                // A read from a file ends where its bytes do, be it within a batch: the next one begins with that.
                Err(BatchError::Partial { .. }) if next > before && !canary::is(Canary::CutIsDamage) => break,
                batch => batch.map_err(|error| ReplayFailure::damaged(next, error))?,
            };
            replayer.batch(&batch)?;
            next = batch.header.next_offset();
        }
        if next == before {
            return Err(ReplayFailure::damaged(next, ErrorCode::CorruptMessage));
        }
        yield_now().await;
    }
    Ok(())
}

/// Takes batches in the order of the log.
pub struct Replayer<R> {
    replay: R,
    /// By the producer's id, which has one transaction at a time.
    pending: BTreeMap<i64, Vec<Pending>>,
}

impl<E: Display, R: FnMut(Offset, KeyValue<'_>) -> Result<(), E>> Replayer<R> {
    /// Hands records to `replay`.
    pub fn new(replay: R) -> Self {
        Self { replay, pending: BTreeMap::new() }
    }

    /// Replays one batch.
    ///
    /// # Errors
    /// When it is damaged or a record cannot be used.
    pub fn batch(&mut self, batch: &Batch<'_>) -> Result<(), ReplayFailure<E>> {
        let at = batch.header.base_offset;
        if !crc_is_valid(batch.bytes) {
            return Err(ReplayFailure::damaged(at, "its CRC is wrong"));
        }
        let codec = batch.header.attributes.compression();
        let codec = codec.ok_or_else(|| ReplayFailure::damaged(at, "its codec is unknown"))?;
        let decompressed;
        let payload = match codec {
            Codec::None => batch.payload(),
            codec => {
                decompressed = decompress(codec, batch.payload(), DECOMPRESSED_BYTES_MAX)
                    .map_err(|error| ReplayFailure::damaged(at, error))?;
                &decompressed
            }
        };
        let (attributes, producer) = (batch.header.attributes, batch.header.producer_id.0);
        for record in RecordIter::new(payload, batch.header.record_count) {
            let record = record.map_err(|error| ReplayFailure::damaged(at, error))?;
            let offset = record.offset(&batch.header);
            if attributes.is_control() {
                // A log of the quorum has markers of its own kind, which say nothing to an image.
                if let Some(marker) = EndTransactionMarker::from_record(&record) {
                    self.end_transaction(producer, marker.committed)?;
                }
            } else if attributes.is_transactional() {
                let (key, value) = (record.key.map(Box::from), record.value.map(Box::from));
                self.pending.entry(producer).or_default().push(Pending { offset, key, value });
            } else {
                self.one(offset, (record.key, record.value))?;
            }
        }
        Ok(())
    }

    fn end_transaction(&mut self, producer: i64, committed: bool) -> Result<(), ReplayFailure<E>> {
        let records = self.pending.remove(&producer).unwrap_or_default();
        for Pending { offset, key, value } in records.into_iter().filter(|_| committed) {
            self.one(offset, (key.as_deref(), value.as_deref()))?;
        }
        Ok(())
    }

    fn one(&mut self, offset: Offset, record: KeyValue<'_>) -> Result<(), ReplayFailure<E>> {
        (self.replay)(offset, record).map_err(|error| ReplayFailure::Record { offset, error })
    }
}

#[cfg(test)]
mod tests {
    use ottla::ids::{LeaderEpoch, ProducerEpoch, ProducerId, TimestampMs};
    use ottla::protocol::compression::Codec as Compression;
    use ottla::protocol::records::{BatchBuilder, NewRecord};

    use super::*;

    fn batch(base: i64, producer: Option<i64>, keys: &[&str]) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(Offset(base)).leader_epoch(LeaderEpoch(0));
        if let Some(id) = producer {
            builder = builder.producer(ProducerId(id), ProducerEpoch(0), 0).transactional();
        }
        let mut builder = builder.compression(Compression::Lz4, None);
        for key in keys {
            let (timestamp, key) = (TimestampMs(1), Some(key.as_bytes()));
            builder.append(&NewRecord { timestamp, key, value: None, headers: &[] });
        }
        builder.build()
    }

    fn marker(base: i64, producer: i64, committed: bool) -> Vec<u8> {
        let builder = BatchBuilder::new().base_offset(Offset(base));
        let builder = builder.producer(ProducerId(producer), ProducerEpoch(0), -1);
        let mut builder = builder.transactional().control();
        builder.append_marker(TimestampMs(1), &EndTransactionMarker { committed, coordinator_epoch: 0 });
        builder.build()
    }

    fn replayed(log: &[Vec<u8>]) -> Vec<(i64, String)> {
        let mut seen = Vec::new();
        let mut replayer = Replayer::new(|offset: Offset, (key, _): KeyValue<'_>| {
            let key =
                String::from_utf8(key.unwrap_or_default().to_vec()).map_err(|error| error.to_string())?;
            seen.push((offset.0, key));
            Ok::<(), String>(())
        });
        let bytes = log.concat();
        for batch in BatchIter::new(&bytes) {
            replayer.batch(&batch.expect("the test's own")).expect("whole");
        }
        drop(replayer);
        seen
    }

    #[test]
    fn records_of_a_transaction_count_when_it_is_committed() {
        let log = [
            batch(0, Some(1), &["a", "b"]),
            batch(2, Some(2), &["c"]),
            batch(3, None, &["d"]),
            marker(4, 2, false),
            marker(5, 1, true),
            batch(6, Some(2), &["e"]),
            marker(7, 1, true),
        ];
        let expected = [(3, "d"), (0, "a"), (1, "b")];
        assert_eq!(replayed(&log), expected.map(|(offset, key)| (offset, key.to_owned())));
    }

    #[test]
    fn a_damaged_batch_is_named() {
        let mut bytes = batch(7, None, &["a"]);
        *bytes.last_mut().expect("it has bytes") ^= 1;
        let batch = BatchIter::new(&bytes).next().expect("one").expect("its header is whole");
        let error =
            Replayer::new(|_, _: KeyValue<'_>| Ok::<(), String>(())).batch(&batch).expect_err("damaged");
        assert_eq!(error.to_string(), "the batch at offset 7 is damaged: its CRC is wrong");
    }
}

#[cfg(all(test, not(feature = "sim")))]
mod on_disk {
    use super::*;
    use crate::disk::tests::support::{self, Broker, abandon, append, directory, name, small_segments};
    use crate::host::run_local;

    /// How a log comes to be opened again.
    #[derive(Clone, Copy, Debug)]
    enum After {
        CleanStop,
        CleanStopWithoutNote,
        Crash,
    }

    /// More than several reads, of which none ends where a batch does.
    #[test]
    fn a_log_of_many_reads_is_replayed_whole_however_it_is_opened() {
        const BATCHES: i64 = 4_000;
        for after in [After::CleanStop, After::CleanStopWithoutNote, After::Crash] {
            for segment_bytes in [1 << 30, 3 * READ_BYTES / 2] {
                let (root, config) = (directory(false), small_segments(segment_bytes));
                run_local(async move {
                    let broker = Broker::start(root.path()).await;
                    let partition = broker.create(&name(0), config.clone()).await;
                    let mut end = Offset::ZERO;
                    for seed in 0..BATCHES {
                        let batch = support::batch(seed as u64, 1_000);
                        end = append(&partition, &batch).await.expect("an append").end;
                    }
                    partition.wait_acknowledged(end).await.expect("an acknowledgement");
                    match after {
                        After::Crash => abandon(partition).await,
                        _ => broker.end_cleanly(partition).await,
                    }
                    drop(broker);
                    if matches!(after, After::CleanStopWithoutNote) {
                        std::fs::remove_file(root.path().join("ottla.clean"))
                            .expect("a clean stop leaves it");
                    }
                    let broker = Broker::start(root.path()).await;
                    let partition = broker.load(&name(0), config).await;
                    let mut next = 0;
                    let replay = |offset: Offset, _: KeyValue<'_>| {
                        assert_eq!(offset, Offset(next), "{after:?}");
                        next += 1;
                        Ok::<(), String>(())
                    };
                    let replayed = replay_records(&partition, replay).await;
                    assert!(replayed.is_ok(), "{after:?}, segments of {segment_bytes}: {:?}", replayed.err());
                    assert_eq!(next, BATCHES, "{after:?}");
                    partition.close().await.expect("a close");
                    abandon(partition).await;
                });
            }
        }
    }
}
