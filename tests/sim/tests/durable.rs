//! What must be durable when it is acknowledged, each with the crash that once undid it: names that a killed process
//! has made and not synced, and a log start offset that retention is about to write as well.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ottla_shards::host::sim::{CrashModel, NodeId, ProcessId, World};
use ottla_shards::host::sleep;
use ottla_sim::client::{
    Acks, Connection, FetchAsk, NewTopic, OffsetQuery, TopicName, run_alone, start_alone,
};
use ottla_sim::records::BatchSpec;

/// The longest that anything here may take, in virtual time.
const LIMIT: Duration = Duration::from_secs(60);

struct Machine {
    world: World,
    node: NodeId,
    broker: ProcessId,
    address: SocketAddr,
}

impl Machine {
    fn new(seed: u64) -> Machine {
        let world = World::new(seed);
        let node = world.add_node("one");
        let address = SocketAddr::new(world.address(node), 9092);
        let broker = start(&world, node, address);
        Machine { world, node, broker, address }
    }

    fn start(&mut self) {
        // A process that was killed lets go of its locks in its own time.
        self.world.run_for(Duration::from_secs(1));
        self.broker = start(&self.world, self.node, self.address);
    }

    /// Runs `main` to its end with a connection to the broker, which may have to come up first.
    fn client<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        main: impl FnOnce(Connection) -> F + 'static,
    ) -> T {
        run_alone(&self.world, (self.node, self.address), main)
    }

    /// Whether `path` is there for processes, and whether it would be after a loss of power.
    fn sight(&self, path: &str) -> (bool, bool) {
        self.world.with_disk(self.node, |disk| {
            let files = disk.files();
            let found = files.iter().find(|file| file.path == Path::new(path));
            (found.is_some(), found.is_some_and(|file| file.durable_path.is_some()))
        })
    }
}

fn start(world: &World, node: NodeId, address: SocketAddr) -> ProcessId {
    start_alone(world, (node, address), 1, &[("log.retention.check.interval.ms", "1".to_owned())])
}

fn topic() -> NewTopic {
    let configs = vec![("internal.segment.bytes".to_owned(), "300".to_owned())];
    NewTopic { name: "t".to_owned(), partitions: 1, configs }
}

async fn produce(connection: Connection, id: u32) -> Option<i64> {
    append(&connection, id).await
}

/// Appends a record; returns its offset when it is acknowledged.
async fn append(connection: &Connection, id: u32) -> Option<i64> {
    let name = TopicName::Name("t".to_owned());
    let sent = connection
        .produce(&name, Acks::All, &[(0, BatchSpec::plain(id, 1, 8).encode())])
        .expect("it is open");
    sent.base_offsets(&[0]).await.remove(0).ok()
}

/// The log start offset of the partition.
async fn log_start(connection: Connection) -> i64 {
    let found = connection.list_offset("t", 0, OffsetQuery::Earliest).await;
    found.ok().expect("the partition is there").offset
}

/// The high watermark of the partition.
async fn end(connection: Connection) -> i64 {
    let topic = TopicName::Name("t".to_owned());
    let ask = FetchAsk { topic, partition: 0, from: 0, bytes_max: 1 << 20, wait_ms: 0, bytes_min: 0 };
    connection.fetch(&ask).await.ok().expect("the partition is there").high_watermark
}

/// Kills the broker when `path` is there and not durable, appends a record to what the next one finds, cuts the power.
fn acknowledged_behind_a_name_without_a_sync(path: &str, seed: u64) {
    let mut machine = Machine::new(seed);
    let address = machine.address;
    machine.world.start_client(machine.node, async move {
        sleep(Duration::from_millis(500)).await;
        let connection = Connection::open(address, "first", LIMIT).await.expect("the broker listens");
        if connection.create_topic(&topic()).await.ok().is_some() {
            produce(connection, 1).await;
        }
    });
    let made = machine.world.run_until(|| machine.sight(path) == (true, false), LIMIT);
    assert!(made, "{path} is made before it is synced");
    machine.world.kill(machine.broker);
    assert_eq!(machine.sight(path), (true, false), "the kill came in time");
    machine.start();
    let base = machine.client(async |connection| produce(connection, 2).await);
    let base = base.expect("the record is acknowledged");
    machine.world.power_cut(machine.node, CrashModel::DropAll);
    machine.start();
    let end = machine.client(end);
    assert!(end > base, "{base} was acknowledged, and the log ends at {end}");
}

#[test]
fn a_segment_whose_name_a_killed_process_left_unsynced_keeps_what_is_appended_to_it() {
    for seed in 0..5 {
        acknowledged_behind_a_name_without_a_sync("/data/t-0/00000000000000000000.log", seed);
    }
}

#[test]
fn a_partition_whose_name_a_killed_process_left_unsynced_keeps_what_is_appended_to_it() {
    for seed in 0..5 {
        acknowledged_behind_a_name_without_a_sync("/data/t-0/partition.metadata", seed);
    }
}

#[test]
fn deleted_records_stay_deleted_whatever_retention_was_about_to_write() {
    for seed in 0..40 {
        let mut machine = Machine::new(seed);
        let deleted = machine.client(async move |connection| {
            connection.create_topic(&topic()).await.ok().expect("the topic is made");
            let mut deleted = 0;
            for id in 0..40 {
                let base = append(&connection, id).await.expect("the record is acknowledged");
                if id % 3 == 0 {
                    let outcome = connection.delete_records("t", 0, base).await;
                    deleted = outcome.ok().expect("the records are deleted");
                }
            }
            deleted
        });
        machine.world.run_for(Duration::from_millis(seed));
        machine.world.kill(machine.broker);
        machine.start();
        let start = machine.client(log_start);
        assert!(start >= deleted, "deleted to {deleted}, and the log starts at {start} (seed {seed})");
    }
}

#[test]
fn what_was_said_of_a_deleted_partition_is_not_said_of_the_next_one_of_its_name() {
    for (seed, is_power) in [(0, true), (1, false)] {
        let mut machine = Machine::new(seed);
        machine.client(async |connection| {
            connection.create_topic(&topic()).await.ok().expect("the topic is made");
            for id in 0..6 {
                assert_eq!(append(&connection, id).await, Some(i64::from(id)));
            }
            connection.delete_records("t", 0, 4).await.ok().expect("the records are deleted");
        });
        // The recovery point is written by a checkpoint, which comes with the clock.
        machine.world.run_for(Duration::from_secs(90));
        machine.client(async |connection| {
            let topics = connection.topics().await.ok().expect("metadata");
            connection.delete_topic(topics[0].id).await.ok().expect("the topic is deleted");
            connection.create_topic(&topic()).await.ok().expect("the topic is made again");
            for id in 0..3 {
                assert_eq!(append(&connection, 10 + id).await, Some(i64::from(id)));
            }
        });
        match is_power {
            true => machine.world.power_cut(machine.node, CrashModel::DropAll),
            false => machine.world.kill(machine.broker),
        }
        machine.start();
        assert_eq!(machine.client(log_start), 0);
        assert_eq!(machine.client(end), 3);
    }
}
