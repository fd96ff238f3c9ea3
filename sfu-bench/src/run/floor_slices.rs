//! The floor of the same run: short slices of it before, between and after the measured windows, so that whatever else
//! the machine does hits both.
//!
//! The load is silent during a slice (peers stay connected, publishers send nothing). If it went on, the floor's sender
//! would share its core and caches with the server, and its receivers theirs with the generator: the floor would come
//! out too high, the more so the more the server is loaded. So each has the two cores to itself, in turn, as closely in
//! time as the load settles: a second.

use super::RunOptions;
use crate::floor::{self, Floor, FloorOptions};
use crate::measure::process::busiest_cpu;
use anyhow::{Context, Result};
use sfu_net::affinity;
use std::ops::RangeInclusive;
use tokio::sync::oneshot;

/// Packets per run length and slice: with six run lengths a fifth of a second of CPU.
const PACKETS: u64 = 24_000;
/// Receivers, where the load has fewer or more: fewer would stay in the caches, more would need too many sockets.
const RECEIVERS: RangeInclusive<u64> = 20..=1_000;
/// Bytes of an RTP header as servers send them (RFC 3550), with the extensions that are usual.
const HEADER: u64 = 12 + 12;

/// Measures one slice, like `packets` packets with `bytes` bytes in all to `receivers` peers.
pub(super) async fn slice(options: &RunOptions, receivers: u64, packets: u64, bytes: u64) -> Result<Floor> {
    let payload = (bytes / packets.max(1)).saturating_sub(HEADER).clamp(20, 1_400);
    let receivers = receivers.clamp(*RECEIVERS.start(), *RECEIVERS.end());
    let options = FloorOptions {
        receivers: u16::try_from(receivers)?,
        payload: u16::try_from(payload)?,
        packets: PACKETS,
        sender_cpu: sender_cpu(options),
        receiver_cpu: options.cpus.first().copied(),
    };
    // The sender pins itself, so it needs a thread of its own.
    let (reply, floor) = oneshot::channel();
    std::thread::spawn(move || drop(reply.send(floor::measure(&options, |_| ()))));
    floor.await.context("the floor's thread panicked")?
}

/// The server's CPU; where it is not known, one that no generator has.
fn sender_cpu(options: &RunOptions) -> Option<usize> {
    let server = options.server_pid.and_then(busiest_cpu);
    server.or_else(|| affinity::allowed_cpus().into_iter().find(|cpu| !options.cpus.contains(cpu)))
}
