//! One cleaning of one partition, from the look at its dirt to the checkpoint of how far it is clean.
//!
//! Runs in the background queue of the owner shard. What it needs of the disk it asks for in windows, waits as long as
//! the bytes per second of all cleanings ask for, and gives way after each. It ends early, with nothing lost, when the
//! partition is closed or deleted, when its log dir goes offline, when the disk is full and where bytes are damaged.

use std::rc::Rc;
use std::time::Duration;

use ottla::config::broker::CleanerConfig;
use ottla::ids::{FilePosition, Offset, TimestampMs};
use ottla::limits::BATCH_HEADER_BYTES;
use ottla::log::cleaner::{CleanError, CleanStep, Cleanable, Cleaning, CleaningInput, DirtyLook};
use ottla::metrics::Counter;
use ottla::protocol::compression::Decompressor;
use ottla::protocol::records::{BatchHeader, peek_batch_bytes};

use super::cleaned::{CleanedFile, SourceFile, remove_cleaned};
use super::{CleanerShare, probe};
use crate::disk::ShardDisk;
use crate::disk::dirs::OffsetsKind;
use crate::disk::error::DiskError;
use crate::disk::partition::Partition;
use crate::host;
use crate::host::sync::Permit;

/// The longest that a cleaning waits for its bytes per second before it looks whether it is still wanted.
const WAIT: Duration = Duration::from_millis(100);

/// A batch from so many bytes on is taken apart on another thread: it may decompress to many times as much.
const LARGE_BATCH_BYTES: usize = 64 << 10;

/// What a cleaning goes by, beside the settings of its log.
#[derive(Clone, Debug)]
pub struct CleanWith {
    /// The broker's settings of the cleaner.
    pub config: CleanerConfig,
    /// `file.delete.delay.ms` of the topic.
    pub delete_delay: Duration,
}

/// A partition that is to be cleaned; nobody else cleans it meanwhile, nor does retention remove any of it.
pub struct CleanJob {
    partition: Rc<Partition>,
    cleanable: Cleanable,
    turn: Permit,
}

/// How a cleaning has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// The log is clean up to this offset.
    UpTo(Offset),
    /// It was given up: the partition is gone, its log dir offline, or its bytes damaged.
    GivenUp,
    /// The disk is full: try again after a while.
    DiskFull,
}

/// Why a cleaning did not come to its end.
enum Stop {
    Disk(DiskError),
    Damage(CleanError),
}

impl From<DiskError> for Stop {
    fn from(error: DiskError) -> Stop {
        Stop::Disk(error)
    }
}

impl From<crate::disk::error::IoFailure> for Stop {
    fn from(failure: crate::disk::error::IoFailure) -> Stop {
        Stop::Disk(failure.into())
    }
}

impl ShardDisk {
    /// The dirtiest of `partitions` that is to be cleaned now, if any is.
    pub async fn next_to_clean(self: &Rc<Self>, partitions: Vec<Rc<Partition>>) -> Option<CleanJob> {
        let mut dirtiest: Option<CleanJob> = None;
        let mut ratio: f64 = 0.0;
        for partition in partitions {
            // Most have nothing to clean, and nothing to wait for.
            host::yield_now().await;
            let Some(turn) = partition.cleaning.turn.try_acquire(1) else { continue };
            let look = match partition.look_for_dirt().await {
                Ok(look) => look,
                Err(error) => {
                    tracing::debug!("{}: no look at what is dirty: {error}", partition.name);
                    continue;
                }
            };
            let Some((cleanable, is_due)) = look else { continue };
            ratio = ratio.max(cleanable.ratio());
            if !is_due {
                continue;
            }
            if dirtiest.as_ref().is_none_or(|other| cleanable.compare(&other.cleanable).is_gt()) {
                dirtiest = Some(CleanJob { partition, cleanable, turn });
            }
        }
        self.cleaner.dirty_ratio.set(ratio);
        dirtiest
    }
}

impl Partition {
    /// What of the log could be cleaned now, and whether it is to be; `None` for a log that is not compacted.
    async fn look_for_dirt(self: &Rc<Self>) -> Result<Option<(Cleanable, bool)>, DiskError> {
        self.check()?;
        if !self.state.borrow().log.config().compact || self.cleaning.uncleanable.get() {
            return Ok(None);
        }
        let checkpoint = self.dir.offset(OffsetsKind::FirstDirty, &self.name);
        loop {
            let look = {
                let (state, first) = (self.state.borrow(), self.cleaning.first_timestamps.borrow());
                state.log.look_for_dirt(checkpoint, host::wall_ms(), &first)
            };
            match look {
                DirtyLook::NeedsLargest { segment_base } => self.read_largest_timestamp(segment_base).await?,
                DirtyLook::NeedsFirst { segment_base } => self.read_first_timestamp(segment_base).await?,
                DirtyLook::Found(cleanable) => {
                    if cleanable.is_reset {
                        self.dir.set_offset(OffsetsKind::FirstDirty, &self.name, cleanable.first_dirty);
                    }
                    let ratio = self.state.borrow().log.config().min_cleanable_millionths;
                    return Ok(Some((cleanable, cleanable.is_due(ratio))));
                }
            }
        }
    }

