//! What can go wrong between a partition and its disk, and what a client is told then.
//!
//! Plain values: they cross shards and are kept (a poisoned directory repeats its first failure), so a failure holds
//! the system's error number instead of `std::io::Error`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use ottla::errors::ErrorCode;
use ottla::ids::Offset;
use thiserror::Error;

/// An operation on a file that the system refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoFailure {
    /// What was tried, as a verb: `write`, `open`, `sync`.
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's error number; 0 where the failure was no system error (a short read).
    pub errno: i32,
    /// The error in words.
    pub text: String,
}

impl IoFailure {
    /// Describes `error`, which `operation` met at `path`.
    #[must_use]
    pub fn new(operation: &'static str, path: &Path, error: &io::Error) -> IoFailure {
        let errno = error.raw_os_error().unwrap_or(0);
        IoFailure { operation, path: path.to_owned(), errno, text: error.to_string() }
    }

    /// Whether the disk is full (or a quota is used up): nothing was lost that had been written before.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.errno == libc::ENOSPC || self.errno == libc::EDQUOT
    }

    /// Whether the same bytes may be written again later: the disk was full when they were handed over, so nothing
    /// counts them as written. A sync that fails may have thrown them away and is never one of these.
    #[must_use]
    pub fn may_be_retried(&self) -> bool {
        self.is_full() && self.operation != "sync"
    }

    /// Whether there is no file or directory of that name.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.errno == libc::ENOENT
    }

    /// Whether the name is taken.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.errno == libc::EEXIST
    }

    /// Whether the process or the system has run out of file descriptors.
    #[must_use]
    pub fn is_out_of_descriptors(&self) -> bool {
        self.errno == libc::EMFILE || self.errno == libc::ENFILE
    }
}

impl fmt::Display for IoFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.operation, self.path.display(), self.text)
    }
}

impl std::error::Error for IoFailure {}

/// Why the disk path cannot do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DiskError {
    /// The system refused an operation.
    #[error(transparent)]
    Io(#[from] IoFailure),
    /// An earlier write or sync in this log dir failed: nothing in it is acknowledged any more.
    #[error("log directory {dir} is offline: {reason}")]
    Offline {
        /// The log dir.
        dir: PathBuf,
        /// The failure that took it offline.
        reason: String,
    },
    /// The disk is full: the records are not acknowledged, the partition lives on.
    #[error("no space left in {dir}")]
    Full {
        /// The log dir.
        dir: PathBuf,
    },
    /// The disk is full: the records are in the log and in memory, and are written as soon as there is room.
    #[error("no space left in {dir}: the records wait in memory and are written when there is room")]
    Unwritten {
        /// The log dir.
        dir: PathBuf,
    },
    /// The offset is not (or not any more) in the log.
    #[error("offset {offset} is outside {start}..{end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The log start offset.
        start: Offset,
        /// The end of what the asker may read.
        end: Offset,
    },
    /// A file does not hold what its index or its checkpoint says.
    #[error("{path} is corrupt: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The partition was closed or deleted while the operation waited.
    #[error("the partition is closed")]
    Closed,
}

impl DiskError {
    /// A file that does not hold what it should.
    #[must_use]
    pub fn corrupt(path: &Path, reason: impl fmt::Display) -> DiskError {
        DiskError::Corrupt { path: path.to_owned(), reason: reason.to_string() }
    }

    /// Whether the disk is full, whatever was tried.
    #[must_use]
    pub fn is_of_a_full_disk(&self) -> bool {
        match self {
            DiskError::Io(failure) => failure.is_full(),
            DiskError::Full { .. } | DiskError::Unwritten { .. } => true,
            DiskError::Offline { .. }
            | DiskError::OutOfRange { .. }
            | DiskError::Corrupt { .. }
            | DiskError::Closed => false,
        }
    }

    /// Whether the same may succeed later, when the disk has room again.
    #[must_use]
    pub fn may_be_retried(&self) -> bool {
        match self {
            DiskError::Io(failure) => failure.may_be_retried(),
            other => other.is_of_a_full_disk(),
        }
    }

    /// What a client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            DiskError::Io(_) | DiskError::Offline { .. } | DiskError::Full { .. } => {
                ErrorCode::KafkaStorageError
            }
            // As of an acknowledgement that did not come in time: a producer that hears KAFKA_STORAGE_ERROR takes its
            // records for gone and may send them again as new ones.
            DiskError::Unwritten { .. } => ErrorCode::RequestTimedOut,
            DiskError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            DiskError::Corrupt { .. } => ErrorCode::CorruptMessage,
            DiskError::Closed => ErrorCode::NotLeaderOrFollower,
        }
    }
}

/// Names the operation and the file of a failed system call.
pub trait Context<T> {
    /// Turns the error into an [`IoFailure`] of `operation` at `path`.
    ///
    /// # Errors
    /// The same failure, described.
    fn at(self, operation: &'static str, path: &Path) -> Result<T, IoFailure>;

    /// The same where the path is to be made for a failure alone: on a record's way a name is an allocation or two.
    ///
    /// # Errors
    /// The same failure, described.
    fn at_made(self, operation: &'static str, path: impl FnOnce() -> PathBuf) -> Result<T, IoFailure>;
}

impl<T> Context<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, IoFailure> {
        self.map_err(|error| IoFailure::new(operation, path, &error))
    }

    fn at_made(self, operation: &'static str, path: impl FnOnce() -> PathBuf) -> Result<T, IoFailure> {
        self.map_err(|error| IoFailure::new(operation, &path(), &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_what_was_tried_and_where() {
        let error: io::Result<()> = Err(io::Error::from_raw_os_error(libc::ENOSPC));
        let failure = error.at("write", Path::new("/data/a-0/x.log")).expect_err("an error");
        assert!(failure.is_full());
        assert!(!failure.is_out_of_descriptors());
        let text = DiskError::from(failure).to_string();
        assert!(text.starts_with("cannot write /data/a-0/x.log: No space left"), "{text}");
    }

    #[test]
    fn clients_hear_kafkas_codes() {
        let full = DiskError::Full { dir: PathBuf::from("/d") };
        assert_eq!(full.code(), ErrorCode::KafkaStorageError);
        let unwritten = DiskError::Unwritten { dir: PathBuf::from("/d") };
        assert_eq!(unwritten.code(), ErrorCode::RequestTimedOut);
        assert!(unwritten.to_string().contains("/d"));
        let range = DiskError::OutOfRange { offset: Offset(5), start: Offset(6), end: Offset(9) };
        assert_eq!(range.code(), ErrorCode::OffsetOutOfRange);
        assert_eq!(range.to_string(), "offset 5 is outside 6..9");
        assert_eq!(DiskError::Closed.code(), ErrorCode::NotLeaderOrFollower);
    }
}
