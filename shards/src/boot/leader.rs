//! Shard 0 leads the start and the end: directories, sockets, identity, metadata; then every shard; then clients. At a
//! signal the same in reverse.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use ottla::config::BrokerConfig;
use ottla::controller::effective;
use ottla::controller::image::{Image, TopicsImage};
use ottla::controller::names::CLUSTER_METADATA;
use ottla::controller::registration::Registration;
use ottla::ids::{Offset, ShardId, TopicId, TopicIdPartition, TopicPartition, Uuid};
use ottla::limits::SEGMENT_BYTES_MAX;
use ottla::log::LogConfig;
use ottla::placement::{CLUSTER_METADATA_LEADER_EPOCH, CLUSTER_METADATA_TOPIC_ID, owner};

use super::Plan;
use super::admission;
use super::banner::{Banner, DirLine};
use super::identity::{self, Identity, new_id};
use super::listeners::{self, Bound, MetricsListener};
use super::shard::{Begin, Starting};
use crate::disk::{DiskError, Found, LogDir, LogDirs, OpenWith, Partition};
use crate::drive::fan_out::ask_everyone;
use crate::drive::messages::Query;
use crate::drive::{Controller, LoadedMetadata, lifecycle};
use crate::host::{self, Signal, exit_start as give_up, now, stop_signal};
use crate::net::Acceptor;

/// From the first directory to the last.
pub(super) async fn lead(starting: &Rc<Starting>) {
    let plan = Arc::clone(starting.plan());
    let config = Arc::clone(&plan.config);
    let dirs = open_dirs(&config).await;
    let bound = listeners::bind(&config).await.unwrap_or_else(|error| give_up(&error));
    let metrics = MetricsListener::bind(&config).await;
    let identity = identity::establish(&dirs, config.node_id, plan.cluster_id.as_deref());
    let identity = identity.await.unwrap_or_else(|error| give_up(&error));
    let endpoints = listeners::advertised(&config, &bound);
    let mut on_disk = scan(&dirs).await;
    let log = metadata_log(starting, &dirs, &config, &mut on_disk).await;
    let register = |image: &Image| Registration {
        incarnation_id: new_id(),
        endpoints,
        rack: config.rack.as_deref().map(Arc::from),
        log_dirs: identity.log_dir_ids.clone(),
        found: places(&dirs, &image.topics, &on_disk),
        shortened: shortened(image, &config, &on_disk),
    };
    let empty = Image::empty(&identity.cluster_id, config.node_id);
    let loaded = Controller::load(log, &empty, register).await;
    let LoadedMetadata { controller, image, deleted } = loaded.unwrap_or_else(|error| give_up(&error));

    let image = Arc::new(image);
    let found = without_strays(&dirs, &image.topics, &deleted, on_disk).await;
    let names: Arc<[Arc<str>]> = bound.iter().map(|bound| Arc::clone(&bound.name)).collect();
    begin_all(starting, &dirs, &image, found, &names).await;
    starting.shard().set_controller(controller);
    // From here on a directory that fails is told to the controller.
    lifecycle::watch_dirs(starting.shard());
    ask_everyone(starting.shard(), || Query::Serve).await;
    print_banner(&plan, &dirs, (&identity, &image), (&bound, metrics.url())).await;
    metrics.serve(starting);
    let acceptor = admission::accept(starting, bound).await;
    let signal = stop_signal().await;
    stop(starting, &acceptor, &dirs, signal).await;
}

async fn open_dirs(config: &BrokerConfig) -> LogDirs {
    let paths: Vec<PathBuf> = config.storage.log_dirs.iter().map(PathBuf::from).collect();
    let metadata = PathBuf::from(&config.storage.metadata_log_dir);
    let setting = if paths.contains(&metadata) { "log.dirs" } else { "log.dirs or metadata.log.dir" };
    let opened = LogDirs::open_with_metadata(&paths, &metadata).await;
    let dirs = opened.unwrap_or_else(|error| give_up(&format!("{setting}: {error}")));
    dirs.hold_locks()
        .unwrap_or_else(|error| give_up(&format!("{setting}: the locks cannot be held: {error}")));
    dirs
}