    async fn read_first_timestamp(self: &Rc<Self>, base: Offset) -> Result<(), DiskError> {
        let head = self.window(base, FilePosition(0), BATCH_HEADER_BYTES as u64).await?;
        let first = BatchHeader::parse(&head).map_or(TimestampMs::NONE, |header| header.max_timestamp);
        let mut known = self.cleaning.first_timestamps.borrow_mut();
        known.insert(base, first);
        let state = self.state.borrow();
        known.retain(|base, _| state.log.closed_segments().any(|segment| segment.base_offset == *base));
        Ok(())
    }
}

impl CleanJob {
    /// The partition.
    #[must_use]
    pub fn partition(&self) -> &Rc<Partition> {
        &self.partition
    }

    /// Cleans the partition.
    pub async fn run(self, with: &CleanWith) -> Cleaned {
        let (partition, began) = (Rc::clone(&self.partition), host::now());
        let result = self.clean(with).await;
        partition.disk.cleaner.last_pass.set(host::now().since(began));
        let counter = if result.is_ok() { Counter::CleanerPasses } else { Counter::CleanerFailures };
        partition.disk.metrics.add(counter, 1);
        match result {
            Ok(end) => Cleaned::UpTo(end),
            Err(Stop::Damage(error)) => {
                partition.cleaning.uncleanable.set(true);
                tracing::error!(
                    "{}: {error}; the partition is not compacted any more before the next start, and keeps all of it",
                    partition.name
                );
                Cleaned::GivenUp
            }
            Err(Stop::Disk(DiskError::Closed | DiskError::Offline { .. })) => Cleaned::GivenUp,
            Err(Stop::Disk(error)) if error.may_be_retried() => {
                tracing::warn!("{}: {error}; compaction waits until there is space", partition.name);
                Cleaned::DiskFull
            }
            Err(Stop::Disk(error)) => {
                if let DiskError::Io(failure) = &error
                    && failure.operation != "read"
                {
                    partition.dir.fail(failure);
                } else {
                    partition.cleaning.uncleanable.set(true);
                }
                tracing::error!("{}: compaction has failed: {error}", partition.name);
                Cleaned::GivenUp
            }
        }
    }

    async fn clean(self, with: &CleanWith) -> Result<Offset, Stop> {
        let CleanJob { partition, cleanable, turn } = self;
        // The files of the closed segments hold everything only when they are finished.
        partition.finish_and_settle().await?;
        let input = {
            let state = partition.state.borrow();
            let input = state.log.cleaning_input(cleanable, with.config.map_bounds(), host::wall_ms());
            CleaningInput { secret: host::random_bytes(), window_bytes: with.config.window_bytes(), ..input }
        };
        let mut pass = Pass {
            cleaning: Some(Cleaning::new(input)),
            share: partition.disk.dirs.cleaners().clone(),
            source: None,
            cleaned: None,
            decompressor: Decompressor::new(),
            delete_delay: with.delete_delay,
            partition,
        };
        let result = pass.run().await;
        if let Some((base, _)) = pass.cleaned.take() {
            remove_cleaned(&pass.partition, base).await;
        }
        result?;
        let end = pass.cleaning().end();
        pass.report(cleanable);
        pass.partition.dir.set_offset(OffsetsKind::FirstDirty, &pass.partition.name, end);
        pass.partition.dir.write_offsets(OffsetsKind::FirstDirty).await?;
        drop(turn);
        Ok(end)
    }
}

/// A cleaning under way.
struct Pass {
    partition: Rc<Partition>,
    /// Away while another thread takes a large batch apart.
    cleaning: Option<Cleaning>,
    share: std::sync::Arc<CleanerShare>,
    source: Option<SourceFile>,
    /// The cleaned segment that is being written, once it has bytes.
    cleaned: Option<(Offset, CleanedFile)>,
    decompressor: Decompressor,
    delete_delay: Duration,
}

impl Pass {
    async fn run(&mut self) -> Result<(), Stop> {
        loop {
            self.partition.check()?;
            match self.cleaning().step() {
                CleanStep::Aborted { from, to } => {
                    let aborted = self.partition.aborted_between(from, to).await?;
                    self.cleaning_mut().aborted(aborted);
                }
                CleanStep::Read { segment_base, from, bytes } => {
                    self.read(segment_base, from, bytes).await?;
                }
                CleanStep::Write { .. } => self.write_output().await?,
                CleanStep::Swap => self.swap().await?,
                CleanStep::Done => return Ok(()),
            }
        }
    }

    async fn read(&mut self, base: Offset, from: FilePosition, bytes: u64) -> Result<(), Stop> {
        if self.source.as_ref().is_none_or(|source| source.base != base) {
            self.source = Some(SourceFile::open(&self.partition, base).await?);
        }
        let source = self.source.as_ref().expect("it was just opened");
        let window = source.read(from, bytes).await?;
        self.pay(bytes).await?;
        if (window.len() as u64) < bytes {
            return Err(Stop::Damage(self.cleaning().short_read()));
        }
        let mut used = 0;
        while self.wants(base, from.plus(used as u64)) {
            let step = self.feed(&window[used..]).await?;
            if step == 0 {
                break;
            }
            used += step;
            self.write_output().await?;
            host::yield_now().await;
            self.partition.check()?;
        }
        Ok(())
    }

