//! CPU time that the calling thread has used, exact to the nanosecond (/proc lags by up to a tick).

use std::time::Duration;

/// User and system time of the calling thread.
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec that the call fills.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "every Linux since 2.6.12 has this clock");
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_counts_and_sleep_does_not() {
        let begun = thread_cpu_time();
        std::thread::sleep(Duration::from_millis(20));
        assert!(thread_cpu_time() - begun < Duration::from_millis(20));
        let begun = thread_cpu_time();
        let mut x = 1u64;
        while thread_cpu_time() - begun < Duration::from_millis(1) {
            x = std::hint::black_box(x.wrapping_mul(31));
        }
        assert!(thread_cpu_time() > begun);
    }
}
