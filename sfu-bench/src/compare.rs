//! Two sets of results side by side: the ratio of each figure, and how far single results spread around it.

use crate::result::RunResult;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareOptions {
    /// Two results (JSON of `run`), the base first.
    #[arg(conflicts_with_all = ["base", "with"], required_unless_present_all = ["base", "with"], num_args = 2)]
    pub files: Vec<PathBuf>,
    /// Results to compare with; several show how they spread.
    #[arg(long, num_args = 1.., requires = "with")]
    pub base: Vec<PathBuf>,
    /// Results that are compared.
    #[arg(long, num_args = 1.., requires = "base")]
    pub with: Vec<PathBuf>,
}

/// A figure: its name, its decimals, and where it stands.
type Figure = (&'static str, usize, fn(&RunResult) -> Option<f64>);

/// Main figures of a result.
const FIGURES: [Figure; 15] = [
    ("server CPU per packet, µs", 3, |r| Some(r.server.as_ref()?.cpu_per_packet_us)),
    ("  over the floor", 3, |r| Some(r.floor.as_ref()?.server?.ratio)),
    ("  floor at that run, ns", 0, |r| Some(r.floor.as_ref()?.server?.floor)),
    ("  mean run", 2, |r| Some(r.floor.as_ref()?.server?.mean_run)),
    ("server memory, MiB", 1, |r| Some(r.server.as_ref()?.rss as f64 / f64::from(1 << 20))),
    ("  per participant, kB", 1, |r| Some(r.server.as_ref()?.rss_per_participant / 1e3)),
    ("packets/s out", 0, |r| Some(r.packets_out_per_second)),
    ("lost or left out, %", 4, |r| Some(r.loss.max(r.skipped) * 100.0)),
    ("latency p50, ms", 3, |r| (r.latency_ms.count > 0).then_some(r.latency_ms.p50)),
    ("latency p99, ms", 3, |r| (r.latency_ms.count > 0).then_some(r.latency_ms.p99)),
    ("latency of sound p99, ms", 3, |r| (r.audio_latency_ms.count > 0).then_some(r.audio_latency_ms.p99)),
    ("join to answer p50, ms", 2, |r| (r.join_ms.count > 0).then_some(r.join_ms.p50)),
    ("join to first frame p50, ms", 2, |r| (r.first_frame_ms.count > 0).then_some(r.first_frame_ms.p50)),
    ("largest load within bounds", 0, |r| Some(r.limit.as_ref()?.found as f64)),
    ("generator cores", 3, |r| Some(r.generator_cores)),
];

/// Reads and compares.
///
/// # Errors
/// Names the file that cannot be read, or is no result.
pub fn compare(options: &CompareOptions) -> Result<Comparison> {
    let (base, with) = match &options.files[..] {
        [base, with] => (std::slice::from_ref(base), std::slice::from_ref(with)),
        _ => (&options.base[..], &options.with[..]),
    };
    Ok(Comparison::new(&read_all(base)?, &read_all(with)?))
}

fn read_all(files: &[PathBuf]) -> Result<Vec<RunResult>> {
    files.iter().map(|file| read(file)).collect()
}

fn read(file: &Path) -> Result<RunResult> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let result: RunResult =
        serde_json::from_str(&text).with_context(|| format!("{} is no result of `sfu-bench run`", file.display()))?;
    if result.seconds <= 0.0 {
        bail!("{} holds nothing measured", file.display());
    }
    Ok(result)
}

/// Mean and extremes of one figure.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Spread {
    mean: f64,
    lowest: f64,
    highest: f64,
}

impl Spread {
    /// `None` where not every result has the figure.
    fn of(results: &[RunResult], value: fn(&RunResult) -> Option<f64>) -> Option<Self> {
        let values: Vec<f64> = results.iter().map(value).collect::<Option<_>>()?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let fold = |pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick);
        Some(Self { mean, lowest: fold(f64::min)?, highest: fold(f64::max)? })
    }

    /// Ratio of the means, and the lowest and highest ratio of single results; `None` where the base has a zero.
    fn over(&self, base: &Self) -> Option<Self> {
        let possible = base.lowest > 0.0;
        possible.then(|| Self {
            mean: self.mean / base.mean,
            lowest: self.lowest / base.highest,
            highest: self.highest / base.lowest,
        })
    }
}

