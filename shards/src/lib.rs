//! WHERE a broker runs: one executor per core, the only home of unsafe, io_uring, direct I/O, sendfile and clocks.

pub mod disk;
pub mod host;
pub mod mesh;
