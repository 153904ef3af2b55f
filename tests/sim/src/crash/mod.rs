//! A crash at every operation on the disk: small workloads that are played once, and every moment of them recovered.
//!
//! A workload is [played](record) once, and before each operation that changes something of the disk or makes it
//! durable a copy of the disk is kept, with the writes under way and with what the clients had been told by then: a
//! [`Moment`]. That is every operation: between two of these the disk stays the same, and the last moment before the
//! next one is the one at which most is acknowledged. Each moment is then recovered under each crash model in a world
//! of its own: the real broker boots on what is left, without help, and is judged by the same checker as everything
//! else. Everything is a function of workload, seed, operation and model.

mod catalog;
mod driver;
mod hand;
mod recover;
mod report;
mod stage;
mod verify;

pub use catalog::{Workload, all};
pub use driver::{Options, Replay, record, replay, run};
pub use recover::{Crash, Failure, Found, Then};
pub use report::Totals;
pub use stage::{Moment, Recording, Setup, Stage};
