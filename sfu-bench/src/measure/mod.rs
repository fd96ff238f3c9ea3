//! Measuring: durations, processes.

pub mod histogram;
pub mod process;
