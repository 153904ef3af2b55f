//! The rule on dependencies: what the workspace declares, some crate uses.

use super::{Tree, Violation};

/// The workspace's own manifest.
const ROOT: &str = "Cargo.toml";

/// The entries of `[workspace.dependencies]` that no crate takes.
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let Some(root) = tree.get(ROOT) else {
        return vec![Violation::new(ROOT, 0, "dependencies", "the tree has no manifest")];
    };
    let used: Vec<&str> = tree
        .iter()
        .filter(|(path, _)| path.rsplit('/').next() == Some(ROOT))
        .flat_map(|(_, text)| entries(text))
        .filter(|entry| entry.is_taken)
        .map(|entry| entry.name)
        .collect();
    let unused = entries(root).filter(|entry| entry.is_declared && !used.contains(&entry.name));
    let violation = |entry: Entry<'_>| {
        let message = format!("no crate takes `{}` from the workspace", entry.name);
        Violation::new(ROOT, entry.line, "dependencies", message)
    };
    unused.map(violation).collect()
}

/// A dependency in a manifest.
struct Entry<'a> {
    name: &'a str,
    line: usize,
    /// It stands in `[workspace.dependencies]`.
    is_declared: bool,
    /// It stands in a crate's dependencies and is the workspace's.
    is_taken: bool,
}

/// The lines `name = …` and `name.workspace = true` of the tables of dependencies.
fn entries(manifest: &str) -> impl Iterator<Item = Entry<'_>> {
    let mut table = "";
    (1..).zip(manifest.lines()).filter_map(move |(line, text)| {
        if let Some(header) = text.trim().strip_prefix('[') {
            table = header.split(']').next().unwrap_or(header);
            return None;
        }
        let (key, value) = text.split_once('=')?;
        let (name, suffix) = key.trim().split_once('.').unwrap_or((key.trim(), ""));
        let is_declared = table == "workspace.dependencies";
        let is_dependency = table == "dependencies"
            || table.ends_with("-dependencies") && !is_declared
            || table.starts_with("target.") && table.ends_with(".dependencies");
        let is_workspace = suffix == "workspace" || value.replace(' ', "").contains("workspace=true");
        Some(Entry { name, line, is_declared, is_taken: is_dependency && is_workspace })
    })
}
