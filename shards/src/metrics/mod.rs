//! What the broker counts about itself, gathered from its shards and served on `metrics.listener`.
//!
//! Each shard counts in cells of its own ([`ottla::metrics`]) that nobody else touches. A scrape asks every shard over
//! the mesh for a copy: that costs the hot path nothing, where atomics that another core reads would move cache lines
//! at every request. Nothing is on disk.
//!
//! What must hold: a scrape never waits for the disk or a client; a shard that does not answer in time is missing from
//! the page rather than holding it up.

#[cfg(not(feature = "sim"))]
mod http;
#[cfg(not(feature = "sim"))]
mod socket;

use ottla::metrics::{Counter, Gauge, Snapshot, Timing};

use crate::drive::{CONTROLLER_SHARD, Shard};
use crate::host;

#[cfg(not(feature = "sim"))]
pub use http::{Server, bind};

/// A copy of what this shard has counted, with its gauges as they are now.
#[must_use]
pub fn collect(shard: &Shard) -> Snapshot {
    let mut snapshot = shard.metrics.snapshot(shard.id.0);
    let (stats, loops) = (host::shard_stats(), host::loop_times());
    snapshot.set_counter(Counter::MeshQuestions, shard.mesh.asked());
    snapshot.set_counter(Counter::TaskPolls, stats.task_polls);
    snapshot.set_counter(Counter::LoopSleeps, stats.sleeps);
    snapshot.set_times(Timing::LoopTurn, loops.turns);
    snapshot.set(Gauge::LoopTurnMax, loops.longest.as_secs_f64());
    snapshot.set(Gauge::MeshQueue, shard.mesh.queued() as f64);
    snapshot.set(Gauge::PartitionsLed, shard.partitions_led() as f64);
    shard.connections().tell(&mut snapshot);
    shard.disk.tell(&mut snapshot);
    if shard.id == CONTROLLER_SHARD {
        let offline = shard.disk.dirs().all().iter().filter(|dir| dir.is_offline()).count();
        snapshot.set(Gauge::LogDirsOffline, offline as f64);
    }
    snapshot
}
