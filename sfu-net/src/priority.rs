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

#[cfg(test)]
mod tests {
    use super::*;

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