    /// Whether the cleaning goes on with the byte of that segment.
    fn wants(&self, base: Offset, position: FilePosition) -> bool {
        match self.cleaning().step() {
            CleanStep::Read { segment_base, from, .. } => segment_base == base && from == position,
            CleanStep::Aborted { .. } | CleanStep::Write { .. } | CleanStep::Swap | CleanStep::Done => false,
        }
    }

    /// Feeds the cleaning with what begins with its next batch; returns how many bytes it has used. A large batch is
    /// taken apart on another thread.
    async fn feed(&mut self, window: &[u8]) -> Result<usize, Stop> {
        let (mut cleaning, mut decompressor) = (
            self.cleaning.take().expect("it is here between two steps"),
            std::mem::take(&mut self.decompressor),
        );
        let batch_bytes = peek_batch_bytes(window).ok().flatten().unwrap_or(0);
        let (cleaning, decompressor, result) = if (LARGE_BATCH_BYTES..=window.len()).contains(&batch_bytes) {
            let batch = window[..batch_bytes].to_vec();
            let work = move || {
                let result = cleaning.feed(&batch, &mut decompressor);
                (cleaning, decompressor, result)
            };
            host::spawn_blocking(work).await
        } else {
            let result = cleaning.feed(window, &mut decompressor);
            (cleaning, decompressor, result)
        };
        (self.cleaning, self.decompressor) = (Some(cleaning), decompressor);
        result.map_err(Stop::Damage)
    }

    /// Writes what has come out, if that is enough for a write.
    async fn write_output(&mut self) -> Result<(), Stop> {
        if let CleanStep::Write { segment_base } = self.cleaning().step() {
            let bytes = self.cleaning_mut().take_output();
            self.cleaned_file(segment_base).await?.append(&bytes).await?;
            self.pay(bytes.len() as u64).await?;
        }
        Ok(())
    }

    fn cleaning(&self) -> &Cleaning {
        self.cleaning.as_ref().expect("it is here between two steps")
    }

    fn cleaning_mut(&mut self) -> &mut Cleaning {
        self.cleaning.as_mut().expect("it is here between two steps")
    }

    async fn cleaned_file(&mut self, base: Offset) -> Result<&mut CleanedFile, Stop> {
        if self.cleaned.is_none() {
            let file = CleanedFile::create(&self.partition, base).await?;
            self.cleaned = Some((base, file));
        }
        let (of, file) = self.cleaned.as_mut().expect("it was just made");
        assert_eq!(*of, base, "one cleaned segment is written at a time");
        Ok(file)
    }

    async fn swap(&mut self) -> Result<(), Stop> {
        let group = self.cleaning_mut().take_group().expect("the step named a group");
        let base = group.segment.base_offset;
        if group.is_unchanged {
            if self.cleaned.take().is_some() {
                remove_cleaned(&self.partition, base).await;
            }
            return Ok(());
        }
        self.cleaned_file(base).await?;
        let (_, file) = self.cleaned.take().expect("it was just made");
        let result = match file.finish(&group).await {
            Ok(()) => self.partition.swap_in(&group, self.delete_delay).await,
            Err(failure) => Err(failure.into()),
        };
        if result.is_err() && !self.partition.dir.is_offline() {
            remove_cleaned(&self.partition, base).await;
        }
        self.source = None;
        probe("a group is done");
        Ok(result?)
    }

    /// Waits as long as the bytes ask for, and lets others run in any case.
    async fn pay(&self, bytes: u64) -> Result<(), Stop> {
        let (until, rate) = self.share.take(host::now(), bytes);
        loop {
            host::yield_now().await;
            self.partition.check()?;
            let left = until.since(host::now());
            if left.is_zero() || self.share.rate() != rate {
                return Ok(());
            }
            host::sleep(left.min(WAIT)).await;
        }
    }

    fn report(&self, cleanable: Cleanable) {
        let (stats, name) = (self.cleaning().stats(), &self.partition.name);
        let metrics = &self.partition.disk.metrics;
        metrics.add(Counter::CleanerReadBytes, stats.bytes_read);
        metrics.add(Counter::CleanerWrittenBytes, stats.bytes_written);
        tracing::info!(
            "{name}: compacted, dirty from {} to {}: {} bytes and {} records became {} and {}, {} keys{}",
            cleanable.first_dirty,
            self.cleaning().end(),
            stats.bytes_read,
            stats.records_read,
            stats.bytes_written,
            stats.records_kept,
            stats.keys,
            if stats.map_full { ", and the table of keys was full" } else { "" },
        );
        if stats.keyless > 0 {
            tracing::warn!("{name}: {} records without a key were dropped by compaction", stats.keyless);
        }
    }
}
