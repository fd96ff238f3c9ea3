//! What any WebRTC endpoint needs, sans-IO: time, randomness and bytes are arguments.
//!
//! From the outside in: [`net`] names paths and batches, `transport` is one peer and joins `ice`, `dtls`,
//! `srtp`, `rtp`, `rtcp`, `nack`, `bwe` and `pacer`; `sdp` negotiates what it carries; `codec` reads payload headers.

pub mod bwe;
pub mod codec;
pub mod drop_reason;
pub mod dtls;
pub mod ice;
pub mod ids;
pub mod media;
pub mod nack;
pub mod net;
pub mod pacer;
pub mod packet;
pub mod prefetch;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod srtp;
pub mod time;
pub mod transport;
pub mod twcc;
pub mod units;
