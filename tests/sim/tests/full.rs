//! A disk that fills up under retention: what was acknowledged survives a kill, wherever the journal alone had it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ottla::protocol::records::BatchHeader;
use ottla_shards::host::sim::{NodeId, ProcessId, World};
use ottla_shards::host::sleep;
use ottla_sim::client::{
    Acks, Connection, FetchAsk, NewTopic, OffsetQuery, TopicName, run_alone, start_alone,
};
use ottla_sim::records::BatchSpec;

const PARTITIONS: i32 = 8;
/// Records of a batch.
const RECORDS: u32 = 5;
const DIR: &str = "/d0";
const DEVICE_BYTES: u64 = 64 << 20;

fn start(world: &World, place: (NodeId, SocketAddr)) -> ProcessId {
    let settings = [("log.dirs", DIR.to_owned()), ("log.retention.check.interval.ms", "300".to_owned())];
    start_alone(world, place, 1, &settings)
}

/// Produces to all partitions at once, whatever is refused; the end of what was acknowledged, by partition.
async fn fill(connection: Connection, rounds: u32) -> BTreeMap<i32, i64> {
    let topic = TopicName::Name("t".to_owned());
    let partitions: Vec<i32> = (0..PARTITIONS).collect();
    let mut acknowledged = BTreeMap::new();
    for round in 0..rounds {
        let batches: Vec<(i32, Vec<u8>)> = partitions
            .iter()
            .map(|it| {
                (*it, BatchSpec::plain(round * 100 + u32::try_from(*it).expect("few"), RECORDS, 400).encode())
            })
            .collect();
        let Ok(sent) = connection.produce(&topic, Acks::All, &batches) else { break };
        for (partition, outcome) in partitions.iter().zip(sent.base_offsets(&partitions).await) {
            if let Some(base) = outcome.ok() {
                acknowledged.insert(*partition, base + i64::from(RECORDS));
            }
        }
        sleep(Duration::from_millis(3)).await;
    }
    acknowledged
}

/// What is missing from a partition between its log start and `end`, and the log start.
async fn missing(connection: &Connection, partition: i32, end: i64) -> (i64, Vec<i64>) {
    let start = connection.list_offset("t", partition, OffsetQuery::Earliest).await;
    let start = start.ok().expect("the partition is there").offset;
    let (mut from, mut missing) = (start, Vec::new());
    while from < end {
        let topic = TopicName::Name("t".to_owned());
        let ask = FetchAsk { topic, partition, from, bytes_max: 1 << 20, wait_ms: 0, bytes_min: 0 };
        let fetched = connection.fetch(&ask).await.ok().expect("the partition is there").records;
        let before = from;
        let mut rest = &fetched[..];
        while let Ok(header) = BatchHeader::parse(rest) {
            missing.extend(from..header.base_offset.0);
            from = from.max(header.next_offset().0);
            rest = rest.get(header.batch_bytes..).unwrap_or_default();
        }
        if from == before {
            missing.extend(from..end);
            break;
        }
    }
    (start, missing)
}

#[test]
fn a_segment_that_the_journal_has_the_rest_of_is_followed_by_none() {
    for seed in 0..40u64 {
        let world = World::new(seed);
        let node = world.add_node("one");
        let address = SocketAddr::new(world.address(node), 9092);
        world.with_disk(node, |disk| disk.add_device(Path::new(DIR), DEVICE_BYTES));
        let place = (node, address);
        let broker = start(&world, place);
        let configs = [("internal.segment.bytes", "16384"), ("retention.bytes", "50000")];
        let configs = configs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        run_alone(&world, place, async move |connection| {
            let topic = NewTopic { name: "t".to_owned(), partitions: PARTITIONS, configs };
            connection.create_topic(&topic).await.ok().expect("the topic is made");
            fill(connection, 40 + u32::try_from(seed).expect("small")).await
        });
        world.with_disk(node, |disk| disk.fill_up(Path::new(DIR), (seed % 7) * 40_000));
        let acknowledged = run_alone(&world, place, async |connection| fill(connection, 200).await);
        world.run_for(Duration::from_secs(2));
        world.kill(broker);
        world.with_disk(node, |disk| disk.fill_up(Path::new(DIR), u64::MAX));
        world.run_for(Duration::from_secs(1));
        start(&world, place);
        run_alone(&world, place, async move |connection| {
            for (partition, end) in acknowledged {
                let (start, missing) = missing(&connection, partition, end).await;
                assert!(
                    missing.is_empty(),
                    "seed {seed}: {partition} lacks {missing:?} from {start} to {end}"
                );
            }
        });
    }
}
