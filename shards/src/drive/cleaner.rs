//! The cleaner of one shard: as long as it runs, its dirtiest compacted log is cleaned when a slot is free.
//!
//! The settings are looked at before each cleaning, so that changes at run time hold from the next one on; the rate
//! holds at once. Which log is the dirtiest is decided among the logs of this shard; the slots are the process's.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ottla::config::broker::CleanerConfig;
use ottla::ids::TopicIdPartition;

use crate::disk::Partition;
use crate::disk::compact::{CleanWith, Cleaned, CleanerShare, CleanerSlot};
use crate::drive::Shard;
use crate::host::sync::Notify;
use crate::host::{Queue, sleep, spawn_in, timeout};

/// How long a shard waits before it looks again whether a slot is free.
const SLOT_WAIT: Duration = Duration::from_millis(100);

/// How long a shard leaves a slot to others that wait for one.
const GIVE_WAY: Duration = Duration::from_millis(250);

/// The least that a shard waits between two looks that find nothing to do.
const BACKOFF_MIN: Duration = Duration::from_millis(10);

/// How long nothing is cleaned after a cleaning has met a full disk.
const FULL_WAIT: Duration = Duration::from_secs(30);

/// Cleans this shard's logs in the background.
pub fn run(shard: &Rc<Shard>) {
    let cleaner = Rc::new(Cleaner {
        shard: Rc::clone(shard),
        share: Arc::clone(shard.disk.dirs().cleaners()),
        done: Notify::new(),
        is_full: Cell::new(false),
    });
    drop(spawn_in(Queue::Background, async move { cleaner.keep_clean().await }));
}

struct Cleaner {
    shard: Rc<Shard>,
    share: Arc<CleanerShare>,
    /// A cleaning has ended.
    done: Notify,
    /// The last one has met a full disk.
    is_full: Cell<bool>,
}

impl Cleaner {
    async fn keep_clean(self: Rc<Self>) {
        while !self.shard.stopping.get() {
            let config = self.shard.config().cleaner.clone();
            self.share.set_rate(config.bytes_per_second());
            let backoff =
                Duration::from_millis(u64::try_from(config.backoff_ms).unwrap_or(0)).max(BACKOFF_MIN);
            if self.is_full.take() {
                sleep(FULL_WAIT.max(backoff)).await;
            }
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
        let delete_delay = self.delete_delay(job.partition().id());
        drop(spawn_in(Queue::Background, async move {
            let cleaned = job.run(&CleanWith { config, delete_delay }).await;
            drop(slot);
            self.is_full.set(cleaned == Cleaned::DiskFull);
            self.done.notify_one();
        }));
        true
    }

    fn partitions(&self) -> Vec<Rc<Partition>> {
        let hosted = self.shard.hosted.borrow();
        hosted.values().map(|hosted| Rc::clone(&hosted.partition)).collect()
    }

    fn delete_delay(&self, id: TopicIdPartition) -> Duration {
        let delay_ms = self.shard.hosted(id).map_or(0, |hosted| hosted.config().file_delete_delay_ms);
        Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0))
    }
}
