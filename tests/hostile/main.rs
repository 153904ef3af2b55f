//! Hostile and careless clients: frames that lie, connections that idle, readers that never read.
//!
//! A producer and a consumer work on while the broker is attacked; they must see no error, the process must be the
//! same afterwards, and its memory back where it was. Sizes are bounded by the budget that the broker is given.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ottla::ids::TimestampMs;
use ottla::protocol::compression::Codec;
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla_tests::broker::{Broker, Options};
use ottla_tests::producer::IdempotentProducer;
use ottla_tests::reader::read_partition;
use ottla_tests::topics::create_topic;
use ottla_tools::client::Client;
use ottla_wire::arbitrary::{Arbitrary, Rng};
use ottla_wire::frame::encode_request;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

/// Frames of one attack; `OTTLA_HOSTILE_FRAMES` sets another number.
const FRAMES: u64 = 50_000;
/// Memory may move by this much over an attack.
const MEMORY_SLACK_BYTES: u64 = 16 << 20;

/// A frame of a valid request of `api` and `version`, from a seed.
fn valid_frame(api: ApiKey, version: i16, rng: &mut Rng) -> Vec<u8> {
    let mut frame = Vec::new();
    macro_rules! frame_of {
        ($key:ident, $module:ident, $request:ident, $reply_module:ident, $reply:ident) => {
            if api == ApiKey::$key {
                let body = ottla_wire::$module::$request::arbitrary(rng, version);
                frame = encode_request(api, version, 7, Some("hostile"), &body)
                    .map_or_else(|_| Vec::new(), |f| f.head);
            }
        };
    }
    ottla_wire::for_each_api!(frame_of);
    frame
}

/// One hostile frame: cut short, with a lying length, mutated, of any key and version, or plain noise.
fn hostile_frame(rng: &mut Rng) -> Vec<u8> {
    let api = ApiKey::ALL[rng.below(ApiKey::ALL.len() as u64) as usize];
    let versions = api.versions();
    let span = i64::from(*versions.end()) - i64::from(*versions.start()) + 1;
    let version = if span > 0 { versions.start() + rng.below(span as u64) as i16 } else { 0 };
    let mut frame = valid_frame(api, version, rng);
    match rng.below(8) {
        0 => {
            let length = frame.len() as u64;
            frame.truncate(rng.below(length.max(1)) as usize);
        }
        1 => overwrite(&mut frame, 0, &(-1_i32).to_be_bytes()),
        2 => overwrite(&mut frame, 0, &i32::MAX.to_be_bytes()),
        3 => overwrite(&mut frame, 0, &(99_i32 << 20).to_be_bytes()),
        4 => overwrite(&mut frame, 4, &(rng.bits() as i16).to_be_bytes()),
        5 => overwrite(&mut frame, 6, &(rng.bits() as i16).to_be_bytes()),
        _ => {
            for _ in 0..=rng.below(8) {
                let place = 8 + rng.below(frame.len().max(9) as u64 - 8) as usize;
                let byte = [rng.bits() as u8];
                overwrite(&mut frame, place, &byte);
            }
        }
    }
    frame
}

fn overwrite(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = frame.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Requests that would change what the clients under test rely on are left out by topic name: random names are never
/// theirs, so the attack may create, delete and alter what it likes.
fn attack(address: SocketAddr, seed: u64, frames: u64) {
    let mut rng = Rng::new(seed);
    let mut sent = 0;
    while sent < frames {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        let patience = Some(Duration::from_millis(200));
        stream.set_write_timeout(patience).expect("a positive time");
        stream.set_nonblocking(false).expect("a socket");
        for _ in 0..=rng.below(20) {
            sent += 1;
            if stream.write_all(&hostile_frame(&mut rng)).is_err() {
                break;
            }
        }
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a positive time");
        let mut reply = [0; 4096];
        let _ = stream.read(&mut reply);
    }
}

fn frames() -> u64 {
    std::env::var("OTTLA_HOSTILE_FRAMES").map_or(FRAMES, |text| text.parse().expect("a number"))
}

#[test]
fn hostile_frames_hurt_nobody() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path()).set("auto.create.topics.enable", false);
    let mut broker = Broker::start(&options);
    let address = broker.address();
    create_topic(address, "calm", 2, &[]);
    let pid = broker.pid();
    attack(address, 1, frames() / 10);
    std::thread::sleep(Duration::from_secs(1));
    let before = broker.resident_bytes();

    let stop = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let mut producer = IdempotentProducer::new(address, "calm", 0, "calm").expect("a producer id");
            while !stop.load(Ordering::Acquire) {
                let before = producer.acknowledged();
                producer.send(10, Instant::now() + Duration::from_secs(20));
                assert_eq!(producer.acknowledged(), before + 10, "the producer is served");
            }
            producer.acknowledged()
        });
        let consumer = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                let _ = read_partition(address, "calm", 0);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let attackers: Vec<_> =
            (0..4).map(|n| scope.spawn(move || attack(address, 100 + n, frames() / 4))).collect();
        for attacker in attackers {
            attacker.join().expect("an attacker does not fail");
        }
        stop.store(true, Ordering::Release);
        consumer.join().expect("the consumer sees no error");
        producer.join().expect("the producer sees no error")
    });

    assert_eq!(read_partition(address, "calm", 0).len() as i64, acknowledged);
    assert!(broker.is_running() && broker.pid() == pid, "the same process:\n{}", broker.output());
    let after = settles(&broker, before, MEMORY_SLACK_BYTES);
    eprintln!("memory before {before}, after {after} bytes, {acknowledged} records meanwhile");
    assert_eq!(broker.stop(), 0);
}

