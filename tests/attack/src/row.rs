//! One line of the table.

use serde::Serialize;
use std::fmt;

/// The table's head.
pub(crate) const HEADER: &str =
    "attack             memory MB (allowed)  loss %   p99 ms  newcomer ms  ping ms  server cores  verdict";

/// What one attack did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// What the attacker did, in its own words.
    pub(crate) effort: String,
    /// Growth of the server's resident memory at its highest, in bytes.
    pub(crate) memory: u64,
    /// How much it may have grown, in bytes.
    pub(crate) memory_allowed: u64,
    /// Share of the call's packets that were lost or left out, video and audio.
    pub(crate) loss: f64,
    /// One-way latency of the call's packets through the server: 99 % are below.
    pub(crate) p99_ms: f64,
    /// Longest time in which a well-behaved newcomer joined a room of its own.
    pub(crate) newcomer_ms: f64,
    /// Longest time in which the ping of a bystander in another room was answered.
    pub(crate) ping_ms: f64,
    /// Cores that the server kept busy.
    pub(crate) cores: f64,
    /// What was not as it should be.
    pub(crate) faults: Vec<String>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "{:18} {:9.1} {:9}  {:6.3}  {:7.2}  {:11.1}  {:7.1}  {:12.2}  {}",
            self.name,
            mb(self.memory),
            format!("({:.0})", mb(self.memory_allowed)),
            100.0 * self.loss,
            self.p99_ms,
            self.newcomer_ms,
            self.ping_ms,
            self.cores,
            if self.faults.is_empty() { "withstood" } else { "FAILED" },
        )?;
        if !self.effort.is_empty() {
            write!(f, "\n    {}", self.effort)?;
        }
        self.faults.iter().try_for_each(|fault| write!(f, "\n    ! {fault}"))
    }
}
