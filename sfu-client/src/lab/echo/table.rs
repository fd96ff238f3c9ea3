//! Results as a table for people and as JSON for programs.

use super::EchoResult;
use serde_json::{Value, json};
use std::fmt::Write;

impl EchoResult {
    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "event": "lab_echo",
            "room": self.room,
            "echo_dbfs": self.echo_dbfs,
            "left_dbfs": self.left_dbfs,
            "erle_db": self.erle_db(),
            "voice_db": self.voice_db,
            "ms_per_second": self.time.as_secs_f64() * 1_000.0,
        })
    }
}

/// A line for each result, below a line of names.
pub fn table(results: &[EchoResult]) -> String {
    let mut out = format!(
        "{:<12}{:>11}{:>11}{:>9}{:>10}{:>16}\n",
        "room", "echo dBFS", "left dBFS", "ERLE dB", "voice dB", "ms per second"
    );
    for result in results {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{:<12}{:>11.1}{:>11.1}{:>9.1}{:>10}{:>16.2}",
            result.room,
            result.echo_dbfs,
            result.left_dbfs,
            result.erle_db(),
            result.voice_db.map_or("-".to_owned(), |change| format!("{change:+.1}")),
            result.time.as_secs_f64() * 1_000.0,
        );
    }
    out
}