/// A partition that a directory has.
struct OnDisk {
    /// The index of the directory.
    dir: usize,
    /// The topic's id as the partition's own files say it. `None` where they do not, as a crash may leave them, and
    /// where there is one directory for topics, so that no topic can be in two: then its load compares the ids.
    topic_id: Option<TopicId>,
    found: Found,
}

/// Every partition on disk. None is there twice but those that do not say their topic where others do; topics of one
/// name that were made one after the other are two.
async fn scan(dirs: &LogDirs) -> Vec<OnDisk> {
    let mut all = Vec::new();
    for (index, dir) in dirs.all().iter().enumerate().filter(|(_, dir)| !dir.is_offline()) {
        let found = scan_dir(dirs, dir).await.unwrap_or_else(|error| {
            lose(dirs, dir, error);
            Vec::new()
        });
        all.extend(found.into_iter().map(|(topic_id, found)| OnDisk { dir: index, topic_id, found }));
    }
    if let Some(Err(error)) = dirs.for_topics().iter().map(|dir| dir.check()).max_by_key(Result::is_ok) {
        give_up(&format!("log.dirs: no directory can be used: {error}"));
    }
    let mut seen = BTreeMap::new();
    for OnDisk { dir, topic_id, found } in &all {
        if topic_id.is_none() && says_topics(dirs) {
            continue;
        }
        if let Some(other) = seen.insert((&found.partition, topic_id), dir) {
            let path_of = |dir: usize| dirs.all()[dir].path().display();
            let (name, one, two) = (&found.partition, path_of(*other), path_of(*dir));
            give_up(&format!("log.dirs: {name} is both in {one} and in {two}; move one of them away"));
        }
    }
    all
}

/// Whether partitions are asked for their topics: where there are several directories for them.
fn says_topics(dirs: &LogDirs) -> bool {
    dirs.for_topics().len() > 1
}

/// The partitions of one directory, with their ids where those matter.
async fn scan_dir(dirs: &LogDirs, dir: &LogDir) -> Result<Vec<(Option<TopicId>, Found)>, DiskError> {
    let mut partitions = Vec::new();
    for found in dir.scan().await? {
        let topic_id = if says_topics(dirs) { topic_id(dir, &found).await? } else { None };
        partitions.push((topic_id, found));
    }
    Ok(partitions)
}

/// Goes on without a directory in which something cannot be read or written. That of the metadata log is needed.
fn lose(dirs: &LogDirs, dir: &Arc<LogDir>, error: DiskError) {
    let lost = match error {
        DiskError::Io(failure) => dirs.lose(dir, failure).map_err(DiskError::from),
        error => Err(error),
    };
    lost.unwrap_or_else(|error| give_up(&format!("log.dirs: {error}")));
}

/// The id that a partition's files name. A damaged file is made anew when the partition is opened.
async fn topic_id(dir: &LogDir, found: &Found) -> Result<Option<TopicId>, DiskError> {
    match dir.topic_id(found).await {
        Err(DiskError::Corrupt { .. }) => Ok(None),
        other => other,
    }
}

/// Tells partitions of the metadata from strays, of which it does not know; a topic that was made anew with the same
/// name has another id.
struct Known<'a> {
    topics: &'a TopicsImage,
    /// What is on disk under its own id.
    sure: BTreeSet<TopicIdPartition>,
    /// What is on disk without one where others say theirs, with its directory: of several that which the metadata
    /// means, else the first.
    nameless: BTreeMap<TopicPartition, usize>,
}

