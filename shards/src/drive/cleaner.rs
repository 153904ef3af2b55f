//! The cleaner of one shard: as long as it runs, its dirtiest compacted log is cleaned when a slot is free.
//!
//! The settings are looked at before each cleaning, so that changes at run time hold from the next one on; the rate
//! holds at once. Which log is the dirtiest is decided among the logs of this shard; the slots are the process's.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ottla::config::broker::CleanerConfig;
use ottla::ids::TopicIdPartition;
use ottla::time::Monotonic;

use crate::disk::Partition;
use crate::disk::compact::{CleanWith, Cleaned, CleanerShare, CleanerSlot};
use crate::drive::Shard;
use crate::host::sync::Notify;
use crate::host::{Queue, now, sleep, spawn_in, timeout};

/// How long a shard waits before it looks again whether a slot is free.
const SLOT_WAIT: Duration = Duration::from_millis(100);

/// How long a shard leaves a slot to others that wait for one.
const GIVE_WAY: Duration = Duration::from_millis(250);

/// The least that a shard waits between two looks that find nothing to do.
const BACKOFF_MIN: Duration = Duration::from_millis(10);

/// How long nothing is cleaned in a directory after a cleaning there has found no room.
const FULL_WAIT: Duration = Duration::from_secs(30);

/// How long the log is not tried again of which that was: meanwhile smaller ones are, which may make room.
const REFUSED_WAIT: Duration = Duration::from_secs(600);

/// Cleans this shard's logs in the background.
pub fn run(shard: &Rc<Shard>) {
    let cleaner = Rc::new(Cleaner {
        shard: Rc::clone(shard),
        share: Arc::clone(shard.disk.dirs().cleaners()),
        done: Notify::new(),
        waits: RefCell::default(),
    });
    drop(spawn_in(Queue::Background, async move { cleaner.keep_clean().await }));
}

struct Cleaner {
    shard: Rc<Shard>,
    share: Arc<CleanerShare>,
    /// A cleaning has ended.
    done: Notify,
    waits: RefCell<Waits>,
}

/// What is not to be cleaned before its time, because there was no room.
#[derive(Default)]
struct Waits {
    dirs: BTreeMap<PathBuf, Monotonic>,
    logs: BTreeMap<TopicIdPartition, Monotonic>,
}

impl Waits {
    fn refused(&mut self, partition: &Partition, now: Monotonic) {
        self.dirs.insert(partition.dir().path().to_owned(), now.after(FULL_WAIT));
        self.logs.insert(partition.id(), now.after(REFUSED_WAIT));
    }

    /// Forgets what has waited long enough.
    fn pass(&mut self, now: Monotonic) {
        self.dirs.retain(|_, until| now < *until);
        self.logs.retain(|_, until| now < *until);
    }

    fn holds(&self, partition: &Partition) -> bool {
        self.logs.contains_key(&partition.id()) || self.dirs.contains_key(partition.dir().path())
    }
}

impl Cleaner {
    async fn keep_clean(self: Rc<Self>) {
        while !self.shard.stopping.get() {
            let config = self.shard.config().cleaner.clone();
            self.share.set_rate(config.bytes_per_second());
            let backoff =
                Duration::from_millis(u64::try_from(config.backoff_ms).unwrap_or(0)).max(BACKOFF_MIN);
            let threads = if config.enabled { config.threads } else { 0 };
            if threads == 0 {
                sleep(backoff.max(Duration::from_secs(1))).await;
                continue;
            }
            let Some(slot) = self.share.try_slot(threads) else {
                let _wait = self.share.wait();
                sleep(SLOT_WAIT).await;
                continue;
            };
            if !Rc::clone(&self).begin(slot, config).await {
                let _ = timeout(backoff, Box::pin(self.done.notified())).await;
            } else if self.share.is_wanted() {
                sleep(GIVE_WAY).await;
            }
        }
    }

    /// Begins to clean the dirtiest log; false where none is to be cleaned.
    async fn begin(self: Rc<Self>, slot: CleanerSlot, config: CleanerConfig) -> bool {
        let Some(job) = self.shard.disk.next_to_clean(self.partitions()).await else { return false };
        let partition = Rc::clone(job.partition());
        let delete_delay = self.delete_delay(partition.id());
        drop(spawn_in(Queue::Background, async move {
            let cleaned = job.run(&CleanWith { config, delete_delay }).await;
            drop(slot);
            if cleaned == Cleaned::DiskFull {
                self.waits.borrow_mut().refused(&partition, now());
            }
            self.done.notify_one();
        }));
        true
    }

    fn partitions(&self) -> Vec<Rc<Partition>> {
        let (hosted, mut waits) = (self.shard.hosted.borrow(), self.waits.borrow_mut());
        waits.pass(now());
        let all = hosted.values().map(|hosted| &hosted.partition);
        all.filter(|partition| !waits.holds(partition)).map(Rc::clone).collect()
    }

    fn delete_delay(&self, id: TopicIdPartition) -> Duration {
        let delay_ms = self.shard.hosted(id).map_or(0, |hosted| hosted.config().file_delete_delay_ms);
        Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0))
    }
}
