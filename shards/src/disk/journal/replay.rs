//! Journals at a start: what the segments lack is written into them, then the journals go.
//!
//! Runs on one shard for a whole log dir, before any partition of it is loaded, over the journals of however many
//! shards there were. A crash in the middle is harmless: the journals go last, and playing them again finds what is
//! there already.
//!
//! On a full disk a journal stays as it is, as long as some partition lacks what it has. Those partitions are loaded,
//! and so served, only when they have it; until then no shard writes to a file of that name. The same holds for a
//! directory that does not say its topic: its load knows whether the records are of it.
//!
//! After a clean stop, ours or Kafka's, everything is in the segments: a journal that is still there is old.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ottla::canary::{self, Canary};
use ottla::ids::{FilePosition, Offset, TopicId, TopicIdPartition, TopicPartition};
use ottla::limits::{BLOCK_BYTES, JOURNAL_BYTES_MAX};
use ottla::log::files::{
    DirStage, FileStage, PARTITION_METADATA, PartitionDir, SegmentFile, SegmentFileKind,
    decode_partition_metadata,
};
use ottla::log::journal::frame::{self, Contents};
use ottla::log::journal::replay::{self, Replay};
use ottla::log::journal::{Entry, EntryHead, JournalError, is_journal_file};

use crate::disk::dirs::LogDir;
use crate::disk::error::{Context as _, DiskError, IoFailure};
use crate::disk::patient;
use crate::disk::tail::{block_ceil, block_floor};
use crate::host::sync::Semaphore;
use crate::host::{self, AlignedBuf, DirEntry, Durability, File, OpenHow, WriteSlice};

/// Partitions that are played into at once.
const TOGETHER: usize = 16;

/// An entry that outlives the file's bytes.
#[derive(Debug)]
struct Owned {
    segment_base: Offset,
    position: FilePosition,
    bytes: Vec<u8>,
}

impl Owned {
    fn of(entry: &Entry<'_>) -> Owned {
        let (segment_base, position) = (entry.head.segment_base, entry.head.position);
        Owned { segment_base, position, bytes: entry.bytes.to_vec() }
    }
}

/// What is played into one partition.
#[derive(Debug)]
struct Play {
    id: TopicIdPartition,
    topic: String,
    path: PathBuf,
    how: OpenHow,
    entries: Vec<Owned>,
}

/// What was done, for the log, and what was not.
#[derive(Default)]
struct Played {
    partitions: usize,
    bytes: u64,
    /// There was no room for it.
    refused: Vec<Play>,
    /// The directory does not say its topic.
    unsure: Vec<Play>,
}

/// Whose a directory is.
enum Whose {
    /// The topic's that the entries name.
    Its,
    /// Another topic's, or it is not there.
    Others,
    /// It does not say.
    Unsaid,
}

/// A journal that is kept for partitions that lack what it has.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// Partitions that lack something of it.
    left: AtomicUsize,
}

/// What a partition lacks and was not given at the start: for want of room, or because it did not say its topic.
#[derive(Debug)]
pub struct Unplayed {
    play: Play,
    journal: Arc<Kept>,
    is_played: AtomicBool,
}

/// That of all partitions; of one from several journals where there were several.
pub(in crate::disk) type AllUnplayed = BTreeMap<TopicPartition, Vec<Arc<Unplayed>>>;

impl Unplayed {
    /// Brings it into the segments of the partition, which is of this topic. The last partition that lacked something
    /// of the journal has the file removed.
    ///
    /// # Errors
    /// When the disk does not take it, now either.
    pub(in crate::disk) async fn play(&self, topic_id: TopicId) -> Result<(), DiskError> {
        if self.is_played.load(Ordering::Acquire) {
            return Ok(());
        }
        self.play.run(Some(topic_id)).await?;
        self.is_played.store(true, Ordering::Release);
        if self.journal.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let path = &self.journal.path;
            match host::remove_file(path).await {
                Ok(()) => tracing::info!("{}: all of it was played, and it is gone", path.display()),
                // The next start plays it again, and finds everything there.
                Err(error) => tracing::warn!("cannot remove {}: {error}", path.display()),
            }
        }
        Ok(())
    }
}

