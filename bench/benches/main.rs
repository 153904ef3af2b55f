//! What the steps of a record's path cost, each against its budget in tuning.md: one file per question.
//!
//! `cargo bench -p ottla-bench --bench budget [-- FILTER]` measures and prints; with `OTTLA_BENCH_WRITE=1`, as
//! `make bench` runs it, the column "measured" of tuning.md is written anew once every row has its figure.
//!
//! What must hold: every question that is measured has a row, and every row is measured by a run without a filter.

mod append;
#[path = "../commits/batch.rs"]
mod batch;
mod batches;
mod build;
mod compression;
mod crc;
mod fetch_plan;
mod group_commit;
mod header;
mod index;
mod machine;
mod mesh;
mod metadata;
mod suite;
mod validation;
mod wire;
mod worker;

use suite::Suite;

/// The allocator that the broker has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut suite = Suite::new();
    header::measure(&mut suite);
    crc::measure(&mut suite);
    validation::measure(&mut suite);
    build::measure(&mut suite);
    compression::measure(&mut suite);
    append::measure(&mut suite);
    index::measure(&mut suite);
    fetch_plan::measure(&mut suite);
    wire::measure(&mut suite);
    metadata::measure(&mut suite);
    mesh::measure(&mut suite);
    group_commit::measure(&mut suite);
    suite.finish();
}
