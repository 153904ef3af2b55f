//! The start of a partition: made anew, put together from the note of a clean stop, or loaded from its files.
//!
//! [`LogLoader`] decides what has to be read; here it is read, and what it finds out is carried out: a torn tail is cut
//! off, files that are no part of the log go, and what a crash may have left undurable is synced before anything relies
//! on it. Partitions are loaded in parallel, a bounded number at a time.
//!
//! What must hold when a load has ended: the files of the log hold exactly its batches, behind which nothing stale
//! waits to come to life; every record of the log is on disk, with its file's size and name; records that may have been
//! lost were reported, and what stood in their place was kept.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ottla::canary::{self, Canary};
use ottla::ids::{FilePosition, Offset, TopicId, TopicPartition};
use ottla::limits::{BATCH_HEADER_BYTES, WHOLE_FILE_BYTES_MAX};
use ottla::log::damage::Damage;
use ottla::log::files::{
    FileStage, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, SegmentFile, SegmentFileKind,
    decode_partition_metadata, encode_partition_metadata,
};
use ottla::log::leader_epochs::LeaderEpochs;
use ottla::log::load::{self, FoundSegment, LoadInput, LoadStep, Loaded, LogLoader};
use ottla::log::offset_index::OFFSET_ENTRY_BYTES;
use ottla::log::time_index::TIME_ENTRY_BYTES;
use ottla::log::{Log, LogConfig};

use super::compact::recover::finish_swap;
use super::dirs::{Found, LogDir};
use super::error::{Context as _, DiskError, IoFailure};
use super::left::{self, Changes, Left};
use super::partition::{IndexFiles, Partition, Place};
use super::patient;
use super::shard_disk::ShardDisk;
use super::tail::block_floor;
use crate::host::{self, Durability, File, OpenHow, WriteSlice};

/// Bytes that are read at first; most partitions have little behind their recovery point.
const READ_BYTES_FIRST: usize = 64 << 10;

/// How often a long start says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// Bytes that are read at a time after that.
const READ_BYTES: usize = 1 << 20;

/// What a partition is opened with.
#[derive(Clone, Debug)]
pub struct OpenWith {
    /// The topic's id.
    pub topic_id: TopicId,
    /// The settings of its log.
    pub config: LogConfig,
    /// Whether followers decide its high watermark.
    pub replicated: bool,
    /// Whether a log of which records are lost is refused, as it is, where others go on with what is left.
    pub whole: bool,
}

/// When the files of a loaded partition become durable, which a crash may have left in caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    /// Before its load returns.
    OneByOne,
    /// With those of many others, by [`ShardDisk::sync_loaded`].
    Together,
}

/// A partition that was loaded, and what that took.
#[derive(Debug)]
pub struct LoadedPartition {
    /// The partition.
    pub partition: Rc<Partition>,
    /// Bytes that were scanned for batches; zero after a clean stop.
    pub scanned_bytes: u64,
    /// Bytes behind the last whole batch that were cut off, zeros of preallocated space not counted as such.
    pub cut: bool,
    /// Records that may have been lost; each was also said in the log.
    pub damage: Vec<Damage>,
    /// How the files were others than those that a clean stop had left; each was also said in the log.
    pub changes: Changes,
}

impl LoadedPartition {
    /// One that was as it was left.
    fn unread(partition: Rc<Partition>) -> LoadedPartition {
        let (scanned_bytes, cut, damage, changes) = (0, false, Vec::new(), Changes::default());
        LoadedPartition { partition, scanned_bytes, cut, damage, changes }
    }
}

/// The files of a partition's directory, by kind.
#[derive(Default)]
struct Files {
    segments: Vec<FoundSegment>,
    snapshots: Vec<Offset>,
    index_bytes: BTreeMap<(Offset, SegmentFileKind), u64>,
    leftovers: Vec<PathBuf>,
    names: Vec<SegmentFile>,
}

