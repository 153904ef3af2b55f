//! WHERE a broker runs.
pub mod disk;
