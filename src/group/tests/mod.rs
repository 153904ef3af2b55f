//! The coordinator in virtual time: every rule by itself, then random members against the invariants.

mod admin;
mod expiry;
mod harness;
mod join;
mod late;
mod leave;
mod limits;
mod loading;
mod membership;
mod model;
mod offsets;
mod records;
mod static_members;
mod sync;
