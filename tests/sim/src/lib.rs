//! Whole brokers in a simulated world, loaded, hurt and judged.
//!
//! [`client`] speaks Kafka's protocol in virtual time, [`workload`] draws from a seed what is asked, [`history`] keeps
//! what was asked and answered, [`check`] says what a correct broker could not have answered, and [`run`] makes the
//! world of a seed, with its crashes and failures, around all of it. [`crash`] takes the power away at every single
//! operation of small workloads. Nothing here is part of a broker; everything is owned by the one thread that runs a
//! seed.

pub mod canaries;
pub mod check;
pub mod client;
pub mod crash;
pub mod history;
pub mod random;
pub mod records;
pub mod run;
pub mod workload;
