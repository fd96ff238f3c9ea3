//! Results as a table for people and as JSON for programs.

use super::VoiceResult;
use serde_json::{Value, json};
use std::fmt::Write;

impl VoiceResult {
    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "event": "lab_voice",
            "network": self.network,
            "protection": self.protection,
            "pesq_wb": self.pesq,
            "pesq_nb": self.pesq_narrow,
            "bitrate_kbps": self.bitrate / 1000.0,
            "concealed_share": self.stats.concealed_share(),
            "delay_ms": self.stats.mean_delay_ms(),
            "target_delay_ms": self.stats.mean_target_ms(),
            "followed_ms": self.followed.map(|time| time.as_millis() as u64),
            "playout": self.stats.to_json(),
        })
    }
}

/// A line for each result, below a line of names.
pub fn table(results: &[VoiceResult]) -> String {
    let mut out = format!(
        "{:<18}{:<14}{:>8}{:>8}{:>8}{:>11}{:>9}{:>10}{:>12}{:>8}{:>8}{:>9}{:>9}\n",
        "network",
        "protection",
        "kbit/s",
        "PESQ-WB",
        "-NB",
        "concealed%",
        "delay ms",
        "target ms",
        "followed ms",
        "by FEC",
        "by RED",
        "faster%",
        "slower%"
    );
    let mark = |mark: Option<f64>| mark.map_or("-".to_owned(), |mark| format!("{mark:.2}"));
    for result in results {
        let stats = &result.stats;
        let percent = |samples: u64| samples as f64 * 100.0 / stats.total_samples.max(1) as f64;
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{:<18}{:<14}{:>8.1}{:>8}{:>8}{:>11.2}{:>9.1}{:>10.1}{:>12}{:>8}{:>8}{:>9.2}{:>9.2}",
            result.network,
            result.protection,
            result.bitrate / 1000.0,
            mark(result.pesq),
            mark(result.pesq_narrow),
            stats.concealed_share() * 100.0,
            stats.mean_delay_ms(),
            stats.mean_target_ms(),
            result.followed.map_or("-".to_owned(), |time| time.as_millis().to_string()),
            stats.packets_from_fec,
            stats.packets_from_redundancy,
            percent(stats.removed_samples_for_acceleration),
            percent(stats.inserted_samples_for_deceleration),
        );
    }
    out
}
