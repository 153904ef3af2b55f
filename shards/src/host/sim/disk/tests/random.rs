//! Any sequence of operations, beside a naive disk of whole paths and plain bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::host::sim::disk::tree::{Ino, Kind};

const DIRS: [&str; 3] = ["/", "/d", "/d/e"];
const NAMES: [&str; 3] = ["a", "b", "e"];

#[derive(Clone, Debug)]
enum Step {
    Write { path: PathBuf, position: u64, bytes: Vec<u8>, durability: Durability },
    SetLen(PathBuf, u64),
    Allocate(PathBuf, u64, u64),
    SyncFile(PathBuf),
    SyncDir(PathBuf),
    SyncAll,
    CreateDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    RemoveDir(PathBuf),
}

fn dir() -> impl Strategy<Value = PathBuf> {
    prop::sample::select(&DIRS[..]).prop_map(PathBuf::from)
}

fn path() -> impl Strategy<Value = PathBuf> {
    (dir(), prop::sample::select(&NAMES[..])).prop_map(|(dir, name)| dir.join(name))
}

/// Also directories.
fn any_path() -> impl Strategy<Value = PathBuf> {
    prop_oneof![4 => path(), 1 => dir().prop_filter("the root stays", |path| path != Path::new("/"))]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop_oneof![0_usize..30, 0_usize..9000, Just(4096), Just(8192)];
    let fill = prop_oneof![4 => 1_u8..=255, 1 => Just(0)];
    (bytes, fill).prop_map(|(bytes, fill)| vec![fill; bytes])
}

fn position() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0_u64..12_000, (0_u64..3).prop_map(|page| page * 4096)]
}

