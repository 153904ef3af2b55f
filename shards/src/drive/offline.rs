//! Partitions of the metadata that this shard owns and does not have: they could not be made or opened.
//!
//! What must hold: clients hear `KAFKA_STORAGE_ERROR` of them, as of a partition in an offline log directory of
//! Kafka's, and never that there is no such partition. One that only a full disk kept from being made or opened is
//! tried again until there is room; every other one waits for the next start, or goes with its topic. An attempt and a
//! change of the metadata never overlap: whoever does either has the turn.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ottla::controller::image::Image;
use ottla::errors::ErrorCode;
use ottla::ids::TopicIdPartition;

use crate::disk::{DiskError, Found, LogDir};
use crate::drive::{Hosted, Shard, lifecycle};
use crate::host::sync::Semaphore;
use crate::host::{sleep, spawn_detached};

/// How long a full disk is left alone before what it refused is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What did not succeed.
#[derive(Clone, Debug)]
pub(super) enum Attempt {
    /// Making the partition, in the directory that the metadata says.
    Create,
    /// Opening what the start has found in this directory.
    Open(Arc<LogDir>, Box<Found>),
}

/// What is known of a partition that is offline.
#[derive(Clone, Debug)]
struct Kept {
    attempt: Option<Attempt>,
    /// A full disk was the reason: it is tried again when there may be room.
    is_retried: bool,
}

/// The partitions of a shard that are offline.
pub(super) struct Offline {
    partitions: RefCell<BTreeMap<TopicIdPartition, Kept>>,
    /// Whether a task tries them again.
    is_retrying: Cell<bool>,
    /// Held while partitions are made, opened, changed or removed after the start.
    pub turn: Rc<Semaphore>,
}

impl Default for Offline {
    fn default() -> Self {
        let turn = Semaphore::new(1);
        Self { partitions: RefCell::default(), is_retrying: Cell::new(false), turn }
    }
}

impl Offline {
    /// Whether the partition is one of them.
    pub fn contains(&self, id: TopicIdPartition) -> bool {
        self.partitions.borrow().contains_key(&id)
    }

    /// Takes a partition in that is not tried again before the next start.
    pub fn insert(&self, id: TopicIdPartition) {
        self.partitions.borrow_mut().insert(id, Kept { attempt: None, is_retried: false });
    }

    /// Forgets a partition: it is there, or its topic is gone. Returns the directory that has its files and how they
    /// were found, if that is known.
    pub fn remove(&self, id: TopicIdPartition) -> Option<(Arc<LogDir>, Box<Found>)> {
        match self.partitions.borrow_mut().remove(&id)?.attempt? {
            Attempt::Open(dir, found) => Some((dir, found)),
            Attempt::Create => None,
        }
    }

    fn attempts(&self) -> Vec<(TopicIdPartition, Attempt)> {
        let partitions = self.partitions.borrow();
        let retried = partitions.iter().filter(|(_, kept)| kept.is_retried);
        retried.filter_map(|(id, kept)| Some((*id, kept.attempt.clone()?))).collect()
    }
}

impl Shard {
    /// A partition that is asked for.
    ///
    /// # Errors
    /// `KAFKA_STORAGE_ERROR` when it is offline; `NOT_LEADER_OR_FOLLOWER` while it is being made, as Kafka answers
    /// for what its metadata knows and it does not have; `UNKNOWN_TOPIC_OR_PARTITION` when its topic is gone.
    pub(super) fn find(&self, id: TopicIdPartition) -> Result<Rc<Hosted>, ErrorCode> {
        self.hosted(id).ok_or_else(|| {
            if self.offline.contains(id) {
                ErrorCode::KafkaStorageError
            } else if self.image().topics.partition(id).is_some() {
                ErrorCode::NotLeaderOrFollower
            } else {
                ErrorCode::UnknownTopicOrPartition
            }
        })
    }
}

/// Takes a partition in that could not be made or opened, to be tried again when the reason was a full disk. A retry
/// that fails as before is not told again.
pub(super) fn take(shard: &Rc<Shard>, id: TopicIdPartition, attempt: Attempt, error: &DiskError) {
    let is_retried = error.may_be_retried();
    shard.offline.partitions.borrow_mut().insert(id, Kept { attempt: Some(attempt), is_retried });
    if is_retried && !shard.offline.is_retrying.replace(true) {
        let shard = Rc::clone(shard);
        spawn_detached(async move {
            retry(&shard).await;
            shard.offline.is_retrying.set(false);
        });
    }
}

/// Tries everything again that a full disk refused, until nothing of it is left or the shard stops.
async fn retry(shard: &Rc<Shard>) {
    loop {
        sleep(RETRY).await;
        let attempts = shard.offline.attempts();
        if attempts.is_empty() {
            return;
        }
        for (id, attempt) in attempts {
            let _turn = shard.offline.turn.acquire(1).await;
            if shard.stopping.get() {
                return;
            }
            // The topic may be gone since, or the next attempt be another's.
            let image = shard.image();
            if shard.offline.contains(id) && image.topics.partition(id).is_some() {
                again(shard, &image, id, attempt).await;
            }
            if shard.offline.attempts().iter().any(|(left, _)| *left == id) {
                // Still no room: the others need not ask.
                break;
            }
        }
    }
}

/// One attempt.
async fn again(shard: &Rc<Shard>, image: &Arc<Image>, id: TopicIdPartition, attempt: Attempt) {
    match attempt {
        Attempt::Create => lifecycle::create_again(shard, image, id).await,
        Attempt::Open(dir, found) => lifecycle::open_again(shard, image, id, (dir, *found)).await,
    }
    if shard.hosted(id).is_some() {
        shard.offline.remove(id);
        lifecycle::load_groups(shard, image).await;
    }
}
