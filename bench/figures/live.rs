//! A small load at a fixed rate with a consumer that follows it: when records were acknowledged, when they were seen.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ottla::ids::TimestampMs;
use ottla::limits::BATCH_HEADER_BYTES;
use ottla::protocol::records::BatchHeader;
use ottla::protocol::records::builder::{BatchBuilder, NewRecord};
use ottla::protocol::records::record::RecordIter;
use ottla_tests::reader::offset_of;
use ottla_tools::client::Client;
use ottla_wire::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::fetch_response::FetchResponse;
use ottla_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_wire::produce_response::ProduceResponse;
use ottla_wire::{ApiKey, Records};

/// The topic of the live load.
pub const TOPIC: &str = "live";
/// Its partitions.
pub const PARTITIONS: i32 = 4;

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
/// From one record to the next.
const INTERVAL: Duration = Duration::from_millis(2);
const VALUE_BYTES: usize = 1024;
/// An hour, far above what is measured.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Latencies in nanoseconds from when a record was due.
pub struct Live {
    /// To its acknowledgement.
    pub acknowledged: Histogram<u64>,
    /// To its arrival at the consumer.
    pub seen: Histogram<u64>,
}

impl Live {
    /// Runs until `stop` is set or `time` has passed.
    pub fn run(address: SocketAddr, stop: &AtomicBool, time: Option<Duration>) -> Live {
        let epoch = Instant::now();
        let consumer = Consumer::new(address, epoch);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let seen = scope.spawn(|| consumer.follow(&done));
            let acknowledged = produce(address, epoch, &|| {
                stop.load(Ordering::Acquire) || time.is_some_and(|time| epoch.elapsed() >= time)
            });
            done.store(true, Ordering::Release);
            Live { acknowledged, seen: seen.join().expect("the consumer does not panic") }
        })
    }
}

/// Has the calling thread run as soon as it is ready, before everything else on its core: the watch must not be late
/// because the load that it is held beside keeps the cores busy. Without the right to it, it runs like the others.
fn be_punctual() {
    let Ok(thread) = std::fs::read_link("/proc/thread-self") else { return };
    let Some(number) = thread.file_name().and_then(|name| name.to_str()) else { return };
    let chosen = Command::new("chrt").args(["--fifo", "--pid", "1", number]).stderr(Stdio::null()).status();
    if !chosen.is_ok_and(|status| status.success()) {
        eprintln!("  the live load's threads cannot be given priority: their own delays are measured, too");
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are in order")
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a run is shorter than centuries")
}

fn produce(address: SocketAddr, epoch: Instant, is_over: &dyn Fn() -> bool) -> Histogram<u64> {
    be_punctual();
    let mut client = Client::connect(address, "live").expect("the broker listens");
    let mut latencies = histogram();
    let (mut due, mut partition) = (epoch.elapsed(), 0);
    while !is_over() {
        due += INTERVAL;
        std::thread::sleep(due.saturating_sub(epoch.elapsed()));
        let mut value = vec![b'.'; VALUE_BYTES];
        value[..8].copy_from_slice(&nanos(due).to_be_bytes());
        let mut batch = BatchBuilder::new();
        let record = NewRecord { timestamp: TimestampMs(1), key: None, value: Some(&value), headers: &[] };
        batch.append(&record);
        let batch = batch.build();
        let records = Some(Records::Inline(batch.as_slice().into()));
        let partition_data = vec![PartitionProduceData { index: partition, records }];
        let topic_data = vec![TopicProduceData { name: TOPIC.into(), partition_data, ..Default::default() }];
        let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data, ..Default::default() };
        let reply: ProduceResponse<'_> =
            client.call(ApiKey::Produce, PRODUCE_VERSION, &request).expect("the broker answers");
        assert_eq!(reply.responses[0].partition_responses[0].error_code, 0, "the record is taken");
        latencies.record(nanos(epoch.elapsed().saturating_sub(due))).expect("within the bounds");
        partition = (partition + 1) % PARTITIONS;
    }
    latencies
}

/// Follows all partitions by long polls.
struct Consumer {
    client: Client,
    epoch: Instant,
    next: Vec<i64>,
    latencies: Histogram<u64>,
}

impl Consumer {
    fn new(address: SocketAddr, epoch: Instant) -> Consumer {
        let mut client = Client::connect(address, "live").expect("the broker listens");
        let next = (0..PARTITIONS).map(|partition| offset_of(&mut client, TOPIC, partition, -1)).collect();
        Consumer { client, epoch, next, latencies: histogram() }
    }

    fn follow(mut self, done: &AtomicBool) -> Histogram<u64> {
        be_punctual();
        while !done.load(Ordering::Acquire) {
            let partition = |(partition, &fetch_offset): (usize, &i64)| FetchPartition {
                partition: i32::try_from(partition).expect("a few"),
                fetch_offset,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            };
            let partitions = self.next.iter().enumerate().map(partition).collect();
            let topics = vec![FetchTopic { topic: TOPIC.into(), partitions, ..Default::default() }];
            let (max_wait_ms, min_bytes, max_bytes) = (500, 1, 8 << 20);
            let request = FetchRequest {
                max_wait_ms,
                min_bytes,
                max_bytes,
                session_epoch: -1,
                topics,
                ..Default::default()
            };
            let reply: FetchResponse<'_> =
                self.client.call(ApiKey::Fetch, FETCH_VERSION, &request).expect("the broker answers");
            let now = self.epoch.elapsed();
            for data in reply.responses.iter().flat_map(|topic| &topic.partitions) {
                assert_eq!(data.error_code, 0, "the fetch is answered");
                let Some(Records::Inline(bytes)) = &data.records else { continue };
                let next = &mut self.next[usize::try_from(data.partition_index).expect("a few")];
                take(bytes, now, next, &mut self.latencies);
            }
        }
        self.latencies
    }
}

/// Counts the records of whole batches at or behind `next`.
fn take(mut bytes: &[u8], now: Duration, next: &mut i64, latencies: &mut Histogram<u64>) {
    while let Ok(header) = BatchHeader::parse(bytes)
        && header.batch_bytes <= bytes.len()
    {
        let payload = &bytes[BATCH_HEADER_BYTES..header.batch_bytes];
        for record in RecordIter::new(payload, header.record_count).filter(|_| header.base_offset.0 >= *next)
        {
            let value = record.expect("the record is whole").value.expect("it has a value");
            let due = u64::from_be_bytes(*value.first_chunk().expect("it begins with when it was due"));
            latencies.record(nanos(now).saturating_sub(due)).expect("within the bounds");
        }
        *next = (*next).max(header.next_offset().0);
        bytes = &bytes[header.batch_bytes..];
    }
}
