//! Small file systems that are mounted for one test and gone with it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `EXT4_IOC_SHUTDOWN` with "do not flush the journal": every later operation on the file system fails.
const SHUT_DOWN: &str =
    "open(my $file, '<', $ARGV[0]) or die; my $how = pack('I', 2); ioctl($file, 0x8004587d, $how) or die $!";

/// A file system of a test's own.
pub struct Mounted {
    directory: tempfile::TempDir,
}

impl Mounted {
    /// An ext4 of `megabytes`, in a file behind a loop device; `None` where this process may not.
    pub fn ext4(megabytes: u64) -> Option<Mounted> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let image = directory.path().join("image");
        let file = std::fs::File::create(&image).expect("the directory is ours");
        file.set_len(megabytes << 20).expect("a sparse file");
        std::fs::create_dir(directory.path().join("mnt")).expect("the directory is ours");
        let mounted = Mounted { directory };
        let made = succeeds(Command::new("mkfs.ext4").arg("-q").arg(&image));
        let is_there =
            made && succeeds(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(mounted.path()));
        if !is_there {
            eprintln!("not run: no ext4 can be mounted here");
        }
        is_there.then_some(mounted)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    /// Makes every later operation on it fail, as a disk that is pulled does. `false` where that cannot be done.
    pub fn fail(&self) -> bool {
        let is_down =
            succeeds(Command::new("perl").args(["-e", SHUT_DOWN]).arg(self.path().join("meta.properties")));
        if !is_down {
            eprintln!("not run: the file system cannot be shut down here");
        }
        is_down
    }

    /// Takes it away and mounts it again, as it is on the device after a failure.
    pub fn again(&self) {
        let image = self.directory.path().join("image");
        assert!(succeeds(Command::new("umount").arg(self.path())), "nobody uses it any more");
        assert!(succeeds(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(self.path())));
    }

    /// Puts an empty one in its place, as a new disk.
    pub fn replace(&self) {
        let image = self.directory.path().join("image");
        assert!(succeeds(Command::new("umount").arg(self.path())), "nobody uses it any more");
        assert!(succeeds(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image)));
        assert!(succeeds(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(self.path())));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = succeeds(Command::new("umount").arg("-l").arg(self.path()));
    }
}

fn succeeds(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A file that takes room until it is removed.
pub fn ballast(directory: &Path, leave_megabytes: u64, of_megabytes: u64) -> PathBuf {
    let path = directory.join("ballast");
    std::fs::write(&path, vec![1; usize::try_from((of_megabytes - leave_megabytes) << 20).expect("small")])
        .expect("there is room for it");
    path
}
