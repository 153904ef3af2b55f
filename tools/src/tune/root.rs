//! Reading `/proc` and `/sys`, or a made-up tree in their place.
//!
//! What cannot be read is not there: a check then says nothing or says that the kernel does not tell.

use std::path::{Path, PathBuf};

/// The directory that `/proc` and `/sys` stand in.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// The machine's own is `/`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Root {
        Root(path.into())
    }

    /// Where `path`, which begins with `/`, is to be found.
    #[must_use]
    pub fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// Whether it is there.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.at(path).exists()
    }

    /// A file's text without blanks around it.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        text_of(&self.at(path))
    }

    /// A file that holds one number.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// The names in a directory, sorted.
    #[must_use]
    pub fn names(&self, path: &str) -> Vec<String> {
        names_in(&self.at(path))
    }
}

/// A file's text without blanks around it.
pub(super) fn text_of(path: &Path) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

pub(super) fn names_in(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The chosen one of `always [madvise] never`; the text itself where it marks none.
pub(super) fn chosen(text: &str) -> &str {
    let marked = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    marked.unwrap_or(text)
}

/// Bytes for people.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", count >> 20),
        _ => format!("{:.1} GiB", count as f64 / (1_u64 << 30) as f64),
    }
}
