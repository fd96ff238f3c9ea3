//! Seeded network links: the same under simulated time and as a real-time UDP relay.
//!
//! ```text
//! send --> queue (drop-tail) --> bottleneck (rate or trace) --> loss, damage, copies --> delay, jitter, reorder --> poll
//! ```
//!
//! [`Link`] is one direction of one path and knows no clock: time is a [`Duration`](std::time::Duration) since any
//! start, and everything random comes from the seed, so that a run repeats byte for byte. [`Network`] joins links into
//! hosts with addresses for simulated time. [`relay`] puts links between real UDP sockets; the program `netsim` runs it.

pub mod cli;
mod config;
mod link;
mod network;
mod random;
pub mod relay;
mod trace;

pub use config::{BadConfig, LinkConfig, Loss, QueueLimit, Rate};
pub use link::{Link, LinkStats, Payload};
pub use network::{Datagram, HostId, Network, SiteId};
pub use random::Random;
pub use trace::{BadTrace, Trace, parse_loss};
