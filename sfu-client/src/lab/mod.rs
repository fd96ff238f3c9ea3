//! Measurements of the engine's parts without a network, on simulated time: the same from the same seed, but for
//! what it took the machine.

mod channel;
mod clip;
pub mod echo;
pub mod light;
#[cfg(feature = "pesq")]
pub mod pesq;
mod quality;
pub mod rate;
pub mod speed;
pub mod voice;