impl LogDir {
    /// Plays the journals among the directory's entries into their segments, and removes them. Returns what has to be
    /// brought into partitions before they are loaded: a full disk has not taken it, or they do not say their topic.
    ///
    /// # Errors
    /// When a file cannot be read, written or removed, and that is not for want of room: the records in the journal are
    /// acknowledged, so that nothing may be served without them.
    pub(in crate::disk) async fn play_journals(
        &self,
        entries: &[DirEntry],
        was_clean: bool,
    ) -> Result<AllUnplayed, DiskError> {
        let mut unplayed = AllUnplayed::new();
        let is_ours = |entry: &&DirEntry| !entry.is_dir && is_journal_file(&entry.name.to_string_lossy());
        let paths: Vec<PathBuf> =
            entries.iter().filter(is_ours).map(|entry| self.path().join(&entry.name)).collect();
        if paths.is_empty() {
            return Ok(unplayed);
        }
        let mut over = Vec::with_capacity(paths.len());
        for path in &paths {
            if was_clean || canary::is(Canary::JournalNotPlayed) {
                tracing::debug!("{} is older than the last clean stop", path.display());
                over.push(path);
                continue;
            }
            let played = self.play_journal(path).await?;
            if played.refused.is_empty() && played.unsure.is_empty() {
                over.push(path);
            } else {
                keep(path, played, &mut unplayed);
            }
        }
        for path in over {
            match host::remove_file(path).await {
                // A damaged one was put aside.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(IoFailure::new("remove", path, &error).into());
                }
                Ok(()) | Err(_) => {}
            }
        }
        patient::sync_dir(self.path()).await?;
        Ok(unplayed)
    }

    async fn play_journal(&self, path: &Path) -> Result<Played, DiskError> {
        let started = host::now();
        let open = patient::open(path, OpenHow { read: true, ..OpenHow::default() }).await?;
        let bytes = open.len().await.at("examine", path)?;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(JOURNAL_BYTES_MAX);
        let file = open.read_at(0, bytes).await.at("read", path)?;
        drop(open);
        let contents = match frame::read(&file) {
            Ok(contents) => contents,
            Err(JournalError::Unfinished) => return Ok(Played::default()),
            Err(error @ JournalError::Damaged) => {
                let mut kept = path.as_os_str().to_owned();
                kept.push(".damaged");
                tracing::error!(
                    "{}: {error}: RECORDS MAY BE LOST; it is kept as {}",
                    path.display(),
                    PathBuf::from(&kept).display()
                );
                host::rename(path, PathBuf::from(kept)).await.at("rename", path)?;
                return Ok(Played::default());
            }
        };
        let (frames, missing) = (contents.frames, contents.missing);
        let played = self.play(&contents).await?;
        if frames > 0 {
            tracing::info!(
                "{}: {frames} frames ({missing} unreadable), {} bytes played into {} partitions in {:?}",
                path.display(),
                played.bytes,
                played.partitions,
                host::now().since(started)
            );
        }
        Ok(played)
    }

    async fn play(&self, contents: &Contents<'_>) -> Result<Played, DiskError> {
        let mut by_partition: BTreeMap<(&str, TopicIdPartition), Vec<&Entry<'_>>> = BTreeMap::new();
        for entry in &contents.entries {
            by_partition.entry((entry.head.topic, entry.head.id)).or_default().push(entry);
        }
        let together = Semaphore::new(TOGETHER);
        let mut tasks = Vec::with_capacity(by_partition.len());
        for ((topic, id), entries) in by_partition {
            let name = format!("{topic}-{}", id.partition);
            let is_live = PartitionDir::parse(&name).is_some_and(|dir| dir.stage == DirStage::Live);
            if !is_live || id.partition < 0 {
                continue;
            }
            let turn = together.acquire(1).await;
            let play = Play {
                id,
                topic: topic.to_owned(),
                path: self.path().join(name),
                how: self.open_blocks(),
                entries: entries.into_iter().map(Owned::of).collect(),
            };
            tasks.push(host::spawn(async move {
                let result = play.run(None).await;
                drop(turn);
                (play, result)
            }));
        }
        let (mut played, mut outcome) = (Played::default(), Ok(()));
        for task in tasks {
            match task.await {
                (play, Ok(None)) => played.unsure.push(play),
                (_, Ok(Some(bytes))) => {
                    played.partitions += usize::from(bytes > 0);
                    played.bytes += bytes;
                }
                (play, Err(error)) if error.may_be_retried() => played.refused.push(play),
                (_, Err(error)) => outcome = outcome.and(Err(error)),
            }
        }
        outcome.map(|()| played)
    }
}

