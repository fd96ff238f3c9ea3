//! What is spent on loss, per subscriber: nothing, retransmissions, a second copy of the last retransmission that can
//! still be in time, or forward error correction with parity by the class of a frame.
//!
//! [`plan`] is a pure function of a [`Snapshot`]. Loss is modelled after Gilbert (`sfu_rtc::loss`), fitted to feedback in
//! the order of sending; what parity is worth under it is computed, not approximated (`block`).

mod block;
mod copies;
mod fixed;
mod load;
mod planner;
mod playout;
mod redundancy;

pub use block::Code;
pub(crate) use copies::{Copies, PendingCopy};
pub use fixed::FixedParity;
pub(crate) use load::LoadMeter;
pub(crate) use planner::first_slack;
pub use planner::{ClassLoad, Plan, Snapshot, plan};
pub(crate) use playout::PlayoutHold;
pub(crate) use redundancy::{AudioRedundancy, AudioSnapshot, MAX_GENERATIONS};

use sfu_rtc::time::Duration;

/// How loss is repaired, beyond answering NACKs.
#[derive(Clone, PartialEq, Debug)]
pub struct RepairConfig {
    /// Whether repair is planned for each subscriber. Without, lost packets are sent again when asked for, and that is all.
    /// Transports have to measure their path for it.
    pub planner: bool,
    /// Parity in the place of the plan's, to compare it with. Nothing else is planned then.
    pub fixed: Option<FixedParity>,
    /// Most bits of repair per bit of video. What redundant audio takes counts in it; where nothing queues it is made all the
    /// same, since audio has no other repair. Zero is for none of either.
    pub max_overhead: f64,
    /// From plan to plan: some feedback is between them, and a path that begins to lose is answered within a few frames.
    pub interval: Duration,
    /// How much later than it arrives a packet of usual delay is played, so that repair may take so long. Receivers do not
    /// tell. Assumed, not measured.
    pub slack: Duration,
    /// The longest that a receiver may be asked to keep video before it plays it, so that repair is in time (header
    /// extension playout-delay); zero to ask for nothing.
    pub max_playout_delay: Duration,
    /// A longer mean queue means that the path is overused: what is lost is lost for want of room, and parity would take
    /// more of it. Jitter of Wi-Fi without a queue stays below.
    pub max_queue: Duration,
    /// Damage that is accepted, in seconds per second.
    pub target: f64,
}

impl Default for RepairConfig {
    fn default() -> Self {
        Self {
            planner: false,
            fixed: None,
            max_overhead: 0.33,
            interval: Duration::from_millis(200),
            slack: Duration::from_millis(100),
            max_playout_delay: Duration::from_millis(1_000),
            max_queue: Duration::from_millis(80),
            target: 0.001,
        }
    }
}
