//! What a disk can do, measured by the ring and the calls that the broker itself uses: for `ottla tune`, and as the
//! ceiling beside which commits are measured.
//!
//! Runs in a process of its own, on one shard that nothing else uses. On disk it has files without a name: the name is
//! taken away as soon as the file is open, so that nothing is left however the process ends.

mod bed;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use bed::{Bed, Figure, Load, append};

use crate::host;

/// The least room that a measurement wants free.
const ROOM_BYTES_MIN: u64 = 64 << 20;
/// The most bytes of the file that is written in place and read.
const BED_BYTES_MAX: u64 = 256 << 20;
/// The most bytes by which the file grows that is appended to.
const APPENDED_BYTES_MAX: u64 = 2 << 30;

/// What is measured, in its order.
pub const STEPS: [Step; 8] = [
    Step::InPlace(Load { bytes: 4 << 10, depth: 1 }),
    Step::InPlace(Load { bytes: 4 << 10, depth: 16 }),
    Step::InPlace(Load { bytes: 64 << 10, depth: 1 }),
    Step::InPlace(Load { bytes: 64 << 10, depth: 8 }),
    Step::InPlace(Load { bytes: 1 << 20, depth: 1 }),
    Step::InPlace(Load { bytes: 1 << 20, depth: 4 }),
    Step::Append(Load { bytes: 1 << 20, depth: 1 }),
    Step::Read(Load { bytes: 1 << 20, depth: 4 }),
];

/// One part of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Durable writes over bytes that are there.
    InPlace(Load),
    /// Durable writes that make a file longer.
    Append(Load),
    /// Direct reads, one behind the other.
    Read(Load),
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The step.
    pub step: Step,
    /// Its figures.
    pub figure: Figure,
}

/// How far a measurement is, for whoever watches it from another thread.
#[derive(Debug, Default)]
pub struct Progress(AtomicU64);

impl Progress {
    /// Steps that have ended.
    #[must_use]
    pub fn steps(&self) -> usize {
        usize::try_from(self.0.load(Ordering::Relaxed)).expect("few")
    }
}

/// Why a directory was not measured: one line.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Too little room.
    #[error("{} has {free_mib} MiB free, and measuring takes {} MiB at least", .dir.display(), ROOM_BYTES_MIN >> 20)]
    Room {
        /// The directory.
        dir: PathBuf,
        /// What is free, in MiB.
        free_mib: u64,
    },
    /// The system refused.
    #[error("{}: {error}", .dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// Measures each of [`STEPS`] for `time` in a directory that is there, on a shard of its own. Beside that it writes up
/// to 256 MiB once.
///
/// # Errors
/// [`MeasureError`]: no room, or a failure of the system, such as `EINVAL` where there is no direct I/O.
///
/// # Panics
/// When the machine has no io_uring for us; see [`host::probe`].
pub fn measure(dir: &Path, time: Duration, progress: &Arc<Progress>) -> Result<Vec<Measured>, MeasureError> {
    let (here, progress) = (dir.to_owned(), Arc::clone(progress));
    let outcome = host::run_local(async move {
        let free = host::disk_space(&here).await?.free;
        if free < ROOM_BYTES_MIN {
            return Ok(Err(free));
        }
        let whole = |bytes: u64| bytes / (1 << 20) * (1 << 20);
        let bed = Bed::prepare(&here, whole(BED_BYTES_MAX.min(free / 4))).await?;
        let mut measured = Vec::with_capacity(STEPS.len());
        for step in STEPS {
            let figure = match step {
                Step::InPlace(load) => bed.write(load, time).await?,
                Step::Append(load) => {
                    append(&here, load, time, whole(APPENDED_BYTES_MAX.min(free / 4))).await?
                }
                Step::Read(load) => bed.read(load, time).await?,
            };
            measured.push(Measured { step, figure });
            progress.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Ok(measured))
    });
    match outcome {
        Ok(Ok(measured)) => Ok(measured),
        Ok(Err(free)) => Err(MeasureError::Room { dir: dir.to_owned(), free_mib: free >> 20 }),
        Err(error) => Err(MeasureError::Io { dir: dir.to_owned(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_measured_and_nothing_is_left() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("it is there");
        let progress = Arc::new(Progress::default());
        let measured = measure(dir.path(), Duration::from_millis(10), &progress).expect("it is there");
        assert_eq!(measured.iter().map(|part| part.step).collect::<Vec<_>>(), STEPS);
        assert_eq!(progress.steps(), STEPS.len());
        for Measured { step, figure } in measured {
            let (Step::InPlace(load) | Step::Append(load) | Step::Read(load)) = step;
            assert_eq!(figure.load, load);
            assert!(figure.operations >= load.depth, "each lane has ended one: {figure:?}");
            assert!(figure.p50 <= figure.p99 && figure.p50 > Duration::ZERO, "{figure:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("it is there").count(), 0, "the files have no names");
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let missing = Path::new("no-such-directory");
        let error = measure(missing, Duration::ZERO, &Arc::default()).expect_err("it is refused");
        assert!(error.to_string().starts_with("no-such-directory: "), "{error}");
    }
}
