//! A simulated machine: what the host seam names, in one thread, in virtual time, from one seed.
//!
//! Nothing here touches the real machine. What it owns is the state of the machines that it pretends to be.
//!
//! Invariant: the same seed and the same calls give the same answers, on every run and on every machine.

pub mod disk;
