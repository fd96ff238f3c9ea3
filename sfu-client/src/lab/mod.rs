//! Measurements of the engine's parts without a network, on simulated time: the same from the same seed.

mod channel;
#[cfg(feature = "pesq")]
mod pesq;
pub mod voice;
