//! What only an SFU needs, without I/O: a [`Worker`](worker::Worker) takes datagrams, [`Command`](command::Command)s
//! and the time, and gives datagrams and [`Event`](event::Event)s.
//!
//! # A packet's walk
//!
//! | step | file | what happens |
//! |---|---|---|
//! | dispatch | `worker/dispatch.rs` | the transport is found by path (`worker/paths.rs`); it classifies and opens the datagram (`sfu-rtc`); the media section leads to the publication |
//! | ingress | `publication/ingress.rs` | the stream takes the packet in (`receive_stream.rs`): duplicates, gaps, parameter sets, history; the packet waits for the rest of its frame (`publication/pending.rs`) |
//! | transmit | `worker/transmit.rs` | audio first, then what peers have queued, then video, room by room (`schedule.rs`) |
//! | fan-out | `publication/fan_out.rs` | the frame goes to one subscriber after the other |
//! | forward | `forwarder.rs` | the slot's layer is selected, numbers and timestamps are rewritten, what was sent is recorded (`forwarder/`) |
//! | send | `context.rs` | the subscriber's transport seals it into the batch, or queues it (`sfu-rtc`) |
//!
//! # Map
//!
//! | part | what it is |
//! |---|---|
//! | [`command`], [`event`], [`config`], [`ids`] | all that the control plane sees |
//! | [`worker`] | one thread's transports and rooms: `commands`, `transports`, `slots`, `replicas` (rooms on several workers), `rtcp`, `share` (of bandwidth), `start` (of its estimation), `stats` |
//! | `room`, `peer` | who is in a room and what is published; a peer's transport, publications and slots |
//! | `publication` | one source: `ingress`, `fan_out`, `formats`, `layers`, `requests` (NACK, PLI, reports), `origin` and `replica` (relayed to and from another worker) |
//! | `receive_stream` | one received RTP stream: reception, repair, packet history |
//! | `forwarder` | one subscription: layer selector, rewriter, records for retransmission |
//! | [`claims`] | where peers say that they are, so that no handshake begins with another in their place |
//! | [`relay`] | messages from worker to worker |
//! | `start_rates` | what paths carried a while ago |
//! | [`keyframes`], [`speaker`], [`qos`], [`coalescing`], [`overload`] | policies: when to request a keyframe, who speaks, who gets how much, how long packets wait for each other, what to leave out |

pub mod claims;
pub mod coalescing;
pub mod command;
pub mod config;
pub mod event;
pub mod frame_class;
pub mod ids;
pub mod keyframes;
pub mod overload;
pub mod qos;
pub mod references;
pub mod relay;
pub mod repair;
pub mod speaker;
pub mod worker;

mod context;
mod forwarder;
mod layer_order;
mod payload_map;
mod peer;
mod publication;
mod publisher_clock;
mod rate;
mod receive_stream;
mod room;
mod schedule;
mod slab;
mod start_rates;
#[cfg(test)]
mod test_support;
mod timer_queue;

pub use payload_map::is_playable;
