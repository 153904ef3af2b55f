//! Shards that run beside criterion's thread, pinned as a broker's are, and do their job as often as they are told.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use ottla::ids::ShardId;
use ottla_shards::host::{self, Bell, Doorbell, ShardSpec};

/// Shard 0's end: what it is told to do, and where its answers go.
pub struct Orders {
    times: Receiver<u64>,
    took: Sender<Duration>,
    bells: Sender<Bell>,
}

impl Orders {
    /// Does `job` for each order, until there will be none.
    pub async fn obey(self, mut job: impl AsyncFnMut(u64) -> Duration) {
        let doorbell = Doorbell::new();
        self.bells.send(doorbell.bell()).expect("the thread waits for it");
        loop {
            match self.times.try_recv() {
                Ok(times) => self.took.send(job(times).await).expect("the thread waits for it"),
                Err(std::sync::mpsc::TryRecvError::Empty) => doorbell.rung().await,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
            }
        }
    }
}

/// Criterion's end.
pub struct Worker {
    times: Option<Sender<u64>>,
    took: Receiver<Duration>,
    bell: Bell,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts shards, each on a CPU of its own where there are enough. `main` is every shard's; shard 0 gets the
    /// orders.
    pub fn start<F, Fut>(shards: u16, main: F) -> Worker
    where
        F: Fn(ShardId, Option<Orders>) -> Fut + Send + Clone + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let (times, orders) = channel();
        let (answers, took) = channel();
        let (bells, bell) = channel();
        let orders = Arc::new(Mutex::new(Some(Orders { times: orders, took: answers, bells })));
        let cpus = host::available_cpus();
        let is_pinned = cpus.len() >= usize::from(shards);
        let specs = (0..shards).map(|shard| ShardSpec {
            shard: ShardId(shard),
            cpu: is_pinned.then(|| cpus[usize::from(shard)]),
        });
        let specs = specs.collect();
        let thread = std::thread::spawn(move || {
            let main = move |shard: ShardId| {
                let orders = (shard.0 == 0).then(|| orders.lock().expect("no panic").take()).flatten();
                main(shard, orders)
            };
            host::run_shards(specs, main).expect("the shards start");
        });
        let bell = bell.recv().expect("shard 0 obeys");
        Worker { times: Some(times), took, bell, thread: Some(thread) }
    }

    /// Has shard 0 do its job so often; returns how long it said that took.
    pub fn run(&mut self, times: u64) -> Duration {
        self.times.as_ref().expect("not yet dropped").send(times).expect("shard 0 listens");
        self.bell.ring();
        self.took.recv().expect("shard 0 answers")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.times.take());
        self.bell.ring();
        self.thread.take().expect("joined once").join().expect("a shard's panic has ended the process");
    }
}
