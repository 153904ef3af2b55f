//! Opening, configuring and closing what a shard has: its partitions as the image says, its connections, its end.
//!
//! What must hold: a partition of the image is open on its owner before the change that made it is answered; a log
//! whose
//! topic is gone is deleted in the background; at the end nothing is closed while a request that needs it is in
//! flight.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ottla::config::TopicConfig;
use ottla::controller::ImageDelta;
use ottla::controller::effective::{self, EffectiveConfig, EffectiveTopicConfig};
use ottla::controller::image::{ConfigResource, ConfigResourceType, Image, TopicImage};
use ottla::controller::names::CONSUMER_OFFSETS;
use ottla::errors::ErrorCode;
use ottla::group::DeletedTopic;
use ottla::ids::{LeaderEpoch, TopicId, TopicIdPartition, TopicPartition};
use ottla::placement::owner;
use ottla::request::describe_log_dirs::{LogDirUsage, PartitionUsage};
use ottla::time::Monotonic;

use crate::disk::{DiskError, Found, LogDir, OpenWith, Synced};
use crate::drive::fan_out::for_each_of;
use crate::drive::offline::{self, Attempt};
use crate::drive::{CONTROLLER_SHARD, Hosted, Shard, control};
use crate::host::{Doorbell, Queue, now, sleep, spawn_detached, spawn_in, timeout, yield_now};

/// How long requests in flight may take to be answered when the broker stops.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// Logs of a shard whose files are synced one by one at the start and at the end. More of them wait for one sync
/// of the file system, which is dearer where others write much to it.
const SYNCED_ONE_BY_ONE_MAX: usize = 100;
/// How often a long start says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);
/// How often a long stop says what it waits for.
pub const STILL: Duration = Duration::from_secs(3);

/// The configurations of topics, each made once for all its partitions on this shard.
type TopicConfigs = BTreeMap<TopicId, Rc<TopicConfig>>;

/// Takes the settings that were made at run time, opens the partitions that are on disk, creates the owned ones that
/// are not, and loads the groups among them.
pub async fn open_found(shard: &Rc<Shard>, found: Vec<(TopicIdPartition, usize, Found)>) {
    let image = shard.image();
    take_broker_config(shard, &image);
    let configs = Rc::new(topic_configs(shard, &image, found.iter().map(|(id, ..)| *id)));
    let to_read = found.iter().filter(|(_, _, found)| found.clean.is_none()).count();
    let synced = if to_read > SYNCED_ONE_BY_ONE_MAX { Synced::Together } else { Synced::OneByOne };
    let progress = Rc::new(Progress::new(found.len()));
    let (of, image_of, told) = (Rc::clone(shard), Arc::clone(&image), Rc::clone(&progress));
    for_each_of(found, shard.disk.together_max(), move |(id, dir, found)| {
        let (shard, image, progress) = (Rc::clone(&of), Arc::clone(&image_of), Rc::clone(&told));
        let (dir, config) = (Arc::clone(&shard.disk.dirs().all()[dir]), Rc::clone(&configs[&id.topic_id]));
        async move {
            let scanned = open(&shard, &image, Opening { id, synced, dir, found, config }).await;
            progress.opened(scanned);
        }
    })
    .await;
    if synced == Synced::Together {
        shard.disk.sync_loaded().await;
    }
    progress.done();
    let owned = image.topics.iter().flat_map(|topic| topic.partition_keys());
    let missing: Vec<_> = owned.filter(|id| is_missing(shard, *id)).collect();
    create_all(shard, &image, missing).await;
    load_groups(shard, &image).await;
}

/// A partition that is to be opened.
struct Opening {
    id: TopicIdPartition,
    synced: Synced,
    dir: Arc<LogDir>,
    found: Found,
    config: Rc<TopicConfig>,
}

/// How far the opening of many partitions is; said in the log when it takes long, and at its end when files were read.
struct Progress {
    partitions: usize,
    opened: Cell<usize>,
    recovered: Cell<usize>,
    scanned_bytes: Cell<u64>,
    begun: Monotonic,
    told: Cell<Monotonic>,
}

impl Progress {
    fn new(partitions: usize) -> Self {
        let (begun, told) = (now(), Cell::new(now()));
        let (opened, recovered, scanned_bytes) = (Cell::new(0), Cell::new(0), Cell::new(0));
        Self { partitions, opened, recovered, scanned_bytes, begun, told }
    }

