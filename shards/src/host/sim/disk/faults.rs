//! What a disk is told to do wrong, and the count of what was asked of it.
//!
//! Invariant: every operation is counted, the failed ones too, before anything else happens to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A kind of operation, as it is counted, failed and timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `open`, whether or not it creates.
    Open,
    /// `close`; never fails.
    Close,
    /// `read`.
    Read,
    /// `write`, durable or not.
    Write,
    /// `sync_data` of a file.
    SyncData,
    /// `sync_all` of a file or directory that is open.
    SyncAll,
    /// `set_len`.
    SetLen,
    /// `len`.
    Len,
    /// `allocate`.
    Allocate,
    /// `try_lock`.
    Lock,
    /// `create_dir`.
    CreateDir,
    /// `rename`; concerns both its paths.
    Rename,
    /// `remove_file`.
    RemoveFile,
    /// `remove_dir`.
    RemoveDir,
    /// `read_dir`.
    ReadDir,
    /// `exists` and `metadata`.
    Lookup,
    /// `sync_dir`.
    SyncDir,
    /// `sync_file_system`.
    SyncFs,
    /// `space`.
    Space,
}

impl Op {
    /// Whether it waits for the device to have what was written.
    #[must_use]
    pub fn is_sync(self) -> bool {
        matches!(self, Op::SyncData | Op::SyncAll | Op::SyncDir | Op::SyncFs)
    }

    /// Whether it changes what processes see. Of `open` that is true when it creates a file.
    #[must_use]
    pub fn is_change(self) -> bool {
        match self {
            Op::Open | Op::Write | Op::SetLen | Op::Allocate => true,
            Op::CreateDir | Op::Rename | Op::RemoveFile | Op::RemoveDir => true,
            Op::Close | Op::Read | Op::Len | Op::Lock | Op::ReadDir | Op::Lookup | Op::Space => false,
            Op::SyncData | Op::SyncAll | Op::SyncDir | Op::SyncFs => false,
        }
    }
}

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ops {
    /// Every kind.
    Any,
    /// One kind.
    One(Op),
    /// Those that bring bytes or names from the device: [`Op::Read`], [`Op::ReadDir`].
    Reads,
    /// Those that change something ([`Op::is_change`], but for opening files) and all syncs.
    Writes,
    /// All syncs.
    Syncs,
    /// Those that a directory may need another block for: [`Op::Rename`], [`Op::CreateDir`].
    NewNames,
}

impl Ops {
    fn holds(self, op: Op) -> bool {
        match self {
            Ops::Any => true,
            Ops::One(one) => one == op,
            Ops::Reads => matches!(op, Op::Read | Op::ReadDir),
            Ops::Writes => op.is_sync() || (op.is_change() && op != Op::Open),
            Ops::Syncs => op.is_sync(),
            Ops::NewNames => matches!(op, Op::Rename | Op::CreateDir),
        }
    }
}

/// Which operations a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Which {
    ops: Ops,
    under: PathBuf,
}

impl Which {
    /// These kinds, anywhere on the machine.
    #[must_use]
    pub fn of(ops: Ops) -> Which {
        Which { ops, under: PathBuf::from("/") }
    }

    /// Only at `path`, an absolute one, or beneath it; with a mount point, only on that device. An open file is
    /// where it was opened, whatever has become of its name since.
    #[must_use]
    pub fn under(self, path: impl Into<PathBuf>) -> Which {
        Which { under: path.into(), ..self }
    }

    fn holds(&self, op: Op, paths: &[&Path]) -> bool {
        self.ops.holds(op) && paths.iter().any(|path| path.starts_with(&self.under))
    }
}

#[derive(Clone, Debug)]
struct Fault {
    which: Which,
    /// Matching operations up to the one that fails; `None` fails them all.
    left: Option<u64>,
    errno: i32,
}

impl Fault {
    /// Sees a matching operation; says whether it fails.
    fn strikes(&mut self) -> bool {
        match &mut self.left {
            None => true,
            Some(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
        }
    }
}

/// The faults that wait, and the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    waiting: Vec<Fault>,
    counts: BTreeMap<Op, u64>,
}

impl Faults {
    /// Counts an operation; the error number that it fails with, if it does.
    pub(super) fn admit(&mut self, op: Op, paths: &[&Path]) -> Option<i32> {
        *self.counts.entry(op).or_default() += 1;
        let mut failed = None;
        self.waiting.retain_mut(|fault| {
            if !fault.which.holds(op, paths) || !fault.strikes() {
                return true;
            }
            failed.get_or_insert(fault.errno);
            fault.left.is_none()
        });
        failed
    }

    pub(super) fn add(&mut self, which: Which, nth: Option<u64>, errno: i32) {
        assert!(nth != Some(0), "the next operation is the first");
        self.waiting.push(Fault { which, left: nth, errno });
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    pub(super) fn count(&self, op: Op) -> u64 {
        self.counts.get(&op).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_the_operation_that_it_was_meant_for_and_once() {
        let mut faults = Faults::default();
        let (a, b) = (Path::new("/a/x"), Path::new("/b/x"));
        faults.add(Which::of(Ops::One(Op::Write)).under("/a"), Some(2), 5);
        assert_eq!(faults.admit(Op::Write, &[a]), None);
        assert_eq!(faults.admit(Op::Write, &[b]), None);
        assert_eq!(faults.admit(Op::Read, &[a]), None);
        assert_eq!(faults.admit(Op::Write, &[b, a]), Some(5));
        assert_eq!(faults.admit(Op::Write, &[a]), None);
        assert_eq!((faults.total(), faults.count(Op::Write), faults.waiting()), (5, 4, 0));
    }

    #[test]
    fn a_dead_device_fails_until_it_is_healed() {
        let mut faults = Faults::default();
        faults.add(Which::of(Ops::Writes).under("/a"), None, 5);
        let path = [Path::new("/a/x")];
        for op in [Op::Write, Op::SyncDir, Op::Rename, Op::SetLen] {
            assert_eq!(faults.admit(op, &path), Some(5));
        }
        assert_eq!(faults.admit(Op::Read, &path), None);
        assert_eq!(faults.admit(Op::Open, &path), None);
        assert_eq!(faults.admit(Op::Write, &[Path::new("/ab")]), None);
        faults.clear();
        assert_eq!(faults.admit(Op::Write, &path), None);
    }

    #[test]
    fn two_faults_count_on_their_own() {
        let mut faults = Faults::default();
        faults.add(Which::of(Ops::Any), Some(2), 5);
        faults.add(Which::of(Ops::Syncs), Some(1), 28);
        let path = [Path::new("/x")];
        assert_eq!(faults.admit(Op::Read, &path), None);
        assert_eq!(faults.admit(Op::SyncAll, &path), Some(5), "the first that was planned names the error");
        assert_eq!(faults.waiting(), 0);
    }
}
