//! What registered files and buffers save: why the ring of a shard has none.
//!
//! `cargo test --release -p ottla-shards --lib figures_of_registered -- --ignored --nocapture`

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Instant;

use io_uring::{IoUring, opcode, squeue, types};

use crate::host::huge::{REGION_BYTES, Region};

/// Bytes that are read and written in place, over and over.
const FILE_BYTES: u64 = 256 << 20;

/// Rounds; each puts every question once.
const ROUNDS: usize = 5;

#[derive(Clone, Copy, PartialEq)]
enum Registered {
    Nothing,
    File,
    FileAndBuffers,
}

/// One load.
struct Load {
    is_write: bool,
    bytes: usize,
    in_flight: usize,
    operations: usize,
}

/// A file in place and the memory of what is in flight on it.
struct Ground {
    file: File,
    region: Region,
    parts: Vec<libc::iovec>,
    ring: IoUring,
}

impl Ground {
    fn new(path: &std::path::Path, load: &Load) -> Ground {
        assert!(load.bytes * load.in_flight <= REGION_BYTES, "one region is enough");
        let open = |flags| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(flags)
                .open(path)
        };
        let region = Region::new().expect("memory is there");
        // SAFETY: the region is nobody else's; what it held is zeros.
        let memory = unsafe { std::slice::from_raw_parts_mut(region.at(0).as_ptr(), REGION_BYTES) };
        memory.fill(7);
        let whole = open(libc::O_DIRECT).expect("a file");
        for at in (0..FILE_BYTES).step_by(REGION_BYTES) {
            whole.write_all_at(memory, at).expect("has room");
        }
        whole.sync_all().expect("a sync");
        let part = |at: usize| libc::iovec {
            iov_base: region.at(at * load.bytes).as_ptr().cast(),
            iov_len: load.bytes,
        };
        let parts: Vec<libc::iovec> = (0..load.in_flight).map(part).collect();
        let file = open(libc::O_DIRECT | libc::O_DSYNC).expect("a file");
        let ring =
            IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(8).expect("Linux 6.1");
        // SAFETY: the region outlives the ring's operations, each of which is waited for.
        unsafe { ring.submitter().register_buffers(&parts) }.expect("memory may be locked");
        ring.submitter().register_files(&[file.as_raw_fd()]).expect("a file may be registered");
        Ground { file, region, parts, ring }
    }

    fn entry(&self, load: &Load, registered: Registered, part: usize, at: u64) -> squeue::Entry {
        let (buffer, parts) = (self.region.at(part * load.bytes).as_ptr(), &raw const self.parts[part]);
        let bytes = u32::try_from(load.bytes).expect("small");
        let (named, known) = (types::Fd(self.file.as_raw_fd()), types::Fixed(0));
        let index = u16::try_from(part).expect("few");
        let entry = match (load.is_write, registered) {
            (true, Registered::Nothing) => opcode::Writev::new(named, parts, 1).offset(at).build(),
            (true, Registered::File) => opcode::Writev::new(known, parts, 1).offset(at).build(),
            (true, Registered::FileAndBuffers) => {
                opcode::WriteFixed::new(known, buffer, bytes, index).offset(at).build()
            }
            (false, Registered::Nothing) => opcode::Readv::new(named, parts, 1).offset(at).build(),
            (false, Registered::File) => opcode::Readv::new(known, parts, 1).offset(at).build(),
            (false, Registered::FileAndBuffers) => {
                opcode::ReadFixed::new(known, buffer, bytes, index).offset(at).build()
            }
        };
        entry.user_data(part as u64)
    }

    /// Microseconds of CPU and of time that one operation takes.
    fn run(&mut self, load: &Load, registered: Registered) -> (f64, f64) {
        let (cpu, started) = (thread_cpu_micros(), Instant::now());
        let mut free: Vec<usize> = (0..load.in_flight).collect();
        let (mut begun, mut ended) = (0, 0);
        while ended < load.operations {
            while begun < load.operations
                && let Some(part) = free.pop()
            {
                let at = (begun * load.bytes) as u64 % FILE_BYTES;
                let entry = self.entry(load, registered, part, at);
                // SAFETY: the memory of `part` is free, and the file is open.
                unsafe { self.ring.submission().push(&entry) }.expect("few are in flight");
                begun += 1;
            }
            self.ring.submit_and_wait(1).expect("the ring works");
            for done in self.ring.completion() {
                assert_eq!(usize::try_from(done.result()), Ok(load.bytes));
                free.push(usize::try_from(done.user_data()).expect("a part"));
                ended += 1;
            }
        }
        let each = |micros: f64| micros / load.operations as f64;
        (each(thread_cpu_micros() - cpu), each(started.elapsed().as_secs_f64() * 1e6))
    }
}

fn thread_cpu_micros() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer leads to `time`.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

#[test]
#[ignore = "prints figures"]
fn figures_of_registered_files_and_buffers() {
    let load = |is_write, bytes, in_flight, operations| Load { is_write, bytes, in_flight, operations };
    for load in [
        load(true, 4 << 10, 1, 8_000),
        load(true, 64 << 10, 1, 4_000),
        load(true, 1 << 20, 1, 500),
        load(false, 256 << 10, 2, 3_000),
        load(false, 1 << 20, 2, 800),
    ] {
        let root = tempfile::tempdir().expect("a temporary directory");
        let mut ground = Ground::new(&root.path().join("file"), &load);
        let ways = [Registered::Nothing, Registered::File, Registered::FileAndBuffers];
        let mut rounds = ways.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (way, taken) in ways.into_iter().zip(&mut rounds) {
                taken.push(ground.run(&load, way));
            }
        }
        let kind = if load.is_write { "durable writes" } else { "reads" };
        eprintln!("{kind} of {} KiB, {} in flight", load.bytes >> 10, load.in_flight);
        for (name, mut taken) in ["nothing", "the file", "file and buffers"].into_iter().zip(rounds) {
            taken.sort_by(|one, other| one.0.total_cmp(&other.0));
            let (cpu, time) = taken[ROUNDS / 2];
            eprintln!("  registered: {name:<16} {cpu:>6.1} us CPU each, {time:>6.1} us");
        }
    }
}
