//! Whole brokers in a simulated world: they start, serve, stop, and keep what they acknowledged through a kill and a
//! power cut.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use ottla_shards::host::sim::{CrashModel, ProcessState, World};
use support::{Client, Cluster, LIMIT};

const MODELS: [CrashModel; 5] = [
    CrashModel::DropAll,
    CrashModel::KeepAll,
    CrashModel::Torn512,
    CrashModel::Torn4096,
    CrashModel::Reordered,
];

/// Creates a topic, produces to each of its partitions and reads that back.
fn load(cluster: &Cluster) {
    cluster.run(|address| async move {
        let client = Client::connect(address).await;
        assert!(client.apis().await > 20);
        client.create_topic("topic", 4).await;
        for partition in 0..4 {
            assert_eq!(client.produce("topic", partition, b"first").await, 0);
            assert_eq!(client.produce("topic", partition, b"second").await, 1);
            assert_eq!(client.fetch("topic", partition, 0).await, [b"first".to_vec(), b"second".to_vec()]);
        }
    });
}

/// Asserts that what [`load`] has produced is there.
fn verify(cluster: &Cluster) {
    cluster.run(|address| async move {
        let client = Client::connect(address).await;
        for partition in 0..4 {
            assert_eq!(client.fetch("topic", partition, 0).await, [b"first".to_vec(), b"second".to_vec()]);
            assert_eq!(client.produce("topic", partition, b"third").await, 2);
        }
    });
}

#[test]
fn a_broker_serves_until_a_signal_ends_it_and_leaves_a_clean_mark() {
    let mut cluster = Cluster::new(1);
    load(&cluster);
    let world = cluster.world.clone();
    world.stop(cluster.broker);
    assert!(world.run_until(|| world.state(cluster.broker) != ProcessState::Running, LIMIT));
    assert_eq!(world.state(cluster.broker), ProcessState::Ended);
    let mark = Path::new("/data/.kafka_cleanshutdown");
    assert!(world.with_disk(cluster.node, |disk| disk.exists(mark)).expect("the disk is asked"));
    cluster.start_again();
    verify(&cluster);
    assert!(!world.with_disk(cluster.node, |disk| disk.exists(mark)).expect("the disk is asked"));
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    for seed in 0..4 {
        let mut cluster = Cluster::new(seed);
        load(&cluster);
        cluster.world.kill(cluster.broker);
        assert_eq!(cluster.world.state(cluster.broker), ProcessState::Killed);
        cluster.start_again();
        verify(&cluster);
    }
}

#[test]
fn what_was_acknowledged_outlives_a_power_cut_of_any_kind() {
    for (seed, model) in (10..).zip(MODELS) {
        let mut cluster = Cluster::new(seed);
        load(&cluster);
        cluster.world.power_cut(cluster.node, model);
        assert_eq!(cluster.world.state(cluster.broker), ProcessState::Killed);
        cluster.start_again();
        verify(&cluster);
    }
}

#[test]
fn a_seed_decides_everything() {
    let run = |seed| {
        let mut cluster = Cluster::new(seed);
        load(&cluster);
        cluster.world.power_cut(cluster.node, CrashModel::Torn512);
        cluster.start_again();
        verify(&cluster);
        (cluster.world.fingerprint(), cluster.world.events(), cluster.world.now())
    };
    let first = run(21);
    assert_eq!(first, run(21));
    assert_ne!(first.0, run(22).0);
}

#[test]
fn a_second_broker_on_the_same_directory_gives_up_and_says_why() {
    let cluster = Cluster::new(3);
    let world = &cluster.world;
    let settings = BTreeMap::from([("listeners".to_owned(), "PLAINTEXT://:9192".to_owned())]);
    let second = world.start_broker(cluster.node, 1, settings);
    assert!(world.run_until(|| world.state(second) != ProcessState::Running, LIMIT));
    let ProcessState::GaveUp(line) = world.state(second) else { panic!("{:?}", world.state(second)) };
    assert!(line.contains("/data"), "{line}");
    assert_eq!(world.state(cluster.broker), ProcessState::Running);
    let refused = BTreeMap::from([("num.partitions".to_owned(), "many".to_owned())]);
    let third = world.start_broker(cluster.node, 1, refused);
    assert!(matches!(world.state(third), ProcessState::GaveUp(line) if line.contains("num.partitions")));
}

#[test]
fn a_panic_of_a_task_ends_its_process_alone() {
    let world = World::new(5);
    let node = world.add_node("one");
    let other = world.start_client(node, std::future::pending());
    let client = world.start_client(node, async {
        ottla_shards::host::spawn_detached(async { panic!("the reason") });
        std::future::pending::<()>().await;
    });
    assert!(world.run_until(|| world.state(client) != ProcessState::Running, LIMIT));
    let ProcessState::Panicked(text) = world.state(client) else { panic!("{:?}", world.state(client)) };
    assert!(text.contains("the reason") && text.contains("boot.rs"), "{text}");
    assert_eq!(world.state(other), ProcessState::Running);
}
