//! `ottla log dump`: prints what stands in the files of a log, line for line as Kafka's `DumpLogSegments` does.
//!
//! Runs in a process of its own beside a broker or without one; no shard owns it. It only reads: segments, indexes of
//! offsets, times and transactions, producer snapshots, snapshots of the metadata log. What must hold: for files that
//! Kafka can read, standard output, findings on standard error and exit code are those of Kafka 4.3; what it cannot
//! read is one line instead of a stack trace, with the same exit code; memory is bounded by one batch, whatever the
//! files' size, and by the findings.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use thiserror::Error;

mod decode;
mod findings;
mod offset_index;
mod segment;
mod segment_file;
mod small;
mod time_index;

use decode::Decoder;
use findings::Findings;

/// Arguments of `ottla log`.
#[derive(Args, Debug)]
pub struct LogArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LogCommand,
}

/// What `ottla log` can do.
#[derive(Subcommand, Debug)]
pub enum LogCommand {
    /// Print what stands in segments, indexes and snapshots (Kafka's kafka-dump-log.sh)
    Dump(DumpArgs),
}

/// Arguments of `ottla log dump`: Kafka's flags.
#[derive(Args, Debug, Default)]
pub struct DumpArgs {
    /// The files to print, with commas between them; required
    #[arg(long, value_name = "FILE,…")]
    pub files: Vec<OsString>,
    /// Print keys and values too; implied by every decoder
    #[arg(long)]
    pub print_data_log: bool,
    /// Print each record and not only each batch; implied by printing keys and values
    #[arg(long)]
    pub deep_iteration: bool,
    /// Check indexes as a broker's start does, and print nothing of them
    #[arg(long)]
    pub index_sanity_check: bool,
    /// Compare indexes with their segments, and print only what differs
    #[arg(long)]
    pub verify_index_only: bool,
    /// Bytes of the largest batch, where an index is compared with its segment
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, default_value_t = MESSAGE_BYTES_MAX)]
    pub max_message_size: i32,
    /// Read no more than so many bytes of each segment
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, default_value_t = i32::MAX)]
    pub max_bytes: i32,
    /// The keys' decoder: StringDecoder, IntegerDecoder or LongDecoder of org.apache.kafka.tools.api
    #[arg(long, value_name = "CLASS", num_args = 0..=1)]
    pub key_decoder_class: Option<Option<String>>,
    /// The values' decoder: StringDecoder, IntegerDecoder or LongDecoder of org.apache.kafka.tools.api
    #[arg(long, value_name = "CLASS", num_args = 0..=1)]
    pub value_decoder_class: Option<Option<String>>,
    /// Decode the records of __consumer_offsets
    #[arg(long)]
    pub offsets_decoder: bool,
    /// Decode the records of __transaction_state
    #[arg(long)]
    pub transaction_log_decoder: bool,
    /// Decode the records of the metadata log
    #[arg(long)]
    pub cluster_metadata_decoder: bool,
    /// Decode the records of __share_group_state
    #[arg(long)]
    pub share_group_state_decoder: bool,
    /// Decode the records about remote segments; refused, for there is no tiered storage here
    #[arg(long)]
    pub remote_log_metadata_decoder: bool,
    /// Print keys and values alone, and nothing of control records
    #[arg(long)]
    pub skip_record_metadata: bool,
}

/// Kafka's default of `--max-message-size`.
const MESSAGE_BYTES_MAX: i32 = 5 << 20;

