//! Log directories that are full, gone or broken while a broker starts and serves: what is on the others is served, and
//! what is on them comes back.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ottla::errors::ErrorCode;
use ottla_shards::host::sim::disk::{Op, Ops, Which};
use ottla_shards::host::sim::{NodeId, ProcessId, ProcessState, World};
use ottla_shards::host::timeout;
use ottla_sim::client::{
    Acks, Connection, NewTopic, OffsetQuery, Outcome, TopicName, Unknown, run_alone, start_alone,
};
use ottla_sim::records::BatchSpec;

/// The longest that anything here may take, in virtual time.
const LIMIT: Duration = Duration::from_secs(60);
/// Bytes of each directory's device.
const DEVICE_BYTES: u64 = 1 << 30;
/// The system's number for a full disk.
const ENOSPC: i32 = 28;
const META: &str = "/meta";
const DIRS: [&str; 2] = ["/d0", "/d1"];

/// A machine with a device for each of two log directories and one for the metadata log.
struct Machine {
    world: World,
    node: NodeId,
    broker: ProcessId,
    address: SocketAddr,
}

impl Machine {
    fn new(seed: u64) -> Machine {
        let world = World::new(seed);
        world.trace(std::env::var_os("TRACE").is_some());
        let node = world.add_node("one");
        let address = SocketAddr::new(world.address(node), 9092);
        world.with_disk(node, |disk| {
            for dir in DIRS.into_iter().chain([META]) {
                disk.add_device(Path::new(dir), DEVICE_BYTES);
            }
        });
        let broker = start(&world, node, address, &DIRS);
        Machine { world, node, broker, address }
    }

    /// Starts the broker again with these log directories.
    fn start(&mut self, dirs: &[&str]) {
        // A process that was killed lets go of its locks in its own time.
        self.world.run_for(Duration::from_secs(1));
        self.broker = start(&self.world, self.node, self.address, dirs);
    }

    fn stop(&self) {
        self.world.stop(self.broker);
        let done = self.world.run_until(|| self.world.state(self.broker) != ProcessState::Running, LIMIT);
        assert!(done, "it ends");
        assert_eq!(self.world.state(self.broker), ProcessState::Ended);
    }

    /// Leaves so many bytes of a directory's device free.
    fn fill(&self, dir: &str, left: u64) {
        self.world.with_disk(self.node, |disk| disk.fill_up(Path::new(dir), left));
    }

    /// Whether the directory has this partition.
    fn has(&self, dir: &str, partition: &str) -> bool {
        let path = Path::new(dir).join(partition);
        self.world.with_disk(self.node, |disk| disk.files().iter().any(|file| file.path.starts_with(&path)))
    }

    /// Runs `main` to its end with a connection to the broker, which may have to come up first.
    fn client<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        main: impl FnOnce(Connection) -> F + 'static,
    ) -> T {
        run_alone(&self.world, (self.node, self.address), main)
    }

    /// Makes the topic; one partition of two goes to each directory. Returns the partition that is in `dir`.
    fn create(&self, dir: &str) -> i32 {
        self.create_with(dir, &[])
    }

    fn create_with(&self, dir: &str, configs: &[(&str, &str)]) -> i32 {
        let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.client(async |connection| {
            let topic = NewTopic { name: "t".to_owned(), partitions: 2, configs };
            connection.create_topic(&topic).await.ok().expect("the topic is made");
        });
        let is_first = self.has(dir, "t-0");
        assert_ne!(is_first, self.has(dir, "t-1"), "one in each");
        i32::from(!is_first)
    }

    fn delete(&self) {
        self.client(async |connection| {
            let topics = connection.topics().await.ok().expect("metadata");
            connection.delete_topic(topics[0].id).await.ok().expect("the topic is deleted");
        });
    }

    fn produce(&self, partition: i32, id: u32) -> Outcome<i64> {
        self.produce_bytes(partition, id, 2_000)
    }

    fn produce_bytes(&self, partition: i32, id: u32, bytes: u32) -> Outcome<i64> {
        self.client(async move |connection| {
            let name = TopicName::Name("t".to_owned());
            let batch = BatchSpec::plain(id, 1, bytes).encode();
            let sent = connection.produce(&name, Acks::All, &[(partition, batch)]).expect("it is open");
            sent.base_offsets(&[partition]).await.remove(0)
        })
    }

    fn end(&self, partition: i32) -> Outcome<i64> {
        self.client(async move |connection| {
            connection.list_offset("t", partition, OffsetQuery::Latest).await.map(|found| found.offset)
        })
    }
}

fn start(world: &World, node: NodeId, address: SocketAddr, dirs: &[&str]) -> ProcessId {
    let settings = [("log.dirs", dirs.join(",")), ("metadata.log.dir", META.to_owned())];
    start_alone(world, (node, address), 2, &settings)
}

fn is_storage_error(outcome: &Outcome<i64>) -> bool {
    let code = ErrorCode::KafkaStorageError;
    *outcome == Outcome::Refused(code) || *outcome == Outcome::Unknown(Unknown::Code(code))
}

