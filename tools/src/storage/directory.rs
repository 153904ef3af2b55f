//! One log directory's `meta.properties`: read, and written so that it is whole or not there.
//!
//! Used by the storage tool, and by a broker that formats its directories at its first start. On disk: the file, a
//! temporary one beside it while it is written, and the directory itself.
//! What must hold: when writing returns, the file, its name and the directory's name survive a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use ottla::config::meta_properties::{FILE_NAME, MetaProperties, random_uuid};
use ottla::ids::Uuid;

/// What was found in a directory.
#[derive(Debug)]
pub(super) enum Found {
    /// There is no `meta.properties`, or no directory.
    Empty,
    /// There is one.
    Formatted(MetaProperties),
    /// There is one that cannot be read or understood, and why.
    Broken(String),
}

/// Looks at a directory.
pub(super) fn look(dir: &Path) -> Found {
    match fs::read(dir.join(FILE_NAME)) {
        Ok(bytes) => match MetaProperties::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(meta) => Found::Formatted(meta),
            Err(error) => Found::Broken(error.to_string()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Empty,
        Err(error) => Found::Broken(error.to_string()),
    }
}

/// Makes `dir` with its parents if need be, and gives it this `meta.properties`. An existing file is replaced as a
/// whole.
///
/// # Errors
/// Whatever the file system says. The directory is then not formatted, or still as it was.
pub fn write_meta_properties(dir: &Path, meta: &MetaProperties) -> io::Result<()> {
    make_directory(dir)?;
    let temporary = dir.join(format!("{FILE_NAME}.tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
    file.write_all(meta.to_text().as_bytes())?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, dir.join(FILE_NAME))?;
    sync_directory(dir)
}

/// Makes a directory and every missing parent, and syncs the names of those that it made.
fn make_directory(dir: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut at = Some(dir);
    while let Some(path) = at.filter(|path| !path.as_os_str().is_empty() && !path.exists()) {
        missing.push(path);
        at = path.parent();
    }
    fs::create_dir_all(dir)?;
    for path in missing {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_directory(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A random id from the system's generator that no flag of a command line looks like.
///
/// # Errors
/// When the generator cannot be read.
pub fn random_id() -> io::Result<Uuid> {
    let mut generator = File::open("/dev/urandom")?;
    loop {
        let mut bytes = [0; 16];
        generator.read_exact(&mut bytes)?;
        if let Some(id) = random_uuid(bytes) {
            return Ok(id);
        }
    }
}