/// Why a dump ends before its end; the text is for people.
#[derive(Debug, Error)]
pub enum DumpError {
    /// Arguments or a file that cannot be used.
    #[error("{0}")]
    Refused(String),
    /// A file cannot be read.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A line could not be printed.
    #[error(transparent)]
    Print(#[from] io::Error),
}

/// Where a dump is printed to.
#[derive(Debug)]
pub struct Output<O, E> {
    /// What stands in the files.
    pub out: O,
    /// What is wrong with them.
    pub err: E,
}

/// Runs a command of `ottla log` and gives the exit code.
///
/// # Errors
/// Everything that ends it early; what was read so far is printed before.
pub fn run<O: Write, E: Write>(args: &LogArgs, output: Output<O, E>) -> Result<u8, DumpError> {
    let LogCommand::Dump(args) = &args.command;
    let mut out = BufWriter::with_capacity(1 << 16, output.out);
    let mut dump = Dump { args, out: &mut out, err: output.err, findings: Findings::default() };
    let result = dump.run();
    let printed = out.flush();
    match result.and_then(|()| Ok(printed?)) {
        // Whoever reads the dump has seen enough.
        Err(DumpError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        result => result.map(|()| 0),
    }
}

/// One run.
struct Dump<'a, O: Write, E: Write> {
    args: &'a DumpArgs,
    out: &'a mut O,
    err: E,
    findings: Findings,
}

impl<O: Write, E: Write> Dump<'_, O, E> {
    fn run(&mut self) -> Result<(), DumpError> {
        if self.args.files.is_empty() {
            return Err(DumpError::Refused("Missing required argument \"[files]\"".to_owned()));
        }
        for file in self.args.files.iter().flat_map(|list| split(list)) {
            let path = plain(file);
            writeln!(self.out, "Dumping {}", path.display())?;
            self.file(&path)?;
        }
        self.out.flush()?;
        Ok(self.findings.print(&mut self.err)?)
    }

    fn file(&mut self, path: &Path) -> Result<(), DumpError> {
        let name = file_name(path);
        let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        match suffix {
            "log" | "checkpoint" => {
                let decoder = Decoder::of(self.args)?;
                let options = segment::Options {
                    is_deep: self.args.deep_iteration || decoder.is_asked_for(self.args),
                    decoder: decoder.is_asked_for(self.args).then_some(decoder),
                    skip_metadata: self.args.skip_record_metadata,
                    bytes_max: self.args.max_bytes,
                };
                segment::dump(path, &options, self.out, &mut self.findings)
            }
            "index" => offset_index::dump(path, self.args, self.out, &mut self.findings),
            "timeindex" => time_index::dump(path, self.args, self.out, &mut self.findings),
            "snapshot" => small::dump_producers(path, self.out, &mut self.err),
            "txnindex" => small::dump_aborted(path, self.out),
            _ => Ok(writeln!(self.err, "Ignoring unknown file {}", path.display())?),
        }
    }
}

/// The files of a list with commas, as Java's `split` has them: without the empty ones at its end.
fn split(list: &OsStr) -> impl Iterator<Item = &Path> {
    let bytes = list.as_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b',').map_or(0, |last| last + 1);
    let is_empty = end == 0 && !bytes.is_empty();
    let parts = bytes[..end].split(|byte| *byte == b',');
    parts.filter(move |_| !is_empty).map(|part| Path::new(OsStr::from_bytes(part)))
}

/// The path without repeated slashes, as Java's `File` has it.
fn plain(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '/' || !plain.ends_with('/') {
            plain.push(character);
        }
    }
    if plain.len() > 1 && plain.ends_with('/') {
        plain.pop();
    }
    PathBuf::from(plain)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The offset in a file's name, before the first dot.
fn base_offset(path: &Path) -> Result<i64, DumpError> {
    let name = file_name(path);
    let digits = name.split('.').next().unwrap_or_default();
    let refused =
        || DumpError::Refused(format!("{}: the name does not begin with an offset", path.display()));
    digits.parse().map_err(|_| refused())
}

/// The absolute path, without a look at the file system.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// A file of the same segment with another ending.
fn sibling(path: &Path, base: &str, suffix: &str) -> PathBuf {
    path.with_file_name(format!("{base}.{suffix}"))
}

/// The text before the first dot of a name, which names the segment.
fn segment_name(path: &Path) -> String {
    let name = file_name(path);
    name.split('.').next().unwrap_or_default().to_owned()
}

fn unreadable(path: &Path, error: io::Error) -> DumpError {
    DumpError::File { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests;