    fn opened(&self, scanned_bytes: u64) {
        self.opened.set(self.opened.get() + 1);
        self.recovered.set(self.recovered.get() + usize::from(scanned_bytes > 0));
        self.scanned_bytes.set(self.scanned_bytes.get() + scanned_bytes);
        if now().since(self.told.get()) >= PROGRESS {
            self.told.set(now());
            let (opened, mib) = (self.opened.get(), self.scanned_bytes.get() >> 20);
            tracing::info!("opened {opened} of {} partitions, {mib} MiB scanned", self.partitions);
        }
    }

    fn done(&self) {
        let (recovered, bytes) = (self.recovered.get(), self.scanned_bytes.get());
        if recovered > 0 {
            let took = now().since(self.begun);
            tracing::info!("recovered {recovered} partitions: {bytes} bytes scanned in {took:?}");
        }
    }
}

/// Opens a partition and returns how many bytes had to be scanned for that.
async fn open(shard: &Rc<Shard>, image: &Image, opening: Opening) -> u64 {
    let Opening { id, synced, dir, found, config } = opening;
    let name = found.partition.clone();
    // What a load has begun is for the next one what a crash leaves.
    let again = Found { clean: None, was_clean: false, ..found.clone() };
    match shard.disk.load_synced(&dir, found, open_with(shard, id, &config), synced).await {
        Ok(loaded) => {
            if loaded.scanned_bytes > 0 {
                tracing::debug!(partition = %name, scanned_bytes = loaded.scanned_bytes, "recovered");
            }
            host(shard, image, Hosted::new(loaded.partition, config)).await;
            loaded.scanned_bytes
        }
        Err(error) => {
            let attempt = Attempt::Open(dir, Box::new(again));
            if !shard.offline.contains(id) || !error.may_be_retried() {
                tracing::error!(partition = %name, %error, "cannot be opened and is offline");
            }
            offline::take(shard, id, attempt, &error);
            0
        }
    }
}

/// Opens a partition of the image that a full disk has kept from being opened, if there is room now.
pub(super) async fn open_again(
    shard: &Rc<Shard>,
    image: &Image,
    id: TopicIdPartition,
    (dir, found): (Arc<LogDir>, Found),
) {
    let config = Rc::clone(&topic_configs(shard, image, std::iter::once(id))[&id.topic_id]);
    open(shard, image, Opening { id, synced: Synced::OneByOne, dir, found, config }).await;
}

fn is_missing(shard: &Shard, id: TopicIdPartition) -> bool {
    owner(id, shard.shards) == shard.id && shard.hosted(id).is_none() && !shard.offline.contains(id)
}

/// Takes the image that the controller publishes.
pub async fn apply(shard: &Rc<Shard>, image: Arc<Image>, delta: &ImageDelta) {
    let _turn = shard.offline.turn.acquire(1).await;
    shard.image.replace(Arc::clone(&image));
    remove_topics(shard, delta).await;
    let added: Vec<_> = delta.partitions_added.iter().copied().filter(|id| is_missing(shard, *id)).collect();
    let has_offsets = added.iter().any(|id| is_offsets(&image, *id));
    create_all(shard, &image, added).await;
    if has_offsets {
        load_groups(shard, &image).await;
    }
    if delta.configs_changed.iter().any(|resource| resource.kind == ConfigResourceType::Broker) {
        take_broker_config(shard, &image);
        reconfigure(shard, &image, |_| true);
    } else if !delta.configs_changed.is_empty() {
        reconfigure(shard, &image, |topic| {
            delta.configs_changed.contains(&ConfigResource::topic(&topic.name))
        });
    }
}

fn is_offsets(image: &Image, id: TopicIdPartition) -> bool {
    image.topics.by_id(id.topic_id).is_some_and(|topic| &*topic.name == CONSUMER_OFFSETS)
}

/// Creates logs, each in the directory that the metadata says. One whose directory is not here may have data there: it
/// is offline until the directory is back.
async fn create_all(shard: &Rc<Shard>, image: &Arc<Image>, ids: Vec<TopicIdPartition>) {
    let configs = topic_configs(shard, image, ids.iter().copied());
    let mut creations = Vec::with_capacity(ids.len());
    for id in ids {
        let topic = image.topics.by_id(id.topic_id).expect("the image names it");
        let name = TopicPartition { topic: Arc::clone(&topic.name), partition: id.partition };
        let Some(dir) = dir_of(shard, image, id) else {
            tracing::error!(partition = %name, "its log directory is not here, and it is offline");
            shard.offline.insert(id);
            continue;
        };
        creations.push(Creation { id, name, dir, config: Rc::clone(&configs[&id.topic_id]) });
    }
    let (shard, image, together) = (Rc::clone(shard), Arc::clone(image), shard.disk.together_max());
    for_each_of(creations, together, move |creation| {
        let (shard, image) = (Rc::clone(&shard), Arc::clone(&image));
        async move { create(&shard, &image, creation).await }
    })
    .await;
}

