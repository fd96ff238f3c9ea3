//! Which CPUs we may use, and pinning a thread to one.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::io;

/// To the system calls, the thread that calls.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// The CPUs in the affinity mask that the process inherited, in order.
pub fn allowed_cpus() -> Vec<usize> {
    match sched_getaffinity(THIS_THREAD) {
        Ok(set) => (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect(),
        Err(_) => (0..std::thread::available_parallelism().map_or(1, |n| n.get())).collect(),
    }
}

/// Pins the calling thread to `cpu`.
///
/// # Errors
/// What the system says, for instance that there is no such CPU.
pub fn pin_current_thread(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(THIS_THREAD, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_pinned_to_what_is_allowed() {
        std::thread::spawn(|| {
            let cpus = allowed_cpus();
            pin_current_thread(cpus[0]).unwrap();
            assert_eq!(allowed_cpus(), cpus[..1]);
            assert!(pin_current_thread(100_000).is_err());
        })
        .join()
        .unwrap();
    }
}
