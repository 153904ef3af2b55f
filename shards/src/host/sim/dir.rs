//! Names in directories of a machine's disk.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::disk::Op;
use super::disk_op::{Cost, Fate, begin};
use super::executor::spawn;
use super::process::Node;
use crate::host::types::{DirEntry, DiskSpace, LocalBoxFuture};

fn cost(op: Op, path: &Path) -> Cost<'_> {
    Cost { op, also: None, bytes: 0, path, fd: None, write: None }
}

/// Begins an operation on one name.
async fn on_name(
    op: Op,
    path: &Path,
    call: impl FnOnce(&Node, &Path) -> io::Result<()> + 'static,
) -> io::Result<()> {
    let path = path.to_path_buf();
    let name = path.display().to_string();
    let what = move || format!("{op:?} {name}");
    let at = path.clone();
    begin(cost(op, &at), what, move |node: &Rc<Node>, _| call(node, &path)).await
}

/// Creates the directory `path` in one that is there. Nothing is synced.
///
/// # Errors
/// `AlreadyExists` when the name is taken.
pub async fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    on_name(Op::CreateDir, path.as_ref(), |node, path| node.disk.borrow_mut().create_dir(path)).await
}

/// Creates `path` and the directories above it; those that are there stay as they are. Nothing is synced.
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_path_buf();
    // A task of its own: it goes on when the caller is dropped.
    spawn(async move {
        let mut above: Vec<&Path> = path.ancestors().filter(|part| !part.as_os_str().is_empty()).collect();
        above.reverse();
        for part in above {
            if exists(part).await? {
                continue;
            }
            match create_dir(part).await {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    })
    .await
}

/// Renames `from` to `to`, replacing a file that is there. Durable after [`sync_dir`] of both directories.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref().to_path_buf(), to.as_ref().to_path_buf());
    let text = format!("{} to {}", from.display(), to.display());
    let what = move || format!("rename {text}");
    let at = to.clone();
    begin(cost(Op::Rename, &at), what, move |node, _| node.disk.borrow_mut().rename(&from, &to)).await
}

/// Removes a file's name. Open descriptors keep its bytes.
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    on_name(Op::RemoveFile, path.as_ref(), |node, path| node.disk.borrow_mut().remove_file(path)).await
}

async fn remove_dir(path: &Path) -> io::Result<()> {
    on_name(Op::RemoveDir, path, |node, path| node.disk.borrow_mut().remove_dir(path)).await
}

/// Removes a directory with everything in it, name by name.
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    // A task of its own: it goes on when the caller is dropped.
    spawn(remove_tree(path.as_ref().to_path_buf())).await
}

fn remove_tree(path: PathBuf) -> LocalBoxFuture<io::Result<()>> {
    Box::pin(async move {
        for entry in read_dir(&path).await? {
            let inner = path.join(&entry.name);
            if entry.is_dir { remove_tree(inner).await? } else { remove_file(inner).await? }
        }
        remove_dir(&path).await
    })
}

/// The entries of a directory, in the order of their names.
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<Vec<DirEntry>> {
    let path = path.as_ref().to_path_buf();
    let name = path.display().to_string();
    let what = move || format!("read directory {name}");
    let at = path.clone();
    begin(cost(Op::ReadDir, &at), what, move |node, _| {
        let mut disk = node.disk.borrow_mut();
        let mut entries = Vec::new();
        for (name, is_dir) in disk.read_dir(&path)? {
            let metadata = disk.metadata(&path.join(&name))?;
            let modified = node.wall_ms(metadata.modified);
            entries.push(DirEntry { name, is_dir, bytes: metadata.bytes, modified });
        }
        entries.sort();
        Ok(entries)
    })
    .await
}

/// The sizes of files in bytes, in their order; `None` for a name that leads nowhere. What cannot be examined for
/// another reason fails.
pub async fn file_sizes(paths: Vec<PathBuf>) -> io::Result<Vec<Option<u64>>> {
    let Some(at) = paths.first().cloned() else { return Ok(Vec::new()) };
    let name = at.display().to_string();
    let what = move || format!("examine {name} and those after it");
    begin(cost(Op::ReadDir, &at), what, move |node, _| {
        let mut disk = node.disk.borrow_mut();
        let size = |path: &PathBuf| match disk.metadata(path) {
            Ok(metadata) => Ok(Some(metadata.bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        paths.iter().map(size).collect()
    })
    .await
}

/// Makes the names in directory `path` durable: files created, renamed and removed in it.
pub async fn sync_dir(path: impl AsRef<Path>) -> io::Result<()> {
    sync_names(Op::SyncDir, path.as_ref()).await
}

/// Makes everything durable that was written before on the filesystem of directory `path`, by anybody: one wait
/// for very many files.
pub async fn sync_file_system(path: impl AsRef<Path>) -> io::Result<()> {
    sync_names(Op::SyncFs, path.as_ref()).await
}

async fn sync_names(op: Op, path: &Path) -> io::Result<()> {
    let path = path.to_path_buf();
    let name = path.display().to_string();
    let what = move || format!("{op:?} {name}");
    let at = path.clone();
    begin(cost(op, &at), what, move |node, fate| match (fate, op) {
        (Fate::IsCut | Fate::Unheard, _) => Ok(()),
        (Fate::Completes, Op::SyncDir) => node.disk.borrow_mut().sync_dir(&path),
        (Fate::Completes, _) => node.disk.borrow_mut().sync_file_system(&path),
    })
    .await
}

/// Whether `path` names anything.
pub async fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    let path = path.as_ref().to_path_buf();
    let name = path.display().to_string();
    let what = move || format!("look for {name}");
    let at = path.clone();
    begin(cost(Op::Lookup, &at), what, move |node, _| node.disk.borrow_mut().exists(&path)).await
}

/// The one absolute path of what `path` leads to.
pub async fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_path_buf();
    let name = path.display().to_string();
    let what = move || format!("resolve {name}");
    let at = path.clone();
    begin(cost(Op::Lookup, &at), what, move |node, _| node.disk.borrow().canonicalize(&path)).await
}

/// The room of the filesystem that `path` lies on.
pub async fn disk_space(path: impl AsRef<Path>) -> io::Result<DiskSpace> {
    let path = path.as_ref().to_path_buf();
    let name = path.display().to_string();
    let what = move || format!("space of {name}");
    let at = path.clone();
    begin(cost(Op::Space, &at), what, move |node, _| {
        let space = node.disk.borrow_mut().space(&path)?;
        Ok(DiskSpace { free: space.available, total: space.total })
    })
    .await
}

/// The name of the kind of the filesystem that `path` lies on, where it matters: a simulated one keeps its own pages
/// and takes direct writes.
///
/// # Errors
/// None in a world.
pub async fn indirect_file_system(_path: impl AsRef<Path>) -> io::Result<Option<&'static str>> {
    Ok(None)
}
