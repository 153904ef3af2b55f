//! Who this node is: `meta.properties` of every log directory, written by the first start.
//!
//! What must hold: all directories belong to one cluster and to this node; a directory's file is complete and
//! synced, with its name, before anything else is written there, that of the metadata log's before those of the others.
//! A power cut during the first start leaves directories with and without the file: the next start completes them.
//! Where none has it and there is data, or the metadata log lies in a directory without it, or is nowhere though the
//! first start is over, there is no start. A directory whose file cannot be read or written goes offline; the one with
//! the metadata log ends the start.

use std::sync::Arc;

use ottla::config::meta_properties::{self, FILE_NAME, MetaProperties, random_uuid};
use ottla::controller::names::CLUSTER_METADATA;
use ottla::ids::{NodeId, Uuid};
use ottla::log::files::{DirStage, PartitionDir};

use crate::disk::{IoFailure, LogDir, LogDirs, patient};
use crate::host::{self, DirEntry, random_bytes, read_whole};

/// The most bytes of a `meta.properties`.
const FILE_BYTES_MAX: usize = 64 << 10;

/// This node's ids.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster's id.
    pub cluster_id: Arc<str>,
    /// The own ids of the directories that are for topics and online, in the order of `log.dirs`.
    pub log_dir_ids: Vec<Uuid>,
    /// Whether this start made each directory this node's, in the order of [`LogDirs::all`].
    pub is_new: Vec<bool>,
}

/// Why the directories cannot be this node's.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file that the start needs cannot be read or written.
    #[error(transparent)]
    Io(#[from] IoFailure),
    /// A file is damaged, or of another node or cluster.
    #[error("{0}")]
    Wrong(String),
}

/// Reads the directories' files and writes the missing ones.
///
/// # Errors
/// Any [`IdentityError`]; the start ends with it.
pub async fn establish(
    dirs: &LogDirs,
    node_id: NodeId,
    cluster_id: Option<&str>,
) -> Result<Identity, IdentityError> {
    let mut found: Vec<Option<MetaProperties>> = Vec::new();
    for dir in dirs.all() {
        found.push(online(dirs, dir, read(dir)).await?.flatten());
    }
    let texts: Vec<String> = dirs.all().iter().map(|dir| dir.path().display().to_string()).collect();
    let present = texts.iter().zip(&found).filter_map(|(path, meta)| Some((path.as_str(), meta.as_ref()?)));
    let present: Vec<_> = present.collect();
    meta_properties::verify(&present, cluster_id, Some(node_id))
        .map_err(|error| IdentityError::Wrong(error.to_string()))?;
    let known = found.iter().flatten().find_map(|meta| meta.cluster_id.clone());
    let named = cluster_id.map(str::to_owned);
    if named.is_none() {
        refuse_data_of_nobody(dirs, &found).await?;
        refuse_second_beginning(dirs, &found).await?;
    }
    let cluster_id = known.or(named).unwrap_or_else(|| new_id().to_string());

    let is_new = found.iter().map(Option::is_none).collect();
    let mut metas: Vec<_> = dirs.all().iter().zip(found).collect();
    metas.sort_by_key(|(dir, _)| !Arc::ptr_eq(dir, dirs.metadata()));
    for (dir, meta) in metas {
        let id = match meta.as_ref().and_then(|meta| meta.directory_id) {
            Some(id) => Some(id),
            None => online(dirs, dir, write(dir, &cluster_id, node_id)).await?,
        };
        if let Some(id) = id {
            dir.set_id(id);
        }
    }
    let log_dir_ids = dirs.for_topics().iter().filter_map(|dir| dir.id()).collect();
    Ok(Identity { cluster_id: Arc::from(cluster_id), log_dir_ids, is_new })
}

/// A first start writes the files before anything else: where there is data, they were lost, and a new cluster id would
/// be told to clients that know another one. Partitions may have been moved to a new directory by hand, as long as
/// another one says whose they are; not the metadata log, whose directory Kafka wants to have the file as well.
async fn refuse_data_of_nobody(
    dirs: &LogDirs,
    found: &[Option<MetaProperties>],
) -> Result<(), IdentityError> {
    let names_cluster =
        |meta: &Option<MetaProperties>| meta.as_ref().is_some_and(|it| it.cluster_id.is_some());
    let is_known = found.iter().any(names_cluster);
    for (dir, _) in dirs.all().iter().zip(found).filter(|(_, meta)| !names_cluster(meta)) {
        let counts = |partition: &PartitionDir| !is_known || is_metadata(partition);
        if online(dirs, dir, has_data(dir, counts)).await? == Some(true) {
            return Err(IdentityError::Wrong(format!(
                "log.dirs: {} has partitions and no {FILE_NAME} that names their cluster; put the file back, or name \
                 the cluster with: ottla storage format --cluster-id ID",
                dir.path().display()
            )));
        }
    }
    Ok(())
}

