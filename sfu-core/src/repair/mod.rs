//! What is spent on loss, per subscriber: nothing, retransmissions, a second copy of the last retransmission that can
//! still be in time, or forward error correction with parity by the class of a frame.
//!
//! [`plan`] is a pure function of a [`Snapshot`]. Loss is modelled after Gilbert ([`GilbertLoss`]), fitted to feedback in
//! the order of sending ([`LossMeter`]); what parity is worth under it is computed, not approximated ([`block`]).

mod block;
mod loss;
mod planner;

pub use block::Code;
pub use loss::{GilbertLoss, LossMeter};
pub use planner::{ClassLoad, Plan, Snapshot, plan};