impl Files {
    fn segment(&self, base: Offset) -> FoundSegment {
        let found = self.segments.iter().find(|segment| segment.base_offset == base);
        *found.expect("the loader asks for what was found")
    }
}

impl ShardDisk {
    /// Makes a partition that was never on this broker. The name of its directory is durable when this returns.
    ///
    /// # Errors
    /// The disk's failures, and a directory in the way that holds records.
    pub async fn create(
        self: &Rc<Self>,
        dir: &Arc<LogDir>,
        name: &TopicPartition,
        with: OpenWith,
    ) -> Result<Rc<Partition>, DiskError> {
        dir.check()?;
        dir.forget_durably(name).await?;
        let path = dir.path().join(name.to_string());
        let result = self.make_directory(&path, with.topic_id).await;
        result.inspect_err(|error| dir.fail_unless_full(error))?;
        if !canary::is(Canary::PartitionNameUnsynced) {
            dir.sync_names().await?;
        }
        let place = self.place(dir, name, with.topic_id);
        let mut log = Log::new(with.config, Offset::ZERO, host::random_u64(), host::now());
        log.set_replicated(with.replicated);
        let partition = self.assemble(place, log, false, IndexFiles::default());
        partition.untouched.set(true);
        Ok(partition)
    }

    /// Makes a partition's directory. Its name is durable after the next sync of the log dir's names; the file in it is
    /// not synced for itself, because a load writes it anew where it is missing or was never finished.
    async fn make_directory(&self, path: &Path, topic_id: TopicId) -> Result<(), DiskError> {
        match host::create_dir(path).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let entries = patient::read_dir(path).await?;
                let occupied =
                    entries.iter().any(|entry| SegmentFile::parse(&entry.name.to_string_lossy()).is_some());
                if occupied && !canary::is(Canary::DirectoryReused) {
                    let reason = "it holds records, where a new partition is to be made";
                    return Err(DiskError::corrupt(path, reason));
                }
                remove_if_there(&path.join(PARTITION_METADATA)).await?;
            }
            result => result.at("create", path)?,
        }
        write_metadata(&path.join(PARTITION_METADATA), topic_id).await?;
        Ok(())
    }

    fn place(self: &Rc<Self>, dir: &Arc<LogDir>, name: &TopicPartition, topic_id: TopicId) -> Place {
        let path = dir.path().join(name.to_string());
        Place { disk: Rc::clone(self), name: name.clone(), topic_id, dir: Arc::clone(dir), path }
    }

    fn assemble(&self, place: Place, log: Log, created: bool, files: IndexFiles) -> Rc<Partition> {
        place.dir.add_open();
        place.dir.note_loaded(&place.name);
        let partition = Partition::assemble(place, log, created, files);
        self.register(&partition);
        partition
    }

    /// Opens partitions that scans of the log dirs have found, many at a time, and says in the log how far it is.
    ///
    /// # Errors
    /// Per partition; the others are open.
    pub async fn load_all(
        self: &Rc<Self>,
        found: Vec<(Arc<LogDir>, Found, OpenWith)>,
    ) -> Vec<(TopicPartition, Result<LoadedPartition, DiskError>)> {
        let (total, started) = (found.len(), host::now());
        let tasks: Vec<_> = found
            .into_iter()
            .map(|(dir, found, with)| {
                let (disk, name) = (Rc::clone(self), found.partition.clone());
                host::spawn(async move { (name, disk.load(&dir, found, with).await) })
            })
            .collect();
        let mut loaded = Vec::with_capacity(total);
        let (mut told, mut scanned, mut cut) = (started, 0, 0);
        for task in tasks {
            let (name, result) = task.await;
            if let Ok(partition) = &result {
                scanned += partition.scanned_bytes;
                cut += usize::from(partition.cut);
            }
            loaded.push((name, result));
            if host::now().since(told) >= PROGRESS {
                told = host::now();
                tracing::info!(
                    "loaded {} of {total} partitions, {} MiB scanned",
                    loaded.len(),
                    scanned >> 20
                );
            }
        }
        if scanned > 0 {
            let (mib, took) = (scanned >> 20, host::now().since(started));
            tracing::info!(
                "recovered {total} partitions: {mib} MiB scanned, {cut} torn tails cut, in {took:?}"
            );
        }
        loaded
    }

    /// Closes every partition of this shard, many at a time. Returns those that could not be closed in order.
    pub async fn close_all(self: &Rc<Self>) -> Vec<(TopicPartition, DiskError)> {
        let tasks: Vec<_> = self
            .partitions()
            .into_iter()
            .map(|partition| {
                let disk = Rc::clone(self);
                host::spawn(async move {
                    let _turn = disk.loads.acquire(1).await;
                    (partition.name.clone(), partition.close().await)
                })
            })
            .collect();
        let mut failed = Vec::new();
        for task in tasks {
            if let (name, Err(error)) = task.await {
                failed.push((name, error));
            }
        }
        failed
    }

    /// Opens a partition that a scan of its log dir has found. Waits while many others are being loaded.
    ///
    /// # Errors
    /// The disk's failures. After one that [`may be retried`](DiskError::may_be_retried) a load that takes what was
    /// found for the remains of a crash is as good as one after a restart; after any other the restart it is.
    pub async fn load(
        self: &Rc<Self>,
        dir: &Arc<LogDir>,
        found: Found,
        with: OpenWith,
    ) -> Result<LoadedPartition, DiskError> {
        self.load_synced(dir, found, with, Synced::OneByOne).await
    }

    /// Makes everything durable that loads [`Together`](Synced::Together) rely on. Nothing may be served before, and no
    /// recovery point moves.
    pub async fn sync_loaded(self: &Rc<Self>) {
        for dir in self.dirs.all().iter().filter(|dir| !dir.is_offline()) {
            if let Err(failure) = patient::sync_file_system(dir.path()).await {
                dir.fail(&failure);
            }
        }
        self.resume_checkpoints();
    }

    /// Like [`load`](ShardDisk::load), with a say in when what it relies on becomes durable.
    ///
    /// # Errors
    /// Those of [`load`](ShardDisk::load).
    pub async fn load_synced(
        self: &Rc<Self>,
        dir: &Arc<LogDir>,
        found: Found,
        with: OpenWith,
        synced: Synced,
    ) -> Result<LoadedPartition, DiskError> {
        let _turn = self.loads.acquire(1).await;
        dir.check()?;
        if synced == Synced::Together {
            self.checkpoints.hold();
        }
        for unplayed in &found.unplayed {
            unplayed.play(with.topic_id).await.inspect_err(|error| dir.fail_unless_full(error))?;
        }
        let place = self.place(dir, &found.partition, with.topic_id);
        let (found, changes) = match found.clean {
            Some(_) => match left::restore(found, &with) {
                Left::AsNoted(restored) => {
                    let partition = self.assemble(place, restored.log, restored.created, restored.files);
                    partition.untouched.set(true);
                    // The epochs of a log that never had records are in the note alone.
                    partition.state.borrow_mut().epochs_dirty = restored.is_new;
                    self.sweep_later(&partition, restored.kept);
                    return Ok(LoadedPartition::unread(partition));
                }
                Left::Changed(found, changes) => (*found, changes),
            },
            None => (found, Changes::default()),
        };
        if let Some(loss) = changes.loss(&place.path).filter(|_| with.whole) {
            return Err(DiskError::corrupt(&place.path, loss));
        }
        changes.tell(&place.path);
        let result = Loading { place: &place, scanned: Vec::new(), synced, changes: &changes }
            .run(&found, &with)
            .await;
        let (loaded, created) = result.inspect_err(|error| dir.fail_unless_full(error))?;
        let kept = loaded.index_entries_kept;
        let files = IndexFiles { offsets: kept.offsets, times: kept.times, aborted: kept.aborted };
        let cut = loaded.cuts.iter().any(|cut| cut.end != ottla::log::recovery::PrefixEnd::Zeros);
        let is_empty = loaded.log.log_end_offset() == Offset::ZERO;
        let partition = self.assemble(place, loaded.log, created, files);
        partition.state.borrow_mut().epochs_dirty = loaded.epochs_changed;
        partition.untouched.set(is_empty && !created);
        if loaded.scanned_bytes > 0 {
            self.note_written(&partition, 0);
        }
        let (scanned_bytes, damage) = (loaded.scanned_bytes, loaded.damage);
        Ok(LoadedPartition { partition, scanned_bytes, cut, damage, changes })
    }
}

