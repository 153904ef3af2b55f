//! Names that a full disk has no block for: what wanted them does without or goes back, and nothing else is the worse
//! for it. And the one name by which an operator hears that records are lost: not of those that were deleted.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ottla_shards::host::sim::disk::{Ops, Which};
use ottla_shards::host::sim::{CrashModel, NodeId, ProcessId, World};
use ottla_shards::host::sleep;
use ottla_sim::client::{Acks, Connection, FetchAsk, NewTopic, TopicName, run_alone, start_alone};
use ottla_sim::records::BatchSpec;

/// The system's number for a full disk.
const ENOSPC: i32 = 28;
/// Bytes of each directory's device.
const DEVICE_BYTES: u64 = 1 << 30;
const META: &str = "/meta";
const DIRS: [&str; 2] = ["/d0", "/d1"];
/// The names that a swap gives to files, all longer than those that they had.
const NAMES_OF_A_SWAP: [&str; 6] =
    ["log.swap", "index.swap", "timeindex.swap", "log.deleted", "index.deleted", "timeindex.deleted"];

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
        world.with_disk(node, |disk| {
            for dir in DIRS.into_iter().chain([META]) {
                disk.add_device(Path::new(dir), DEVICE_BYTES);
            }
        });
        let broker = start(&world, node, address);
        Machine { world, node, broker, address }
    }

    fn client<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        main: impl FnOnce(Connection) -> F + 'static,
    ) -> T {
        run_alone(&self.world, (self.node, self.address), main)
    }

    /// The next name at this path, or beneath it, finds no room.
    fn refuse_name(&self, path: &str) {
        self.world.with_disk(self.node, |disk| {
            disk.fail_nth(1, Which::of(Ops::NewNames).under(path), ENOSPC);
        });
    }

    /// The names of the files, in every directory.
    fn names(&self) -> Vec<String> {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        self.world.with_disk(self.node, |disk| disk.files().iter().map(|file| path(&file.path)).collect())
    }
}

fn start(world: &World, node: NodeId, address: SocketAddr) -> ProcessId {
    let settings = [
        ("log.dirs", DIRS.join(",")),
        ("metadata.log.dir", META.to_owned()),
        ("log.cleaner.backoff.ms", "20".to_owned()),
    ];
    start_alone(world, (node, address), 1, &settings)
}

async fn create(connection: &Connection, name: &str, configs: &[(&str, &str)]) {
    let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let topic = NewTopic { name: name.to_owned(), partitions: 2, configs };
    connection.create_topic(&topic).await.ok().expect("the topic is made");
}

/// Produces a batch of one record to both partitions; how many took it.
async fn produce(connection: &Connection, topic: &str, id: u32, key: Option<u32>) -> usize {
    let mut batch = BatchSpec::plain(id, 1, 300);
    batch.records[0].key = key;
    let batches = [0, 1].map(|partition| (partition, batch.encode()));
    let sent =
        connection.produce(&TopicName::Name(topic.to_owned()), Acks::All, &batches).expect("it is open");
    sent.base_offsets(&[0, 1]).await.into_iter().filter_map(|outcome| outcome.ok()).count()
}

async fn delete(connection: &Connection, name: &str) {
    let topics = connection.topics().await.ok().expect("metadata");
    let topic = topics.iter().find(|topic| topic.name == name).expect("the topic is there");
    connection.delete_topic(topic.id).await.ok().expect("the topic is deleted");
}

#[test]
fn a_topic_is_deleted_where_there_is_no_room_for_another_name() {
    let machine = Machine::new(1);
    machine.client(async |connection| {
        create(&connection, "stays", &[]).await;
        create(&connection, "goes", &[]).await;
        assert_eq!(produce(&connection, "goes", 1, None).await, 2);
    });
    DIRS.into_iter().for_each(|dir| machine.refuse_name(dir));
    machine.client(async |connection| delete(&connection, "goes").await);
    machine.world.run_for(Duration::from_secs(5));
    let left: Vec<String> = machine.names().into_iter().filter(|name| name.contains("/goes-")).collect();
    assert_eq!(left, [] as [String; 0], "its files have gone");
    machine.client(async |connection| {
        assert_eq!(produce(&connection, "stays", 2, None).await, 2, "nobody else hears of it");
        create(&connection, "goes", &[]).await;
        assert_eq!(produce(&connection, "goes", 3, None).await, 2, "a new topic may have its name");
    });
}

/// The high watermark of the first partition, and the bytes that its first segment has left.
async fn read(connection: &Connection, topic: &str) -> (i64, usize) {
    let topic = TopicName::Name(topic.to_owned());
    let ask = FetchAsk { topic, partition: 0, from: 0, bytes_max: 1 << 20, wait_ms: 0, bytes_min: 0 };
    let fetched = connection.fetch(&ask).await.ok().expect("the partition is there");
    (fetched.high_watermark, fetched.records.len())
}

