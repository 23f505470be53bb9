//! Asks the CPU for memory before it is needed.
//!
//! A turn visits the state of hundreds of subscribers one after the other, and none of it is in the nearest cache. A load
//! that waits for memory holds up everything behind it; a prefetch does not.

/// Cache line of every CPU this runs on, or half of one.
const LINE: usize = 64;

/// Fetches all lines of a value.
#[inline]
pub fn prefetch<T>(value: &T) {
    prefetch_all(std::slice::from_ref(value));
}

/// Fetches all lines of some values.
#[inline]
pub fn prefetch_all<T>(values: &[T]) {
    let start = values.as_ptr().cast::<i8>();
    // Where the first line begins: a value may lie across more lines than its size says.
    let before = start.addr() % LINE;
    for offset in (0..before + size_of_val(values)).step_by(LINE) {
        line(start.wrapping_sub(before).wrapping_add(offset));
    }
}

/// Fetches the line behind the last of some values, where the next one goes.
#[inline]
pub fn prefetch_after<T>(values: &[T]) {
    line(values.as_ptr_range().end.cast());
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn line(address: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint; it reads nothing, whatever the address is. SSE is part of every x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn line(_: *const i8) {}
