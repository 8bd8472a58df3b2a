//! Counts what a target allocates: nothing that somebody else claims may cost more memory than is named.
//!
//! Counted per thread, because targets run on one thread each and tests beside one another.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What every target may take for each byte of its input.
pub const BYTES_PER_INPUT_BYTE: usize = 64;

struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends has no counters any more, and nobody who would ask.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get())));
    });
}

#[allow(unsafe_code, reason = "there is no other way to see allocations; every call goes on to the system's")]
// SAFETY: each method hands its arguments to `System` as they came and returns what that returned; counting
// touches two constant-initialised thread-local cells and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs `work` and tells how many bytes it held at most, beyond what was held before.
pub fn peak(work: impl FnOnce()) -> usize {
    let before = NOW.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    work();
    usize::try_from(PEAK.with(Cell::get) - before).unwrap_or(0)
}

#[cfg(test)]
#[test]
fn what_is_held_for_a_moment_only_is_seen() {
    let seen = peak(|| drop(std::hint::black_box(vec![0u8; 3 << 20])));
    assert!((3 << 20..4 << 20).contains(&seen), "{seen}");
    assert!(peak(|| ()) < 1000);
}
