//! Transport-wide congestion control (draft-holmer-rmcat-transport-wide-cc-extensions-01): what arrived, for the
//! feedback that we send, and what we sent, for the feedback that we get.

mod arrivals;
mod history;

pub use arrivals::{ArrivalConfig, ArrivalCounts, ArrivalRecorder};
pub use history::{FramePacket, SendHistory, SendHistoryConfig};
