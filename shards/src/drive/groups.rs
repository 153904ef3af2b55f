//! The group coordinator of one shard: feeds it requests, durable appends and timeouts, and performs its outputs.
//!
//! The shard coordinates every group whose partition of the offsets topic it owns. What must hold: the records of one
//! partition are appended in the order in which the coordinator put them out; a reply leaves when the coordinator
//! puts it out, which is after its records are durable.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use ottla::config::BrokerConfig;
use ottla::errors::ErrorCode;
use ottla::group::{AppendId, Clock, Coordinator, DeletedTopic, GroupReply, GroupRequest, Output, Token};
use ottla::ids::Offset;
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla::time::Monotonic;

use crate::disk::{DiskError, Partition};
use crate::drive::Shard;
use crate::drive::append::{append_own, own_durable};
use crate::drive::replay::{KeyValue, replay_records};
use crate::host::sync::{Notify, OneSender, oneshot};
use crate::host::{now, random_u64, sleep_until, spawn_detached, wall_ms};

/// The coordinator of one shard with the requests that wait for it.
pub struct Groups {
    core: RefCell<Coordinator>,
    waiting: RefCell<BTreeMap<Token, OneSender<GroupReply>>>,
    /// The partitions of the offsets topic that are coordinated here.
    logs: RefCell<BTreeMap<i32, Rc<Partition>>>,
    next_token: Cell<u64>,
    deadline: Cell<Option<Monotonic>>,
    deadline_moved: Notify,
}

impl Groups {
    /// A coordinator with the broker's settings and no groups yet.
    pub fn new(config: &BrokerConfig) -> Self {
        Self {
            core: RefCell::new(Coordinator::new(config.group_config())),
            waiting: RefCell::default(),
            logs: RefCell::default(),
            next_token: Cell::new(0),
            deadline: Cell::new(None),
            deadline_moved: Notify::new(),
        }
    }

    /// Puts a request to the coordinator and waits for its reply.
    pub async fn ask(&self, shard: &Rc<Shard>, partition: i32, request: GroupRequest) -> GroupReply {
        let token = Token(self.next_token.get());
        self.next_token.set(token.0 + 1);
        let (sender, receiver) = oneshot();
        self.waiting.borrow_mut().insert(token, sender);
        let random = u128::from(random_u64()) << 64 | u128::from(random_u64());
        self.act(shard, |core| core.on_request(clock(), random, token, partition, request));
        receiver.await.expect("the coordinator answers every token once")
    }

    /// Loads a partition of the offsets topic: replays its records, then serves its groups.
    pub async fn load(&self, shard: &Rc<Shard>, partition: &Rc<Partition>) {
        let index = partition.id().partition;
        if self.logs.borrow_mut().insert(index, Rc::clone(partition)).is_some() {
            return;
        }
        self.core.borrow_mut().start_loading(index);
        // A stop or a deletion may give the partition up while it is read.
        let is_kept = || self.logs.borrow().get(&index).is_some_and(|log| Rc::ptr_eq(log, partition));
        let replay = |offset: Offset, (key, value): KeyValue<'_>| {
            let Some(key) = key.filter(|_| is_kept()) else { return Ok(()) };
            self.core.borrow_mut().replay(index, key, value, offset).map(|_| ())
        };
        match replay_records(partition, replay).await {
            _ if !is_kept() => {}
            Ok(()) => self.core.borrow_mut().finish_loading(clock(), index),
            Err(error) => {
                tracing::error!(partition = index, %error, "the groups of this partition cannot be served");
                self.logs.borrow_mut().remove(&index);
                self.core.borrow_mut().unload(clock(), index);
            }
        }
        self.pump(shard);
    }

    /// Forgets a partition of the offsets topic.
    pub fn unload(&self, shard: &Rc<Shard>, partition: i32) {
        self.logs.borrow_mut().remove(&partition);
        self.act(shard, |core| core.unload(clock(), partition));
    }

    /// Removes the offsets of topics that are gone.
    pub fn topics_deleted(&self, shard: &Rc<Shard>, topics: &[DeletedTopic]) {
        self.act(shard, |core| core.on_topics_deleted(clock(), topics));
    }

    /// Tells the coordinator the time whenever it wants to know. Begins when the whole broker can be reached, for
    /// members of groups cannot be heard of before, and runs as long as the shard.
    pub async fn keep_time(&self, shard: &Rc<Shard>) {
        self.act(shard, |core| core.on_serving(clock()));
        loop {
            match self.deadline.get() {
                None => self.deadline_moved.notified().await,
                Some(deadline) => {
                    let moved = async { self.deadline_moved.notified().await };
                    let mut moved = std::pin::pin!(moved);
                    let mut due = sleep_until(deadline);
                    std::future::poll_fn(|context| {
                        use std::future::Future;
                        let is_ready = moved.as_mut().poll(context).is_ready()
                            || std::pin::Pin::new(&mut due).poll(context).is_ready();
                        if is_ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                    })
                    .await;
                }
            }
            if self.deadline.get().is_some_and(|deadline| deadline <= now()) {
                self.act(shard, |core| core.on_timeout(clock()));
            }
        }
    }

    /// Lets something happen to the coordinator, and performs what comes of it.
    fn act(&self, shard: &Rc<Shard>, happen: impl FnOnce(&mut Coordinator)) {
        happen(&mut self.core.borrow_mut());
        self.pump(shard);
    }

    /// Performs every output of the coordinator.
    fn pump(&self, shard: &Rc<Shard>) {
        loop {
            let output = self.core.borrow_mut().poll();
            match output {
                None => break,
                Some(Output::Reply { token, reply }) => {
                    let waiting = self.waiting.borrow_mut().remove(&token);
                    waiting.expect("each token is answered once").send(reply);
                }
                Some(Output::Append { id, partition, records }) => {
                    let mut batch = BatchBuilder::new();
                    let timestamp = wall_ms();
                    for record in &records {
                        let (key, value) = (Some(record.key.as_slice()), record.value.as_deref());
                        batch.append(&NewRecord { timestamp, key, value, headers: &[] });
                    }
                    let log = self.logs.borrow().get(&partition).cloned();
                    spawn_detached(write(Rc::clone(shard), id, log, batch.build()));
                }
            }
        }
        let deadline = self.core.borrow().next_deadline();
        if deadline != self.deadline.replace(deadline) {
            self.deadline_moved.notify_one();
        }
    }
}

/// Writes the records of one append, and tells the coordinator what becomes of them. What a full disk keeps in memory
/// is told as failed at once, and again when it is on disk.
async fn write(shard: Rc<Shard>, id: AppendId, log: Option<Rc<Partition>>, batch: Vec<u8>) {
    let groups = &shard.groups;
    let persisted = |result| groups.act(&shard, |core| core.on_persisted(clock(), id, result));
    let Some(log) = log else { return persisted(Err(ErrorCode::NotCoordinator)) };
    let last = match append_own(&log, batch).await {
        Ok(last) => last,
        Err(error) => return persisted(Err(error)),
    };
    match own_durable(&log, last, || false).await {
        Ok(()) => persisted(Ok(last)),
        Err(error @ DiskError::Unwritten { .. }) => {
            groups.act(&shard, |core| core.on_delayed(clock(), id, error.code()));
            let written = own_durable(&log, last, || true).await.map(|()| last).map_err(|error| error.code());
            groups.act(&shard, |core| core.on_written_late(clock(), id, written));
        }
        Err(error) => persisted(Err(error.code())),
    }
}

fn clock() -> Clock {
    Clock { now: now(), wall: wall_ms() }
}