/// Keeps a journal for the partitions that lack what it has.
fn keep(path: &Path, played: Played, unplayed: &mut AllUnplayed) {
    let Played { refused, unsure, .. } = played;
    if !refused.is_empty() {
        tracing::error!(
            "{}: no space left for what {} partitions lack of it; they are offline until there is room, and it is kept",
            path.display(),
            refused.len()
        );
    }
    for play in &unsure {
        tracing::warn!(
            "{} does not say its topic, which {} has records for; they are played when it is known",
            play.path.display(),
            path.display()
        );
    }
    let left = AtomicUsize::new(refused.len() + unsure.len());
    let journal = Arc::new(Kept { path: path.to_owned(), left });
    for play in refused.into_iter().chain(unsure) {
        let name = TopicPartition { topic: play.topic.as_str().into(), partition: play.id.partition };
        let (journal, is_played) = (Arc::clone(&journal), AtomicBool::new(false));
        unplayed.entry(name).or_default().push(Arc::new(Unplayed { play, journal, is_played }));
    }
}

impl Play {
    /// Writes what the partition's segments lack, durably; returns how many bytes that was, or `None` where the
    /// directory does not say whose it is and `of_topic` does not, either. After a failure it may be done again.
    async fn run(&self, of_topic: Option<TopicId>) -> Result<Option<u64>, DiskError> {
        match (self.whose().await?, of_topic) {
            (Whose::Unsaid, None) => return Ok(None),
            (Whose::Unsaid, Some(topic_id)) if topic_id != self.id.topic_id => return Ok(Some(0)),
            (Whose::Others, _) => return Ok(Some(0)),
            (Whose::Its | Whose::Unsaid, _) => {}
        }
        let last = self.last_segment().await?;
        let mut written = 0;
        let mut open: Option<(Offset, Segment)> = None;
        for entry in self.entries.iter().filter(|entry| replay::is_played(entry.segment_base, last)) {
            let base = entry.segment_base;
            let segment = match open.take() {
                Some((known, segment)) if known == base => segment,
                Some((_, finished)) => {
                    // Whoever finds the next segment takes this one to be whole.
                    finished.sync().await?;
                    patient::sync_dir(&self.path).await?;
                    self.open_segment(base, last).await?
                }
                None => self.open_segment(base, last).await?,
            };
            match self.play_entry(entry, &segment).await? {
                Some(bytes) => written += bytes,
                None => {
                    let (path, at) = (segment.path.display(), entry.position);
                    tracing::error!(
                        "{path}: byte {at} has other records than the journal, as of a broker that does not read it; \
                         they stay, and what the journal alone had is lost"
                    );
                    break;
                }
            }
            open = Some((base, segment));
        }
        // What was there already, a name too, may be a killed process's that the device does not have yet.
        if let Some((_, last)) = open {
            last.sync().await?;
        }
        patient::sync_dir(&self.path).await?;
        Ok(Some(written))
    }

    /// Who is in a journal has a durable metadata file. Without one, or with another text, the file was damaged, or a
    /// crash came while a later topic's directory of the same name was made.
    async fn whose(&self) -> Result<Whose, DiskError> {
        let bytes = patient::read_if_there(&self.path.join(PARTITION_METADATA), BLOCK_BYTES).await?;
        match bytes.and_then(|bytes| decode_partition_metadata(&bytes).ok()) {
            Some(topic_id) if topic_id == self.id.topic_id || canary::is(Canary::JournalOfOtherTopic) => {
                Ok(Whose::Its)
            }
            None if host::exists(&self.path).await.at("examine", &self.path)? => Ok(Whose::Unsaid),
            Some(_) | None => Ok(Whose::Others),
        }
    }

