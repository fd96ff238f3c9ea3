//! One peer: joins ICE, DTLS, SRTP, stream routing, congestion feedback and the pacer.

mod config;
mod event;
mod inbound;
mod outbound;

pub use crate::pacer::PacketClass;
pub use config::TransportConfig;
pub use event::{CloseReason, TransportEvent};
pub use inbound::{ReceivedRtp, RtxOrigin};
pub use outbound::{PayloadEdit, RtpOut};
