//! Tidy: the rules of this repository that a machine can check, run as a test over the whole tree.
//!
//! A rule looks at files as text or as tokens and returns what violates it; nothing is compiled. The rules on the
//! sizes of functions have exceptions in `tools/tidy.ratchet`, which may only become fewer and smaller. That every
//! rule still sees its violation is itself tested, with a planted one each.

pub mod lexer;
mod manifest;
mod ratchet;
mod rules;
pub mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;

use source::Source;

/// Where the exceptions stand, from the root of the repository.
pub const RATCHET: &str = "tools/tidy.ratchet";

/// The folders that are looked at, and the files of the root beside them.
const FOLDERS: [&str; 5] = ["src", "shards", "bench", "tests", "tools"];

/// The files of the repository that rules apply to, by their paths from its root.
pub type Tree = BTreeMap<String, String>;

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The file, from the root of the repository.
    pub path: String,
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// The rule's name.
    pub rule: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Violation {
    fn new(path: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Violation {
        Violation { path: path.to_owned(), line, rule, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.message)
    }
}

/// Reads the files of the repository at `root`.
///
/// # Errors
/// Those of reading it; a file that is no text is one.
pub fn load(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_file() {
            load_file(root, &path, &mut tree)?;
        }
    }
    for folder in FOLDERS {
        let folder = root.join(folder);
        if folder.is_dir() {
            load_folder(root, &folder, &mut tree)?;
        }
    }
    Ok(tree)
}

fn load_folder(root: &Path, folder: &Path, tree: &mut Tree) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_output = path.file_name().is_some_and(|name| name == "target");
        if path.is_dir() && !is_output {
            load_folder(root, &path, tree)?;
        } else if path.is_file() {
            load_file(root, &path, tree)?;
        }
    }
    Ok(())
}

fn load_file(root: &Path, path: &Path, tree: &mut Tree) -> io::Result<()> {
    const ENDINGS: [&str; 7] = ["rs", "toml", "md", "sh", "yml", "yaml", "ratchet"];
    let is_makefile = path.file_name().is_some_and(|name| name == "Makefile");
    let has_ending = path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
    if is_makefile || has_ending {
        let name = path.strip_prefix(root).expect("a file of the root is below it");
        tree.insert(name.to_string_lossy().replace('\\', "/"), std::fs::read_to_string(path)?);
    }
    Ok(())
}

/// Everything in the tree that breaks a rule, by file and line.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Violation> {
    let sources = sources(tree);
    let mut violations = Vec::new();
    for (path, text) in tree {
        violations.extend(rules::of_text(path, text));
    }
    let mut functions = Vec::new();
    for source in &sources {
        violations.extend(rules::of_source(source));
        functions.extend(source.functions().into_iter().map(|function| (source.path, function)));
    }
    let exceptions = tree.get(RATCHET).map(String::as_str).unwrap_or_default();
    violations.extend(ratchet::check(&functions, exceptions));
    violations.extend(manifest::check(tree));
    violations.sort();
    violations
}

/// The Rust files, with those that only tests compile marked as such.
fn sources(tree: &Tree) -> Vec<Source<'_>> {
    let files = || tree.iter().filter(|(path, _)| path.ends_with(".rs"));
    let declared: BTreeSet<String> =
        files().flat_map(|(path, text)| Source::new(path, text, false).test_modules).collect();
    files().map(|(path, text)| Source::new(path, text, is_test_file(path, &declared))).collect()
}

fn is_test_file(path: &str, declared: &BTreeSet<String>) -> bool {
    let module = path.strip_suffix(".rs").unwrap_or(path);
    path.split('/').any(|part| part == "tests" || part == "benches")
        || module.ends_with("/tests")
        || declared.iter().any(|test| module == test || module.starts_with(&format!("{test}/")))
}
