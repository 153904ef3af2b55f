//! The disk's own durable ceiling, by the same ring and calls that the broker uses: 4 KiB at a time, and 1 MiB.

use std::rc::Rc;
use std::time::Instant;

use ottla_shards::host::{self, AlignedBuf, Durability, File, OpenHow, WriteSlice, run_local};

use crate::{Plan, directory, table, thousands};

const FILE_BYTES: u64 = 256 << 20;

pub fn measure(plan: &Plan) {
    let mut rows = table(&["disk alone, synced writes", "in flight", "writes/s", "MB/s", "CPU µs each"]);
    for (bytes, depths) in [(4 << 10, &[1, 2, 4, 8, 16, 32][..]), (64 << 10, &[1, 4]), (1 << 20, &[1, 2, 4])]
    {
        for &depth in depths {
            let (rate, cpu) = write(plan, bytes, depth);
            let each = cpu / rate.max(1.0) * 1e6;
            rows.add_row([
                format!("{} KiB", bytes >> 10),
                depth.to_string(),
                thousands(rate),
                format!("{:.0}", rate * bytes as f64 / 1e6),
                format!("{each:.0}"),
            ]);
        }
    }
    println!("{rows}\n");
}

/// Writes per second, and CPU seconds per second.
fn write(plan: &Plan, bytes: usize, depth: u64) -> (f64, f64) {
    let root = directory(plan);
    let (path, time) = (root.path().join("file"), plan.time);
    run_local(async move {
        let how = OpenHow { read: true, write: true, create: true, direct: true, ..OpenHow::default() };
        let file = File::open(&path, how).await.expect("a file");
        let zeros = AlignedBuf::zeroed(1 << 20).freeze();
        for at in (0..FILE_BYTES).step_by(1 << 20) {
            let slices: Vec<WriteSlice> = vec![zeros.clone().into()];
            file.write_at(slices, at, Durability::None).await.expect("a write");
        }
        file.sync_all().await.expect("a sync");
        let mut content = AlignedBuf::zeroed(bytes);
        content.fill(0x5A);
        let (content, started, cpu) = (content.freeze(), Instant::now(), crate::load::cpu());
        let count = Rc::new(std::cell::Cell::new(0_u64));
        let tasks: Vec<_> = (0..depth)
            .map(|lane| {
                let (file, content, count) = (file.clone(), content.clone(), Rc::clone(&count));
                host::spawn(async move {
                    let lane_bytes = FILE_BYTES / depth / bytes as u64 * bytes as u64;
                    let mut at = 0;
                    while started.elapsed() < time {
                        let slices: Vec<WriteSlice> = vec![content.clone().into()];
                        let position = lane * lane_bytes + at % lane_bytes;
                        file.write_at(slices, position, Durability::DataSync).await.expect("a write");
                        count.set(count.get() + 1);
                        at += bytes as u64;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let seconds = started.elapsed().as_secs_f64();
        (count.get() as f64 / seconds, (crate::load::cpu() - cpu) / seconds)
    })
}
