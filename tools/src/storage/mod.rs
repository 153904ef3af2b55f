//! `ottla storage`: formats log directories, says what stands in them, and prints random ids.
//!
//! Runs in its own process before a broker does, or in the broker's before its shards start; no shard owns it. On
//! disk it reads the properties file and reads and writes `meta.properties` in every log directory. Commands, flags,
//! lines and refusals are those of Kafka's `StorageTool`, so that scripts written for it work.
//! What must hold: a directory that is formatted is never formatted again; what is reported as formatted is synced.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ottla::config::{BrokerConfig, ConfigError, Layers};
use ottla_shards::boot::{SettingsError, read_file};
use thiserror::Error;

mod directory;
mod features;
mod format;
mod info;

pub use directory::{random_id, write_meta_properties};
pub use format::{FormatRequest, format};

/// Arguments of `ottla storage`.
#[derive(Args, Debug)]
pub struct StorageArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: StorageCommand,
}

/// What `ottla storage` can do.
#[derive(Subcommand, Debug)]
pub enum StorageCommand {
    /// Say what stands in the log directories of this node
    Info(InfoArgs),
    /// Format the log directories of this node
    Format(FormatArgs),
    /// Print a random id
    RandomUuid,
}

/// Arguments of `ottla storage info`.
#[derive(Args, Debug)]
pub struct InfoArgs {
    /// The broker's properties file
    #[arg(long, short = 'c')]
    pub config: PathBuf,
}

/// Arguments of `ottla storage format`.
#[derive(Args, Debug)]
pub struct FormatArgs {
    /// The broker's properties file
    #[arg(long, short = 'c')]
    pub config: PathBuf,
    /// The id of the cluster that the directories are to belong to
    #[arg(long, short = 't', allow_hyphen_values = true)]
    pub cluster_id: String,
    /// Leave directories that are formatted already as they are, instead of failing
    #[arg(long, short = 'g')]
    pub ignore_formatted: bool,
    /// The release whose features a new cluster starts with; checked, and not recorded yet
    #[arg(long, short = 'r')]
    pub release_version: Option<String>,
    /// A feature's level, as NAME=LEVEL; checked, and not recorded yet
    #[arg(long, short = 'f')]
    pub feature: Vec<String>,
    /// A SCRAM credential for the new cluster; refused until SASL is here
    #[arg(long, short = 'S')]
    pub add_scram: Vec<String>,
    /// Make this node the only controller of a quorum that may grow later
    #[arg(long, short = 's', conflicts_with_all = ["no_initial_controllers", "initial_controllers"])]
    pub standalone: bool,
    /// Name no first controllers
    #[arg(long, short = 'N', conflicts_with = "initial_controllers")]
    pub no_initial_controllers: bool,
    /// The first controllers, as id@host:port:directory
    #[arg(long, short = 'I')]
    pub initial_controllers: Option<String>,
}

/// Why a command failed; the text is for people and names what to do.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The properties file cannot be read, or is none.
    #[error(transparent)]
    File(#[from] SettingsError),
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command is refused.
    #[error("{0}")]
    Refused(String),
    /// A line could not be printed, or no random bytes were to be had.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs a command, prints to `out` and gives the exit code. An error goes to the caller, who prints it and exits
/// with 1, as for every refusal of Kafka's tool.
///
/// # Errors
/// Everything that is wrong with files, configuration or arguments.
pub fn run(args: &StorageArgs, out: &mut dyn Write) -> Result<u8, StorageError> {
    match &args.command {
        StorageCommand::Info(info) => unless_seen(info::run(&load_config(&info.config)?, out)),
        StorageCommand::Format(arguments) => {
            format::run(arguments, &load_config(&arguments.config)?, out).map(|()| 0)
        }
        StorageCommand::RandomUuid => {
            let id = random_id()?;
            unless_seen(writeln!(out, "{id}").map(|()| 0).map_err(StorageError::Io))
        }
    }
}

/// Whoever reads what is printed may have seen enough.
fn unless_seen(printed: Result<u8, StorageError>) -> Result<u8, StorageError> {
    match printed {
        Err(StorageError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        printed => printed,
    }
}

/// The configuration in a properties file alone, as Kafka's tool reads it.
fn load_config(path: &Path) -> Result<BrokerConfig, StorageError> {
    Ok(BrokerConfig::new(&Layers { file: Some(read_file(path)?), ..Layers::default() })?)
}

/// The directories that hold this node's data, the metadata log's among them, sorted and without repetition.
fn directories(config: &BrokerConfig) -> Vec<String> {
    let mut directories = config.storage.log_dirs.clone();
    directories.push(config.storage.metadata_log_dir.clone());
    directories.sort();
    directories.dedup();
    directories
}

#[cfg(test)]
mod tests;
