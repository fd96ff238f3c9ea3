//! The floor of the same run: short slices of it before, between and after the measured windows, so that whatever else
//! the machine does hits both.
//!
//! The load is silent during a slice (peers stay connected, publishers send nothing). If it went on, the floor's sender
//! would share its core and caches with the server, and its receivers theirs with the generator: the floor would come
//! out too high, the more so the more the server is loaded. So each has the two cores to itself, in turn, as closely in
//! time as the load settles: a second.

use super::RunOptions;
use crate::floor::{self, Floor, FloorOptions, Pace};
use crate::generator::Interval;
use crate::measure::process::busiest_cpu;
use anyhow::{Context, Result};
use sfu_net::affinity;
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::sync::oneshot;

/// Packets per run length and slice: with six run lengths a fifth of a second of CPU.
const PACKETS: u64 = 24_000;
/// Receivers, where the load has fewer or more: fewer would stay in the caches, more would need too many sockets.
const RECEIVERS: RangeInclusive<u64> = 20..=1_000;
/// Bytes of an RTP header as servers send them (RFC 3550), with the extensions that are usual.
const HEADER: u64 = 12 + 12;

/// A load of fewer packets per second is none whose cost could be told from the rest.
const LEAST_RATE: f64 = 1_000.0;

/// Measures one slice, with packets as large and as frequent as those that `receivers` peers got in `length`.
pub(super) async fn slice(options: &RunOptions, receivers: u64, load: &Interval, length: Duration) -> Result<Floor> {
    let (packets, bytes) = (load.measured.packets, load.measured.bytes);
    let payload = (bytes / packets.max(1)).saturating_sub(HEADER).clamp(20, 1_400);
    let receivers = receivers.clamp(*RECEIVERS.start(), *RECEIVERS.end());
    let rate = packets as f64 / length.as_secs_f64().max(1e-3);
    let fan_out = (packets / load.sent.max(1)).clamp(1, receivers);
    let pace = Pace { rate: rate as u32, fan_out: Some(u16::try_from(fan_out)?) };
    let options = FloorOptions {
        receivers: u16::try_from(receivers)?,
        payload: u16::try_from(payload)?,
        packets: PACKETS,
        sender_cpu: sender_cpu(options),
        receiver_cpu: options.cpus.first().copied(),
        pace: (rate >= LEAST_RATE).then_some(pace),
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
