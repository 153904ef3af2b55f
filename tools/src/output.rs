//! Where output goes: whether a file can be written, known before the work whose result it is to take, and how large a
//! terminal is.
//!
//! No shard owns it. What must hold: what stands in the file stays as it is, and where there was none there is none.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::termios::tcgetwinsize;

/// Columns and lines of a terminal that does not tell its size.
const SIZE_DEFAULT: (usize, usize) = (80, 24);

/// Columns and lines of a terminal at this moment.
#[must_use]
pub fn terminal_size(terminal: impl AsFd) -> (usize, usize) {
    let size = tcgetwinsize(terminal).map_or((0, 0), |size| (size.ws_col.into(), size.ws_row.into()));
    if size.0 == 0 || size.1 == 0 { SIZE_DEFAULT } else { size }
}

/// As much of a line as fits so many columns.
#[must_use]
pub fn cut_to(line: &str, columns: usize) -> String {
    line.trim_end().chars().take(columns).collect()
}

/// Fails with what a write to `path` would fail with.
///
/// Terminals, pipes and other devices are not opened: that may wait for the other end.
///
/// # Errors
/// The system's refusal to open the file for writing, or to make it.
pub fn check_writable(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(there) if there.is_file() => OpenOptions::new().append(true).open(path).map(drop),
        Ok(_) => Ok(()),
        // A link to nothing makes what it leads to, and only a write shows whether it can.
        Err(_) if path.is_symlink() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().write(true).create_new(true).open(path)?;
            fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_leaves_everything_as_it_was() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("old.json");
        fs::write(&file, "what stands there").expect("a file");
        check_writable(&file).expect("it can be written");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "what stands there");
        check_writable(&directory.path().join("new.json")).expect("it can be made");
        assert_eq!(fs::read_dir(directory.path()).expect("it is there").count(), 1);
        check_writable(Path::new("/dev/null")).expect("a device");
    }

    #[test]
    fn what_cannot_be_written_is_what_the_system_says() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let kind = |path: &Path| check_writable(path).expect_err("refused").kind();
        assert_eq!(kind(directory.path()), io::ErrorKind::IsADirectory);
        assert_eq!(kind(&directory.path().join("nowhere/run.json")), io::ErrorKind::NotFound);
        let file = directory.path().join("file");
        fs::write(&file, "").expect("a file");
        assert_eq!(kind(&file.join("run.json")), io::ErrorKind::NotADirectory);
    }
}
