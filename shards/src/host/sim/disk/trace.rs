//! The last operations in words, for whoever has to explain a failure.
//!
//! Invariant: no more lines than asked for; nothing is formatted while none are.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;

use super::faults::Op;

#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    lines: VecDeque<String>,
    kept: usize,
}

impl Trace {
    pub(super) fn keep(&mut self, lines: usize) {
        self.kept = lines;
        while self.lines.len() > lines {
            self.lines.pop_front();
        }
    }

    pub(super) fn push(&mut self, line: impl FnOnce() -> String) {
        if self.kept == 0 {
            return;
        }
        if self.lines.len() == self.kept {
            self.lines.pop_front();
        }
        self.lines.push_back(line());
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

/// What was done, for a line of the trace.
pub(super) struct Done<'a> {
    /// Its number among all operations.
    pub(super) number: u64,
    pub(super) op: Op,
    pub(super) path: &'a Path,
    pub(super) detail: fmt::Arguments<'a>,
}

impl Done<'_> {
    /// The line, with what came of it.
    pub(super) fn line<T: fmt::Debug>(&self, result: &io::Result<T>) -> String {
        let Done { number, op, path, detail } = self;
        let path = path.display();
        match result {
            Ok(value) => format!("{number} {op:?} {path}{detail}: {value:?}"),
            Err(error) => format!("{number} {op:?} {path}{detail}: {error}"),
        }
    }
}
