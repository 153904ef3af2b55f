//! The start as a user meets it: settings and where they come from, what is printed, what is refused and in which
//! words, directories, listeners, shards, signals. Every test runs the real binary on ports and directories of its
//! own.

mod configs;
mod defaults;
mod foreign;
mod kraft;
mod listeners;
mod refusals;
mod shards;
mod stopping;
mod storage;
mod support;
