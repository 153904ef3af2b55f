//! Trouble with a file that everybody meets who uses it: told once per file and minute.
//!
//! Owned by the shard that meets it; nothing of it is on disk. What must hold: the first time is always told, unless
//! there are more files in trouble than anybody reads of, and whatever clients do, the log of the process does not grow
//! by more than a line per file, shard and minute.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla::ids::TopicPartition;
use ottla::time::Monotonic;

use super::error::DiskError;
use crate::host;

/// How often one file is told of.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Files that are told of in that time.
const FILES_MAX: usize = 1_000;

/// The files of which something was told lately.
#[derive(Default)]
struct Told(RefCell<BTreeMap<PathBuf, Monotonic>>);

impl Told {
    fn is_due(&self, path: &Path, now: Monotonic) -> bool {
        let mut told = self.0.borrow_mut();
        if told.get(path).is_some_and(|last| now.since(*last) < TELL_EVERY) {
            return false;
        }
        if told.len() >= FILES_MAX {
            told.retain(|_, last| now.since(*last) < TELL_EVERY);
        }
        let has_room = told.len() < FILES_MAX || told.contains_key(path);
        if has_room {
            told.insert(path.to_owned(), now);
        }
        has_room
    }
}

/// Whether what has just happened to a file is to be told: nothing was within the last minute, on the calling shard.
#[must_use]
pub fn is_due(path: &Path) -> bool {
    host::shard_slot::<Told>().is_due(path, host::now())
}

/// Says what is wrong with a file of a partition; who met it asks again at once, and so does everybody else.
pub fn failure(partition: &TopicPartition, what: &str, error: &DiskError) {
    let place = match error {
        DiskError::Io(failure) => &failure.path,
        DiskError::Corrupt { path, .. } => path,
        // Of these there is a line when they begin; the others are the asker's own.
        DiskError::Offline { .. } | DiskError::Full { .. } | DiskError::Unwritten { .. } => return,
        DiskError::OutOfRange { .. } | DiskError::Closed => return,
    };
    if is_due(place) {
        tracing::error!(%partition, %error, "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_of_once_a_minute_whatever_happens_to_others() {
        let told = Told::default();
        let at = |seconds| Monotonic::ZERO.after(Duration::from_secs(seconds));
        let due = |name: &str, seconds| told.is_due(Path::new(name), at(seconds));
        assert!(due("a", 0));
        assert!(!due("a", 0));
        assert!(due("b", 30));
        assert!(!due("a", 59));
        assert!(due("a", 60));
        assert!(!due("b", 89) && due("b", 90));
    }

    #[test]
    fn more_files_than_anybody_reads_of_are_not_kept() {
        let told = Told::default();
        let due = |number: usize, now| told.is_due(Path::new(&number.to_string()), now);
        let lines = (0..2 * FILES_MAX).filter(|number| due(*number, Monotonic::ZERO)).count();
        assert_eq!((lines, told.0.borrow().len()), (FILES_MAX, FILES_MAX));
        assert!(due(2 * FILES_MAX, Monotonic::ZERO.after(TELL_EVERY)), "a minute later there is room");
    }
}
