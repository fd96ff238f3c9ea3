//! What is asked of the system: UDP in batches with segmentation offload, CPU affinity, interfaces, limits and memory.
//!
//! The server and the load tester share this crate, so that both pay the same for a packet. Linux only; where the
//! kernel lacks UDP_GRO or UDP_SEGMENT, packets go one by one.

#![allow(unsafe_code, reason = "system calls; each block says why it holds")]

pub mod affinity;
mod call;
mod cmsg;
pub mod cpu_time;
pub mod interfaces;
pub mod memory;
mod open_files;
mod plan;
pub mod priority;
mod recv;
mod recv_plain;
mod refused_runs;
mod send;
mod sockaddr;
mod socket;

pub use open_files::raise_open_files;
pub use recv::RecvBatch;
pub use recv_plain::PlainBatch;
pub use send::{SendProgress, SendStats};
pub use socket::{UdpConfig, UdpSocket};