/// Writes `partition.metadata`, unsynced.
async fn write_metadata(path: &Path, topic_id: TopicId) -> Result<(), IoFailure> {
    patient::write_unsynced(path, 0, encode_partition_metadata(topic_id).as_bytes()).await.map(drop)
}

/// One load from files.
struct Loading<'a> {
    place: &'a Place,
    /// The segments that were read.
    scanned: Vec<Offset>,
    synced: Synced,
    changes: &'a Changes,
}

impl Loading<'_> {
    async fn run(mut self, found: &Found, with: &OpenWith) -> Result<(Loaded, bool), DiskError> {
        self.check_topic().await?;
        let mut files = self.list().await?;
        if finish_swap(&self.place.path, &files.names).await? {
            files = self.list().await?;
        }
        self.remove_orphans(&mut files).await?;
        let input = LoadInput {
            config: with.config.clone(),
            segments: files.segments.clone(),
            snapshots: files.snapshots.clone(),
            epochs: self.read_epochs(found.recovery_point).await,
            log_start_offset: found.log_start,
            recovery_point: found.recovery_point,
            doubted_from: self.changes.doubted_from(),
            clean: found.was_clean,
            limit: (!found.was_clean && canary::is(Canary::RecoveryStopsAtPoint))
                .then_some(found.recovery_point),
            high_watermark: with.replicated.then(|| found.high_watermark.unwrap_or(Offset::ZERO)),
            jitter_seed: host::random_u64(),
        };
        let mut loader = LogLoader::new(input, host::now());
        loop {
            match loader.step() {
                LoadStep::ReadSnapshot { offset } => {
                    loader.snapshot(self.read_snapshot(offset).await?.as_deref());
                }
                LoadStep::ReadIndexes { segment_base, last_entries } => {
                    self.read_indexes(&mut loader, &files, segment_base, last_entries).await?;
                }
                LoadStep::Read { segment_base, from } => {
                    self.read_segment(&mut loader, &files, segment_base, from).await?;
                }
                LoadStep::Split { segment_base, from, new_base } => {
                    self.may_lose(with, segment_base, || format!("to what lies before {new_base}"))?;
                    let bytes = self.split(segment_base, from, new_base).await?;
                    files.segments.push(FoundSegment {
                        base_offset: new_base,
                        bytes,
                        ..files.segment(segment_base)
                    });
                    files.segments.sort_by_key(|segment| segment.base_offset);
                    loader.split_done(bytes);
                }
                LoadStep::WriteIndexes { .. } => self.write_indexes(&mut loader, &files).await?,
                LoadStep::Done => break,
            }
        }
        let loaded = loader.finish();
        for damage in loaded.damage.iter().filter(|damage| damage.certain) {
            self.may_lose(with, damage.segment_base, || format!("from {} on", damage.next_offset))?;
        }
        // A log that is never deleted and made anew has all that was durable once.
        let end = loaded.log.log_end_offset();
        if end < found.recovery_point {
            self.may_lose(with, end, || format!("from {end} to {}", found.recovery_point.0 - 1))?;
        }
        self.tidy(&loaded, &files, found).await?;
        let active = loaded.log.active_segment().base_offset();
        let is_there = files.segments.iter().any(|segment| segment.base_offset == active);
        let created = is_there && !loaded.remove_segments.contains(&active);
        Ok((loaded, created))
    }

    /// Refuses a log that has to be whole, before anything of it is changed.
    fn may_lose(&self, with: &OpenWith, base: Offset, which: impl Fn() -> String) -> Result<(), DiskError> {
        if !with.whole {
            return Ok(());
        }
        let reason = format!("it is damaged, and records {} are lost", which());
        Err(DiskError::corrupt(&self.path(base, SegmentFileKind::Log), reason))
    }

    /// The directory must be that of the topic that the metadata knows by its name. A file that a crash has kept from
    /// being finished is written anew.
    async fn check_topic(&self) -> Result<(), DiskError> {
        let path = self.place.path.join(PARTITION_METADATA);
        let bytes = patient::read_if_there(&path, WHOLE_FILE_BYTES_MAX).await?.unwrap_or_default();
        match decode_partition_metadata(&bytes) {
            Ok(topic_id) if topic_id == self.place.topic_id => Ok(()),
            Ok(topic_id) => {
                let expected = self.place.topic_id;
                Err(DiskError::corrupt(&path, format!("it names topic {topic_id}, the metadata {expected}")))
            }
            Err(error) => {
                if bytes.iter().any(|&byte| byte != 0) {
                    tracing::warn!("{}: {error}; written anew", path.display());
                }
                remove_if_there(&path).await?;
                Ok(write_metadata(&path, self.place.topic_id).await?)
            }
        }
    }

    fn path(&self, base: Offset, kind: SegmentFileKind) -> PathBuf {
        self.place.path.join(SegmentFile::live(base, kind).to_string())
    }

    async fn list(&self) -> Result<Files, DiskError> {
        let path = &self.place.path;
        let entries = patient::read_dir(path).await?;
        let mut files = Files::default();
        for entry in entries {
            let name = entry.name.to_string_lossy();
            let Some(file) = SegmentFile::parse(&name) else {
                if name.ends_with(".tmp") {
                    files.leftovers.push(path.join(&entry.name));
                }
                continue;
            };
            files.names.push(file);
            let SegmentFile { base_offset, kind, stage } = file;
            match (stage, kind) {
                (FileStage::Live, SegmentFileKind::Log) => {
                    let (bytes, modified) = (entry.bytes, entry.modified);
                    files.segments.push(FoundSegment { base_offset, bytes, modified, has_aborted: false });
                }
                (FileStage::Live, SegmentFileKind::ProducerSnapshot) => files.snapshots.push(base_offset),
                (FileStage::Live, _) => {
                    files.index_bytes.insert((base_offset, kind), entry.bytes);
                }
                (FileStage::Deleted | FileStage::Cleaned, _) => files.leftovers.push(path.join(&entry.name)),
                // None is left when the swap that they are of was finished.
                (FileStage::Swap, _) => {}
            }
        }
        for segment in &mut files.segments {
            let key = (segment.base_offset, SegmentFileKind::TransactionIndex);
            segment.has_aborted = files.index_bytes.contains_key(&key);
        }
        Ok(files)
    }

    /// A producer snapshot; `None` for one that is missing or far too large. One that cannot be read is no damaged one,
    /// which is done without: it may be all that knows of its producers.
    async fn read_snapshot(&self, offset: Offset) -> Result<Option<Vec<u8>>, DiskError> {
        let path = self.path(offset, SegmentFileKind::ProducerSnapshot);
        match patient::read_whole(&path, WHOLE_FILE_BYTES_MAX).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(failure) if failure.is_missing() || failure.errno == 0 => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Removes indexes without a segment, which a crash leaves of a deletion: the log goes first.
    async fn remove_orphans(&self, files: &mut Files) -> Result<(), DiskError> {
        let has_log = |base| files.segments.iter().any(|segment| segment.base_offset == base);
        let orphans: Vec<_> = files.index_bytes.keys().copied().filter(|(base, _)| !has_log(*base)).collect();
        for (base, kind) in orphans {
            remove_if_there(&self.path(base, kind)).await?;
            files.index_bytes.remove(&(base, kind));
        }
        Ok(())
    }

    /// The epochs of the checkpoint. Where nothing was checkpointed yet the batches tell all of them; where something
    /// was, a file that cannot be read means that they have to.
    async fn read_epochs(&self, recovery_point: Offset) -> Option<LeaderEpochs> {
        let path = self.place.path.join(LEADER_EPOCH_CHECKPOINT);
        match patient::read_whole(&path, WHOLE_FILE_BYTES_MAX).await {
            Ok(bytes) => match LeaderEpochs::decode(&bytes) {
                Ok(epochs) => Some(epochs),
                Err(error) => {
                    tracing::warn!("{}: {error}; reading every batch instead", path.display());
                    None
                }
            },
            Err(_) => (recovery_point == Offset::ZERO).then(LeaderEpochs::new),
        }
    }

    async fn open(&self, base: Offset) -> Result<File, IoFailure> {
        patient::open(&self.path(base, SegmentFileKind::Log), self.place.dir.open_blocks()).await
    }

    async fn read_indexes(
        &self,
        loader: &mut LogLoader,
        files: &Files,
        base: Offset,
        last_entries: Option<usize>,
    ) -> Result<(), DiskError> {
        let path = self.path(base, SegmentFileKind::Log);
        let head = self.open(base).await?.read_at(0, ottla::limits::BLOCK_BYTES).await.at("read", &path)?;
        let head = &head[..head.len().min(BATCH_HEADER_BYTES)];
        let offsets = self.read_entries(files, base, SegmentFileKind::OffsetIndex, last_entries).await?;
        let times = self.read_entries(files, base, SegmentFileKind::TimeIndex, last_entries).await?;
        let aborted = self.read_entries(files, base, SegmentFileKind::TransactionIndex, None).await?;
        loader.indexes(load::IndexFiles {
            head,
            offsets: offsets.as_ref().map(Entries::as_bytes),
            times: times.as_ref().map(Entries::as_bytes),
            aborted: aborted.as_ref().map(|entries| entries.bytes.as_slice()),
        });
        Ok(())
    }

    async fn read_entries(
        &self,
        files: &Files,
        base: Offset,
        kind: SegmentFileKind,
        last_entries: Option<usize>,
    ) -> Result<Option<Entries>, DiskError> {
        let Some(&bytes) = files.index_bytes.get(&(base, kind)) else { return Ok(None) };
        let entry_bytes = match kind {
            SegmentFileKind::OffsetIndex => OFFSET_ENTRY_BYTES,
            SegmentFileKind::TimeIndex => TIME_ENTRY_BYTES,
            SegmentFileKind::Log | SegmentFileKind::TransactionIndex | SegmentFileKind::ProducerSnapshot => 1,
        };
        let bytes = usize::try_from(bytes).expect("memory is addressable");
        let skipped = last_entries.map_or(0, |last| (bytes / entry_bytes).saturating_sub(last));
        let path = self.path(base, kind);
        let how = OpenHow { read: true, ..OpenHow::default() };
        let file = patient::open(&path, how).await?;
        let from = skipped * entry_bytes;
        let read = file.read_at(from as u64, bytes - from).await.at("read", &path)?;
        Ok(Some(Entries { skipped, bytes: read.to_vec() }))
    }

    async fn read_segment(
        &mut self,
        loader: &mut LogLoader,
        files: &Files,
        base: Offset,
        from: FilePosition,
    ) -> Result<(), DiskError> {
        self.scanned.push(base);
        let end = files.segment(base).bytes;
        let path = self.path(base, SegmentFileKind::Log);
        let file = self.open(base).await?;
        let mut at = block_floor(from);
        let mut skip = usize::try_from(from.0 - at.0).expect("less than a block");
        let mut step = READ_BYTES_FIRST;
        while at.0 < end {
            let read = file.read_at(at.0, step).await.at("read", &path)?;
            let known = usize::try_from(end - at.0).unwrap_or(usize::MAX).min(read.len());
            if known <= skip || !loader.feed(&read[skip..known]) {
                break;
            }
            at = at.plus(read.len() as u64);
            (skip, step) = (0, READ_BYTES);
            host::yield_now().await;
        }
        loader.end_of_bytes();
        Ok(())
    }

    /// Copies the end of a segment into one of its own, which a crash leaves whole or not there. Returns its bytes.
    async fn split(&self, base: Offset, from: FilePosition, new_base: Offset) -> Result<u64, DiskError> {
        let log = SegmentFileKind::Log;
        let unfinished = SegmentFile { base_offset: new_base, kind: log, stage: FileStage::Cleaned };
        let unfinished = self.place.path.join(unfinished.to_string());
        let path = self.path(new_base, log);
        let bytes = copy(&self.path(base, log), from.0..u64::MAX, &unfinished).await?;
        host::rename(&unfinished, &path).await.at("rename", &path)?;
        patient::sync_dir(&self.place.path).await?;
        Ok(bytes)
    }

    async fn write_indexes(&self, loader: &mut LogLoader, files: &Files) -> Result<(), DiskError> {
        let rebuilt = loader.take_rebuilt().expect("the step names rebuilt indexes");
        let parts = [
            (SegmentFileKind::OffsetIndex, rebuilt.indexes.offsets.encode_from(0)),
            (SegmentFileKind::TimeIndex, rebuilt.indexes.times.encode_from(0)),
            (SegmentFileKind::TransactionIndex, rebuilt.indexes.aborted.encode_from(0)),
        ];
        // The next checkpoint syncs those of the active segment, and before it they are made anew; most are empty.
        let is_active = files.segments.last().is_some_and(|last| last.base_offset == rebuilt.segment_base);
        for (kind, bytes) in parts {
            let path = self.path(rebuilt.segment_base, kind);
            if bytes.is_empty() && (is_active || kind == SegmentFileKind::TransactionIndex) {
                if files.index_bytes.contains_key(&(rebuilt.segment_base, kind)) {
                    remove_if_there(&path).await?;
                }
            } else if is_active || self.synced == Synced::Together {
                patient::write_unsynced(&path, 0, &bytes).await?;
            } else {
                patient::write_whole_durably(&path, &bytes).await?;
            }
        }
        Ok(())
    }

    /// Carries out what the loader found out.
    async fn tidy(&self, loaded: &Loaded, files: &Files, found: &Found) -> Result<(), DiskError> {
        for damage in &loaded.damage {
            self.report(damage).await?;
        }
        for cut in loaded.cuts.iter().filter(|_| !canary::is(Canary::TornTailKept)) {
            let path = self.path(cut.segment_base, SegmentFileKind::Log);
            let file = self.open(cut.segment_base).await?;
            file.set_len(cut.bytes.0).await.at("cut", &path)?;
        }
        for path in &files.leftovers {
            remove_if_there(path).await?;
        }
        let lost: Vec<Offset> =
            loaded.damage.iter().flat_map(|damage| damage.dropped_segments.clone()).collect();
        for &base in &loaded.remove_segments {
            self.remove_segment(base, lost.contains(&base)).await?;
        }
        for &offset in &loaded.remove_snapshots {
            remove_if_there(&self.path(offset, SegmentFileKind::ProducerSnapshot)).await?;
        }
        // Even where no record has to be relied on: the process before may have been killed between making a file and
        // syncing its name, and what is appended to that file next must not go with the name.
        let has_unsure_names = !found.was_clean && !files.segments.is_empty();
        let is_changed = !loaded.cuts.is_empty() || !loaded.remove_segments.is_empty();
        let relies_on_more =
            is_changed || has_unsure_names || loaded.log.log_end_offset() > found.recovery_point;
        if relies_on_more && self.synced == Synced::OneByOne {
            self.sync(loaded).await?;
        }
        Ok(())
    }

    /// What a crash may have left in the caches of the device, and the names of files, become durable.
    async fn sync(&self, loaded: &Loaded) -> Result<(), DiskError> {
        if canary::is(Canary::RecoveredUnsynced) {
            return Ok(());
        }
        let mut scanned = self.scanned.clone();
        scanned.dedup();
        for base in scanned.into_iter().filter(|base| !loaded.remove_segments.contains(base)) {
            let path = self.path(base, SegmentFileKind::Log);
            self.open(base).await?.sync_data().await.at("sync", &path)?;
        }
        patient::sync_dir(&self.place.path).await?;
        Ok(())
    }

    async fn remove_segment(&self, base: Offset, keep_copy: bool) -> Result<(), DiskError> {
        for kind in SegmentFileKind::ALL {
            let path = self.path(base, kind);
            if keep_copy && kind == SegmentFileKind::Log {
                let kept = damaged_path(&path, FilePosition(0));
                host::rename(&path, &kept).await.at("rename", &path)?;
            } else if kind != SegmentFileKind::ProducerSnapshot {
                remove_if_there(&path).await?;
            }
        }
        Ok(())
    }

    /// Says what may be lost, and keeps the bytes that stand in its place when records were lost for certain.
    async fn report(&self, damage: &Damage) -> Result<(), DiskError> {
        let (name, base, from, next) =
            (&self.place.name, damage.segment_base, damage.from, damage.next_offset);
        let path = self.path(base, SegmentFileKind::Log);
        if !damage.certain {
            // A write that a crash has torn looks like this too; none of it was acknowledged then.
            tracing::warn!(
                "{name}: {} at byte {from} of segment {base}; the log now ends at {next}",
                damage.end
            );
            return Ok(());
        }
        let kept = damaged_path(&path, from);
        let lost = match damage.resumes_at {
            Some(resumes) => {
                format!("offsets {next} to {} ARE LOST, the log goes on with {resumes}", resumes.0 - 1)
            }
            None => format!("RECORDS ARE LOST from offset {next} on"),
        };
        tracing::error!(
            "{name}: {lost}: {} at byte {from} of segment {base}, which was written whole once; what stands there is \
             kept in {}",
            damage.end,
            kept.display()
        );
        let to = damage.resumes.map_or(u64::MAX, |later| later.position.0);
        copy(&path, from.0..to, &kept).await?;
        Ok(())
    }
}

