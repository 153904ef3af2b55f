//! What a broker takes while nobody asks anything of it: memory, CPU, and what partitions and connections add.

use std::net::TcpStream;
use std::time::Duration;

use ottla_tests::broker::{Broker, cpu_time};
use ottla_tests::producer::IdempotentProducer;
use ottla_tests::topics::create_topic;

use crate::{Figure, broker, mebibytes};

/// How long idleness is watched.
const IDLE: Duration = Duration::from_secs(20);
/// How long memory may settle.
const SETTLE: Duration = Duration::from_secs(3);

/// All figures of a broker at rest.
pub fn measure() -> Vec<Figure> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = broker(&directory.path().join("data"));
    std::thread::sleep(SETTLE);
    let idle = broker.resident_bytes();
    let cpu = cpu_per_idle_second(&broker);
    create_topic(broker.address(), "many", 1000, &[]);
    std::thread::sleep(SETTLE);
    let with_partitions = broker.resident_bytes();
    for partition in 0..1000 {
        let producer = IdempotentProducer::new(broker.address(), "many", partition, "p");
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        producer.expect("a producer id").send(10, deadline);
    }
    std::thread::sleep(SETTLE);
    let with_data = broker.resident_bytes();
    let connections: Vec<_> =
        (0..1000).map(|_| TcpStream::connect(broker.address()).expect("the broker accepts")).collect();
    std::thread::sleep(SETTLE);
    let with_connections = broker.resident_bytes();
    drop(connections);
    assert_eq!(broker.stop(), 0);
    vec![
        Figure::ours("idle memory, two shards", mebibytes(idle)),
        Figure::ours("CPU per idle second", format!("{cpu:.2} ms")),
        Figure::ours("memory with 1,000 partitions", mebibytes(with_partitions)),
        Figure::ours("the same with records and a producer in each", mebibytes(with_data)),
        Figure::ours("1,000 idle connections add", mebibytes(with_connections.saturating_sub(with_data))),
    ]
}

/// Milliseconds of CPU in a second without requests. The kernel counts in ticks of 10 ms, so that the watch is long.
fn cpu_per_idle_second(broker: &Broker) -> f64 {
    let before = cpu_time(broker.pid());
    std::thread::sleep(IDLE);
    (cpu_time(broker.pid()) - before).as_secs_f64() * 1e3 / IDLE.as_secs_f64()
}
