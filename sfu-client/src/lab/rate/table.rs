//! Results as a table for people and as JSON for programs.

use super::{Deviation, RateResult};
use serde_json::{Value, json};
use std::fmt::Write;

impl RateResult {
    /// For programs.
    pub fn to_json(&self) -> Value {
        let deviation = |deviation: Deviation| json!({ "least": deviation.least, "most": deviation.most });
        json!({
            "event": "lab_rate",
            "clip": self.clip,
            "control": self.control,
            "target_kbps": self.target.as_bps() as f64 / 1000.0,
            "bitrate_kbps": self.bitrate / 1000.0,
            "second": deviation(self.seconds),
            "half_second": deviation(self.halves),
            "sliding_second": deviation(self.sliding),
            "largest_delta": self.largest_delta,
            "largest_keyframe": self.largest_keyframe,
            "keyframes": self.keyframes,
            "skipped": self.stats.skipped,
            "coded_again": self.stats.coded_again,
            "psnr_db": self.psnr,
            "ssim": self.ssim,
            "encode_ms": self.time.0.as_secs_f64() * 1000.0,
            "slowest_ms": self.time.1.as_secs_f64() * 1000.0,
        })
    }
}

/// A line for each result, below a line of names. Windows are the least and the most against the target in percent,
/// pictures are in means.
pub fn table(results: &[RateResult]) -> String {
    let mut out = format!(
        "{:<16}{:<11}{:>8}{:>15}{:>15}{:>15}{:>8}{:>8}{:>6}{:>6}{:>7}{:>8}{:>8}{:>8}{:>8}\n",
        "clip",
        "control",
        "kbit/s",
        "1 s %",
        "0.5 s %",
        "any 1 s %",
        "largest",
        "key",
        "keys",
        "skip",
        "again",
        "PSNR",
        "SSIM",
        "ms",
        "slowest"
    );
    for result in results {
        let window = |window: Deviation| format!("{:+.1}..{:+.1}", window.least * 100.0, window.most * 100.0);
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{:<16}{:<11}{:>8.1}{:>15}{:>15}{:>15}{:>8.2}{:>8.2}{:>6}{:>6}{:>7}{:>8.2}{:>8.4}{:>8.2}{:>8.2}",
            result.clip,
            result.control,
            result.bitrate / 1000.0,
            window(result.seconds),
            window(result.halves),
            window(result.sliding),
            result.largest_delta,
            result.largest_keyframe,
            result.keyframes,
            result.stats.skipped,
            result.stats.coded_again,
            result.psnr,
            result.ssim,
            result.time.0.as_secs_f64() * 1000.0,
            result.time.1.as_secs_f64() * 1000.0,
        );
    }
    out
}
