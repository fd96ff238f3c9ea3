//! What the server took for a packet, against what a packet must take on this machine.

use crate::floor::Floor;
use crate::run::Window;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The floor of the same run; nanoseconds per packet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FloorRatio {
    /// Mean of the slices: header and seal.
    pub seal: f64,
    /// Mean of the slices: header, seal and send, by run length.
    pub send: Vec<(usize, f64)>,
    /// The same at the load's rate.
    #[serde(default)]
    pub send_at_rate: Vec<(usize, f64)>,
    /// Mean of the slices: receiving as the load's peers do.
    pub receive: f64,
    /// How far the slices differ, as a share of their mean, at the run length where they differ most.
    pub spread: f64,
    /// The server's cost against the floor; `None` where the server's process or its metrics are not known.
    pub server: Option<AgainstFloor>,
}

/// The server's cost against the floor at the run lengths that really occurred.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct AgainstFloor {
    /// Datagrams per message that the server sent, over all windows.
    pub mean_run: f64,
    /// The floor at that length, back to back.
    pub floor: f64,
    /// The floor at that length and the load's rate.
    pub floor_at_rate: Option<f64>,
    /// The server's cost in units of that: mean of the windows.
    pub ratio_at_rate: Option<f64>,
    /// The server's cost in units of the floor back to back: mean of the windows, each against the slices before and after it.
    pub ratio: f64,
    /// The lowest of the windows.
    pub lowest: f64,
    /// The highest of the windows.
    pub highest: f64,
    /// Packets per message that could have been had: each frame, and each packet of audio, as one.
    #[serde(default)]
    pub whole_run: Option<f64>,
    /// The floor at that length, back to back.
    #[serde(default)]
    pub whole_floor: Option<f64>,
    /// The server's cost in units of that: mean of the windows.
    #[serde(default)]
    pub whole_ratio: Option<f64>,
}

impl FloorRatio {
    /// `floors` stand before, between and after `windows`. `None` without any.
    pub fn new(floors: &[Floor], windows: &[Window]) -> Option<Self> {
        if floors.is_empty() {
            return None;
        }
        let mean = |value: &dyn Fn(&Floor) -> f64| floors.iter().map(value).sum::<f64>() / floors.len() as f64;
        let send = by_run(floors, |floor| &floor.send);
        let send_at_rate = by_run(floors, |floor| &floor.send_at_rate);
        let differs = |(at, (_, mean)): (usize, &(usize, f64))| {
            let costs = floors.iter().map(|floor| floor.send[at].1);
            (costs.clone().fold(0.0, f64::max) - costs.fold(f64::MAX, f64::min)) / mean
        };
        let spread = send.iter().enumerate().map(differs).fold(0.0, f64::max);
        let (seal, receive) = (mean(&|floor| floor.seal), mean(&|floor| floor.receive));
        let floor = Floor { seal, send, send_at_rate, receive };
        let server = AgainstFloor::new(&floor, floors, windows);
        let Floor { send, send_at_rate, .. } = floor;
        Some(Self { seal, send, send_at_rate, receive, spread, server })
    }
}

impl AgainstFloor {
    fn new(mean: &Floor, floors: &[Floor], windows: &[Window]) -> Option<Self> {
        let found: Vec<OfWindow> = windows
            .iter()
            .zip(floors.windows(2))
            .filter_map(|(window, around)| OfWindow::new(window, around))
            .collect();
        let mean_run = average(found.iter().map(|found| found.run))?;
        let ratios = found.iter().map(|found| found.ratio);
        let whole_run = average(found.iter().filter_map(|found| Some(found.whole?.0)));
        Some(Self {
            mean_run,
            floor: mean.at_run(mean_run),
            floor_at_rate: mean.at_rate(mean_run),
            ratio_at_rate: average(found.iter().filter_map(|found| found.ratio_at_rate)),
            ratio: average(ratios.clone())?,
            lowest: ratios.clone().fold(f64::MAX, f64::min),
            highest: ratios.fold(0.0, f64::max),
            whole_run,
            whole_floor: whole_run.map(|run| mean.at_run(run)),
            whole_ratio: average(found.iter().filter_map(|found| Some(found.whole?.1))),
        })
    }
}

/// One window's mean run, and its cost in units of the floor around it.
struct OfWindow {
    run: f64,
    ratio: f64,
    ratio_at_rate: Option<f64>,
    /// The run that could have been had, and the cost in units of the floor at that.
    whole: Option<(f64, f64)>,
}

impl OfWindow {
    fn new(window: &Window, around: &[Floor]) -> Option<Self> {
        let (run, used) = (window.mean_run?, window.server.as_ref()?);
        let cost = used.cost_per_packet(window.forwarded);
        let ratio_at = |run| Some(cost / average(around.iter().map(|floor| floor.at_run(run)))?);
        let ratio = ratio_at(run)?;
        let ratio_at_rate = average(around.iter().filter_map(|floor| floor.at_rate(run))).map(|floor| cost / floor);
        let whole = whole_run(window).and_then(|run| Some((run, ratio_at(run)?)));
        Some(Self { run, ratio, ratio_at_rate, whole })
    }
}

/// Packets per message where each frame, and each packet of audio, is one.
fn whole_run(window: &Window) -> Option<f64> {
    let measured = &window.interval.measured;
    let messages = measured.frames + measured.audio_packets;
    (messages > 0).then(|| (measured.packets as f64 / messages as f64).max(1.0))
}

