//! Results as a table for people and as JSON for programs.

use super::{LightResult, Marks};
use serde_json::{Value, json};
use std::fmt::Write;

impl LightResult {
    /// For programs.
    pub fn to_json(&self) -> Value {
        let marks = |marks: &Marks| {
            json!({
                "luma": marks.luma, "contrast": marks.contrast, "flicker": marks.flicker, "noise": marks.noise,
                "u": marks.u, "v": marks.v,
            })
        };
        json!({
            "event": "lab_light",
            "clip": self.clip,
            "stage": self.stage,
            "pictures": self.pictures,
            "identical": self.identical,
            "bypassed": self.bypassed,
            "before": marks(&self.before),
            "after": marks(&self.after),
            "cast_share": self.cast(),
            "ms": self.time.0.as_secs_f64() * 1000.0,
            "slowest_ms": self.time.1.as_secs_f64() * 1000.0,
        })
    }
}

/// A line for each result, below a line of names: what was before > what is after.
pub fn table(results: &[LightResult]) -> String {
    let mut out = format!(
        "{:<16}{:<10}{:>9}{:>10}{:>15}{:>15}{:>15}{:>13}{:>8}{:>8}{:>9}\n",
        "clip", "stage", "bypassed", "identical", "luma", "contrast", "flicker", "noise", "cast %", "ms", "slowest"
    );
    for result in results {
        let (before, after) = (&result.before, &result.after);
        let pair = |before: f64, after: f64, digits: usize| format!("{before:.digits$} > {after:.digits$}");
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{:<16}{:<10}{:>9}{:>10}{:>15}{:>15}{:>15}{:>13}{:>8.2}{:>8.2}{:>9.2}",
            result.clip,
            result.stage,
            result.bypassed,
            result.identical,
            pair(before.luma, after.luma, 1),
            pair(before.contrast, after.contrast, 2),
            pair(before.flicker, after.flicker, 3),
            pair(before.noise, after.noise, 2),
            result.cast() * 100.0,
            result.time.0.as_secs_f64() * 1000.0,
            result.time.1.as_secs_f64() * 1000.0,
        );
    }
    out
}
