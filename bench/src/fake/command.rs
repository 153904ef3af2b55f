//! The command line of a load, as tests give it.

use clap::Parser;

use super::FakeBroker;
use crate::{BenchArgs, BenchError};

/// `ottla bench`, without what stands around it.
#[derive(Parser)]
pub struct Command {
    #[command(flatten)]
    pub bench: BenchArgs,
}

impl FakeBroker {
    /// Runs a mode with flags against this broker, and gives its exit code and its report.
    pub fn run(&self, mode: &str, flags: &str) -> Result<(u8, String), BenchError> {
        let line = format!("bench {mode} --bootstrap-server {} {flags}", self.address());
        let command = Command::try_parse_from(line.split_whitespace()).expect("the flags exist");
        let mut out = Vec::new();
        let code = crate::run(&command.bench, &mut out)?;
        Ok((code, String::from_utf8(out).expect("text")))
    }
}
