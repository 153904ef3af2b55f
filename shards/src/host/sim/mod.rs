//! A simulated machine: what the host seam names, in one thread, in virtual time, from one seed.
//!
//! Nothing here touches the real machine. What it owns is the state of the machines that it pretends to be: a
//! [`World`] holds several of them, each with processes of several shards, and runs them event by event. `crate::host`
//! gives out the names below instead of the real machine's when the crate is built with the feature `sim`.
//!
//! Invariant: the same seed and the same calls give the same answers, on every run and on every machine.

pub mod disk;

#[cfg(feature = "sim")]
mod bell;
#[cfg(feature = "sim")]
mod blocking;
#[cfg(feature = "sim")]
mod dir;
#[cfg(feature = "sim")]
mod disk_op;
#[cfg(feature = "sim")]
mod engine;
#[cfg(feature = "sim")]
mod executor;
#[cfg(feature = "sim")]
mod file;
#[cfg(feature = "sim")]
mod listener;
#[cfg(feature = "sim")]
mod network;
#[cfg(feature = "sim")]
mod process;
#[cfg(feature = "sim")]
mod random;
#[cfg(feature = "sim")]
mod socket;
#[cfg(feature = "sim")]
mod timer;
#[cfg(feature = "sim")]
mod trace;
#[cfg(feature = "sim")]
mod world;

#[cfg(feature = "sim")]
pub use self::{
    bell::{Bell, Doorbell},
    blocking::spawn_blocking,
    dir::{
        canonicalize, create_dir, create_dir_all, disk_space, exists, file_sizes, indirect_file_system,
        read_dir, remove_dir_all, remove_file, rename, sync_dir, sync_file_system,
    },
    disk::{CrashModel, Disk},
    disk_op::InFlightWrite,
    executor::{
        JoinHandle, StartError, loop_times, run_local, run_shards, shard_id, shard_slot, shard_stats, spawn,
        spawn_detached, spawn_in, turn_began, yield_now,
    },
    file::{File, SharedFd, hold_until_the_end, peek_piece, read_ahead, release_held},
    listener::{Listener, resolve},
    network::{ConnectionInfo, NetworkFaults},
    process::{
        NodeId, ProbeError, ProcessId, ProcessState, available_cpus, catch_signals, exit_start, host_name,
        probe, process_usage, raise_descriptor_limit, say, say_why, stop_signal,
    },
    socket::{Ready, Stream, StreamSeed},
    timer::{Sleep, Timeout, now, random_bytes, random_u64, sleep, sleep_until, timeout, wall_ms},
    world::{NetworkControl, Step, World},
};
