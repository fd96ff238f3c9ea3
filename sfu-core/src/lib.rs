//! What only an SFU needs, sans-IO: [`worker`] owns transports and routers; [`command`] and [`event`] are its whole
//! control interface.
//!
//! A packet comes in by [`worker::Worker::handle_datagram`], goes through its publication (`publication`,
//! `receive_stream`) to the `forwarder` of each subscriber, and leaves by [`worker::Worker::poll_transmit`].

pub mod command;
pub mod config;
pub mod event;
pub mod ids;
pub mod keyframes;
pub mod qos;
pub mod relay;
pub mod speaker;
pub mod worker;

mod context;
mod forwarder;
mod hash;
mod layer_order;
mod layer_selector;
mod numbering;
pub mod overload;
mod parameter_sets;
mod payload_map;
mod peer;
mod publication;
mod random;
mod rate;
mod receive_stream;
mod reception;
mod rewriter;
mod router;
mod rtx_history;
mod sender_report;
mod slab;
mod stream_tracker;
#[cfg(test)]
mod test_support;
mod timers;
mod turns;