/// The figures side by side.
pub struct Comparison {
    rows: Vec<(Figure, Spread, Spread)>,
    /// Results of each side.
    counts: (usize, usize),
    same_load: bool,
}

impl Comparison {
    fn new(base: &[RunResult], with: &[RunResult]) -> Self {
        let row = |figure: &Figure| Some((*figure, Spread::of(base, figure.2)?, Spread::of(with, figure.2)?));
        let same_load = base.iter().chain(with).all(|result| result.scenario.group == base[0].scenario.group);
        Self { rows: FIGURES.iter().filter_map(row).collect(), counts: (base.len(), with.len()), same_load }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<30}{:>14}{:>14}{:>9}   spread", "", "base", "with", "ratio")?;
        let several = self.counts != (1, 1);
        for ((name, decimals, _), base, with) in &self.rows {
            let ratio = with.over(base);
            let mean = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.3}", ratio.mean));
            let spread = ratio.filter(|_| several);
            let spread = spread.map_or_else(String::new, |r| format!("   {:.3} to {:.3}", r.lowest, r.highest));
            // Clear is what no pair of single results contradicts.
            let clear = several && ratio.is_some_and(|ratio| ratio.lowest > 1.0 || ratio.highest < 1.0);
            let clear = if clear { "  *" } else { "" };
            writeln!(f, "{name:<30}{:>14.decimals$}{:>14.decimals$}{mean:>9}{spread}{clear}", base.mean, with.mean)?;
        }
        if several {
            writeln!(f, "\n* every result of one side is above every result of the other")?;
        } else {
            writeln!(f, "\nOne result of each side says nothing of the noise: --base A… --with B… takes several.")?;
        }
        if !self.same_load {
            writeln!(f, "The loads differ: compare costs per packet, not totals.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: CompareOptions,
    }

    fn result(cost: f64, packets: f64) -> RunResult {
        let mut result = crate::result::example();
        result.server.as_mut().unwrap().cpu_per_packet_us = cost;
        result.packets_out_per_second = packets;
        result
    }

    #[test]
    fn ratios_have_a_spread_and_clear_ones_a_star() {
        let base = [result(2.0, 1_000.0), result(2.2, 1_000.0)];
        let with = [result(1.0, 990.0), result(1.1, 1_010.0)];
        let text = Comparison::new(&base, &with).to_string();
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        let cpu = line("server CPU per packet");
        assert!(cpu.contains("0.500   0.455 to 0.550  *"), "{cpu}");
        assert!(!line("packets/s out").contains('*'));
    }

    #[test]
    fn files_are_read_and_others_refused() {
        let folder = std::env::temp_dir().join(format!("sfu-bench-compare-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (good, bad) = (folder.join("good.json"), folder.join("bad.json"));
        std::fs::write(&good, serde_json::to_string(&result(2.0, 5.0)).unwrap()).unwrap();
        std::fs::write(&bad, "{\"seal\": 5}").unwrap();
        let compare =
            |files: [&PathBuf; 2]| compare(&Cli::parse_from(["x".into(), files[0].clone(), files[1].clone()]).options);
        assert!(compare([&good, &good]).unwrap().to_string().contains("1.000"));
        let error = compare([&good, &bad]).err().unwrap().to_string();
        assert!(error.contains("bad.json is no result"), "{error}");
        assert!(compare([&good, &folder.join("none.json")]).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn either_two_files_or_two_sides() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["x"], args].concat());
        assert!(parse(&["a", "b"]).is_ok() && parse(&["--base", "a", "c", "--with", "b"]).is_ok());
        for args in [&["a"][..], &[], &["--base", "a"], &["a", "b", "--base", "c", "--with", "d"]] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }
}