fn step() -> impl Strategy<Value = Step> {
    let durability = prop_oneof![2 => Just(Durability::None), 1 => Just(Durability::DataSync)];
    let write = (path(), position(), bytes(), durability);
    prop_oneof![
        10 => write.prop_map(|(path, position, bytes, durability)| Step::Write { path, position, bytes, durability }),
        2 => (path(), position()).prop_map(|(path, len)| Step::SetLen(path, len)),
        1 => (path(), position(), 1_u64..9000).prop_map(|(path, from, bytes)| Step::Allocate(path, from, bytes)),
        2 => path().prop_map(Step::SyncFile),
        2 => dir().prop_map(Step::SyncDir),
        1 => Just(Step::SyncAll),
        3 => any_path().prop_map(Step::CreateDir),
        4 => (any_path(), any_path()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => path().prop_map(Step::Remove),
        1 => any_path().prop_map(Step::RemoveDir),
    ]
}

/// A file's bytes, as naive as can be.
#[derive(Clone, Default)]
struct Naive {
    visible: Vec<u8>,
    durable: Vec<u8>,
    /// What it was after each operation since the last sync, with every durable write since.
    versions: Vec<Vec<u8>>,
    /// Cuts and extensions since the last sync.
    cuts: Vec<usize>,
    /// Those of them that no durable write has committed.
    pending_cuts: Vec<(bool, usize)>,
}

fn resize(bytes: &mut Vec<u8>, is_cut: bool, len: usize) {
    if is_cut || bytes.len() < len {
        bytes.resize(len, 0);
    }
}

fn put(into: &mut Vec<u8>, position: usize, bytes: &[u8]) {
    resize(into, false, position + bytes.len());
    into[position..position + bytes.len()].copy_from_slice(bytes);
}

impl Naive {
    fn write(&mut self, position: usize, bytes: &[u8], durability: Durability) {
        if bytes.is_empty() {
            return;
        }
        put(&mut self.visible, position, bytes);
        if durability == Durability::DataSync {
            for (is_cut, len) in std::mem::take(&mut self.pending_cuts) {
                resize(&mut self.durable, is_cut, len);
            }
            for version in self.versions.iter_mut().chain([&mut self.durable]) {
                put(version, position, bytes);
            }
        }
        self.versions.push(self.visible.clone());
    }

    fn resize(&mut self, is_cut: bool, len: usize) {
        resize(&mut self.visible, is_cut, len);
        self.pending_cuts.push((is_cut, len));
        self.cuts.extend(is_cut.then_some(len));
        self.versions.push(self.visible.clone());
    }

    fn sync(&mut self) {
        *self = Naive { visible: self.visible.clone(), durable: self.visible.clone(), ..Naive::default() };
    }

    /// Whether `left[unit]` can be what it was after one of the operations, cut or not.
    fn may_leave(&self, left: &[u8], unit: std::ops::Range<usize>) -> bool {
        let seen = &left[unit.clone()];
        let matches = |version: &[u8], cut: usize| {
            let end = version.len().min(cut).min(unit.end);
            let kept = if unit.start < end { &version[unit.start..end] } else { &[] };
            seen[..kept.len()] == *kept && seen[kept.len()..].iter().all(|&byte| byte == 0)
        };
        let cuts = || self.cuts.iter().copied().chain([usize::MAX]);
        let versions = || self.versions.iter().chain([&self.durable]);
        versions().any(|version| cuts().any(|cut| matches(version, cut)))
    }

    fn lengths(&self) -> impl Iterator<Item = usize> {
        self.versions.iter().chain([&self.durable]).map(Vec::len)
    }
}

/// What each path leads to: a file's inode, or a directory.
type Names = BTreeMap<PathBuf, Option<Ino>>;

/// The naive disk beside the one that is tested.
struct Pair {
    disk: Disk,
    names: Names,
    files: BTreeMap<Ino, Naive>,
    /// The names after each operation since everything was synced.
    history: Vec<Names>,
    /// Whether a single directory was synced since.
    dir_synced: bool,
    /// Names that a rename between two directories has touched since.
    crossed: BTreeSet<PathBuf>,
}

impl Pair {
    fn new() -> Pair {
        let names: Names = [(PathBuf::from("/"), None)].into();
        let history = vec![names.clone()];
        let (files, crossed) = (BTreeMap::new(), BTreeSet::new());
        Pair { disk: Disk::new(3), names, files, history, dir_synced: false, crossed }
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.names.get(path) == Some(&None)
    }

    fn has_dir_for(&self, path: &Path) -> bool {
        path.parent().is_some_and(|parent| self.is_dir(parent))
    }

    fn is_empty(&self, path: &Path) -> bool {
        !self.names.keys().any(|name| name != path && name.starts_with(path))
    }

    /// Opens a file, does something to it, in both, and closes it.
    fn on_file(
        &mut self,
        path: &Path,
        act: impl FnOnce(&mut Disk, FileId) -> io::Result<()>,
        naive: impl FnOnce(&mut Naive),
    ) {
        let opened = self.disk.open(path, WRITE);
        let can_open = self.has_dir_for(path) && !self.is_dir(path);
        assert_eq!(opened.is_ok(), can_open, "{path:?} {opened:?}");
        let Ok(file) = opened else { return };
        let ino = self.disk.tree.find(path).expect("it was opened");
        self.names.insert(path.to_owned(), Some(ino));
        self.history.push(self.names.clone());
        act(&mut self.disk, file).expect("nothing fails");
        naive(self.files.entry(ino).or_default());
        self.disk.close(file);
    }

    fn can_rename(&self, from: &Path, to: &Path) -> bool {
        let (Some(moved), true) = (self.names.get(from), self.has_dir_for(to)) else { return false };
        if from == to {
            return true;
        }
        match (moved, self.names.get(to)) {
            (None, _) if to.starts_with(from) => false,
            (_, None) => true,
            (None, Some(None)) => self.is_empty(to),
            (Some(_), Some(Some(_))) => true,
            (None, Some(Some(_))) | (Some(_), Some(None)) => false,
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let result = self.disk.rename(from, to);
        let can = self.can_rename(from, to);
        assert_eq!(result.is_ok(), can, "{from:?} {to:?} {result:?}");
        if !can || from == to {
            return;
        }
        if from.parent() != to.parent() {
            self.crossed.extend([from.to_owned(), to.to_owned()]);
        }
        self.names.remove(to);
        let moved: Vec<PathBuf> = self.names.keys().filter(|name| name.starts_with(from)).cloned().collect();
        for name in moved {
            let what = self.names.remove(&name).expect("it was listed");
            let rest = name.strip_prefix(from).expect("it begins so");
            let name = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            self.names.insert(name, what);
        }
    }

    fn sync_dir(&mut self, path: &Path) {
        let result = self.disk.sync_dir(path);
        assert_eq!(result.is_ok(), self.is_dir(path));
        if result.is_err() {
            return;
        }
        self.dir_synced = true;
        let ino = self.disk.tree.find(path).expect("a directory");
        let Kind::Dir(dir) = &self.disk.tree.inode(ino).kind else { panic!("a directory") };
        let crossed: Vec<_> = self.crossed.iter().filter_map(|path| path.file_name()).collect();
        let of = |names: &BTreeMap<std::ffi::OsString, Ino>| -> Vec<_> {
            let names = names.iter().filter(|(name, _)| !crossed.contains(&name.as_os_str()));
            names.map(|(name, &ino)| (name.clone(), ino)).collect()
        };
        assert_eq!(of(&dir.visible), of(&dir.durable), "a synced directory's names are durable");
    }

    fn sync_all(&mut self) {
        self.disk.sync_file_system(p("/")).expect("a sync");
        self.files.values_mut().for_each(Naive::sync);
        self.history.clear();
        self.crossed.clear();
        self.dir_synced = false;
        let named = self.disk.tree.walk(true).len();
        assert_eq!((named, self.disk.tree.inodes.len()), (self.names.len(), named), "nothing is left behind");
        for model in CrashModel::ALL {
            self.must_be_visible(&after(&self.disk, model));
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Write { path, position, bytes, durability } => self.on_file(
                path,
                |disk, file| disk.write(file, *position, bytes, *durability).map(|_| ()),
                |naive| naive.write(usize::try_from(*position).expect("small"), bytes, *durability),
            ),
            Step::SetLen(path, len) => self.on_file(
                path,
                |disk, file| disk.set_len(file, *len),
                |naive| naive.resize(true, usize::try_from(*len).expect("small")),
            ),
            Step::Allocate(path, from, bytes) => self.on_file(
                path,
                |disk, file| disk.allocate(file, *from, *bytes),
                |naive| naive.resize(false, usize::try_from(from + bytes).expect("small")),
            ),
            Step::SyncFile(path) => {
                self.on_file(path, |disk, file| disk.sync_data(file), Naive::sync);
            }
            Step::SyncDir(path) => self.sync_dir(path),
            Step::SyncAll => self.sync_all(),
            Step::CreateDir(path) => {
                let can = self.has_dir_for(path) && !self.names.contains_key(path);
                assert_eq!(self.disk.create_dir(path).is_ok(), can);
                if can {
                    self.names.insert(path.clone(), None);
                }
            }
            Step::Rename(from, to) => self.rename(from, to),
            Step::Remove(path) => {
                let can = matches!(self.names.get(path), Some(Some(_)));
                assert_eq!(self.disk.remove_file(path).is_ok(), can);
                if can {
                    self.names.remove(path);
                }
            }
            Step::RemoveDir(path) => {
                let can = self.is_dir(path) && self.is_empty(path);
                assert_eq!(self.disk.remove_dir(path).is_ok(), can);
                if can {
                    self.names.remove(path);
                }
            }
        }
        self.history.push(self.names.clone());
        self.must_be_visible(&self.disk);
        let blocks: u64 =
            self.disk.tree.walk(false).iter().map(|(_, ino)| self.disk.tree.inode(*ino).blocks()).sum();
        assert_eq!(self.disk.tree.devices[0].used, blocks, "blocks are counted once");
    }

    /// What `disk` shows is what the processes of the naive disk saw last.
    fn must_be_visible(&self, disk: &Disk) {
        assert_eq!(names_of(disk), self.names);
        for (path, ino) in &self.names {
            if let Some(ino) = ino {
                assert!(disk.peek(path).expect("a file") == self.files[ino].visible, "{path:?}");
            }
        }
    }

    fn must_survive_drop_all(&self) {
        let left = after(&self.disk, CrashModel::DropAll);
        if !self.dir_synced {
            assert_eq!(Some(&names_of(&left)), self.history.first().or(Some(&self.names)));
        }
        for (path, ino) in names_of(&left) {
            if let Some(ino) = ino {
                assert!(left.peek(&path).expect("a file") == self.files[&ino].durable, "{path:?}");
            }
        }
    }

    fn must_survive(&self, model: CrashModel, seed: u64) {
        let mut left = self.disk.fork();
        left.reseed(seed);
        left.crash(model);
        let names = names_of(&left);
        self.check_names(&names, model);
        for (path, ino) in &names {
            let Some(ino) = ino else { continue };
            let bytes = left.peek(path).expect("a file");
            let file = &self.files[ino];
            assert!(bytes.len() <= file.lengths().max().expect("a length"), "{model:?} {path:?}");
            assert!(bytes.len() >= file.lengths().min().expect("a length"), "{model:?} {path:?}");
            // Reordered writes are whole, but not in order: every byte has one of its versions.
            let unit = match model {
                CrashModel::Torn4096 => 4096,
                CrashModel::Torn512 => 512,
                CrashModel::Reordered | CrashModel::DropAll | CrashModel::KeepAll => 1,
            };
            for start in (0..bytes.len()).step_by(unit) {
                let unit = start..(start + unit).min(bytes.len());
                assert!(file.may_leave(&bytes, unit), "{model:?} {path:?} at {start}");
            }
        }
    }

    /// A crash leaves each file that was there all the time under one of its names, and no other names.
    fn check_names(&self, left: &Names, model: CrashModel) {
        let history = || self.history.iter().chain([&self.names]);
        if model != CrashModel::Reordered && !self.dir_synced {
            assert!(history().any(|names| names == left), "{model:?}: torn names end somewhere");
        }
        for (_, ino) in left.iter().filter(|(_, ino)| ino.is_some()) {
            assert_eq!(left.values().filter(|other| *other == ino).count(), 1, "one name each");
        }
        for ino in self.files.keys() {
            let was_always_there = history().all(|names| names.values().any(|other| *other == Some(*ino)));
            let is_there = left.values().any(|other| *other == Some(*ino));
            assert!(is_there || !was_always_there, "{model:?}: a rename has lost a file");
        }
    }
}

fn names_of(disk: &Disk) -> Names {
    let walk = disk.tree.walk(false).into_iter();
    walk.map(|(path, ino)| (path, (!disk.tree.inode(ino).is_dir()).then_some(ino))).collect()
}

proptest! {
    #[test]
    fn any_sequence_leaves_what_it_may(steps in prop::collection::vec(step(), 0..40), seed in any::<u64>()) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.apply(step);
        }
        pair.must_be_visible(&after(&pair.disk, CrashModel::KeepAll));
        pair.must_survive_drop_all();
        for model in CrashModel::ALL {
            pair.must_survive(model, seed);
        }
        pair.sync_all();
    }

    #[test]
    fn the_same_seed_and_steps_give_the_same_disk(steps in prop::collection::vec(step(), 0..30), seed in any::<u64>()) {
        let run = || {
            let mut pair = Pair::new();
            pair.disk.reseed(seed);
            for (number, step) in (0..).zip(&steps) {
                if number % 7 == 3 {
                    pair.disk.fail_nth(1, crate::host::sim::disk::Which::of(crate::host::sim::disk::Ops::Writes), 5);
                }
                run_alone(&mut pair.disk, step);
            }
            pair.disk.crash(CrashModel::Torn512);
            let files = pair.disk.files();
            let bytes: Vec<_> = files.iter().map(|file| pair.disk.peek(&file.path).expect("a file")).collect();
            (pair.disk.operations(), bytes, files)
        };
        prop_assert!(run() == run());
    }
}

