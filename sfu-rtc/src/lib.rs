//! What any WebRTC endpoint needs, sans-IO: time, randomness and bytes are arguments.
//!
//! [`transport::Transport`] is one peer and joins the rest. A packet's way through it:
//!
//! | step | where | what happens |
//! |---|---|---|
//! | classify | [`net::DatagramKind`] | STUN, DTLS, RTP or RTCP (RFC 7983) |
//! | receive | `transport/receive.rs` | [`handle_datagram`](transport::Transport::handle_datagram): from a datagram to media in clear |
//! | open | `srtp/open.rs` | [`srtp::SrtpReceiver`] authenticates and decrypts in place |
//! | route | `transport/route.rs` | to section and layer, by MID, RID and SSRC |
//! | send | `transport/send.rs` | [`send_rtp`](transport::Transport::send_rtp): from a shared packet to a datagram in the batch |
//! | pace | [`pacer`] | what may not leave yet waits, in order |
//! | seal | `srtp/seal.rs` | [`srtp::SrtpSender`] encrypts into the batch, no index twice |
//!
//! The rest, by what it is for:
//!
//! | for | modules |
//! |---|---|
//! | connecting | [`ice`] (lite, with checks of our own), [`dtls`], `transport/connect.rs` |
//! | negotiating | [`sdp`] reads offers and writes answers, [`media`] is what comes of them |
//! | reading and writing packets | [`rtp`] with its header extensions, [`rtcp`], [`codec`] for payload headers |
//! | repair and congestion control | [`reception`], [`nack`], [`fec`], [`twcc`], [`path_meter`] and [`loss`], [`bwe`]; `transport/rtcp_in.rs` and `rtcp_out.rs` carry their reports |
//! | all of them | [`packet`] (shared packets and their pool), [`net`] (paths, batches), [`ids`], [`time`], [`units`], [`drop_reason`], [`prefetch`] |

pub mod bwe;
pub mod codec;
pub mod drop_reason;
pub mod dtls;
pub mod fec;
pub mod ice;
pub mod ids;
pub mod loss;
pub mod media;
pub mod nack;
pub mod net;
pub mod pacer;
pub mod packet;
pub mod path_meter;
pub mod prefetch;
pub mod reception;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod srtp;
pub mod time;
pub mod transport;
pub mod twcc;
pub mod units;