/// Means of the slices that have costs, run length by run length.
fn by_run(floors: &[Floor], costs: fn(&Floor) -> &Vec<(usize, f64)>) -> Vec<(usize, f64)> {
    let slices: Vec<_> = floors.iter().map(costs).filter(|costs| !costs.is_empty()).collect();
    let runs = slices.first().into_iter().flat_map(|costs| costs.iter().enumerate());
    runs.filter_map(|(at, (run, _))| Some((*run, average(slices.iter().map(|costs| costs[at].1))?))).collect()
}

fn average(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

impl fmt::Display for FloorRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<38}{:>8}", "floor of the same run", "ns")?;
        writeln!(f, "{:<38}{:>8.0}", "  header and seal", self.seal)?;
        for (run, cost) in &self.send {
            writeln!(f, "{:<38}{cost:>8.0}", format!("  … and send, runs of {run}"))?;
        }
        for (run, cost) in &self.send_at_rate {
            writeln!(f, "{:<38}{cost:>8.0}", format!("  … at the load's rate, runs of {run}"))?;
        }
        writeln!(f, "{:<38}{:>8.0}", "  receive and open", self.receive)?;
        writeln!(f, "{:<38}{:>8}", "  slices differ by", format!("{:.1} %", self.spread * 100.0))?;
        let Some(server) = &self.server else {
            return write!(f, "no ratio: it needs --server-pid, and a server that counts its sends in /metrics");
        };
        writeln!(f, "{:<38}{:>8.2}", "  the server's mean run", server.mean_run)?;
        writeln!(f, "{:<38}{:>8.0}", "  floor at that run", server.floor)?;
        let range = format!("({:.2} to {:.2})", server.lowest, server.highest);
        write!(f, "{:<38}{:>8.2} {range}", "server CPU per packet / floor", server.ratio)?;
        if let Some((floor, ratio)) = server.floor_at_rate.zip(server.ratio_at_rate) {
            writeln!(f, "\n{:<38}{floor:>8.0}", "  floor at that run and the load's rate")?;
            write!(f, "{:<38}{ratio:>8.2}", "server CPU per packet / floor at rate")?;
        }
        let whole = server.whole_run.zip(server.whole_floor).zip(server.whole_ratio);
        let Some(((run, floor), ratio)) = whole else { return Ok(()) };
        writeln!(f, "\n{:<38}{floor:>8.0}", format!("  floor of whole frames, runs of {run:.2}"))?;
        write!(f, "{:<38}{ratio:>8.2}", "server CPU per packet / that")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Interval;
    use crate::measure::process::ProcessUse;
    use std::time::Duration;

    fn floor(single: f64) -> Floor {
        let send = vec![(1, single), (2, single / 2.0)];
        Floor { seal: 200.0, send_at_rate: vec![(1, 2.0 * single)], send, receive: 400.0 }
    }

    fn window(mean_run: Option<f64>, cpu_micros: u64) -> Window {
        let mut interval = Interval::default();
        interval.measured.packets = 1_000;
        let cpu = Duration::from_micros(cpu_micros);
        let server = Some(ProcessUse { cpu, by_thread: [("w".into(), cpu)].into(), rss: 0 });
        Window { interval, length: Duration::from_secs(1), server, mean_run, forwarded: 1_000, rtp: None }
    }

    #[test]
    fn each_window_is_held_against_the_slices_around_it() {
        let floors = [floor(1_000.0), floor(1_000.0), floor(3_000.0)];
        let windows = [window(Some(1.0), 1_500), window(Some(1.0), 4_000)];
        let found = FloorRatio::new(&floors, &windows).unwrap();
        let server = found.server.unwrap();
        assert!((server.lowest - 1.5).abs() < 1e-9 && (server.highest - 2.0).abs() < 1e-9, "{server:?}");
        assert!((server.ratio - 1.75).abs() < 1e-9);
        assert!((server.ratio_at_rate.unwrap() - 0.875).abs() < 1e-9);
        assert!((found.spread - 2_000.0 / (5_000.0 / 3.0)).abs() < 1e-9);
        assert!(found.to_string().contains("1.75 (1.50 to 2.00)"), "{found}");
    }

    #[test]
    fn the_floor_of_whole_frames_is_what_could_have_been_had() {
        let mut window = window(Some(1.0), 1_500);
        let measured = &mut window.interval.measured;
        (measured.frames, measured.audio_packets) = (400, 100);
        let found = FloorRatio::new(&[floor(1_000.0), floor(1_000.0)], &[window]).unwrap();
        let server = found.server.unwrap();
        assert_eq!((server.whole_run, server.whole_floor), (Some(2.0), Some(500.0)));
        assert!((server.whole_ratio.unwrap() - 3.0).abs() < 1e-9);
        assert!(found.to_string().contains("runs of 2.00"), "{found}");
    }

    #[test]
    fn without_metrics_there_is_a_table_and_no_ratio() {
        let found = FloorRatio::new(&[floor(1.0), floor(1.0)], &[window(None, 5)]).unwrap();
        assert_eq!(found.server, None);
        assert!(found.to_string().contains("--server-pid"));
        assert!(FloorRatio::new(&[], &[]).is_none());
    }

    #[test]
    fn a_slice_in_which_the_load_was_silent_has_no_part_in_the_floor_at_its_rate() {
        let silent = Floor { send_at_rate: Vec::new(), ..floor(9.0) };
        let found = FloorRatio::new(&[floor(1_000.0), silent], &[window(Some(1.0), 1_500)]).unwrap();
        assert_eq!(found.send_at_rate, [(1, 2_000.0)]);
        assert!((found.server.unwrap().ratio_at_rate.unwrap() - 0.75).abs() < 1e-9);
    }
}
