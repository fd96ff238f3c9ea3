//! Who had the processors while a test ran: a browser that gets no time says nothing about the server, and a server that
//! takes all of it says a lot.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The probe sleeps so long ...
const NAP: Duration = Duration::from_millis(5);
/// ... and a wake-up that comes this much later was late: a frame at 15 per second lasts 66 ms, and takes several.
const LATE: Duration = Duration::from_millis(20);
/// With so many naps of a hundred late, browsers miss frames on their own.
const MOST_LATE_PERCENT: f64 = 3.0;
/// With less of the processors idle, somebody waits for them at every moment.
const LEAST_IDLE: f64 = 0.1;
/// How often processes are looked at: those that start and end in between go unseen.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// /proc counts processor time in hundredths of a second (USER_HZ is 100 on every Linux that we run on).
const TICKS_PER_SECOND: f64 = 100.0;

/// Watches the machine from [`Watch::start`] until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    record: Arc<Mutex<Record>>,
}

#[derive(Debug, Default)]
struct Record {
    looks: Vec<Look>,
    /// The watch is over.
    ended: bool,
}

/// Everything up to one moment, in ticks.
#[derive(Clone, Debug)]
struct Look {
    at: SystemTime,
    idle: u64,
    all: u64,
    by_program: BTreeMap<String, u64>,
    naps: u64,
    late: u64,
}

/// Where the processors' time went in a span.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Share {
    /// Share of the time of all processors that nobody wanted.
    pub(crate) idle: f64,
    /// Naps of a hundred that ended late.
    late_percent: f64,
    /// Programs with the processors that each kept busy, the busiest first.
    programs: Vec<(String, f64)>,
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn start() -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let watched = Arc::clone(&record);
        thread::spawn(move || watch(&watched));
        Self { record }
    }

    /// Where the time went between two moments, as far as it was watched; all of it where there are none.
    pub(crate) fn share(&self, span: Option<(SystemTime, SystemTime)>) -> Share {
        let record = lock(&self.record);
        let (from, to) = span.unwrap_or((UNIX_EPOCH, SystemTime::now()));
        let first = record.looks.iter().rfind(|look| look.at <= from).or(record.looks.first());
        let last = record.looks.iter().find(|look| look.at >= to).or(record.looks.last());
        match (first, last) {
            (Some(first), Some(last)) => Share::between(first, last),
            _ => Share::default(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&self.record).ended = true;
    }
}

impl Share {
    fn between(first: &Look, last: &Look) -> Self {
        let all = (last.all - first.all).max(1) as f64;
        let seconds = last.at.duration_since(first.at).unwrap_or_default().as_secs_f64().max(0.01);
        let cores = |(name, ticks): (&String, &u64)| {
            let grown = ticks - first.by_program.get(name).copied().unwrap_or(0).min(*ticks);
            (name.clone(), grown as f64 / TICKS_PER_SECOND / seconds)
        };
        let mut programs: Vec<_> = last.by_program.iter().map(cores).filter(|(_, cores)| *cores >= 0.01).collect();
        programs.sort_by(|one, other| other.1.total_cmp(&one.1));
        Self {
            idle: (last.idle - first.idle) as f64 / all,
            late_percent: 100.0 * (last.late - first.late) as f64 / (last.naps - first.naps).max(1) as f64,
            programs,
        }
    }

    /// Whether whoever wanted a processor had to wait for it.
    pub(crate) fn is_full(&self) -> bool {
        self.idle < LEAST_IDLE || self.late_percent > MOST_LATE_PERCENT
    }