impl<'a> Known<'a> {
    fn new(dirs: &LogDirs, topics: &'a TopicsImage, on_disk: &[OnDisk]) -> Self {
        let id = |it: &OnDisk| {
            Some(TopicIdPartition { topic_id: it.topic_id?, partition: it.found.partition.partition })
        };
        let mut nameless = BTreeMap::new();
        for it in on_disk.iter().filter(|it| it.topic_id.is_none() && says_topics(dirs)) {
            let name = &it.found.partition;
            let image = topics.by_name(&name.topic).and_then(|topic| topic.partition(name.partition));
            let dir_id = dirs.all()[it.dir].id();
            if image.zip(dir_id).is_some_and(|(image, dir)| image.directories.contains(&dir)) {
                nameless.insert(name.clone(), it.dir);
            } else {
                nameless.entry(name.clone()).or_insert(it.dir);
            }
        }
        Self { topics, sure: on_disk.iter().filter_map(id).collect(), nameless }
    }

    /// The partition of the metadata that this is; `None` for a stray. One without an id is the partition of its name
    /// where no other one is.
    fn id_of(&self, on_disk: &OnDisk) -> Option<TopicIdPartition> {
        let name = &on_disk.found.partition;
        let topic = self.topics.by_name(&name.topic)?;
        topic.partition(name.partition)?;
        let id = TopicIdPartition { topic_id: topic.id, partition: name.partition };
        let is_it = match on_disk.topic_id {
            Some(topic_id) => topic_id == topic.id,
            None => !self.sure.contains(&id) && self.nameless.get(name).is_none_or(|dir| *dir == on_disk.dir),
        };
        is_it.then_some(id)
    }
}

/// Takes the strays away; returns the others with their ids and the indexes of their directories. Strays of topics that
/// were deleted are what a crash has left of the deletion, and go. Any other is put aside: it may be somebody's data.
async fn without_strays(
    dirs: &LogDirs,
    topics: &TopicsImage,
    deleted: &BTreeSet<TopicId>,
    on_disk: Vec<OnDisk>,
) -> Vec<(TopicIdPartition, usize, Found)> {
    let known = Known::new(dirs, topics, &on_disk);
    let mut left = Vec::with_capacity(on_disk.len());
    for on_disk in on_disk {
        match known.id_of(&on_disk) {
            Some(id) => left.push((id, on_disk.dir, on_disk.found)),
            None => {
                let dir = &dirs.all()[on_disk.dir];
                match take_away(dir, topics, deleted, &on_disk).await {
                    // It is in nobody's way but a new topic's of its name.
                    Err(error) if error.may_be_retried() => {
                        tracing::warn!("{error}; the next start tries again")
                    }
                    gone => gone.unwrap_or_else(|error| lose(dirs, dir, error)),
                }
            }
        }
    }
    left
}

async fn take_away(
    dir: &LogDir,
    topics: &TopicsImage,
    deleted: &BTreeSet<TopicId>,
    stray: &OnDisk,
) -> Result<(), DiskError> {
    let name = &stray.found.partition;
    let topic_id = match stray.topic_id {
        Some(topic_id) => Some(topic_id),
        None => topic_id(dir, &stray.found).await?,
    };
    match topic_id {
        Some(topic_id) if deleted.contains(&topic_id) => dir.remove_stray(name).await,
        Some(_) => {
            dir.put_aside(name, "the metadata log has no such topic and does not say it was deleted").await
        }
        None if topics.by_name(&name.topic).is_some() => {
            dir.put_aside(name, "it names no topic, and the partition of its name is elsewhere").await
        }
        None => dir.put_aside(name, "it names no topic, and the metadata log has none of its name").await,
    }
}

