//! The real machine: a glommio executor per shard, with an io_uring ring of our own inside it.
//!
//! glommio gives the pinned thread, the task queues with shares and the sleep when there is nothing to do. All I/O,
//! the timers and the wake-ups between shards go through [`driver`], which turns once per round of ready tasks:
//! one `io_uring_enter` submits everything that the round asked for and reaps what is done.

mod address;
mod bell;
mod blocking;
mod cold;
mod committer;
mod dir;
mod driver;
mod executor;
mod file;
mod listener;
mod op;
mod probe;
mod process;
mod punctual;
mod ring;
mod sendfile;
mod signal;
mod socket;
mod synced;
mod timer;
mod touched;
mod turns;

#[cfg(test)]
mod tests;

pub use bell::{Bell, Doorbell};
pub use blocking::spawn_blocking;
pub use cold::{peek_piece, read_ahead};
pub use dir::{
    canonicalize, create_dir, create_dir_all, disk_space, exists, file_sizes, indirect_file_system, read_dir,
    remove_dir_all, remove_file, rename, sync_dir, sync_file_system,
};
pub use executor::{
    JoinHandle, StartError, available_cpus, loop_times, run_local, run_shards, shard_id, shard_slot,
    shard_stats, spawn, spawn_detached, spawn_in, turn_began, yield_now,
};
pub(super) use executor::{pin_thread, process_cpus};
pub use file::{File, SharedFd, hold_until_the_end, release_held};
pub use listener::{Listener, resolve};
pub use probe::{ProbeError, has_deferred_completions, missing_operations, probe, raise_descriptor_limit};
pub use process::{exit_start, host_name, process_usage, say, say_why};
pub use signal::{catch_signals, stop_signal};
pub(crate) use signal::{is_ignored, mask, signals, wait_for};
pub use socket::{Ready, Stream, StreamSeed};
pub use timer::{Sleep, Timeout, now, random_bytes, random_u64, sleep, sleep_until, timeout, wall_ms};
