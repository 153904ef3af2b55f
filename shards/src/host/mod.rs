//! The swap point between the broker and the machine it runs on.
//!
//! Everything that the shards want from the outside — tasks, timers, files, sockets, the clock, random numbers,
//! wake-ups between cores — has one name here. `host/glommio` is the real machine: one glommio executor per shard
//! with an io_uring ring of our own inside it. `host/sim`, with the feature `sim`, is a world of simulated machines in
//! one thread that brings the same names, so that `use crate::host::{File, Stream, now}` never changes. Nothing outside
//! `host/` may name glommio or io_uring, or ask the system for anything.
//!
//! # Contract of the seam
//!
//! - **One thread, many tasks.** Every future spawned here stays on the shard that spawned it and need not be
//!   `Send`. A spawned task never runs before its spawner returns to the executor: no call of this module runs
//!   another task inside it.
//! - **Wakers** are woken on their own shard. Another thread rings a [`Bell`], or is one of [`spawn_blocking`]'s.
//! - **Order.** Tasks of one queue that become ready run in the order in which they became ready. Nothing is said
//!   about the order of completions of the disk or the network; two writes to one file are ordered only by
//!   awaiting the first.
//! - **Dropping a future** cancels the wait, not the effect: an operation that the kernel has begun may still take
//!   place, and its buffers live until it has ended.
//! - **Time** is [`now`], which never goes back, and is the same clock on every shard. [`wall_ms`] is for what
//!   records carry. Neither may be read elsewhere.
//! - **Randomness** is [`random_u64`]; nothing here iterates in an order that depends on addresses.
//! - **Between shards** only `Send` values, a [`Bell`] and descriptors ([`SharedFd`], [`StreamSeed`]) travel.
//! - **A failure** is `std::io::Error` with the system's error number; end of file is a short read. A failed
//!   [`File::write_at`] or sync says nothing about which bytes are on disk.
//! - **A panic** of any task of a shard that [`run_shards`] started ends the process, with its backtrace.

pub mod buffer;
mod huge;
mod slots;
pub mod sync;
mod types;
mod whole;

#[cfg(not(feature = "sim"))]
mod glommio;
// The model of a disk is tested with everything else; the rest of a world takes the real host's place.
#[cfg(any(feature = "sim", test))]
pub mod sim;

pub use buffer::{AlignedBuf, AppendBuf, WriteSlice, trim_pool};
pub use types::{
    DirEntry, DiskSpace, Durability, LocalBoxFuture, LoopTimes, OpenHow, ProcessUsage, Queue, ShardSpec,
    ShardStats, Shutdown, Signal, TimedOut,
};
pub use whole::read_whole;

#[cfg(not(feature = "sim"))]
pub use glommio::*;
#[cfg(feature = "sim")]
pub use sim::{
    Bell, Doorbell, File, JoinHandle, Listener, ProbeError, Ready, SharedFd, Sleep, StartError, Stream,
    StreamSeed, Timeout, available_cpus, canonicalize, catch_signals, create_dir, create_dir_all, disk_space,
    exists, exit_start, file_sizes, hold_until_the_end, host_name, indirect_file_system, loop_times, now,
    peek_piece, probe, process_usage, raise_descriptor_limit, random_bytes, random_u64, read_ahead, read_dir,
    release_held, remove_dir_all, remove_file, rename, resolve, run_local, run_shards, say, say_why,
    shard_id, shard_slot, shard_stats, sleep, sleep_until, spawn, spawn_blocking, spawn_detached, spawn_in,
    stop_signal, sync_dir, sync_file_system, timeout, turn_began, wall_ms, yield_now,
};
