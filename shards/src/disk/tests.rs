//! The disk path on real files: a temporary directory of this machine's disk, and a tmpfs.

mod compact;
mod crash;
mod journal;
mod kafka;
mod left;
mod limits;
mod many;
mod naming;
mod order;
mod rebuild;
pub(crate) mod support;
mod whole;
