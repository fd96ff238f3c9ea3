//! Asks the processor for memory that will be needed soon.
//!
//! A fan-out touches a few dozen cache lines of every subscriber, once per frame, so that most of them are no longer
//! in the cache: waiting for one after the other would cost more than all the work on them.

/// Bytes that the processor fetches at a time.
const LINE: usize = 64;
/// Most that is fetched of one value: more would take the place of what was fetched just before.
const MOST: usize = 2_048;

/// Fetches `value`, without waiting for it.
#[inline]
#[expect(unsafe_code, reason = "the instruction takes an address; there is no safe form of it on stable Rust")]
pub fn prefetch<T: ?Sized>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(value).cast::<i8>();
        for offset in (0..size_of_val(value).min(MOST)).step_by(LINE) {
            // SAFETY: the address lies within `value`; a prefetch neither reads nor writes nor faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (value, LINE, MOST);
}
