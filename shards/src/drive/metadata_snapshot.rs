//! The snapshots of the metadata log that a broker of Kafka's has left, read on the controller's shard at start.
//!
//! On disk: `<offset>-<epoch>.checkpoint` beside the log's segments, see [`SnapshotId`]. Only the newest one counts,
//! and only where the log does not begin at 0. What must hold: a snapshot is used as a whole, from its header to its
//! footer, or the start fails; between its end and the log's first record nothing is missing.

use std::path::Path;

use ottla::controller::ImageBuilder;
use ottla::controller::snapshot::SnapshotId;
use ottla::ids::Offset;
use ottla::limits::WHOLE_FILE_BYTES_MAX;
use ottla::protocol::records::{BatchIter, ControlRecordType, RecordIter};

use super::control::{MetadataError, apply};
use super::replay::{ReplayFailure, Replayer};
use crate::disk::DiskError;
use crate::disk::patient;

/// Why a log without its beginning cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No snapshot reaches the log's first record.
    #[error("the log begins at offset {start} and there is no snapshot up to there")]
    Missing {
        /// The log's first offset.
        start: Offset,
    },
    /// The snapshot is damaged.
    #[error("{id}: {why}")]
    Damaged {
        /// Which one.
        id: SnapshotId,
        /// In which way.
        why: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Replays the newest snapshot in `dir`, beside a log that begins at `start`. Returns the offset at which the log goes
/// on behind it.
///
/// # Errors
/// When there is none that fits, or it cannot be read as a whole.
pub async fn replay_newest(
    dir: &Path,
    start: Offset,
    builder: &mut ImageBuilder,
) -> Result<Offset, SnapshotError> {
    let entries = patient::read_dir(dir).await.map_err(DiskError::from)?;
    let newest = entries.iter().filter_map(|entry| SnapshotId::parse(&entry.name.to_string_lossy())).max();
    let id = newest.filter(|id| id.end >= start).ok_or(SnapshotError::Missing { start })?;
    let bytes = patient::read_whole(&dir.join(id.to_string()), WHOLE_FILE_BYTES_MAX).await;
    let bytes = bytes.map_err(DiskError::from)?;
    replay_whole(&bytes, builder).map_err(|why| SnapshotError::Damaged { id, why })?;
    Ok(id.end)
}

fn replay_whole(bytes: &[u8], builder: &mut ImageBuilder) -> Result<(), String> {
    let mut replayer = Replayer::new(|_, (_, value): super::replay::KeyValue<'_>| {
        apply(builder, value.unwrap_or_default()).map(drop)
    });
    let (mut is_first, mut is_ended) = (true, false);
    for batch in BatchIter::new(bytes) {
        let batch = batch.map_err(|error| error.to_string())?;
        if is_ended {
            return Err("batches follow its footer".to_owned());
        }
        replayer.batch(&batch).map_err(|error: ReplayFailure<MetadataError>| error.to_string())?;
        let controls = if batch.header.attributes.is_control() { control_types(&batch)? } else { Vec::new() };
        if is_first && controls.first() != Some(&ControlRecordType::SnapshotHeader) {
            return Err("it has no header".to_owned());
        }
        is_first = false;
        is_ended = controls.contains(&ControlRecordType::SnapshotFooter);
    }
    if is_ended { Ok(()) } else { Err("it has no footer: it was never finished".to_owned()) }
}

/// What the records of a control batch are about.
fn control_types(batch: &ottla::protocol::records::Batch<'_>) -> Result<Vec<ControlRecordType>, String> {
    let mut types = Vec::new();
    for record in RecordIter::new(batch.payload(), batch.header.record_count) {
        let record = record.map_err(|error| error.to_string())?;
        types.extend(record.key.and_then(ControlRecordType::from_key));
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use ottla::controller::Image;
    use ottla::ids::{NodeId, TimestampMs, Uuid};
    use ottla::protocol::records::{BatchBuilder, NewRecord};
    use ottla_wire::MetadataRecord;
    use ottla_wire::topic_record::TopicRecord;

    use super::*;

    fn batch(control: Option<ControlRecordType>, value: &[u8]) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        let key = control.map(ControlRecordType::key);
        if control.is_some() {
            builder = builder.control();
        }
        let key = key.as_ref().map(|key| &key[..]);
        builder.append(&NewRecord { timestamp: TimestampMs(1), key, value: Some(value), headers: &[] });
        builder.build()
    }

    fn parts() -> [Vec<u8>; 3] {
        let topic = TopicRecord { name: "t".into(), topic_id: Uuid([1; 16]) };
        [
            batch(Some(ControlRecordType::SnapshotHeader), b"header"),
            batch(None, &MetadataRecord::TopicRecord(topic).encode(0)),
            batch(Some(ControlRecordType::SnapshotFooter), b"footer"),
        ]
    }

    fn replay(bytes: &[u8]) -> Result<usize, String> {
        let mut builder = ImageBuilder::new(&Image::empty("c", NodeId(1)));
        replay_whole(bytes, &mut builder)?;
        Ok(builder.finish(Offset(9)).0.topics.len())
    }

    #[test]
    fn a_snapshot_counts_from_its_header_to_its_footer() {
        let [header, topic, footer] = parts();
        let whole = [&header[..], &topic, &footer].concat();
        assert_eq!(replay(&whole), Ok(1));
        for (bytes, why) in [
            ([&topic[..], &footer].concat(), "it has no header"),
            ([&header[..], &topic].concat(), "it has no footer: it was never finished"),
            (Vec::new(), "it has no footer: it was never finished"),
            ([&whole[..], &topic].concat(), "batches follow its footer"),
        ] {
            assert_eq!(replay(&bytes).expect_err("refused"), why);
        }
        assert!(replay(&whole[..whole.len() - 1]).is_err(), "it is cut");
    }
}