/// Opens the metadata log, or creates it on a first start.
async fn metadata_log(
    starting: &Starting,
    dirs: &LogDirs,
    config: &BrokerConfig,
    on_disk: &mut Vec<OnDisk>,
) -> Rc<Partition> {
    let name = TopicPartition { topic: Arc::from(CLUSTER_METADATA), partition: 0 };
    let disk = starting.disk(dirs.clone());
    let log_config = LogConfig {
        segment_bytes: u64::from(config.storage.metadata_segment_bytes).min(SEGMENT_BYTES_MAX),
        retention_ms: None,
        retention_bytes: None,
        delete: false,
        ..LogConfig::default()
    };
    let with =
        OpenWith { topic_id: CLUSTER_METADATA_TOPIC_ID, config: log_config, replicated: false, whole: true };
    let place = on_disk.iter().position(|it| it.found.partition == name);
    let opened = match place.map(|place| on_disk.swap_remove(place)) {
        Some(OnDisk { dir, found, .. }) => {
            if !Arc::ptr_eq(dirs.metadata(), &dirs.all()[dir]) {
                let (is, named) = (dirs.all()[dir].path().display(), dirs.metadata().path().display());
                tracing::warn!("the metadata log is in {is} and not in {named}: set metadata.log.dir={is}");
            }
            dirs.metadata_is_in(dir);
            disk.load(&dirs.all()[dir], found, with).await.map(|loaded| loaded.partition)
        }
        None => {
            refuse_without_metadata(dirs, on_disk, Path::new(&config.storage.metadata_log_dir));
            disk.create(dirs.metadata(), &name, with).await
        }
    };
    let refuse = |error: DiskError| -> ! {
        // Without what is lost, partitions would belong to nobody.
        let advice = match error {
            DiskError::Corrupt { .. } => "; put a copy of the log back, or move all data away to start anew",
            _ => "",
        };
        give_up(&format!("the metadata log cannot be opened: {error}{advice}"))
    };
    let log = opened.unwrap_or_else(|error| refuse(error));
    if log.offsets().log_end == Offset::ZERO {
        refuse_without_metadata(dirs, on_disk, log.path());
    }
    let epoch = log.with_log(|log| log.epochs().latest_epoch()).max(CLUSTER_METADATA_LEADER_EPOCH);
    log.become_leader(epoch).await.unwrap_or_else(|error| refuse(error));
    log
}

/// A metadata log that is not there, or has nothing, would be begun anew, and every partition be of no topic.
fn refuse_without_metadata(dirs: &LogDirs, on_disk: &[OnDisk], path: &Path) {
    let Some(OnDisk { dir, found: first, .. }) = on_disk.first() else { return };
    give_up(&format!(
        "metadata.log.dir: there is no metadata log in {}, but {} has {}; start with the directory that has it, or \
         move the data of topics away",
        path.display(),
        dirs.all()[*dir].path().display(),
        first.partition
    ));
}

/// The id of the directory in which each partition of the metadata is.
fn places(dirs: &LogDirs, topics: &TopicsImage, on_disk: &[OnDisk]) -> BTreeMap<TopicPartition, Uuid> {
    let known = Known::new(dirs, topics, on_disk);
    let place = |it: &OnDisk| Some((it.found.partition.clone(), dirs.for_topics().get(it.dir)?.id()?));
    on_disk.iter().filter(|it| known.id_of(it).is_some()).filter_map(place).collect()
}

/// The partitions that may have lost what consumers have read: a crash has left their logs, and their settings
/// acknowledge before the disk has it.
fn shortened(image: &Image, config: &BrokerConfig, on_disk: &[OnDisk]) -> BTreeSet<TopicPartition> {
    let config = effective::broker_config(image, config).config;
    let is_relaxed = |topic: &str| {
        let topic = effective::topic_config(image, &config, topic).config;
        !topic.log_config(&config.producers).acknowledges_durable()
    };
    let crashed: Vec<&TopicPartition> =
        on_disk.iter().filter(|it| !it.found.was_clean).map(|it| &it.found.partition).collect();
    let topics: BTreeSet<&str> = crashed.iter().map(|name| &*name.topic).collect();
    let relaxed: BTreeSet<&str> = topics.into_iter().filter(|topic| is_relaxed(topic)).collect();
    crashed.into_iter().filter(|name| relaxed.contains(&*name.topic)).cloned().collect()
}

