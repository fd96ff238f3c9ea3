//! Measurements of the engine's parts without a network, on simulated time: the same from the same seed, but for
//! what it took the machine. And of the whole, through a server ([`glass`]).

mod channel;
mod clip;
pub mod echo;
pub mod glass;
pub mod light;
#[cfg(feature = "pesq")]
pub mod pesq;
mod quality;
pub mod rate;
pub mod speed;
pub mod voice;
