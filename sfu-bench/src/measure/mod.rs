//! Measuring: durations, processes.

pub mod histogram;
pub mod process;

/// `part` of `part` and `rest`.
pub(crate) fn share(part: i64, rest: u64) -> f64 {
    let part = part.max(0) as f64;
    part / (part + rest as f64).max(1.0)
}