/// Where bytes are kept that are no part of the log any more and may interest the operator; no broker reads the name.
fn damaged_path(path: &Path, from: FilePosition) -> PathBuf {
    let mut name = path.file_name().expect("a segment's path has a name").to_os_string();
    name.push(format!(".damaged-{from}"));
    path.with_file_name(name)
}

/// Copies a range of a file, as far as the file has it, durably but for the name. Returns the bytes.
async fn copy(path: &Path, range: Range<u64>, to: &Path) -> Result<u64, DiskError> {
    let source = patient::open(path, OpenHow { read: true, ..OpenHow::default() }).await?;
    let how = OpenHow { write: true, create: true, ..OpenHow::default() };
    let target = patient::open(to, how).await?;
    target.set_len(0).await.at("cut", to)?;
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(READ_BYTES);
        let piece = source.read_at(at, wanted).await.at("read", path)?;
        if piece.is_empty() {
            break;
        }
        let bytes = piece.len() as u64;
        let slices: Vec<WriteSlice> = vec![piece.into()];
        target.write_at(slices, at - range.start, Durability::None).await.at("write", to)?;
        at += bytes;
    }
    target.sync_data().await.at("sync", to)?;
    Ok(at - range.start)
}

async fn remove_if_there(path: &Path) -> Result<(), IoFailure> {
    match host::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(IoFailure::new("remove", path, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The end of an index file.
struct Entries {
    skipped: usize,
    bytes: Vec<u8>,
}

impl Entries {
    fn as_bytes(&self) -> load::IndexBytes<'_> {
        load::IndexBytes { skipped_entries: self.skipped, bytes: &self.bytes }
    }
}