/// A partition that is to be created.
struct Creation {
    id: TopicIdPartition,
    name: TopicPartition,
    dir: Arc<LogDir>,
    config: Rc<TopicConfig>,
}

/// Creates a partition of the image that a full disk has kept from being created, if there is room now.
pub(super) async fn create_again(shard: &Rc<Shard>, image: &Arc<Image>, id: TopicIdPartition) {
    create_all(shard, image, vec![id]).await;
}

async fn create(shard: &Rc<Shard>, image: &Image, creation: Creation) {
    let Creation { id, name, dir, config } = creation;
    match shard.disk.create(&dir, &name, open_with(shard, id, &config)).await {
        Ok(partition) => host(shard, image, Hosted::new(partition, config)).await,
        Err(error) => {
            if !shard.offline.contains(id) || !error.may_be_retried() {
                tracing::error!(partition = %name, %error, "cannot be created and is offline");
            }
            offline::take(shard, id, Attempt::Create, &error);
        }
    }
}

fn open_with(shard: &Shard, id: TopicIdPartition, config: &TopicConfig) -> OpenWith {
    let config = config.log_config(&shard.config().producers);
    OpenWith { topic_id: id.topic_id, config, replicated: false, whole: false }
}

/// Takes a partition in and leads it in the epoch that the image says.
async fn host(shard: &Shard, image: &Image, hosted: Rc<Hosted>) {
    let id = hosted.partition.id();
    let epoch = image.topics.partition(id).map_or(LeaderEpoch(0), |partition| partition.leader_epoch);
    if let Err(error) = hosted.partition.become_leader(epoch).await {
        tracing::error!(partition = %hosted.partition.name(), %error, "cannot be led and is offline");
        shard.offline.insert(id);
        return;
    }
    shard.hosted.borrow_mut().insert(id, hosted);
}

/// The directory that the metadata gives a partition; `None` when this start does not have it or it is offline.
fn dir_of(shard: &Shard, image: &Image, id: TopicIdPartition) -> Option<Arc<LogDir>> {
    let wanted = image.topics.partition(id)?.directory_of(image.node_id);
    let mut dirs = shard.disk.dirs().for_topics().iter();
    dirs.find(|dir| dir.id() == wanted && !dir.is_offline()).map(Arc::clone)
}

/// The configurations of the topics of `ids`.
fn topic_configs(shard: &Shard, image: &Image, ids: impl Iterator<Item = TopicIdPartition>) -> TopicConfigs {
    let mut configs = TopicConfigs::new();
    for id in ids {
        let topic = image.topics.by_id(id.topic_id).expect("the image names it");
        configs.entry(id.topic_id).or_insert_with(|| topic_config(shard, image, topic));
    }
    configs
}

/// What holds for a topic: its overrides over the broker's settings.
fn topic_config(shard: &Shard, image: &Image, topic: &TopicImage) -> Rc<TopicConfig> {
    let EffectiveTopicConfig { config, ignored } =
        effective::topic_config(image, &shard.config(), &topic.name);
    for (key, error) in ignored {
        // Overrides are checked when they are made; another release or another file may have allowed these.
        tracing::warn!(topic = %topic.name, key, %error, "one of its overrides is not used");
    }
    Rc::new(config)
}

/// Takes over dynamic settings of the broker. What cannot be used is named and left out.
fn take_broker_config(shard: &Shard, image: &Image) {
    let EffectiveConfig { config, ignored } = effective::broker_config(image, &shard.config());
    if !ignored.is_empty() {
        tracing::warn!(settings = ignored.join(", "), "dynamic settings of the broker are not used");
    }
    shard.config.replace(Arc::new(config));
    shard.configured.notify_all();
}

/// Gives the logs of topics that `is_changed` their new settings.
fn reconfigure(shard: &Shard, image: &Image, is_changed: impl Fn(&TopicImage) -> bool) {
    let mut configs: BTreeMap<TopicId, Option<Rc<TopicConfig>>> = BTreeMap::new();
    let broker = shard.config();
    for (id, hosted) in shard.hosted.borrow().iter() {
        let Some(topic) = image.topics.by_id(id.topic_id) else { continue };
        let config = configs
            .entry(id.topic_id)
            .or_insert_with(|| is_changed(topic).then(|| topic_config(shard, image, topic)));
        if let Some(config) = config {
            hosted.set_config(Rc::clone(config), &broker.producers);
        }
    }
}

