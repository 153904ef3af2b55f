//! The command line of a load, as tests give it.

use std::io::Write;

use clap::Parser;

use super::FakeBroker;
use crate::{BenchArgs, BenchError, Interrupt};

/// `ottla bench`, without what stands around it.
#[derive(Parser)]
pub struct Command {
    #[command(flatten)]
    pub bench: BenchArgs,
}

impl FakeBroker {
    /// Runs a mode with flags against this broker, and gives its exit code and its report.
    pub fn run(&self, mode: &str, flags: &str) -> Result<(u8, String), BenchError> {
        let mut out = Vec::new();
        let code = self.run_to(mode, flags, (&Interrupt::default(), &mut out))?;
        Ok((code, String::from_utf8(out).expect("text")))
    }

    /// The same with something that may end it, to this output.
    pub fn run_to(
        &self,
        mode: &str,
        flags: &str,
        (interrupt, out): (&Interrupt, &mut dyn Write),
    ) -> Result<u8, BenchError> {
        let line = format!("bench {mode} --bootstrap-server {} {flags}", self.address());
        let command = Command::try_parse_from(line.split_whitespace()).expect("the flags exist");
        crate::run(&command.bench, interrupt, out)
    }
}