#[test]
fn a_partition_that_a_full_disk_has_kept_from_being_made_is_made_when_there_is_room() {
    let machine = Machine::new(1);
    // When it answers, its directories are what they will be.
    machine.client(async |connection| drop(connection.topics().await.ok().expect("metadata")));
    machine.fill("/d0", 0);
    // Its directory is made; the file in it is what there is no room for.
    machine.client(async |connection| {
        let topic = NewTopic { name: "t".to_owned(), partitions: 2, configs: Vec::new() };
        connection.create_topic(&topic).await.ok().expect("the topic is made");
    });
    let kept = i32::from(machine.has("/d1", "t-0"));
    assert_eq!(machine.produce(1 - kept, 1), Outcome::Ok(0), "the other directory has room");
    for outcome in [machine.produce(kept, 2), machine.end(kept)] {
        assert!(is_storage_error(&outcome), "{outcome:?}");
    }
    machine.world.run_for(Duration::from_secs(5));
    let outcome = machine.end(kept);
    assert!(is_storage_error(&outcome), "{outcome:?}");
    machine.fill("/d0", u64::MAX);
    machine.world.run_for(Duration::from_secs(3));
    assert_eq!(machine.produce(kept, 3), Outcome::Ok(0));
    machine.stop();
}

#[test]
fn a_partition_that_a_full_disk_has_kept_from_being_opened_is_opened_when_there_is_room() {
    let mut machine = Machine::new(2);
    let full = machine.create("/d0");
    for id in 0..20 {
        assert_eq!(machine.produce(full, id), Outcome::Ok(i64::from(id)));
    }
    machine.world.kill(machine.broker);
    machine.fill("/d0", 0);
    // A file system may want room to cut off a tail.
    let cuts = Which::of(Ops::One(Op::SetLen)).under("/d0");
    machine.world.with_disk(machine.node, |disk| disk.fail_always(cuts, ENOSPC));
    machine.start(&DIRS);
    let outcome = machine.end(full);
    assert!(is_storage_error(&outcome), "{outcome:?}");
    machine.world.with_disk(machine.node, |disk| disk.heal());
    machine.fill("/d0", u64::MAX);
    machine.world.run_for(Duration::from_secs(3));
    assert_eq!(machine.end(full), Outcome::Ok(20));
    assert_eq!(machine.produce(full, 20), Outcome::Ok(20));
    machine.stop();
}

#[test]
fn a_stop_ends_though_a_rolled_segment_cannot_be_finished() {
    let mut machine = Machine::new(4);
    let short = machine.create_with("/d0", &[("segment.bytes", "1048576")]);
    // There is room for records and none for another file.
    let index = format!("/d0/t-{short}/00000000000000000000.index");
    let indexes = Which::of(Ops::One(Op::Open)).under(index);
    machine.world.with_disk(machine.node, |disk| disk.fail_always(indexes, ENOSPC));
    for id in 0..5 {
        assert_eq!(machine.produce_bytes(short, id, 300_000), Outcome::Ok(i64::from(id)));
    }
    machine.world.run_for(Duration::from_secs(5));
    assert_eq!(machine.produce(1 - short, 1), Outcome::Ok(0), "others are written meanwhile");
    machine.stop();
    machine.world.with_disk(machine.node, |disk| disk.heal());
    machine.start(&DIRS);
    assert_eq!(machine.end(short), Outcome::Ok(5), "nothing is lost by it");
    machine.stop();
}

#[test]
fn a_directory_that_missed_the_deletion_of_a_topic_comes_back_without_it() {
    for is_clean in [true, false] {
        let mut machine = Machine::new(3);
        machine.create("/d0");
        for partition in 0..2 {
            assert_eq!(machine.produce(partition, 1), Outcome::Ok(0));
        }
        machine.stop();
        machine.start(&["/d1"]);
        machine.delete();
        machine.client(async |connection| {
            let topic = NewTopic { name: "t".to_owned(), partitions: 2, configs: Vec::new() };
            connection.create_topic(&topic).await.ok().expect("the topic is made anew");
        });
        for partition in 0..2 {
            for id in 0..3 {
                assert_eq!(machine.produce(partition, id), Outcome::Ok(i64::from(id)));
            }
        }
        if is_clean {
            machine.stop();
        } else {
            machine.world.kill(machine.broker);
        }
        machine.start(&DIRS);
        for partition in 0..2 {
            assert_eq!(machine.end(partition), Outcome::Ok(3), "clean: {is_clean}");
        }
        assert!(
            !machine.has("/d0", "t-0") && !machine.has("/d0", "t-1"),
            "what is of the old topic is removed"
        );
        machine.stop();
    }
}

/// Asks for a topic; `None` where nothing is answered for long.
fn try_create(machine: &Machine, name: String) -> Option<Outcome<()>> {
    machine.client(async move |connection| {
        let topic = NewTopic { name, partitions: 2, configs: Vec::new() };
        let asked = std::pin::pin!(connection.create_topic(&topic));
        timeout(Duration::from_secs(5), asked).await.ok().map(|made| made.map(|_| ()))
    })
}

#[test]
fn a_change_of_the_metadata_for_which_there_is_no_room_is_made_once() {
    for is_stopped in [false, true] {
        let mut machine = Machine::new(5);
        machine.client(async |connection| connection.topics().await.ok().expect("it is up"));
        machine.fill("/meta", 0);
        let name = |number: u32| format!("t{number}");
        let made = |number: &u32| try_create(&machine, name(*number)) == Some(Outcome::Ok(()));
        let last = (0..200).find(|number| !made(number)).expect("the disk is full some time");
        if is_stopped {
            machine.stop();
        }
        machine.fill("/meta", u64::MAX);
        machine.world.run_for(Duration::from_secs(5));
        if !is_stopped {
            let again = try_create(&machine, name(last));
            assert_eq!(again, Some(Outcome::Refused(ErrorCode::TopicAlreadyExists)));
            machine.world.kill(machine.broker);
        }
        machine.start(&DIRS);
        let topics =
            machine.client(async |connection| connection.topics().await.ok().expect("it is up").len());
        assert!(topics >= last as usize, "{topics}");
        machine.stop();
    }
}