/// Deletes the logs of topics that are gone, and their groups' offsets. When this returns, a topic of the same
/// name may be made: the directories have other names, and their bytes go in the background.
async fn remove_topics(shard: &Rc<Shard>, delta: &ImageDelta) {
    if delta.topics_removed.is_empty() {
        return;
    }
    let (mut removed, mut unopened) = (Vec::new(), Vec::new());
    for topic in delta.topics_removed.values() {
        for id in topic.partition_keys() {
            if let Some((dir, found)) = shard.offline.remove(id) {
                unopened.push((id, dir, found));
            }
            let Some(hosted) = shard.hosted.borrow_mut().remove(&id) else { continue };
            if &*topic.name == CONSUMER_OFFSETS {
                shard.groups.unload(shard, id.partition);
            }
            removed.push(hosted);
        }
    }
    let deleted = delta.topics_removed.values();
    let deleted: Vec<_> =
        deleted.map(|topic| DeletedTopic { name: topic.name.to_string(), topic_id: topic.id }).collect();
    shard.groups.topics_deleted(shard, &deleted);
    for (id, dir, found) in unopened {
        if let Err(error) = remove_unopened(id, &dir, &found).await {
            tracing::warn!(partition = %found.partition, %error, "its files could not be removed");
        }
    }
    for_each_of(removed, shard.disk.together_max(), |hosted| async move {
        let delay = Duration::from_millis(u64::try_from(hosted.config().file_delete_delay_ms).unwrap_or(0));
        if let Err(error) = hosted.partition.delete(delay).await {
            tracing::warn!(partition = %hosted.partition.name(), %error, "its files could not be removed");
        }
    })
    .await;
}

/// Makes way where a partition of a deleted topic could not be opened: for a new topic of its name, and for a clean
/// stop. Files that say they are of another topic were never the deleted one's.
async fn remove_unopened(id: TopicIdPartition, dir: &LogDir, found: &Found) -> Result<(), DiskError> {
    match dir.topic_id(found).await {
        Ok(Some(other)) if other != id.topic_id => {
            dir.put_aside(&found.partition, "it is of another topic than the one that was deleted").await
        }
        _ => dir.remove_stray(&found.partition).await,
    }
}

/// Loads the groups of every partition of the offsets topic that this shard has and does not coordinate yet.
pub(super) async fn load_groups(shard: &Rc<Shard>, image: &Image) {
    let Some(topic) = image.topics.by_name(CONSUMER_OFFSETS) else { return };
    let hosted: Vec<_> = topic.partition_keys().filter_map(|id| shard.hosted(id)).collect();
    let (shard, together) = (Rc::clone(shard), shard.disk.together_max());
    for_each_of(hosted, together, move |hosted| {
        let shard = Rc::clone(&shard);
        async move { shard.groups.load(&shard, &hosted.partition).await }
    })
    .await;
}

/// Ends the waits on partitions of a directory that has gone offline, whichever shard's write failed.
pub fn watch_dirs(shard: &Rc<Shard>) {
    let doorbell = Doorbell::new();
    for dir in shard.disk.dirs().all() {
        let bell = doorbell.bell();
        dir.on_offline(move || bell.ring());
    }
    let shard = Rc::clone(shard);
    spawn_detached(async move {
        loop {
            doorbell.rung().await;
            let offline = shard.disk.end_offline();
            tracing::error!(
                partitions = offline.len(),
                "partitions of an offline log directory take no more records"
            );
            if shard.id == CONTROLLER_SHARD {
                control::dirs_changed(&shard).await;
            }
        }
    });
}

/// Retention and the like, as long as the shard runs.
pub fn run_background(shard: &Rc<Shard>) {
    let shard = Rc::clone(shard);
    drop(spawn_in(Queue::Background, async move {
        loop {
            let interval = shard.config().storage.retention_check_interval_ms;
            sleep(Duration::from_millis(u64::try_from(interval).unwrap_or(0).max(1))).await;
            let hosted: Vec<_> = shard.hosted.borrow().values().cloned().collect();
            for hosted in hosted {
                let delay =
                    Duration::from_millis(u64::try_from(hosted.config().file_delete_delay_ms).unwrap_or(0));
                match hosted.partition.enforce_retention(delay).await {
                    // Deleted or closed meanwhile; and that a directory is offline was said when it went.
                    Ok(_) | Err(DiskError::Closed | DiskError::Offline { .. }) => {}
                    Err(error) => {
                        tracing::warn!(partition = %hosted.partition.name(), %error, "retention could not be enforced");
                    }
                }
                // Most have nothing to let go of, and nothing to wait for.
                yield_now().await;
            }
        }
    }));
}

