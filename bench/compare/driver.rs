//! Driver files: how a broker is started, in the words of a shell.
//!
//! A file is one YAML mapping of the keys below; `like` takes what a file beside it says and puts its own words over
//! that. Scripts run by `sh` in the broker's own fresh directory with `ADDRESS` (host and port), `PORT`,
//! `SECOND_PORT`, `ROOT` (of this repository), `OTTLA` (the binary of this build), `COMPARE` (this program) and
//! `SETTINGS` in their environment.
//!
//! | key | |
//! |---|---|
//! | `name` | what the broker is called |
//! | `version` | a script that prints its version |
//! | `prepare` | a script that runs once in the fresh directory, not measured; optional |
//! | `start` | a script that becomes the broker, in the foreground |
//! | `stop` | the signal that ends it in order; `TERM` without it |
//! | `settings` | what `SETTINGS` is; empty without it |
//! | `needs` | a file of this repository without which the broker is left out; optional |
//! | `questions` | which questions are put to it; all without it |
//! | `fetches` | `no` where nothing can be fetched from it: what consumers see is not asked |

use std::path::{Path, PathBuf};

use ottla_bench::mapping::Mapping;

/// A broker that can be started.
#[derive(Clone, Debug)]
pub struct Driver {
    /// The file's name without its extension: short, and unique in a comparison.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// As its own script says; `unknown` where that fails.
    pub version: String,
    /// What runs once in a fresh directory.
    pub prepare: Option<String>,
    /// What becomes the broker.
    pub start: String,
    /// The signal that ends it in order.
    pub stop: String,
    /// Further settings for the script.
    pub settings: String,
    /// A file of the repository without which it is left out.
    pub needs: Option<String>,
    /// The questions that are put to it; all where it is empty.
    pub questions: Vec<String>,
    /// Whether records can be fetched from it.
    pub fetches: bool,
}

/// What every script has in its environment besides its ports.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The repository.
    pub root: PathBuf,
    /// The binary of this build.
    pub ottla: PathBuf,
}

impl Driver {
    /// Reads a driver file, and asks the broker for its version.
    ///
    /// # Errors
    /// One line for the person who wrote it.
    pub fn read(path: &Path, surroundings: &Surroundings) -> Result<Self, String> {
        let mut mapping = load(path)?;
        let mut base = match mapping.take("like") {
            Some(like) => load(&path.with_file_name(&like.value))?,
            None => Mapping::default(),
        };
        let mut take =
            |key: &str| mapping.take(key).into_iter().chain(base.take(key)).next().map(|entry| entry.value);
        let missing = |key: &str| format!("{}: {key} is missing", path.display());
        let settings = take("settings").unwrap_or_default();
        let driver = Self {
            id: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            name: take("name").ok_or_else(|| missing("name"))?,
            version: take("version").map_or("unknown".to_owned(), |script| surroundings.answer(&script)),
            prepare: take("prepare"),
            start: take("start").ok_or_else(|| missing("start"))?,
            stop: take("stop").unwrap_or_else(|| "TERM".to_owned()),
            settings,
            needs: take("needs"),
            questions: take("questions").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            fetches: take("fetches").is_none_or(|word| word != "no"),
        };
        match mapping.first().or(base.first()) {
            Some((key, line)) => Err(format!("{}: line {line}: unknown key {key:?}", path.display())),
            None => Ok(driver),
        }
    }

    /// What it needs and is not there.
    #[must_use]
    pub fn lacks(&self, surroundings: &Surroundings) -> Option<&str> {
        self.needs.as_deref().filter(|file| !surroundings.root.join(file).exists())
    }

    /// Whether a question is put to it.
    #[must_use]
    pub fn answers(&self, question: &str) -> bool {
        self.questions.is_empty() || self.questions.iter().any(|name| name == question)
    }
}

impl Surroundings {
    /// A script, ready to run with what it may expect.
    #[must_use]
    pub fn shell(&self, script: &str) -> std::process::Command {
        let mut shell = std::process::Command::new("sh");
        shell.arg("-ec").arg(script);
        self.fill(&mut shell);
        shell
    }

    /// Gives a command what every script may expect.
    pub fn fill(&self, command: &mut std::process::Command) {
        command.env("ROOT", &self.root).env("OTTLA", &self.ottla);
        command.env("COMPARE", std::env::current_exe().unwrap_or_default());
    }

    /// The first line that a script prints.
    fn answer(&self, script: &str) -> String {
        let output = self.shell(script).stdin(std::process::Stdio::null()).output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().next().map_or("unknown".to_owned(), |line| line.trim().to_owned())
    }
}

fn load(path: &Path) -> Result<Mapping, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Mapping::parse(&text).map_err(|(line, what)| format!("{}: line {line}: {what}", path.display()))
}