#[test]
fn a_cleaned_segment_goes_in_or_goes_back_where_there_is_no_room_for_a_name() {
    for name in NAMES_OF_A_SWAP {
        let mut machine = Machine::new(1);
        let compacted = [("cleanup.policy", "compact"), ("internal.segment.bytes", "2000")];
        let (end, before) = machine.client(async move |connection| {
            let lazy = [&compacted[..], &[("min.compaction.lag.ms", "3000")]].concat();
            create(&connection, "t", &[&lazy[..], &[("min.cleanable.dirty.ratio", "0.01")]].concat()).await;
            for id in 0..40 {
                assert_eq!(produce(&connection, "t", id, Some(id % 3)).await, 2);
            }
            read(&connection, "t").await
        });
        for partition in ["/d0/t-0", "/d0/t-1", "/d1/t-0", "/d1/t-1"] {
            machine.refuse_name(&format!("{partition}/00000000000000000000.{name}"));
        }
        machine.world.run_for(Duration::from_secs(20));
        let check = async move |connection: Connection| {
            assert_eq!(produce(&connection, "t", 100, Some(1)).await, 2, "{name}: both directories serve");
            let (now, bytes) = read(&connection, "t").await;
            assert_eq!(now, end + 1, "{name}");
            bytes
        };
        machine.client(check);
        // Refused once, it is cleaned when its time has come again.
        machine.world.run_for(Duration::from_secs(900));
        let bytes = machine.client(async |connection| read(&connection, "t").await.1);
        assert!(bytes < before, "{name}: {bytes} of {before} bytes are left");
        let staged = |file: &String| file.ends_with(".swap") || file.ends_with(".cleaned");
        assert!(!machine.names().iter().any(staged), "{name}: {:?}", machine.names());
        machine.world.power_cut(machine.node, CrashModel::DropAll);
        machine.world.run_for(Duration::from_secs(1));
        machine.broker = start(&machine.world, machine.node, machine.address);
        let (now, after) = machine.client(async |connection| read(&connection, "t").await);
        assert_eq!((now, after), (end + 1, bytes), "{name}");
    }
}

#[test]
fn a_directory_without_room_keeps_no_other_from_being_cleaned() {
    let machine = Machine::new(1);
    machine.client(async |connection| {
        let configs = [
            ("cleanup.policy", "compact"),
            ("internal.segment.bytes", "2000"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("min.compaction.lag.ms", "3000"),
        ];
        create(&connection, "t", &configs).await;
        for id in 0..40 {
            assert_eq!(produce(&connection, "t", id, Some(id % 3)).await, 2);
        }
    });
    // The first has no room for a name for as long as this takes.
    machine.world.with_disk(machine.node, |disk| {
        disk.fail_always(Which::of(Ops::NewNames).under(DIRS[0]), ENOSPC);
    });
    machine.world.run_for(Duration::from_secs(20));
    let replaced = |dir: &str| {
        machine.names().iter().any(|name| name.starts_with(dir) && name.ends_with(".log.deleted"))
    };
    assert!(!replaced(DIRS[0]) && replaced(DIRS[1]), "{:?}", machine.names());
}

#[test]
fn records_that_were_deleted_are_not_told_lost() {
    for seed in 0..10 {
        let machine = Machine::new(seed);
        let deleted = machine.client(async move |connection| {
            create(&connection, "t", &[("flush.messages", "1000000"), ("flush.ms", "3600000")]).await;
            for id in 0..20 {
                if id == 10 {
                    // The first half is written by then.
                    sleep(Duration::from_secs(5)).await;
                }
                assert_eq!(produce(&connection, "t", id, None).await, 2);
            }
            connection.delete_records("t", 0, -1).await.ok().expect("they are deleted")
        });
        assert_eq!(deleted, 20);
        machine.world.power_cut(machine.node, CrashModel::DropAll);
        machine.world.run_for(Duration::from_secs(1));
        let _broker = start(&machine.world, machine.node, machine.address);
        let end = machine.client(async |connection| {
            let topic = TopicName::Name("t".to_owned());
            let ask = FetchAsk { topic, partition: 0, from: 20, bytes_max: 9, wait_ms: 0, bytes_min: 0 };
            connection.fetch(&ask).await.ok().expect("the partition is there").high_watermark
        });
        assert_eq!(end, 20, "seed {seed}");
        let damaged: Vec<String> =
            machine.names().into_iter().filter(|name| name.contains(".damaged")).collect();
        assert_eq!(damaged, [] as [String; 0], "seed {seed}");
    }
}
