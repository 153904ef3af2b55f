//! Plain values of the host seam, the same for every host.

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ottla::ids::{ShardId, TimestampMs};
use ottla::metrics::Times;

/// A boxed future that stays on its shard.
pub type LocalBoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Where one shard runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardSpec {
    /// The shard's number; the specs of a process are numbered 0, 1, 2, ….
    pub shard: ShardId,
    /// The CPU that it is pinned to, as the kernel numbers them. `None` leaves the choice to the scheduler, as is
    /// right when there are more shards than CPUs; such a shard does not spin before it parks.
    pub cpu: Option<usize>,
}

/// Which share of its core a task gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Requests and what they wait for.
    Foreground,
    /// Retention, cleaning, index rebuilds, prefetch: a tenth of the foreground's share while both have work, and
    /// the foreground gets a turn after each step.
    Background,
}

/// What a write promises when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The bytes are in the file; a crash of the machine may lose them.
    None,
    /// The bytes, and the metadata needed to read them back, are on the device.
    DataSync,
}

/// How to open a file. All flags default to false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenHow {
    /// Open for reading.
    pub read: bool,
    /// Open for writing.
    pub write: bool,
    /// Create the file when it is not there.
    pub create: bool,
    /// Create the file and fail when it is there.
    pub create_new: bool,
    /// Bypass the page cache: positions and lengths must then be multiples of 4,096 and buffers aligned. Fails with
    /// `EINVAL` on a filesystem that cannot.
    pub direct: bool,
    /// The system reads nothing ahead into the page cache: whoever reads knows better what is wanted next.
    pub exact: bool,
}

/// A deadline passed before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl std::error::Error for TimedOut {}

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without the directory.
    pub name: OsString,
    /// Whether it is a directory itself; links are not followed.
    pub is_dir: bool,
    /// Bytes of the file, as it was when the directory was read.
    pub bytes: u64,
    /// When the file was last changed, by the wall clock.
    pub modified: TimestampMs,
}

/// A filesystem's room, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this process may still write.
    pub free: u64,
    /// What the filesystem holds in all.
    pub total: u64,
}

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGHUP: the terminal of the process was closed.
    Hangup,
}

/// Which directions [`Stream::shutdown`](super::Stream::shutdown) ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Nothing more is sent; the peer sees the end of the stream.
    Write,
    /// Nothing more in either direction.
    Both,
}

/// How long a shard's loop takes for its turns.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopTimes {
    /// The turns, sleep not counted.
    pub turns: Times,
    /// The longest of the last while.
    pub longest: Duration,
}

/// What the process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessUsage {
    /// CPU time of all threads, user and system.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

/// What a shard has done so far; the counters wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardStats {
    /// Polls of tasks, and tasks dropped.
    pub task_polls: u64,
    /// Times that the shard had nothing to do and slept.
    pub sleeps: u64,
}
