//! CPU time that the calling thread has used, exact to the nanosecond (/proc lags by up to a tick).

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// User and system time of the calling thread.
pub fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.expect("every Linux since 2.6.12 has this clock").into()
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