/// A step without the naive disk, whatever comes of it.
fn run_alone(disk: &mut Disk, step: &Step) {
    let on_file = |disk: &mut Disk, path: &Path, act: &dyn Fn(&mut Disk, FileId) -> io::Result<()>| {
        let file = disk.open(path, WRITE)?;
        let result = act(disk, file);
        disk.close(file);
        result
    };
    let result = match step {
        Step::Write { path, position, bytes, durability } => {
            on_file(disk, path, &|disk, file| disk.write(file, *position, bytes, *durability).map(|_| ()))
        }
        Step::SetLen(path, len) => on_file(disk, path, &|disk, file| disk.set_len(file, *len)),
        Step::Allocate(path, from, bytes) => {
            on_file(disk, path, &|disk, file| disk.allocate(file, *from, *bytes))
        }
        Step::SyncFile(path) => on_file(disk, path, &|disk, file| disk.sync_data(file)),
        Step::SyncDir(path) => disk.sync_dir(path),
        Step::SyncAll => disk.sync_file_system(p("/")),
        Step::CreateDir(path) => disk.create_dir(path),
        Step::Rename(from, to) => disk.rename(from, to),
        Step::Remove(path) => disk.remove_file(path),
        Step::RemoveDir(path) => disk.remove_dir(path),
    };
    drop(result);
}
