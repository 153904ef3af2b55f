//! Many partitions: few descriptors, starts that do not take long, memory that stays small.
//!
//! Times and memory are printed, not judged, because other things run beside tests; what is judged is that nothing is
//! lost, that nothing goes offline, and that running out of descriptors is told once.

mod descriptors;
mod load;
mod start;
mod topics;
