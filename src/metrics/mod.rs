//! What a broker counts about itself, and how it is written for Prometheus.
//!
//! Each shard has one [`ShardMetrics`] and is the only one that touches it: plain cells, an observation is an index and
//! two additions. Whoever wants the figures gets a [`Snapshot`] from each shard and writes a [`Page`] of them. Nothing
//! of it is on disk; a counter begins at zero with the process.
//!
//! | file | what it says |
//! |---|---|
//! | `table` | what is counted, under which name, in which unit |
//! | `histogram` | times by size: the buckets |
//! | `shard` | the cells of one shard, and their copy |
//! | `text` | the text exposition format 0.0.4 |
//!
//! What must hold: a name stands for one thing and ends with its unit; samples of one family stand together; a
//! histogram's count is the sum of its buckets.

mod histogram;
mod shard;
mod table;
mod text;

pub use histogram::{BUCKETS, Histogram, Times, bucket_bound_micros};
pub use shard::{ShardMetrics, Snapshot};
pub use table::{Counter, Gauge, Row, Timing};
pub use text::{CONTENT_TYPE, Page, Process};
