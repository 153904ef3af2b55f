//! Memory in huge pages, for the buffers that the disk reads and writes.
//!
//! A disk is told of a buffer page by page. 256 small pages, scattered in memory, are 256 segments of one request; in
//! a huge page they are one. On a virtual disk that decides about throughput: tuning.md has the figures. So larger
//! buffers are cut out of regions of one huge page.
//!
//! Owned by whoever holds a part of it, on any shard; the last one frees it.
//!
//! The first touch of a huge page takes 0.1 ms, and 5 ms on a virtual machine whose host has to find the memory first.
//! So a thread of its own makes regions and touches them, and a shard that finds none ready uses ordinary memory.
//!
//! What must hold: the start of a region is a multiple of its size; its bytes are zero when it is made. Where the
//! kernel has no huge page at hand, or may not give one, a region is ordinary memory.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

#[cfg(not(feature = "sim"))]
pub(super) use maker::ask;

/// Bytes of a region: one huge page of x86-64, and of AArch64 with pages of 4 KiB.
pub(super) const REGION_BYTES: usize = 2 << 20;

/// The start of a region that is made, and of which nobody has a part; null where there is none.
static READY: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

/// The region that is ready, if one is.
pub(super) fn ready() -> Option<Region> {
    // A look first: an exchange would take the line from every other shard's cache.
    if READY.load(Ordering::Relaxed).is_null() {
        return None;
    }
    NonNull::new(READY.swap(std::ptr::null_mut(), Ordering::Acquire)).map(|start| Region { start })
}

/// Simulated shards share one thread, and no disk of theirs gains by regions.
#[cfg(feature = "sim")]
pub(super) fn ask() {}

#[cfg(not(feature = "sim"))]
mod maker {
    //! How regions are made, and the thread that has one ready.

    use std::mem::ManuallyDrop;
    use std::ptr::NonNull;
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::{READY, REGION_BYTES, Region, unmap};
    use crate::host::glommio::{pin_thread, process_cpus};

    /// Has a region made, unless one is in the making.
    pub(in crate::host) fn ask() {
        static MAKER: OnceLock<Option<SyncSender<()>>> = OnceLock::new();
        if let Some(maker) = MAKER.get_or_init(start) {
            // Full: it has been asked already.
            let _ = maker.try_send(());
        }
    }

    /// Starts the thread; without it there are no regions.
    fn start() -> Option<SyncSender<()>> {
        let (maker, asked) = sync_channel(1);
        let make = move || make_regions(&asked);
        std::thread::Builder::new().name("huge-pages".to_owned()).spawn(make).ok().map(|_| maker)
    }

    /// Makes one region after the other, as long as the process lives.
    fn make_regions(asked: &Receiver<()>) {
        /// Against a shard on the same core it gets a tenth of the time.
        const NICENESS: libc::c_int = 10;
        // The thread inherits the pin of the shard that asked first.
        let _ = pin_thread(&process_cpus());
        // SAFETY: numbers only.
        let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
        while asked.recv().is_ok() {
            // Nobody else makes one ready.
            if READY.load(Ordering::Relaxed).is_null() {
                let Some(region) = Region::new() else { continue };
                touch(&region);
                READY.store(region.into_start().as_ptr(), Ordering::Release);
            }
        }
    }

    impl Region {
        /// Makes a region, unless the process may not map so much. Its memory is taken when it is first touched, all of
        /// it at once.
        pub(in crate::host) fn new() -> Option<Region> {
            // Twice as much, so that a whole region lies in it wherever it begins; the rest goes back.
            let reserved = map(2 * REGION_BYTES)?;
            let ahead = reserved.as_ptr().align_offset(REGION_BYTES);
            assert!(ahead < REGION_BYTES, "an address is less than one region before a multiple of its size");
            // SAFETY: `ahead` is less than half of what was mapped.
            let start = unsafe { reserved.add(ahead) };
            unmap(reserved, ahead);
            // SAFETY: a region behind `start` still lies in what was mapped.
            unmap(unsafe { start.add(REGION_BYTES) }, REGION_BYTES - ahead);
            // SAFETY: the range was mapped here. Refusing leaves ordinary pages.
            let _ = unsafe { libc::madvise(start.as_ptr().cast(), REGION_BYTES, libc::MADV_HUGEPAGE) };
            Some(Region { start })
        }

        /// Gives the region up without freeing it: whoever takes the start has it.
        fn into_start(self) -> NonNull<u8> {
            ManuallyDrop::new(self).start
        }
    }

    fn map(bytes: usize) -> Option<NonNull<u8>> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, at an address of the kernel's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
        if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) }
    }

    /// Has the kernel find the memory now.
    fn touch(region: &Region) {
        for at in (0..REGION_BYTES).step_by(4096) {
            // SAFETY: the byte lies in the region, which nobody else has yet.
            unsafe { region.at(at).as_ptr().write_volatile(0) };
        }
    }
}

/// One huge page of zeroed memory.
pub(super) struct Region {
    start: NonNull<u8>,
}

// SAFETY: a region is plain memory without thread affinity; it hands out its address alone.
unsafe impl Send for Region {}
// SAFETY: as for `Send`.
unsafe impl Sync for Region {}

impl Region {
    /// The address of byte `at`, which must lie in the region.
    pub(super) fn at(&self, at: usize) -> NonNull<u8> {
        assert!(at < REGION_BYTES, "a part begins in its region");
        // SAFETY: in bounds by the assert.
        unsafe { self.start.add(at) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        unmap(self.start, REGION_BYTES);
    }
}

fn unmap(start: NonNull<u8>, bytes: usize) {
    if bytes > 0 {
        // SAFETY: the range was mapped by `map`, and its owner gives it up. Failing would leave it mapped.
        let _ = unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
    }
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_aligned_zeroed_and_writable_to_its_last_byte() {
        let regions: Vec<Region> = (0..5).filter_map(|_| Region::new()).collect();
        for region in &regions {
            assert_eq!(region.at(0).as_ptr() as usize % REGION_BYTES, 0);
            for at in [0, 1, REGION_BYTES / 2, REGION_BYTES - 1] {
                let byte = region.at(at).as_ptr();
                // SAFETY: the byte lies in a region that nobody else has.
                unsafe {
                    assert_eq!(byte.read(), 0);
                    byte.write(7);
                }
            }
        }
    }

    #[test]
    fn nothing_is_left_mapped_around_or_behind_a_region() {
        let mapped = || std::fs::read_to_string("/proc/self/statm").expect("is there");
        let pages =
            |text: String| text.split(' ').next().expect("a field").parse::<usize>().expect("a number");
        let before = pages(mapped());
        for _ in 0..10_000 {
            drop(Region::new());
        }
        // Other tests run beside this one: 20 GB would be far beyond them.
        assert!(pages(mapped()) < before + (4 << 30) / 4096);
    }
}