    async fn last_segment(&self) -> Result<Option<Offset>, DiskError> {
        let entries = patient::read_dir(&self.path).await?;
        let live = entries.iter().filter_map(|entry| SegmentFile::parse(&entry.name.to_string_lossy()));
        let logs = live.filter(|file| file.stage == FileStage::Live && file.kind == SegmentFileKind::Log);
        Ok(logs.map(|file| file.base_offset).max())
    }

    async fn open_segment(&self, base: Offset, last: Option<Offset>) -> Result<Segment, DiskError> {
        let path = self.path.join(SegmentFile::live(base, SegmentFileKind::Log).to_string());
        let how = OpenHow { create: last != Some(base), ..self.how };
        let file = patient::open(&path, how).await?;
        let bytes = file.len().await.at("examine", &path)?;
        Ok(Segment { file, path, bytes: Cell::new(bytes) })
    }

    /// Writes what a segment lacks of an entry; `None` where it holds another log.
    async fn play_entry(&self, entry: &Owned, segment: &Segment) -> Result<Option<u64>, DiskError> {
        let head = EntryHead {
            id: self.id,
            topic: &self.topic,
            segment_base: entry.segment_base,
            position: entry.position,
        };
        let mut wanted = entry.bytes.len();
        loop {
            let (there, is_end) = segment.read(entry.position, wanted).await?;
            match replay::decide(&Entry { head, bytes: &entry.bytes }, &there, is_end) {
                Replay::There => return Ok(Some(0)),
                Replay::Diverged => return Ok(None),
                Replay::Need { bytes } => wanted = bytes,
                Replay::Write { from } => {
                    let lacking = &entry.bytes[from..];
                    segment.write(entry.position.plus(from as u64), lacking).await?;
                    return Ok(Some(lacking.len() as u64));
                }
            }
        }
    }
}

/// A segment's file, in whole blocks.
struct Segment {
    file: File,
    path: PathBuf,
    /// Its length.
    bytes: Cell<u64>,
}

impl Segment {
    /// Up to `wanted` bytes from `position` on, and whether the file ends with them.
    async fn read(&self, position: FilePosition, wanted: usize) -> Result<(Vec<u8>, bool), IoFailure> {
        let end = position.plus(wanted as u64).0.min(self.bytes.get());
        let (from, to) = (block_floor(position), block_ceil(FilePosition(end)));
        if to <= from {
            return Ok((Vec::new(), true));
        }
        let bytes = usize::try_from(to.0 - from.0).expect("memory is addressable");
        let read = self.file.read_at(from.0, bytes).await.at("read", &self.path)?;
        let skip = usize::try_from(position.0 - from.0).expect("less than a block");
        let there = read.get(skip..).unwrap_or_default();
        let is_end = there.len() < wanted || end == self.bytes.get();
        Ok((there[..there.len().min(wanted)].to_vec(), is_end))
    }

    async fn sync(&self) -> Result<(), IoFailure> {
        self.file.sync_data().await.at("sync", &self.path)
    }

    /// Puts `bytes` at `position`, durably; what stands before and behind them in their blocks stays.
    async fn write(&self, position: FilePosition, bytes: &[u8]) -> Result<(), IoFailure> {
        let (from, end) = (block_floor(position), position.plus(bytes.len() as u64));
        let length = usize::try_from(block_ceil(end).0 - from.0).expect("memory is addressable");
        let before = self.file.read_at(from.0, length).await.at("read", &self.path)?;
        let mut blocks = AlignedBuf::zeroed(length);
        blocks[..before.len()].copy_from_slice(&before);
        let skip = usize::try_from(position.0 - from.0).expect("less than a block");
        blocks[skip..skip + bytes.len()].copy_from_slice(bytes);
        let slices: Vec<WriteSlice> = vec![blocks.into()];
        self.bytes.set(self.bytes.get().max(from.0 + length as u64));
        self.file.write_at(slices, from.0, Durability::DataSync).await.at("write", &self.path)
    }
}
