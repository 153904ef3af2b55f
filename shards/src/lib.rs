//! WHERE a broker runs: one executor per core, the only home of unsafe, io_uring, direct I/O, sendfile and clocks.

pub mod boot;
pub mod disk;
pub mod drive;
pub mod host;
#[cfg(not(feature = "sim"))]
pub mod last_words;
pub mod logs;
pub mod mesh;
pub mod metrics;
pub mod net;
pub mod terminal;
#[cfg(not(feature = "sim"))]
pub mod tune;
