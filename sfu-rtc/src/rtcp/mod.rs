//! RTCP (RFC 3550 section 6, RFC 4585, RFC 5104): a view per packet type that allocates nothing, and writers that
//! append to the caller's buffer.
//!
//! Every packet begins alike:
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |V=2|P| count/FMT |      type     |    length in words - 1      |
//! ```

mod compound;
mod fir;
mod nack;
mod pli;
mod receiver_report;
mod remb;
mod report_block;
mod sdes;
mod sender_report;
mod twcc;
mod wire;

pub use compound::{RtcpView, compound};
pub use fir::{Fir, write_fir};
pub use nack::{Nack, write_nack};
pub use pli::{Pli, write_pli};
pub use receiver_report::{ReceiverReport, write_receiver_report};
pub use remb::{Remb, write_remb};
pub use report_block::ReportBlock;
pub use sdes::{Sdes, write_sdes_cname};
pub use sender_report::{SenderInfo, SenderReport, write_sender_report};
pub use twcc::{TWCC_TICK, TwccFeedback, TwccView, write_twcc};

#[cfg(test)]
mod tests;
