//! The disk's own durable ceiling, by the same ring and calls that the broker uses: 4 KiB at a time, and 1 MiB.

use ottla_shards::host::run_local;
use ottla_shards::tune::{Bed, Load};

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
    let (path, time) = (root.path().to_owned(), plan.time);
    run_local(async move {
        let bed = Bed::prepare(&path, FILE_BYTES).await.expect("a file");
        let cpu = crate::load::cpu();
        let figure = bed.write(Load { bytes, depth }, time).await.expect("writes");
        (figure.per_second(), (crate::load::cpu() - cpu) / figure.elapsed.as_secs_f64())
    })
}
