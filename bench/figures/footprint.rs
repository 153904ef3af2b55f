//! What connections take of a broker while nobody asks anything over them.

use std::net::TcpStream;
use std::time::Duration;

use crate::{Figure, broker, mebibytes};

/// How long memory may settle.
const SETTLE: Duration = Duration::from_secs(3);

/// What idle connections add.
pub fn measure() -> Vec<Figure> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let broker = broker(&directory.path().join("data"));
    std::thread::sleep(SETTLE);
    let idle = broker.resident_bytes();
    let connections: Vec<_> =
        (0..1000).map(|_| TcpStream::connect(broker.address()).expect("the broker accepts")).collect();
    std::thread::sleep(SETTLE);
    let with_connections = broker.resident_bytes();
    drop(connections);
    assert_eq!(broker.stop(), 0);
    vec![Figure::ours("1,000 idle connections add", mebibytes(with_connections.saturating_sub(idle)))]
}
