//! What is spent on loss, per subscriber: nothing, retransmissions, a second copy of the last retransmission that can
//! still be in time, or forward error correction with parity by the class of a frame.
//!
//! [`plan`] is a pure function of a [`Snapshot`]. Loss is modelled after Gilbert (`sfu_rtc::loss`), fitted to feedback in
//! the order of sending; what parity is worth under it is computed, not approximated ([`block`]).

mod block;
mod planner;

pub use block::Code;
pub use planner::{ClassLoad, Plan, Snapshot, plan};