/// Begins every shard with the partitions that it owns.
async fn begin_all(
    starting: &Rc<Starting>,
    dirs: &LogDirs,
    image: &Arc<Image>,
    found: Vec<(TopicIdPartition, usize, Found)>,
    listeners: &Arc<[Arc<str>]>,
) {
    let shards = starting.plan().shards;
    let mut of_shard: Vec<Vec<(TopicIdPartition, usize, Found)>> = (0..shards).map(|_| Vec::new()).collect();
    for (id, dir, found) in found {
        of_shard[usize::from(owner(id, shards).0)].push((id, dir, found));
    }
    let calls = of_shard.into_iter().zip(0u16..).map(|(found, shard)| {
        let (dirs, image, listeners) = (dirs.clone(), Arc::clone(image), Arc::clone(listeners));
        let begin = Begin { dirs, image, found, listeners };
        starting.mesh().call(ShardId(shard), Query::Begin(Box::new(begin)))
    });
    for call in calls.collect::<Vec<_>>() {
        call.await;
    }
}

async fn print_banner(
    plan: &Plan,
    dirs: &LogDirs,
    (identity, image): (&Identity, &Image),
    (bound, metrics): (&[Bound], Option<String>),
) {
    let lines: Vec<String> = bound
        .iter()
        .flat_map(|bound| {
            let addresses = bound.listener.addresses().iter();
            addresses.map(|address| format!("{}://{address}", bound.name))
        })
        .collect();
    let mut dir_lines = Vec::new();
    for (dir, is_new) in dirs.all().iter().zip(&identity.is_new) {
        dir_lines.push(dir_line(dir, *is_new).await);
    }
    let banner = Banner {
        config: &plan.config,
        listeners: &lines,
        metrics: metrics.as_deref(),
        cpus: &plan.cpus,
        shards: plan.shards,
        dirs: &dir_lines,
        cluster_id: &identity.cluster_id,
        topics: image.topics.len(),
        partitions: image.topics.partition_count(),
        took: now().since(plan.started),
    };
    host::say(&banner.text());
}

async fn dir_line(dir: &LogDir, is_new: bool) -> DirLine<'_> {
    let free_bytes = dir.space().await.ok().map(|space| space.free);
    DirLine { path: dir.path(), is_offline: dir.is_offline(), free_bytes, is_direct: dir.is_direct(), is_new }
}

/// The controlled end: no new connections, everything in flight answered, every log closed, the directories marked
/// clean.
async fn stop(starting: &Rc<Starting>, acceptor: &Acceptor, dirs: &LogDirs, signal: Signal) {
    tracing::info!(?signal, "stopping: answering what is in flight, then closing every log");
    acceptor.stop();
    let everyone = |query: fn() -> Query| {
        let calls = (0..starting.plan().shards).map(|shard| starting.mesh().call(ShardId(shard), query()));
        calls.collect::<Vec<_>>()
    };
    for call in everyone(|| Query::Quiesce) {
        call.await;
    }
    for call in everyone(|| Query::Close) {
        call.await;
    }
    let shard = starting.shard();
    let closed = lifecycle::telling(lifecycle::STILL, shard.controller().close(), || {
        tracing::info!("still to be closed: the metadata log")
    });
    if let Err(error) = closed.await {
        tracing::error!(%error, "the metadata log is not closed cleanly");
    }
    for dir in dirs.all() {
        let still = || tracing::info!(dir = %dir.path().display(), "still to be marked clean");
        if let Err(error) = lifecycle::telling(lifecycle::STILL, dir.finish_clean(), still).await {
            tracing::error!(dir = %dir.path().display(), %error, "is not marked clean");
        }
    }
    // Shard 0 ends by returning from here.
    for shard in 1..starting.plan().shards {
        starting.mesh().cast(ShardId(shard), Query::End).await;
    }
}
