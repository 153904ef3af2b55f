//! How long operations take, in virtual time.
//!
//! The ranges are those of a good NVMe disk in a machine with neighbours. The numbers have a stream of their own: to
//! ask for a time changes nothing else that the seed decides.

use std::path::Path;
use std::time::Duration;

use ottla::time::Monotonic;

use super::faults::Op;
use super::rng::Rng;
use super::tree::normal;
use super::{Disk, FileId};

/// One in so many operations on the device waits for something else that the device does.
const STALLS_ONE_IN: u64 = 200;

/// Nanoseconds of such a wait.
const STALL_NS: (u64, u64) = (10_000_000, 50_000_000);

/// Bytes that are written in a nanosecond.
const WRITTEN_PER_NS: u64 = 2;

/// Nanoseconds from the least to the most that an operation takes, and whether it goes to the device.
fn range_ns(op: Op) -> (u64, u64, bool) {
    match op {
        Op::Read => (20_000, 200_000, true),
        Op::Write => (20_000, 300_000, true),
        Op::SyncData | Op::SyncAll | Op::SyncDir | Op::SyncFs => (100_000, 3_000_000, true),
        Op::Open | Op::CreateDir | Op::Rename | Op::RemoveFile | Op::RemoveDir | Op::ReadDir => {
            (5_000, 60_000, false)
        }
        Op::SetLen | Op::Allocate => (10_000, 100_000, false),
        Op::Close | Op::Len | Op::Lock | Op::Lookup | Op::Space => (1_000, 10_000, false),
    }
}

fn draw_ns(rng: &mut Rng, op: Op, bytes: u64) -> u64 {
    let (least, most, is_on_device) = range_ns(op);
    let transfer = if op == Op::Write { bytes / WRITTEN_PER_NS } else { 0 };
    let stalls = is_on_device && rng.chance(1, STALLS_ONE_IN);
    let stall = if stalls { rng.between(STALL_NS.0, STALL_NS.1) } else { 0 };
    rng.between(least, most) + transfer + stall
}

impl Disk {
    /// The virtual time of an operation of `bytes` bytes (0 where it has none) at `path`: reads 20–200 µs, writes
    /// 20–300 µs and what 2 GB/s take, syncs 0.1–3 ms, names less; now and then 10–50 ms more; all of it times the
    /// factor of a slow device.
    pub fn latency(&mut self, op: Op, path: &Path, bytes: u64) -> Duration {
        let device = normal(path).map_or(0, |path| self.tree.device_of(&path));
        let factor = match self.tree.devices[device].slow {
            Some((factor, until)) if self.tree.now < until => factor,
            Some(_) | None => 1,
        };
        Duration::from_nanos(draw_ns(&mut self.timing, op, bytes)) * factor
    }

    /// [`Disk::latency`] of an operation on an open file.
    pub fn latency_of(&mut self, op: Op, file: FileId, bytes: u64) -> Duration {
        let path = self.handles.get(&file).map(|handle| handle.path.clone());
        self.latency(op, path.as_deref().unwrap_or(Path::new("/")), bytes)
    }

    /// Makes operations on the device of `path` take `factor` times as long until `until`, by [`Disk::set_now`].
    pub fn slow(&mut self, path: &Path, factor: u32, until: Monotonic) {
        let device = self.device_at(path);
        self.tree.devices[device].slow = Some((factor, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_device_takes_longer_for_a_while_and_the_others_do_not() {
        let mut disk = Disk::new(4);
        disk.add_device(Path::new("/slow"), 1 << 30);
        disk.slow(Path::new("/slow"), 1000, Monotonic(50));
        let least = Duration::from_micros(20);
        assert!(disk.latency(Op::Read, Path::new("/slow/x"), 0) >= least * 1000);
        assert!(disk.latency(Op::Read, Path::new("/x"), 0) < least * 1000);
        disk.set_now(Monotonic(50));
        let mean = (0..100).map(|_| disk.latency(Op::Read, Path::new("/slow/x"), 0)).sum::<Duration>() / 100;
        assert!(mean < least * 1000);
    }

    #[test]
    fn big_writes_take_longer_and_stalls_happen() {
        let mut disk = Disk::new(4);
        let path = Path::new("/x");
        assert!(disk.latency(Op::Write, path, 1 << 30) >= Duration::from_millis(500));
        let times: Vec<_> = (0..2000).map(|_| disk.latency(Op::SyncData, path, 0)).collect();
        let stalls = times.iter().filter(|&&time| time >= Duration::from_millis(10)).count();
        assert!((1..60).contains(&stalls), "{stalls}");
        assert!(times.iter().all(|&time| time >= Duration::from_micros(100)));
    }
}
