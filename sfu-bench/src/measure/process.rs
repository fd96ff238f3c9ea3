//! What /proc says of a process: CPU time per thread, resident memory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// A process's figures at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProcessSample {
    /// CPU time of all threads that are or were.
    pub cpu: Duration,
    /// CPU time by thread: name and number, time.
    pub threads: BTreeMap<(String, u32), Duration>,
    /// Resident set size in bytes.
    pub rss: u64,
}

impl ProcessSample {
    /// Reads the figures of process `pid`.
    ///
    /// # Errors
    /// Where the process is gone or may not be looked at.
    pub fn read(pid: u32) -> io::Result<Self> {
        let cpu = cpu_time(&fs::read_to_string(format!("/proc/{pid}/stat"))?)?.1;
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A thread may end between the listing and the look.
            let Ok(time) = thread_time(pid, tid) else { continue };
            threads.insert((time.0, tid), time.1);
        }
        Ok(Self { cpu, threads, rss: rss(&fs::read_to_string(format!("/proc/{pid}/status"))?)? })
    }

    /// What was used since `earlier`, by thread name.
    pub fn since(&self, earlier: &Self) -> ProcessUse {
        let mut by_thread: BTreeMap<String, Duration> = BTreeMap::new();
        for (key, time) in &self.threads {
            let before = earlier.threads.get(key).copied().unwrap_or_default();
            *by_thread.entry(key.0.clone()).or_default() += time.saturating_sub(before);
        }
        ProcessUse { cpu: self.cpu.saturating_sub(earlier.cpu), by_thread, rss: self.rss }
    }
}

impl ProcessUse {
    /// CPU time of all threads, from their exact clocks, in nanoseconds per packet.
    pub fn cost_per_packet(&self, packets: u64) -> f64 {
        let cpu: Duration = self.by_thread.values().sum();
        cpu.as_nanos() as f64 / packets.max(1) as f64
    }

    /// Adds what was used at another, later time.
    pub fn merge(&mut self, later: &Self) {
        self.cpu += later.cpu;
        for (name, time) in &later.by_thread {
            *self.by_thread.entry(name.clone()).or_default() += *time;
        }
        self.rss = later.rss;
    }
}

/// What a process used between two samples.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProcessUse {
    /// CPU time of all threads.
    pub cpu: Duration,
    /// CPU time by thread name.
    pub by_thread: BTreeMap<String, Duration>,
    /// Resident set size at the end, in bytes.
    pub rss: u64,
}

/// The CPU on which the busiest thread of `pid` ran last (field 39 of proc_pid_stat(5)).
pub fn busiest_cpu(pid: u32) -> Option<usize> {
    let sample = ProcessSample::read(pid).ok()?;
    let busiest = sample.threads.iter().max_by_key(|(_, time)| **time)?.0.1;
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{busiest}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(36)?.parse().ok()
}

/// Name and run time. `schedstat` counts nanoseconds where the kernel keeps it; `stat` counts ticks.
fn thread_time(pid: u32, tid: u32) -> io::Result<(String, Duration)> {
    let (name, ticks) = cpu_time(&fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat"))?)?;
    let exact = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat"))
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .filter(|&nanos| nanos > 0)
        .map(Duration::from_nanos);
    Ok((name, exact.unwrap_or(ticks)))
}

/// Name, and user plus system time (fields 14 and 15 of proc_pid_stat(5)). The name may hold anything, so the
/// fields are counted from its closing parenthesis.
fn cpu_time(stat: &str) -> io::Result<(String, Duration)> {
    let parse = || {
        let (head, tail) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let mut fields = tail.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        // USER_HZ is 100 on every Linux architecture that we build for.
        Some((name, Duration::from_millis((user + system) * 10)))
    };
    parse().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/…/stat has another form than expected"))
}

fn rss(status: &str) -> io::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/…/status has no VmRSS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let stat = "7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 250 50 0 0 20 0 1 0 5";
        assert_eq!(cpu_time(stat).unwrap(), ("a) b".into(), Duration::from_secs(3)));
        assert!(cpu_time("7 (x").is_err());
    }

    #[test]
    fn the_busiest_thread_runs_where_it_is_pinned() {
        let cpu = sfu_net::affinity::allowed_cpus().pop().unwrap();
        let pinned = std::thread::spawn(move || {
            sfu_net::affinity::pin_current_thread(cpu).unwrap();
            std::process::Command::new("sleep").arg("10").spawn().unwrap()
        });
        let mut child = pinned.join().unwrap();
        assert_eq!(busiest_cpu(child.id()), Some(cpu));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(busiest_cpu(u32::MAX), None);
    }

    #[test]
    fn our_own_work_is_seen() {
        let before = ProcessSample::read(std::process::id()).unwrap();
        let mut x = 1u64;
        for i in 0..200_000_000u64 {
            x = std::hint::black_box(x.wrapping_mul(31).wrapping_add(i));
        }
        let used = ProcessSample::read(std::process::id()).unwrap().since(&before);
        assert!(used.cpu > Duration::ZERO && used.rss > 0, "{used:?}");
        assert!(used.by_thread.values().sum::<Duration>() > Duration::ZERO);
    }
}
