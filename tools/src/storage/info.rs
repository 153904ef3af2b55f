//! `ottla storage info`: says which log directories there are, what they belong to and what is wrong with them.
//!
//! On disk it only reads `meta.properties`.

use std::io::Write;
use std::path::Path;

use ottla::config::BrokerConfig;
use ottla::config::meta_properties::{FILE_NAME, MetaProperties};

use super::directory::{Found, look};
use super::{StorageError, directories};

/// What was seen in all directories.
#[derive(Default)]
struct Report {
    found: Vec<String>,
    first: Option<MetaProperties>,
    problems: Vec<String>,
}

/// Prints what is found; the exit code is 1 when there is a problem.
pub(super) fn run(config: &BrokerConfig, out: &mut dyn Write) -> Result<u8, StorageError> {
    let mut report = Report::default();
    for dir in directories(config) {
        report.see(&dir);
    }
    if report.first.as_ref().is_some_and(|meta| meta.version == 0) {
        report.problems.push(
            "The kafka configuration file appears to be for a cluster in KRaft mode, but the directories are \
             formatted for legacy mode."
                .to_owned(),
        );
    }
    report.print(out)?;
    Ok(u8::from(!report.problems.is_empty()))
}

impl Report {
    fn see(&mut self, dir: &str) {
        let path = Path::new(dir);
        if !path.is_dir() {
            let what = if path.exists() { "is not a directory" } else { "does not exist" };
            self.problems.push(format!("{dir} {what}"));
            return;
        }
        self.found.push(dir.to_owned());
        match (look(path), &self.first) {
            (Found::Empty, _) => self.problems.push(format!("{dir} is not formatted.")),
            (Found::Broken(why), _) => {
                let file = path.join(FILE_NAME);
                self.problems.push(format!("Error loading {}: {why}", file.display()));
            }
            (Found::Formatted(meta), None) => self.first = Some(meta),
            (Found::Formatted(meta), Some(first)) if meta.cluster_id != first.cluster_id => {
                self.problems.push("Mismatched cluster IDs between storage directories.".to_owned());
            }
            (Found::Formatted(meta), Some(first)) if meta.node_id != first.node_id => {
                self.problems.push("Mismatched node IDs between storage directories.".to_owned());
            }
            (Found::Formatted(_), Some(_)) => {}
        }
    }

    fn print(&self, out: &mut dyn Write) -> Result<(), StorageError> {
        print_list("Found log directory", "Found log directories", &self.found, out)?;
        if let Some(meta) = &self.first {
            let pairs: Vec<String> =
                meta.to_properties().iter().map(|(name, value)| format!("{name}={value}")).collect();
            writeln!(out, "Found metadata: {{{}}}\n", pairs.join(", "))?;
        }
        print_list("Found problem", "Found problems", &self.problems, out)
    }
}

fn print_list(one: &str, many: &str, lines: &[String], out: &mut dyn Write) -> Result<(), StorageError> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "{}:", if lines.len() == 1 { one } else { many })?;
    for line in lines {
        writeln!(out, "  {line}")?;
    }
    Ok(writeln!(out)?)
}
