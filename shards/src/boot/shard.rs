//! One shard from its start to its end: it waits for shard 0 to begin, opens its partitions, serves, and stops when
//! told.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use ottla::controller::image::Image;
use ottla::ids::{ShardId, TopicIdPartition};

use super::{Plan, leader};
use crate::disk::{DiskSettings, Found, LogDirs, ShardDisk};
use crate::drive::messages::{Answer, Query};
use crate::drive::{CONTROLLER_SHARD, Parts, Shard, cleaner, lifecycle};
use crate::host::sync::Notify;
use crate::host::{LocalBoxFuture, exit_start, release_held};
use crate::mesh::{Mesh, Seat};
use crate::net::{Connections, NetConfig};

/// What shard 0 tells every shard when the metadata is known.
#[derive(Debug)]
pub struct Begin {
    /// The log directories, open and locked.
    pub dirs: LogDirs,
    /// The metadata.
    pub image: Arc<Image>,
    /// The partitions that this shard owns and that are on disk, with their topics' ids.
    pub found: Vec<(TopicIdPartition, usize, Found)>,
    /// The listeners' names, by index.
    pub listeners: Arc<[Arc<str>]>,
}

/// A shard that may not have begun yet.
pub struct Starting {
    plan: Arc<Plan>,
    mesh: Rc<Mesh<Query, Answer>>,
    disk: OnceCell<Rc<ShardDisk>>,
    shard: OnceCell<Rc<Shard>>,
    connections: OnceCell<Rc<Connections>>,
    stopped: Notify,
}

/// Runs a shard until it is told to stop.
pub(super) async fn run(seat: Seat<Query, Answer>, plan: Arc<Plan>) {
    let mesh = seat.open();
    let starting = Rc::new(Starting {
        plan,
        mesh,
        disk: OnceCell::new(),
        shard: OnceCell::new(),
        connections: OnceCell::new(),
        stopped: Notify::new(),
    });
    // The mesh belongs to the shard: one that held it would never be freed.
    let serving = Rc::downgrade(&starting);
    starting.mesh.serve(move |asker, query| {
        // Behind the shard's end tasks that were ready run once more, and may ask. Nobody hears an answer.
        serving.upgrade().map_or_else(
            || -> LocalBoxFuture<Answer> { Box::pin(std::future::pending()) },
            |serving| serve(serving, asker, query),
        )
    });
    if starting.mesh.shard() == CONTROLLER_SHARD {
        leader::lead(&starting).await;
    } else {
        starting.stopped.notified().await;
    }
    // Everything is closed: the next broker need not wait until the kernel has taken this shard's ring apart.
    if let Err(error) = release_held() {
        tracing::debug!(%error, "the directories stay locked a moment longer");
    }
}

/// Performs a query: before the shard has begun there is only one.
fn serve(starting: Rc<Starting>, asker: ShardId, query: Query) -> LocalBoxFuture<Answer> {
    match (starting.shard.get(), query) {
        (None, Query::Begin(begin)) => Box::pin(async move {
            starting.begin(*begin).await;
            Answer::Done
        }),
        (Some(_), Query::End) => {
            starting.stopped.notify_one();
            Box::pin(std::future::ready(Answer::Done))
        }
        (Some(shard), query) => Box::pin(crate::drive::perform(Rc::clone(shard), asker, query)),
        (None, query) => unreachable!("{query:?} before the shard has begun"),
    }
}

impl Starting {
    /// What every shard knew before it ran.
    pub(super) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// This shard's end of the mesh.
    pub(super) fn mesh(&self) -> &Rc<Mesh<Query, Answer>> {
        &self.mesh
    }

    /// The shard, once it has begun.
    pub(super) fn shard(&self) -> &Rc<Shard> {
        self.shard.get().expect("asked after the shard has begun")
    }

    /// This shard's part of the disk, made when it is first asked for.
    pub(super) fn disk(&self, dirs: LogDirs) -> Rc<ShardDisk> {
        Rc::clone(self.disk.get_or_init(|| ShardDisk::new(dirs, disk_settings(&self.plan))))
    }

    /// Puts the shard together and opens its partitions.
    async fn begin(&self, begin: Begin) {
        if self.mesh.shard() != CONTROLLER_SHARD {
            let held = begin.dirs.hold_locks();
            held.unwrap_or_else(|error| exit_start(&format!("log.dirs: the locks cannot be held: {error}")));
        }
        let disk = self.disk(begin.dirs);
        let shard = self.assemble(disk, begin.image, begin.listeners);
        lifecycle::open_found(&shard, begin.found).await;
        if self.mesh.shard() != CONTROLLER_SHARD {
            lifecycle::watch_dirs(&shard);
        }
        lifecycle::run_background(&shard);
        cleaner::run(&shard);
        let set = self.shard.set(shard);
        assert!(set.is_ok(), "a shard begins once");
    }

    /// The shard without its partitions.
    fn assemble(&self, disk: Rc<ShardDisk>, image: Arc<Image>, listeners: Arc<[Arc<str>]>) -> Rc<Shard> {
        let plan = &self.plan;
        let shard = Shard::new(Parts {
            shards: plan.shards,
            mesh: Rc::clone(&self.mesh),
            disk,
            listeners,
            loggers: plan.loggers.clone(),
            config: Arc::clone(&plan.config),
            image,
        });
        let connections = Connections::new(net_config(plan), Rc::clone(&shard));
        shard.set_connections(&connections);
        assert!(self.connections.set(connections).is_ok(), "a shard is put together once");
        shard
    }
}

fn net_config(plan: &Plan) -> NetConfig {
    let network = &plan.config.network;
    NetConfig {
        request_bytes_max: network.request_bytes_max as usize,
        memory_bytes_max: usize::try_from(network.request_memory_bytes(plan.shards)).unwrap_or(usize::MAX),
        idle_ms_max: network.connection_idle_ms_max,
        send_buffer_bytes: network.send_buffer_bytes.map(|bytes| bytes as usize),
        receive_buffer_bytes: network.receive_buffer_bytes.map(|bytes| bytes as usize),
        ..NetConfig::default()
    }
}

/// What this shard may use: its part of what the process may use.
fn disk_settings(plan: &Plan) -> DiskSettings {
    let shards = usize::from(plan.shards);
    let runtime = &plan.config.runtime;
    // Half of the descriptors are for connections and everything else, and a file that is read past the page cache has
    // two.
    let files_default = usize::try_from(plan.descriptors / 4).unwrap_or(usize::MAX);
    let files = runtime.segment_files_open_max.map_or(files_default, |files| files as usize);
    // Work on a partition takes up to three descriptors at a time, and may wait for the next with one in hand.
    let eighth = usize::try_from(plan.descriptors).unwrap_or(usize::MAX) / shards / 8;
    let together = eighth.clamp(2, 64);
    DiskSettings {
        flushes_in_flight_max: together,
        loads_in_flight_max: together,
        together_max: together,
        journal_commits_min: runtime.journal_commits_min as usize,
        cache_bytes_max: usize::try_from(runtime.tail_cache_bytes).unwrap_or(usize::MAX),
        open_files_max: (files / shards).clamp(16, 65_536),
        files_of_answer_max: eighth.max(2),
        checkpoint_interval: std::time::Duration::from_millis(
            u64::try_from(plan.config.storage.recovery_point_checkpoint_interval_ms).unwrap_or(0).max(1_000),
        ),
        ..DiskSettings::default()
    }
}
