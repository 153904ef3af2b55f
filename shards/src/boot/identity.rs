//! Who this node is: `meta.properties` of every log directory, written by the first start.
//!
//! What must hold: all directories belong to one cluster and to this node; a directory's file is complete and
//! synced, with
//! its name, before anything else is written there. A power cut during the first start leaves directories with and
//! without the file: the next start completes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla::config::meta_properties::{self, FILE_NAME, MetaProperties, random_uuid};
use ottla::ids::{NodeId, Uuid};

use crate::disk::LogDirs;
use crate::host::{self, random_bytes, read_whole, write_whole_durably};

/// The most bytes of a `meta.properties`.
const FILE_BYTES_MAX: usize = 64 << 10;

/// This node's ids.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The cluster's id.
    pub cluster_id: Arc<str>,
    /// The own ids of the directories that are for topics, in the order of `log.dirs`.
    pub log_dir_ids: Vec<Uuid>,
    /// Whether this start made each directory this node's, in the order of [`LogDirs::all`].
    pub is_new: Vec<bool>,
}

/// Why the directories cannot be this node's.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
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
        found.push(read(dir.path()).await?);
    }
    let texts: Vec<String> = dirs.all().iter().map(|dir| dir.path().display().to_string()).collect();
    let present = texts.iter().zip(&found).filter_map(|(path, meta)| Some((path.as_str(), meta.as_ref()?)));
    let present: Vec<_> = present.collect();
    meta_properties::verify(&present, cluster_id, Some(node_id))
        .map_err(|error| IdentityError::Wrong(error.to_string()))?;
    let known = found.iter().flatten().find_map(|meta| meta.cluster_id.clone());
    let cluster_id = known.or_else(|| cluster_id.map(str::to_owned)).unwrap_or_else(|| new_id().to_string());

    let mut log_dir_ids = Vec::with_capacity(found.len());
    let is_new = found.iter().map(Option::is_none).collect();
    for (dir, meta) in dirs.all().iter().zip(found) {
        let id = match meta.as_ref().and_then(|meta| meta.directory_id) {
            Some(id) => id,
            None => write(dir.path(), &cluster_id, node_id).await?,
        };
        dir.set_id(id);
        log_dir_ids.push(id);
    }
    log_dir_ids.truncate(dirs.for_topics().len());
    Ok(Identity { cluster_id: Arc::from(cluster_id), log_dir_ids, is_new })
}

async fn read(dir: &Path) -> Result<Option<MetaProperties>, IdentityError> {
    let path = dir.join(FILE_NAME);
    let failed = |error| IdentityError::Io { path: path.clone(), error };
    if !host::exists(&path).await.map_err(failed)? {
        return Ok(None);
    }
    let bytes = read_whole(&path, FILE_BYTES_MAX).await.map_err(failed)?;
    let meta = MetaProperties::parse(&String::from_utf8_lossy(&bytes));
    meta.map(Some).map_err(|error| IdentityError::Wrong(format!("{}: {error}", path.display())))
}

async fn write(dir: &Path, cluster_id: &str, node_id: NodeId) -> Result<Uuid, IdentityError> {
    let id = new_id();
    let path = dir.join(FILE_NAME);
    let text = MetaProperties::new(cluster_id, node_id, id).to_text();
    let written = write_whole_durably(&path, text.as_bytes()).await;
    written.map(|()| id).map_err(|error| IdentityError::Io { path, error })
}

/// A new random id, as Kafka draws them.
pub fn new_id() -> Uuid {
    loop {
        if let Some(id) = random_uuid(random_bytes()) {
            return id;
        }
    }
}
