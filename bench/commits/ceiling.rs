//! The disk's own durable ceiling, by the same ring and calls that the broker uses: over what was written before, and
//! behind the end of files, which is where a log writes and where the file system has to make the file's new length
//! durable as well.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ottla_shards::host::{self, AlignedBuf, Durability, File, OpenHow, WriteSlice, run_local};
use ottla_shards::tune::{Bed, Load};

use crate::{Plan, directory, table, thousands};

const FILE_BYTES: u64 = 256 << 20;

/// In place: bytes of a write, and how many are in flight.
const IN_PLACE: [(usize, &[u64]); 3] =
    [(4 << 10, &[1, 2, 4, 8, 16, 32]), (64 << 10, &[1, 4, 16, 64]), (1 << 20, &[1, 2, 4])];

/// Appended: the same, each in flight to a file of its own, as partitions are.
const APPENDED: [(usize, &[u64]); 2] = [(64 << 10, &[1, 16, 64]), (1 << 20, &[1, 4, 16])];

pub fn measure(plan: &Plan) {
    let mut rows = table(&["disk alone, synced writes", "in flight", "writes/s", "MB/s", "CPU µs each"]);
    let mut row = |what: &str, bytes: usize, depth: u64, (rate, cpu): (f64, f64)| {
        rows.add_row([
            format!("{} KiB {what}", bytes >> 10),
            depth.to_string(),
            thousands(rate),
            format!("{:.0}", rate * bytes as f64 / 1e6),
            format!("{:.0}", cpu / rate.max(1.0) * 1e6),
        ]);
    };
    for (bytes, depths) in IN_PLACE {
        depths.iter().for_each(|&depth| row("in place", bytes, depth, in_place(plan, bytes, depth)));
    }
    for (bytes, depths) in APPENDED {
        depths.iter().for_each(|&depth| row("appended", bytes, depth, appended(plan, bytes, depth)));
    }
    println!("{rows}\n");
}

/// Writes per second, and CPU seconds per second.
fn in_place(plan: &Plan, bytes: usize, depth: u64) -> (f64, f64) {
    let root = directory(plan);
    let (path, time) = (root.path().to_owned(), plan.time);
    run_local(async move {
        let bed = Bed::prepare(&path, FILE_BYTES).await.expect("a file");
        let cpu = crate::load::cpu();
        let figure = bed.write(Load { bytes, depth }, time).await.expect("writes");
        (figure.per_second(), (crate::load::cpu() - cpu) / figure.elapsed.as_secs_f64())
    })
}

/// The same behind the ends of `depth` new files.
fn appended(plan: &Plan, bytes: usize, depth: u64) -> (f64, f64) {
    let root = directory(plan);
    let (path, time) = (root.path().to_owned(), plan.time);
    run_local(async move {
        let mut content = AlignedBuf::zeroed(bytes);
        content.fill(0x5A);
        let (content, written) = (content.freeze(), Rc::new(Cell::new(0_u64)));
        let mut files = Vec::new();
        for file in 0..depth {
            files.push(new_file(&path.join(file.to_string())).await);
        }
        let (cpu, begun) = (crate::load::cpu(), Instant::now());
        let lanes: Vec<_> = files
            .into_iter()
            .map(|file| {
                let slices: Vec<WriteSlice> = vec![content.clone().into()];
                host::spawn(append(file, slices, (begun, time), Rc::clone(&written)))
            })
            .collect();
        for lane in lanes {
            lane.await;
        }
        let seconds = begun.elapsed().as_secs_f64();
        (written.get() as f64 / seconds, (crate::load::cpu() - cpu) / seconds)
    })
}

async fn new_file(path: &Path) -> File {
    let how = OpenHow { write: true, create_new: true, direct: true, ..OpenHow::default() };
    File::open(path, how).await.expect("a file")
}

async fn append(
    file: File,
    slices: Vec<WriteSlice>,
    (begun, time): (Instant, Duration),
    written: Rc<Cell<u64>>,
) {
    let bytes: usize = slices.iter().map(WriteSlice::len).sum();
    let mut position = 0;
    while begun.elapsed() < time {
        file.write_at(slices.clone(), position, Durability::DataSync).await.expect("a write");
        position += bytes as u64;
        written.set(written.get() + 1);
    }
}