    /// How many processors a program kept busy.
    pub(crate) fn cores(&self, program: &str) -> f64 {
        self.programs.iter().find(|(name, _)| name == program).map_or(0.0, |(_, cores)| *cores)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "processors idle {:.0} %, {:.0} % of naps ended late;", 100.0 * self.idle, self.late_percent)?;
        self.programs.iter().take(8).try_for_each(|(name, cores)| write!(f, " {name} {cores:.2}"))
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(record: &Mutex<Record>) {
    let mut processes = HashMap::new();
    let (mut naps, mut late) = (0, 0);
    loop {
        let mut look = look(&mut processes);
        (look.naps, look.late) = (naps, late);
        let mut record = lock(record);
        record.looks.push(look);
        if record.ended {
            return;
        }
        drop(record);
        let next = Instant::now() + LOOK_EVERY;
        while Instant::now() < next {
            let begun = Instant::now();
            thread::sleep(NAP);
            naps += 1;
            late += u64::from(begun.elapsed() > NAP + LATE);
        }
    }
}

/// `processes` remembers the name and the time of each that was ever seen, so that what a process used does not vanish
/// with it.
fn look(processes: &mut HashMap<u32, (String, u64)>) -> Look {
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    for id in ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        if let Some(process) = parse_process(&stat) {
            processes.insert(id, process);
        }
    }
    let mut by_program = BTreeMap::new();
    for (name, ticks) in processes.values() {
        *by_program.entry(name.clone()).or_default() += ticks;
    }
    let (idle, all) = parse_machine(&fs::read_to_string("/proc/stat").unwrap_or_default());
    Look { at: SystemTime::now(), idle, all, by_program, naps: 0, late: 0 }
}

/// Name and processor time in ticks, of /proc/PID/stat (proc(5)): the name stands in brackets and may hold any.
fn parse_process(stat: &str) -> Option<(String, u64)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    // From the state on: utime and stime are the 12th and 13th.
    let mut times = rest.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    Some((name.to_owned(), times.next()? + times.next()?))
}

/// Idle and all time in ticks, of /proc/stat (proc(5)): the first line sums up all processors.
fn parse_machine(stat: &str) -> (u64, u64) {
    let line = stat.lines().next().unwrap_or_default();
    // Guests' time, from the ninth on, is in the others already.
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let idle = ticks.iter().skip(3).take(2).sum();
    (idle, ticks.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_and_the_machine_are_read() {
        let stat = "17 (a b) c) S 1 17 17 0 -1 4194560 2 0 0 0 250 50 0 0 20 0 1 0 99 0 0\n";
        assert_eq!(parse_process(stat), Some(("a b) c".to_owned(), 300)));
        assert_eq!(parse_process("17 (short) S"), None);
        assert_eq!(parse_machine("cpu  100 0 50 800 20 0 5 25 9 0\ncpu0 1 2 3 4\n"), (820, 1_000));
    }

    #[test]
    fn a_share_is_what_was_used_in_between() {
        let look = |second, idle, all, used: &[(&str, u64)], (naps, late)| Look {
            at: UNIX_EPOCH + Duration::from_secs(second),
            idle,
            all,
            by_program: used.iter().map(|(name, ticks)| ((*name).to_owned(), *ticks)).collect(),
            naps,
            late,
        };
        let first = look(10, 1_000, 4_000, &[("sfu", 100), ("gone", 50)], (10, 10));
        let last = look(20, 1_100, 6_000, &[("sfu", 1_100), ("gone", 50), ("new", 500)], (110, 14));
        let share = Share::between(&first, &last);
        assert_eq!(share.programs, [("sfu".to_owned(), 1.0), ("new".to_owned(), 0.5)]);
        assert_eq!((share.idle, share.late_percent, share.cores("sfu")), (0.05, 4.0, 1.0));
        assert!(share.is_full());
    }

    #[test]
    fn this_process_is_seen_at_work() {
        let watch = Watch::start();
        let begun = Instant::now();
        while watch.share(None).programs.is_empty() && begun.elapsed() < Duration::from_secs(20) {
            std::hint::black_box((0..100_000_u64).sum::<u64>());
        }
        assert!(!watch.share(None).programs.is_empty());
    }
}
