//! Memory in huge pages, for the buffers that the disk reads and writes.
//!
//! A disk is told of a buffer page by page. 256 small pages, scattered in memory, are 256 segments of one request; in
//! a huge page they are one. On a virtual disk that decides about throughput: tuning.md has the figures. So larger
//! buffers are cut out of regions of one huge page.
//!
//! Owned by whoever holds a part of it, on any shard; the last one frees it.
//!
//! What must hold: the start of a region is a multiple of its size; its bytes are zero when it is made. Where the
//! kernel has no huge page at hand, or may not give one, a region is ordinary memory.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a region: one huge page of x86-64, and of AArch64 with pages of 4 KiB.
pub(super) const REGION_BYTES: usize = 2 << 20;

/// One huge page of zeroed memory.
pub(super) struct Region {
    start: NonNull<u8>,
}

// SAFETY: a region is plain memory without thread affinity; it hands out its address alone.
unsafe impl Send for Region {}
// SAFETY: as for `Send`.
unsafe impl Sync for Region {}

impl Region {
    /// Makes a region. Its memory is taken when it is first touched, all of it at once.
    pub(super) fn new() -> Region {
        // Twice as much, so that a whole region lies in it wherever it begins; the rest goes back.
        let reserved = map(2 * REGION_BYTES);
        let ahead = reserved.as_ptr().align_offset(REGION_BYTES);
        assert!(ahead < REGION_BYTES, "an address is less than one region before a multiple of its size");
        // SAFETY: `ahead` is less than half of what was mapped.
        let start = unsafe { reserved.add(ahead) };
        unmap(reserved, ahead);
        // SAFETY: a region behind `start` still lies in what was mapped.
        unmap(unsafe { start.add(REGION_BYTES) }, REGION_BYTES - ahead);
        // SAFETY: the range was mapped here. Refusing leaves ordinary pages.
        let _ = unsafe { libc::madvise(start.as_ptr().cast(), REGION_BYTES, libc::MADV_HUGEPAGE) };
        Region { start }
    }

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

fn map(bytes: usize) -> NonNull<u8> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: new memory, at an address of the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
    let layout = Layout::from_size_align(bytes, 1).expect("far below the address space");
    if start == libc::MAP_FAILED {
        handle_alloc_error(layout);
    }
    NonNull::new(start.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

fn unmap(start: NonNull<u8>, bytes: usize) {
    if bytes > 0 {
        // SAFETY: the range was mapped by `map`, and its owner gives it up. Failing would leave it mapped.
        let _ = unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_aligned_zeroed_and_writable_to_its_last_byte() {
        let regions: Vec<Region> = (0..5).map(|_| Region::new()).collect();
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
