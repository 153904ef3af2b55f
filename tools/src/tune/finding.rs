//! One thing that `ottla tune` looked at: how it stands, what was found, why it matters, and how to mend it.
//!
//! Plain values that the checks make; nothing of it is on disk.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Fine,
    /// A broker runs, and could run better.
    Better,
    /// A broker does not run, does not keep its promise, or is many times slower than it need be.
    Problem,
}

impl Level {
    /// The sign in front of a line.
    #[must_use]
    pub fn sign(self) -> char {
        match self {
            Level::Fine => '✓',
            Level::Better => '!',
            Level::Problem => '✗',
        }
    }

    fn word(self) -> &'static str {
        match self {
            Level::Fine => "fine",
            Level::Better => "could be better",
            Level::Problem => "problem",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it stands.
    pub level: Level,
    /// What was looked at.
    pub name: String,
    /// What was found.
    pub found: String,
    /// Why it matters, in a few words; empty where it is fine and nothing need be said.
    pub why: String,
    /// The exact command that mends it, or why none does.
    pub mend: Option<String>,
}

impl Finding {
    /// As it should be.
    #[must_use]
    pub fn fine(name: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding { level: Level::Fine, name: name.into(), found: found.into(), why: String::new(), mend: None }
    }

    /// Could be better.
    #[must_use]
    pub fn better(name: impl Into<String>, found: impl Into<String>, why: impl Into<String>) -> Finding {
        Finding { level: Level::Better, why: why.into(), ..Finding::fine(name, found) }
    }

    /// A problem.
    #[must_use]
    pub fn problem(name: impl Into<String>, found: impl Into<String>, why: impl Into<String>) -> Finding {
        Finding { level: Level::Problem, why: why.into(), ..Finding::fine(name, found) }
    }

    /// Why it matters, where it is fine.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Finding {
        Finding { why: why.into(), ..self }
    }

    /// How to mend it.
    #[must_use]
    pub fn mend(self, command: impl Into<String>) -> Finding {
        Finding { mend: Some(command.into()), ..self }
    }

    /// The line, and below it the command.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{} {}: {}", self.level.sign(), self.name, self.found);
        if !self.why.is_empty() {
            write!(text, " ({})", self.why).expect("a string takes everything");
        }
        if let Some(mend) = &self.mend {
            write!(text, "\n    {mend}").expect("a string takes everything");
        }
        text
    }

    /// The same for machines.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "level": self.level.word(),
            "name": self.name,
            "found": self.found,
            "why": self.why,
            "mend": self.mend,
        })
    }
}
