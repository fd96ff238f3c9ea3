//! Results as a table for people and as JSON for programs.

use super::{Deviation, RateResult};
use serde_json::{Value, json};
use std::fmt::Write;

impl RateResult {
    /// Share of pictures at the finest quantiser: a still clip needs no more bits than these take.
    fn finest(&self) -> f64 {
        self.stats.finest as f64 / self.pictures.len().max(1) as f64
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let deviation = |deviation: Deviation| json!({ "least": deviation.least, "most": deviation.most });
        json!({
            "event": "lab_rate",
            "codec": self.codec.name(),
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
            "at_finest": self.finest(),
            "psnr_db": self.psnr,
            "psnr_loss_db": self.psnr_loss,
            "ssim": self.ssim,
            "encode_ms": self.time.0.as_secs_f64() * 1000.0,
            "slowest_ms": self.time.1.as_secs_f64() * 1000.0,
        })
    }
}

/// A line for each result, below a line of names. Windows are the least and the most against the target in percent,
/// pictures are in means, what our control loses against the codec's own in dB.
pub fn table(results: &[RateResult]) -> String {
    let mut out = format!(
        "{:<6}{:<16}{:<11}{:>8}{:>15}{:>15}{:>15}{:>8}{:>8}{:>6}{:>6}{:>7}{:>9}{:>8}{:>7}{:>8}{:>8}{:>8}\n",
        "codec",
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
        "finest %",
        "PSNR",
        "loss",
        "SSIM",
        "ms",
        "slowest"
    );
    for result in results {
        let window = |window: Deviation| format!("{:+.1}..{:+.1}", window.least * 100.0, window.most * 100.0);
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{:<6}{:<16}{:<11}{:>8.1}{:>15}{:>15}{:>15}{:>8.2}{:>8.2}{:>6}{:>6}{:>7}{:>9.0}{:>8.2}{:>7}{:>8.4}{:>8.2}{:>8.2}",
            result.codec.name(),
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
            result.finest() * 100.0,
            result.psnr,
            result.psnr_loss.map_or_else(String::new, |loss| format!("{loss:+.2}")),
            result.ssim,
            result.time.0.as_secs_f64() * 1000.0,
            result.time.1.as_secs_f64() * 1000.0,
        );
    }
    out
}
