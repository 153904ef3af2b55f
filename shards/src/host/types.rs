//! Plain values of the host seam, the same for every host.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use ottla::ids::ShardId;

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
