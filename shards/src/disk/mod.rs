//! placeholder while the parts land
pub mod clean;
pub mod dirs;
pub mod error;
pub mod fds;
pub mod offsets_file;
mod sys;
pub mod tail;
pub mod watch;