/// Waits until memory is back within `slack` of what it was, ten seconds at most; returns what it is.
fn settles(broker: &Broker, before: u64, slack: u64) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let after = broker.resident_bytes();
        if after <= before + slack {
            return after;
        }
        assert!(Instant::now() < deadline, "memory grew from {before} to {after} bytes");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn claims_cost_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&Options::new(directory.path()));
    let before = broker.resident_bytes();
    let claims: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(broker.address()).expect("the broker listens");
            stream.write_all(&(100_i32 << 20).to_be_bytes()).expect("four bytes fit");
            stream.write_all(&[0, 3, 0, 12]).expect("four bytes fit");
            stream
        })
        .collect();
    // Metadata v0 with ten million empty topic names of two bytes each.
    let mut request = vec![0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    request.extend_from_slice(&10_000_000_i32.to_be_bytes());
    request.resize(request.len() + 20_000_000, 0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(broker.address()).expect("the broker listens");
                let length = i32::try_from(request.len()).expect("20 MB");
                // The broker may hang up before it has read everything.
                let _ = stream.write_all(&length.to_be_bytes());
                let _ = stream.write_all(&request);
                let _ = stream.read(&mut [0; 16]);
            });
        }
    });
    let started = Instant::now();
    create_topic(broker.address(), "still-there", 1, &[]);
    eprintln!("a topic was created {:?} after the claims", started.elapsed());
    drop(claims);
    settles(&broker, before, MEMORY_SLACK_BYTES);
    assert_eq!(broker.stop(), 0);
}

#[test]
fn idle_connections_and_comings_and_goings_are_cheap() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&Options::new(directory.path()));
    let before = broker.resident_bytes();
    let idle_wanted = idle_connections_possible();
    let idle: Vec<_> =
        (0..idle_wanted).map(|_| TcpStream::connect(broker.address()).expect("the broker accepts")).collect();
    for _ in 0..10_000 {
        drop(TcpStream::connect(broker.address()).expect("the broker accepts"));
    }
    create_topic(broker.address(), "still-there", 1, &[]);
    let with_idle = broker.resident_bytes();
    eprintln!(
        "{} idle connections: {} bytes each",
        idle.len(),
        with_idle.saturating_sub(before) / idle.len() as u64
    );
    let budget = before + idle.len() as u64 * 8192 + MEMORY_SLACK_BYTES;
    assert!(with_idle <= budget, "{} idle connections take {with_idle} bytes, before {before}", idle.len());
    drop(idle);
    assert_eq!(broker.stop(), 0);
}

/// 5,000, or what this process's own descriptor limit allows.
fn idle_connections_possible() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("procfs is there");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("it is always there");
    let soft =
        line.split_whitespace().nth(3).and_then(|text| text.parse::<usize>().ok()).unwrap_or(usize::MAX);
    soft.saturating_sub(200).min(5000)
}

