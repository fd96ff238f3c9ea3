//! How threads share a processor.

use std::io;

/// Lowers the calling thread's share of a processor that others want too: 0 is usual, 19 the least (setpriority(2)). New
/// threads inherit it.
///
/// # Errors
/// What the system says; a lower number than before needs privileges.
pub fn set_niceness(niceness: u8) -> io::Result<()> {
    // SAFETY: takes plain numbers; on Linux, process 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness.min(19).into()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the calling thread run before all usual ones, the least of the real-time threads (`SCHED_RR`, sched(7)), or as
/// a usual one again. New threads do not inherit it.
///
/// # Errors
/// What the system says; real time needs CAP_SYS_NICE, or a limit for it (`RLIMIT_RTPRIO`).
pub fn set_realtime(realtime: bool) -> io::Result<()> {
    let (policy, sched_priority) = if realtime { (libc::SCHED_RR, 1) } else { (libc::SCHED_OTHER, 0) };
    let parameters = libc::sched_param { sched_priority };
    // SAFETY: `parameters` is read only; thread 0 is the calling one.
    let result = unsafe { libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The calling thread's policy.
    fn policy() -> i32 {
        // SAFETY: takes a plain number.
        unsafe { libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK }
    }

    #[test]
    fn a_thread_becomes_real_time_where_it_may_and_usual_again() {
        let thread = std::thread::spawn(|| {
            let usual = policy();
            // Without the privilege nothing has changed.
            let expected = if set_realtime(true).is_ok() { libc::SCHED_RR } else { usual };
            let realtime = policy();
            let child = std::thread::spawn(policy).join().unwrap();
            set_realtime(false).unwrap();
            assert_eq!((realtime, child, policy()), (expected, libc::SCHED_OTHER, libc::SCHED_OTHER));
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_thread_can_give_way() {
        let own = || {
            // SAFETY: takes plain numbers.
            unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
        };
        let before = own();
        let thread = std::thread::spawn(move || {
            set_niceness(19).unwrap();
            own()
        });
        assert_eq!((thread.join().unwrap(), own()), (19, before));
    }
}
