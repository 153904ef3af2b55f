//! One partition at half the disk's rate, through small segments and through one that never rolls.
//!
//! An open loop: batches come by the clock, and the time to the acknowledgement counts from when the batch was due, so
//! that a stall shows in every batch that it holds up.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ottla::limits::SEGMENT_BYTES_MAX;
use ottla::log::NewBatch;
use ottla_shards::disk::JournalUse;
use ottla_shards::host::{self, run_local};

use crate::batch::batch;
use crate::load::{self, Load};
use crate::{Plan, directory, median, micros, table, way_name};

/// Bytes of a batch: what producers make of a busy topic.
const BATCH_BYTES: usize = 128 << 10;

/// Segments that roll.
const SEGMENT_BYTES: u64 = 16 << 20;

/// What is printed of the times to acknowledgement; the last is the longest.
const QUANTILES: [f64; 6] = [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0];

/// One round of one case. The table has the median of each figure: the host of a virtual machine holds its disk up for
/// tens of milliseconds now and then, and of rounds put together such a moment would be all that the tail shows.
struct Run {
    rate: f64,
    nanos: [u64; QUANTILES.len()],
}

pub fn measure(plan: &Plan) {
    let half = plan.rate.unwrap_or_else(|| half_rate(plan));
    eprintln!("roll: {:.0} MB/s", half / 1e6);
    let header = ["rolls", "way", "MB/s", "p50", "p90", "p99", "p99.9", "p99.99", "most"];
    let mut rows = table(&header);
    let cases: Vec<(u64, JournalUse)> =
        plan.ways.iter().flat_map(|way| [(SEGMENT_BYTES_MAX, *way), (SEGMENT_BYTES, *way)]).collect();
    let mut runs: Vec<Vec<Run>> = cases.iter().map(|_| Vec::new()).collect();
    let spread = crate::spread_directory(plan);
    let plan = &Plan { dir: spread.path().to_owned(), ..plan.clone() };
    for _ in 0..plan.rounds {
        for ((segment_bytes, way), runs) in cases.iter().zip(&mut runs) {
            let root = directory(plan);
            let load = Load {
                way: *way,
                partitions: 1,
                batch_bytes: BATCH_BYTES,
                deep: 1,
                time: plan.time * 2,
                segment_bytes: *segment_bytes,
                path: root.path().to_owned(),
                zeroed_bytes: plan.zeroed_bytes,
            };
            let (nanos, rate) = run_local(open_loop(load, half));
            runs.push(Run { rate, nanos: QUANTILES.map(|quantile| nanos.value_at_quantile(quantile)) });
        }
    }
    for ((segment_bytes, way), runs) in cases.iter().zip(runs) {
        let rolls = if *segment_bytes == SEGMENT_BYTES { "every 16 MiB" } else { "never" };
        let mut row = vec![rolls.to_owned(), way_name(*way).to_owned()];
        row.push(format!("{:.0}", median(runs.iter().map(|run| run.rate)) / 1e6));
        let of_quantile = |at: usize| median(runs.iter().map(|run| run.nanos[at] as f64));
        row.extend((0..QUANTILES.len()).map(|at| micros(of_quantile(at) as u64)));
        rows.add_row(row);
    }
    println!("{rows}\n");
}

/// Bytes per second that one partition takes at most, halved.
fn half_rate(plan: &Plan) -> f64 {
    let root = directory(plan);
    let load = Load {
        way: JournalUse::Never,
        partitions: 1,
        batch_bytes: BATCH_BYTES,
        deep: 1,
        time: plan.time,
        segment_bytes: SEGMENT_BYTES_MAX,
        path: root.path().to_owned(),
        zeroed_bytes: plan.zeroed_bytes,
    };
    let (_, rate) = run_local(open_loop(load, f64::INFINITY));
    rate / 2.0
}

/// The times to acknowledgement, and the bytes per second that were acknowledged.
async fn open_loop(load: Load, bytes_per_second: f64) -> (hdrhistogram::Histogram<u64>, f64) {
    let disk = load::disk(&load).await;
    let partition = load::create(&disk, &load).await.remove(0);
    let batch = batch(load.batch_bytes);
    let nanos = Rc::new(RefCell::new(load::histogram()));
    let (done, in_flight) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(0_u64)));
    let apart = Duration::from_secs_f64(batch.0.len() as f64 / bytes_per_second);
    let started = Instant::now();
    let mut due = started;
    while started.elapsed() < load.time {
        let now = Instant::now();
        if due > now && !apart.is_zero() {
            host::sleep(due - now).await;
            continue;
        }
        let appended = partition.append(&batch.0, NewBatch::of_client(batch.1)).await.expect("an append");
        let (partition, nanos) = (Rc::clone(&partition), Rc::clone(&nanos));
        let (done, in_flight) = (Rc::clone(&done), Rc::clone(&in_flight));
        in_flight.set(in_flight.get() + 1);
        let asked = due;
        host::spawn_detached(async move {
            partition.wait_acknowledged(appended.end).await.expect("an acknowledgement");
            let took = u64::try_from(asked.elapsed().as_nanos()).expect("short");
            // The first batches make what is made once.
            if started.elapsed() > Duration::from_millis(500) {
                nanos.borrow_mut().record(took).expect("within the bounds");
            }
            done.set(done.get() + 1);
            in_flight.set(in_flight.get() - 1);
        });
        due += apart;
        if apart.is_zero() {
            host::yield_now().await;
        }
    }
    while in_flight.get() > 0 {
        host::sleep(Duration::from_millis(1)).await;
    }
    let rate = done.get() as f64 * batch.0.len() as f64 / started.elapsed().as_secs_f64();
    let nanos = nanos.replace(load::histogram());
    (nanos, rate)
}