#[test]
fn a_reader_that_never_reads_is_bounded() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options::new(directory.path())
        .set("socket.request.max.bytes", 8 << 20)
        .set("queued.max.request.bytes", 32 << 20);
    let broker = Broker::start(&options);
    let address = broker.address();
    create_topic(address, "big", 1, &[]);
    let mut producer = IdempotentProducer::new(address, "big", 0, "big").expect("a producer id");
    for _ in 0..50 {
        producer.send(5_000, Instant::now() + Duration::from_secs(30));
    }
    let before = broker.resident_bytes();
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("the broker listens");
            stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a positive time");
            let frame = fetch_frame();
            for _ in 0..200 {
                if stream.write_all(&frame).is_err() {
                    break;
                }
            }
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    let during = broker.resident_bytes();
    producer.send(10, Instant::now() + Duration::from_secs(30));
    assert_eq!(producer.acknowledged(), 250_010, "others are served meanwhile");
    eprintln!("20 readers that never read: memory from {before} to {during} bytes");
    let budget = before + ((2 * 32) << 20) + MEMORY_SLACK_BYTES;
    assert!(during <= budget, "memory grew from {before} to {during} bytes");
    drop(readers);
    assert_eq!(broker.stop(), 0);
}

/// A few kilobytes of a request are gigabytes of zeros, of which a shard has one batch at a time in memory, and nothing
/// afterwards.
#[test]
fn records_of_zeros_leave_no_memory_behind() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&Options::new(directory.path()).set("shards", 1));
    let address = broker.address();
    create_topic(address, "bombs", 64, &[]);
    create_topic(address, "calm", 1, &[]);
    let before = broker.resident_bytes();
    let zeros = vec![0; 32 << 20];
    let mut batch = BatchBuilder::new().compression(Codec::Zstd, None);
    let timestamp = TimestampMs(1_700_000_000_000);
    batch.append(&NewRecord { timestamp, key: None, value: Some(&zeros), headers: &[] });
    let batch = batch.build();
    let data =
        (0..64).map(|index| PartitionProduceData { index, records: Some(Records::Inline((&*batch).into())) });
    let topic =
        TopicProduceData { name: "bombs".into(), partition_data: data.collect(), ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut producer = IdempotentProducer::new(address, "calm", 0, "calm").expect("a producer id");
            producer.send(10, Instant::now() + Duration::from_secs(60));
            assert_eq!(producer.acknowledged(), 10, "others are served");
        });
        let mut client = Client::connect(address, "bomber").expect("the broker listens");
        client.set_timeout(Some(Duration::from_secs(120))).expect("a positive time");
        let reply: ProduceResponse<'_> = client.call(ApiKey::Produce, 11, &request).expect("an answer");
        let partitions = &reply.responses[0].partition_responses;
        assert!(partitions.iter().all(|partition| (partition.error_code, partition.base_offset) == (0, 0)));
    });
    settles(&broker, before, MEMORY_SLACK_BYTES);
    assert_eq!(broker.stop(), 0);
}

/// Names of the most bytes there are, each with very many partitions of four bytes: no reply repeats them for each.
#[test]
fn long_names_are_not_repeated() {
    use ottla_wire::describe_producers_request::{DescribeProducersRequest, TopicRequest};
    use ottla_wire::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&Options::new(directory.path()));
    let before = broker.resident_bytes();
    let name = "n".repeat(32_000);
    let partitions = vec![0; 1_000_000];
    let topic = TopicPartitions { topic: name.as_str().into(), partitions: partitions.clone() };
    let elect = ElectLeadersRequest { topic_partitions: Some(vec![topic]), ..Default::default() };
    let topic = TopicRequest { name: name.as_str().into(), partition_indexes: partitions };
    let describe = DescribeProducersRequest { topics: vec![topic] };
    let frames = [
        encode_request(ApiKey::ElectLeaders, 2, 1, Some("hostile"), &elect).expect("a valid request").head,
        encode_request(ApiKey::DescribeProducers, 0, 1, Some("hostile"), &describe)
            .expect("a valid request")
            .head,
    ];
    for frame in frames {
        let mut stream = TcpStream::connect(broker.address()).expect("the broker listens");
        stream.write_all(&frame).expect("it is read");
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("it is answered");
        let length = i32::from_be_bytes(length);
        assert!(length < 64 << 20, "{length} bytes of a reply");
    }
    // The allocator keeps some of what a million answers took.
    settles(&broker, before, 4 * MEMORY_SLACK_BYTES);
    assert_eq!(broker.stop(), 0);
}

/// A Fetch of the whole partition.
fn fetch_frame() -> Vec<u8> {
    use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
    let partition = FetchPartition { partition: 0, partition_max_bytes: 8 << 20, ..Default::default() };
    let topics = vec![FetchTopic { topic: "big".into(), partitions: vec![partition], ..Default::default() }];
    let request =
        FetchRequest { min_bytes: 1, max_bytes: 8 << 20, session_epoch: -1, topics, ..Default::default() };
    encode_request(ApiKey::Fetch, 12, 1, Some("greedy"), &request).expect("it is a valid request").head
}