/// A cluster begins once: not again where the directory with its metadata log is not mounted or cannot be used. The
/// first start gives that directory its file before the others have theirs.
async fn refuse_second_beginning(
    dirs: &LogDirs,
    found: &[Option<MetaProperties>],
) -> Result<(), IdentityError> {
    let all = || dirs.all().iter().zip(found);
    let Some((known, _)) = all().find(|(_, meta)| meta.is_some()) else { return Ok(()) };
    let lost = dirs.all().iter().find(|dir| dir.is_offline());
    let is_new = all().any(|(dir, meta)| meta.is_none() && Arc::ptr_eq(dir, dirs.metadata()));
    // Of most starts there is nothing to ask, and no directory is read for it.
    if lost.is_none() && !is_new {
        return Ok(());
    }
    for dir in dirs.all() {
        if online(dirs, dir, has_data(dir, is_metadata)).await? == Some(true) {
            return Ok(());
        }
    }
    let (metadata, known) = (dirs.metadata().path().display(), known.path().display());
    let advice = match lost.map(|dir| dir.path().display()) {
        Some(lost) => {
            format!("{lost}, which may have it, cannot be used: start when it can, or without naming it")
        }
        None => format!(
            "{known} belongs to a cluster already; start with the directory that has it (is it mounted?), or move \
             {known} away to start anew"
        ),
    };
    Err(IdentityError::Wrong(format!(
        "metadata.log.dir: there is no metadata log in {metadata}, and {advice}"
    )))
}

fn is_metadata(partition: &PartitionDir) -> bool {
    partition.topic == CLUSTER_METADATA
}

async fn has_data(dir: &LogDir, counts: impl Fn(&PartitionDir) -> bool) -> Result<bool, IdentityError> {
    let failed = |error| IoFailure::new("read", dir.path(), &error);
    let entries = host::read_dir(dir.path()).await.map_err(failed)?;
    let parsed = |entry: &DirEntry| PartitionDir::parse(&entry.name.to_string_lossy());
    let is_live = |dir: PartitionDir| dir.stage == DirStage::Live && counts(&dir);
    Ok(entries.iter().any(|entry| entry.is_dir && parsed(entry).is_some_and(is_live)))
}

/// What `work` makes of a directory; `None` where that is offline, or goes offline by it.
async fn online<T>(
    dirs: &LogDirs,
    dir: &LogDir,
    work: impl Future<Output = Result<T, IdentityError>>,
) -> Result<Option<T>, IdentityError> {
    if dir.is_offline() {
        return Ok(None);
    }
    match work.await {
        Ok(value) => Ok(Some(value)),
        Err(IdentityError::Io(failure)) => Ok(dirs.lose(dir, failure).map(|()| None)?),
        Err(error) => Err(error),
    }
}

async fn read(dir: &LogDir) -> Result<Option<MetaProperties>, IdentityError> {
    let path = dir.path().join(FILE_NAME);
    let failed = |error| IoFailure::new("read", &path, &error);
    if !host::exists(&path).await.map_err(failed)? {
        return Ok(None);
    }
    let bytes = read_whole(&path, FILE_BYTES_MAX).await.map_err(failed)?;
    let meta = MetaProperties::parse(&String::from_utf8_lossy(&bytes));
    meta.map(Some).map_err(|error| IdentityError::Wrong(format!("{}: {error}", path.display())))
}

async fn write(dir: &LogDir, cluster_id: &str, node_id: NodeId) -> Result<Uuid, IdentityError> {
    let id = new_id();
    let path = dir.path().join(FILE_NAME);
    let text = MetaProperties::new(cluster_id, node_id, id).to_text();
    patient::write_whole_durably(&path, text.as_bytes()).await?;
    Ok(id)
}

/// A new random id, as Kafka draws them.
pub fn new_id() -> Uuid {
    loop {
        if let Some(id) = random_uuid(random_bytes()) {
            return id;
        }
    }
}
