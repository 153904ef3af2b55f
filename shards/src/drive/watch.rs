//! Delayed fetches on the owner's side: who waits for which partition's high watermark to move.
//!
//! The owner shard keeps one entry per waiting Fetch request, with a subscription per partition. What must hold: a
//! watch ends when any of its partitions has moved past the end that the asker saw, when its deadline passes or when
//! the asker says so; an end that moved before the watch arrived ends it at once. The last stable offset needs no
//! watch
//! of its own: it moves when a marker does, which moves the high watermark too.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;

use ottla::ids::ShardId;

use crate::drive::Shard;
use crate::drive::messages::{WatchId, WatchQuery};
use crate::host::sync::Notify;
use crate::host::{now, timeout};

/// The watches of one owner shard, as their askers can end them.
#[derive(Default)]
pub struct Watches {
    waiting: RefCell<BTreeMap<(ShardId, WatchId), Rc<Notify>>>,
}

impl Watches {
    /// Ends a watch early. One that has ended already is no matter.
    pub fn end(&self, asker: ShardId, id: WatchId) {
        let waiting = self.waiting.borrow_mut().remove(&(asker, id));
        if let Some(waiting) = waiting {
            waiting.notify_one();
        }
    }

    /// Ends all of them.
    pub fn end_all(&self) {
        for waiting in std::mem::take(&mut *self.waiting.borrow_mut()).into_values() {
            waiting.notify_one();
        }
    }
}

/// Waits as `query` says.
pub async fn watch(shard: &Rc<Shard>, asker: ShardId, query: WatchQuery) {
    if shard.stopping.get() {
        return;
    }
    let moved = Rc::new(Notify::new());
    let mut subscriptions = Vec::with_capacity(query.partitions.len());
    for (id, seen) in query.partitions {
        let Some(hosted) = shard.hosted(id) else { return };
        subscriptions.push(hosted.partition.subscribe(seen, &moved));
    }
    shard.watches.waiting.borrow_mut().insert((asker, query.id), Rc::clone(&moved));
    // Whether it moved or the time is up, the asker reads again.
    let _ = timeout(query.deadline.since(now()), pin!(moved.notified())).await;
    shard.watches.waiting.borrow_mut().remove(&(asker, query.id));
}