/// What this shard's partitions take in each directory.
pub async fn log_dirs(shard: &Shard) -> Vec<LogDirUsage> {
    let mut usages = Vec::new();
    for dir in shard.disk.dirs().for_topics() {
        let space = dir.space().await.ok();
        let hosted = shard.hosted.borrow();
        let of_dir = hosted.values().filter(|hosted| Arc::ptr_eq(hosted.partition.dir(), dir));
        let partitions = of_dir.map(|hosted| PartitionUsage {
            topic: hosted.partition.name().topic.to_string(),
            partition: hosted.partition.name().partition,
            bytes: hosted.partition.bytes(),
        });
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        usages.push(LogDirUsage {
            path: std::path::absolute(dir.path())
                .unwrap_or_else(|_| dir.path().to_owned())
                .display()
                .to_string(),
            error: if dir.is_offline() { ErrorCode::KafkaStorageError } else { ErrorCode::None },
            total_bytes: space.map_or(-1, |space| bytes(space.total)),
            usable_bytes: space.map_or(-1, |space| bytes(space.free)),
            partitions: partitions.collect(),
        });
    }
    usages
}

/// Answers what is in flight and takes nothing more: long polls end, parked group members are sent to look for another
/// coordinator.
pub async fn quiesce(shard: &Rc<Shard>) {
    shard.stopping.set(true);
    shard.stop.notify_all();
    shard.configured.notify_all();
    shard.watches.end_all();
    for id in shard.hosted.borrow().keys() {
        if is_offsets(&shard.image(), *id) {
            shard.groups.unload(shard, id.partition);
        }
    }
    let connections = shard.connections();
    connections.stop();
    if timeout(DRAIN_PATIENCE, pin!(connections.emptied())).await.is_err() {
        tracing::warn!(connections = connections.len(), "closed with requests in flight");
        connections.close_all();
    }
}

/// Closes every log: trimmed, synced, noted as clean.
pub async fn close(shard: &Rc<Shard>) {
    let _turn = shard.offline.turn.acquire(1).await;
    let hosted: Vec<_> = std::mem::take(&mut *shard.hosted.borrow_mut()).into_values().collect();
    let are_many =
        hosted.iter().filter(|hosted| !hosted.partition.is_as_left()).count() > SYNCED_ONE_BY_ONE_MAX;
    let names = hosted.iter().map(|hosted| hosted.partition.name().clone());
    let open: Rc<RefCell<BTreeSet<TopicPartition>>> = Rc::new(RefCell::new(names.collect()));
    let (total, ended) = (hosted.len(), Rc::clone(&open));
    let closing = for_each_of(hosted, shard.disk.together_max(), move |hosted| {
        let open = Rc::clone(&ended);
        async move {
            let closed: Result<(), DiskError> = match are_many {
                true => hosted.partition.close_with_others().await,
                false => hosted.partition.close().await,
            };
            if let Err(error) = closed {
                tracing::error!(partition = %hosted.partition.name(), %error, "is not closed cleanly");
            }
            open.borrow_mut().remove(hosted.partition.name());
        }
    });
    telling(STILL, closing, || {
        let open = open.borrow();
        if let Some(one) = open.first() {
            tracing::info!("still to be closed: {} of {total} partitions, {one} among them", open.len());
        }
    })
    .await;
}

/// Does `work`, and calls `tell` whenever it takes `every` longer.
pub async fn telling<F: Future>(every: Duration, work: F, tell: impl Fn()) -> F::Output {
    let mut work = pin!(work);
    loop {
        match timeout(every, work.as_mut()).await {
            Ok(result) => return result,
            Err(_) => tell(),
        }
    }
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;
    use crate::host::run_local;
    use crate::host::sync::Notify;

    #[test]
    fn what_takes_long_is_told_again_and_again() {
        run_local(async {
            let (told, enough) = (Cell::new(0), Notify::new());
            let tell = || {
                told.set(told.get() + 1);
                if told.get() == 3 {
                    enough.notify_all();
                }
            };
            let work = async {
                enough.notified().await;
                7
            };
            assert_eq!(telling(Duration::from_millis(1), work, tell).await, 7);
            assert_eq!(told.get(), 3);
        });
    }
}
