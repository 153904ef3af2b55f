//! `ottla storage format`: gives every log directory that has none its `meta.properties`.
//!
//! On disk: the directories and their `meta.properties`. The metadata log itself is begun by the first start.
//! What must hold: directories that are formatted belong to this node and this cluster, or nothing is written.

use std::io::Write;
use std::path::Path;

use ottla::config::BrokerConfig;
use ottla::config::meta_properties::{self, MetaProperties};
use ottla::config::quorum::{BOOTSTRAP_SERVERS, VOTERS};
use ottla::ids::{NodeId, Uuid};

use super::directory::{Found, look};
use super::{FormatArgs, StorageError, directories, features, random_id, write_meta_properties};

/// What to format, once arguments and configuration are understood.
#[derive(Clone, Debug)]
pub struct FormatRequest {
    /// The cluster's id.
    pub cluster_id: String,
    /// This node.
    pub node_id: NodeId,
    /// Every log directory, the metadata log's among them, sorted.
    pub directories: Vec<String>,
    /// The directory of the metadata log.
    pub metadata_log_dir: String,
    /// The id of that directory where the quorum's first voters name it; otherwise it is drawn.
    pub metadata_directory_id: Option<Uuid>,
    /// Whether the quorum may grow later; only its name in the output depends on it.
    pub has_initial_controllers: bool,
    /// Whether directories that are formatted already are left alone instead of refused.
    pub ignore_formatted: bool,
    /// The metadata version to name.
    pub metadata_version: &'static str,
}

/// Checks arguments and configuration, then formats.
pub(super) fn run(args: &FormatArgs, config: &BrokerConfig, out: &mut dyn Write) -> Result<(), StorageError> {
    if args.cluster_id.is_empty() {
        return Err(refused("You must specify the cluster id."));
    }
    if !args.add_scram.is_empty() {
        return Err(refused("--add-scram: SASL is not here yet, and a credential would not be kept."));
    }
    let has_initial_controllers = check_quorum(args, config)?;
    let is_dynamic = config.voters.is_empty();
    let metadata_version = features::check(args.release_version.as_deref(), &args.feature, is_dynamic)?;
    let directory_id =
        args.initial_controllers.as_deref().map(|text| only_voter(text, config.node_id)).transpose()?;
    let request = FormatRequest {
        cluster_id: args.cluster_id.clone(),
        node_id: config.node_id,
        directories: directories(config),
        metadata_log_dir: config.storage.metadata_log_dir.clone(),
        metadata_directory_id: directory_id,
        has_initial_controllers,
        ignore_formatted: args.ignore_formatted,
        metadata_version,
    };
    format(&request, out)?;
    if args.release_version.is_some() || !args.feature.is_empty() {
        writeln!(out, "The levels of features are not recorded yet; this release starts with its own.")?;
    }
    Ok(())
}

/// Formats every directory that is not formatted, and prints a line for each.
///
/// # Errors
/// With Kafka's words when a directory is formatted already and that is not to be ignored, belongs to another
/// cluster or node, or cannot be written.
pub fn format(request: &FormatRequest, out: &mut dyn Write) -> Result<(), StorageError> {
    let mut formatted: Vec<(&str, MetaProperties)> = Vec::new();
    let mut empty: Vec<&str> = Vec::new();
    let mut broken: Vec<&str> = Vec::new();
    for dir in &request.directories {
        match look(Path::new(dir)) {
            Found::Empty => empty.push(dir),
            Found::Formatted(meta) => formatted.push((dir, meta)),
            Found::Broken(_) => broken.push(dir),
        }
    }
    let pairs: Vec<(&str, &MetaProperties)> = formatted.iter().map(|(dir, meta)| (*dir, meta)).collect();
    meta_properties::verify(&pairs, Some(&request.cluster_id), Some(request.node_id))
        .map_err(|error| refused(error.to_string()))?;
    if let (Some((dir, _)), false) = (formatted.first(), request.ignore_formatted) {
        return Err(refused(format!(
            "Log directory {dir} is already formatted. Use --ignore-formatted to ignore this directory and format \
             the others."
        )));
    }
    for dir in &broken {
        writeln!(out, "I/O error trying to read log directory {dir}. Ignoring...")?;
    }
    if empty.is_empty() && formatted.is_empty() {
        return Err(refused("No available log directories to format."));
    }
    if empty.is_empty() {
        writeln!(out, "All of the log directories are already formatted.")?;
    }
    for dir in empty {
        format_one(request, dir, out)?;
    }
    Ok(())
}

fn format_one(request: &FormatRequest, dir: &str, out: &mut dyn Write) -> Result<(), StorageError> {
    let is_metadata = dir == request.metadata_log_dir;
    let kind = match (is_metadata, request.has_initial_controllers) {
        (false, _) => "data directory",
        (true, false) => "metadata directory",
        (true, true) => "dynamic metadata voter directory",
    };
    let id = match request.metadata_directory_id.filter(|_| is_metadata) {
        Some(id) => id,
        None => random_id()?,
    };
    writeln!(out, "Formatting {kind} {dir} with metadata.version {}.", request.metadata_version)?;
    let meta = MetaProperties::new(&request.cluster_id, request.node_id, id);
    write_meta_properties(Path::new(dir), &meta)
        .map_err(|error| refused(format!("Error while writing meta.properties file {dir}: {error}")))
}

fn refused(text: impl Into<String>) -> StorageError {
    StorageError::Refused(text.into())
}

/// Checks the flags about the quorum's first controllers against the configuration; says whether there are any.
fn check_quorum(args: &FormatArgs, config: &BrokerConfig) -> Result<bool, StorageError> {
    let named = args.standalone || args.initial_controllers.is_some();
    if !config.voters.is_empty() && named {
        return Err(refused(format!(
            "You cannot specify {VOTERS} and format the node with --initial-controllers or --standalone. If you \
             want to use dynamic quorum, please remove {VOTERS} and specify {BOOTSTRAP_SERVERS} instead."
        )));
    }
    // A configuration without a word about a quorum is one of Ottla's own, and needs no flag.
    let is_about_quorum = !config.bootstrap_servers.is_empty();
    if config.voters.is_empty() && is_about_quorum && !named && !args.no_initial_controllers {
        return Err(refused(format!(
            "Because {VOTERS} is not set on this controller, you must specify one of the following: --standalone, \
             --initial-controllers, or --no-initial-controllers."
        )));
    }
    Ok(named)
}

/// The directory's id in `id@host:port:directory`, which must name this node alone.
fn only_voter(text: &str, node_id: NodeId) -> Result<Uuid, StorageError> {
    let refused =
        |why: &str| StorageError::Refused(format!("Invalid value {text} for --initial-controllers: {why}"));
    let mut voters = text.trim().split(',').filter(|voter| !voter.is_empty());
    let voter = voters.next().ok_or_else(|| refused("expected id@host:port:directory"))?;
    if voters.next().is_some() {
        return Err(refused("a cluster of several controllers is not here yet; this node alone is allowed"));
    }
    let parts = voter.split_once('@').zip(voter.rsplit_once(':'));
    let ((id, _), (address, directory)) = parts.ok_or_else(|| refused("expected id@host:port:directory"))?;
    let entry = [address.to_owned()];
    ottla::config::quorum::parse_voters(&entry).map_err(|_| refused("expected id@host:port:directory"))?;
    if id.parse() != Ok(node_id.0) {
        return Err(refused(&format!("the only controller must be this node, {node_id}")));
    }
    directory.parse().map_err(|_| refused("the directory is no id, as random-uuid prints one"))
}
