//! The floor: what a forwarded packet must cost on this machine, now, with nothing but sealing and sending.
//!
//! The same code that the server uses writes a header, seals a payload of the usual size for one of many receivers
//! (each with keys of its own), and sends runs of equal size as one segmented message. What a server adds to this is
//! its own doing.
//!
//! Back to back, everything is in the caches. At the rate of a load, which leaves the processor to others between two
//! frames, the same work costs more: what both must do then is the floor at that rate.

mod pace;
mod receivers;

pub use pace::Pace;

use anyhow::{Context, Result};
use receivers::Receivers;
use serde::{Deserialize, Serialize};
use sfu_net::cpu_time::thread_cpu_time;
use sfu_net::{UdpConfig, UdpSocket, affinity};
use sfu_rtc::ids::{PayloadType, SeqNo, Ssrc};
use sfu_rtc::net::{NetworkPath, Protocol, TransmitBatch};
use sfu_rtc::rtp::{HeaderWriter, RtpHeader};
use sfu_rtc::srtp::{MasterKey, SrtpProfile, SrtpSender};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Run lengths that are measured: what a frame of a call is cut into.
pub const RUNS: [usize; 6] = [1, 2, 4, 6, 8, 16];
/// Run lengths that are measured at a rate, where each takes its time.
const RUNS_AT_RATE: [usize; 3] = [1, 2, 6];
/// How long each of them is measured.
const TIME_AT_RATE: Duration = Duration::from_millis(400);
/// Peers whose packets are sealed before they are sent: as many messages as one sendmmsg takes.
const BATCH: usize = 64;
/// How long to wait for the receivers before a round counts as lost; loopback loses only where a buffer is full.
const ROUND_PATIENCE: Duration = Duration::from_millis(100);

/// What to measure with.
#[derive(Clone, Debug, clap::Args)]
pub struct FloorOptions {
    /// Receivers, each with a socket and keys of its own.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2_000))]
    pub receivers: u16,
    /// Payload of each packet in bytes.
    #[arg(long, default_value_t = 1_060, value_parser = clap::value_parser!(u16).range(20..=1_400))]
    pub payload: u16,
    /// Packets per run length.
    #[arg(long, default_value_t = 200_000)]
    pub packets: u64,
    /// CPU that sends (default: the first allowed).
    #[arg(long)]
    pub sender_cpu: Option<usize>,
    /// CPU that receives (default: the last allowed).
    #[arg(long)]
    pub receiver_cpu: Option<usize>,
    /// The rate at which it is measured besides back to back.
    #[command(flatten)]
    pub pace: Option<Pace>,
}

impl Default for FloorOptions {
    fn default() -> Self {
        Self { receivers: 200, payload: 1_060, packets: 200_000, sender_cpu: None, receiver_cpu: None, pace: None }
    }
}

/// The floor, in nanoseconds of CPU per packet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Floor {
    /// Header and seal, nothing sent.
    pub seal: f64,
    /// Header, seal and send, by run length, back to back.
    pub send: Vec<(usize, f64)>,
    /// The same at the rate that was asked for; empty where none was.
    pub send_at_rate: Vec<(usize, f64)>,
    /// Receiving as the load's peers do: poll, recvmmsg, open.
    pub receive: f64,
}

impl Floor {
    /// Cost at a mean run length that may lie between measured ones.
    pub fn at_run(&self, run: f64) -> f64 {
        interpolate(&self.send, run).unwrap_or(self.seal)
    }

    /// The same at the rate that was asked for.
    pub fn at_rate(&self, run: f64) -> Option<f64> {
        interpolate(&self.send_at_rate, run)
    }
}

/// The cost per message is what a run shares, so costs are interpolated over 1/run.
fn interpolate(costs: &[(usize, f64)], run: f64) -> Option<f64> {
    let share = |length: usize| 1.0 / length as f64;
    let wanted = 1.0 / run.max(1.0);
    for pair in costs.windows(2) {
        let ((short, dear), (long, cheap)) = (pair[0], pair[1]);
        if wanted >= share(long) {
            let weight = (wanted - share(long)) / (share(short) - share(long));
            return Some(cheap + weight.min(1.0) * (dear - cheap));
        }
    }
    costs.last().map(|last| last.1)
}

/// Measures the floor. `progress` is told what is done.
///
/// # Errors
/// Where sockets cannot be made or a CPU is not there.
pub fn measure(options: &FloorOptions, mut progress: impl FnMut(&str)) -> Result<Floor> {
    let cpus = affinity::allowed_cpus();
    let sender_cpu = options.sender_cpu.unwrap_or(cpus[0]);
    let receiver_cpu = options.receiver_cpu.unwrap_or(cpus[cpus.len() - 1]);
    let options = options.clone();
    let receivers = Receivers::start(options.receivers, receiver_cpu)?;
    affinity::pin_current_thread(sender_cpu).with_context(|| format!("cannot pin to CPU {sender_cpu}"))?;
    let mut sender = FloorSender::new(&receivers, usize::from(options.payload))?;
    progress("seal");
    let seal = sender.seal_only(options.packets)?;
    let mut send = Vec::new();
    for run in RUNS {
        progress(&format!("send in runs of {run}"));
        send.push((run, sender.send_runs(run, options.packets, &receivers.received)?));
    }
    let mut send_at_rate = Vec::new();
    for (pace, run) in options.pace.iter().flat_map(|pace| RUNS_AT_RATE.map(|run| (pace, run))) {
        progress(&format!("send in runs of {run} at the rate"));
        send_at_rate.push((run, sender.send_at_rate(run, pace)?));
    }
    progress("receive");
    let receive = receivers.stop();
    Ok(Floor { seal, send, send_at_rate, receive })
}

struct FloorSender {
    socket: UdpSocket,
    peers: Vec<(NetworkPath, SrtpSender)>,
    batch: TransmitBatch,
    payload: Vec<u8>,
    next_seq: u64,
}

impl FloorSender {
    fn new(receivers: &Receivers, payload: usize) -> Result<Self> {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &UdpConfig::default())?;
        let local = socket.local_addr().ip();
        let peer = |(index, &remote): (usize, &SocketAddr)| {
            Ok((NetworkPath { remote, local, protocol: Protocol::Udp }, SrtpSender::new(&master_key(index)?)))
        };
        let peers = receivers.addresses.iter().enumerate().map(peer).collect::<Result<_>>()?;
        let batch = TransmitBatch::default();
        Ok(Self { socket, peers, batch, payload: vec![0xa5; payload], next_seq: 0 })
    }

    /// Seals a run for each of `peers`; their packets are numbered from `first` on.
    fn fill(&mut self, peers: Range<usize>, run: usize, first: u64) -> Result<()> {
        self.batch.clear();
        for (path, keys) in &mut self.peers[peers] {
            for seq in (first..).take(run).map(SeqNo) {
                let write = |out: &mut Vec<u8>| seal(keys, seq, &self.payload, out);
                self.batch.push(*path, write).ok().context("a packet of this size can be sealed")?;
            }
        }
        Ok(())
    }

    /// One fan-out. A batch is no larger than what one system call sends, so that it stays in the cache.
    fn fan_out(&mut self, peers: Range<usize>, run: usize, send: bool) -> Result<()> {
        let first = self.next_seq;
        self.next_seq += run as u64;
        for start in peers.clone().step_by(BATCH) {
            self.fill(start..(start + BATCH).min(peers.end), run, first)?;
            let mut next = send.then_some(0);
            while let Some(from) = next {
                let progress = self.socket.send(&self.batch, from);
                next = progress.blocked.then_some(progress.next);
            }
        }
        Ok(())
    }

    fn seal_only(&mut self, packets: u64) -> Result<f64> {
        let rounds = packets.div_ceil(self.peers.len() as u64);
        self.fan_out(0..self.peers.len(), 1, false)?;
        let before = thread_cpu_time();
        for _ in 0..rounds {
            self.fan_out(0..self.peers.len(), 1, false)?;
        }
        Ok(per_packet(thread_cpu_time() - before, rounds * self.peers.len() as u64))
    }

    /// Sends round after round, each when the last has been received, so that the receivers' buffers never fill.
    fn send_runs(&mut self, run: usize, packets: u64, received: &AtomicU64) -> Result<f64> {
        let per_round = (run * self.peers.len()) as u64;
        let rounds = packets.div_ceil(per_round).max(2);
        let mut spent = Duration::ZERO;
        for round in 0..rounds {
            let target = received.load(Ordering::Relaxed) + per_round;
            let before = thread_cpu_time();
            self.fan_out(0..self.peers.len(), run, true)?;
            // The first round warms the caches and the route.
            if round > 0 {
                spent += thread_cpu_time() - before;
            }
            let begun = Instant::now();
            while received.load(Ordering::Relaxed) < target && begun.elapsed() < ROUND_PATIENCE {
                thread::sleep(Duration::from_micros(50));
            }
        }
        Ok(per_packet(spent, (rounds - 1) * per_round))
    }

    /// Sends fan-out after fan-out, each when it is due.
    fn send_at_rate(&mut self, run: usize, pace: &Pace) -> Result<f64> {
        let (count, interval) = pace.fan_outs(run, self.peers.len());
        let (mut spent, mut packets, mut from) = (Duration::ZERO, 0, 0);
        let begun = Instant::now();
        let mut due = Duration::ZERO;
        while due < TIME_AT_RATE.max(interval) {
            thread::sleep(due.saturating_sub(begun.elapsed()));
            due += interval;
            let before = thread_cpu_time();
            self.fan_out(from..from + count, run, true)?;
            spent += thread_cpu_time() - before;
            packets += (count * run) as u64;
            from = if from + 2 * count <= self.peers.len() { from + count } else { 0 };
        }
        Ok(per_packet(spent, packets))
    }
}

fn seal(
    keys: &mut SrtpSender,
    seq: SeqNo,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), sfu_rtc::drop_reason::DropReason> {
    let start = out.len();
    let header =
        RtpHeader { payload_type: PayloadType(96), seq: seq.wire(), timestamp: 0, ssrc: Ssrc(1), marker: false };
    let header_len = HeaderWriter::new(out, header).finish();
    out.extend_from_slice(payload);
    keys.seal_rtp(out, start, header_len, seq)
}

/// Key of one receiver.
fn master_key(index: usize) -> Result<MasterKey> {
    let seed = (index as u64).to_be_bytes();
    MasterKey::new(SrtpProfile::AeadAes128Gcm, &[seed, seed].concat(), &[7; 12]).context("key sizes fit")
}

fn per_packet(spent: Duration, packets: u64) -> f64 {
    spent.as_nanos() as f64 / packets.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_between_measured_runs_follows_the_share_of_a_message() {
        let send = vec![(1, 3_000.0), (2, 1_600.0), (4, 900.0)];
        let floor = Floor { seal: 200.0, send, send_at_rate: vec![(1, 4_000.0), (2, 2_000.0)], receive: 400.0 };
        assert_eq!(floor.at_run(1.0), 3_000.0);
        assert_eq!(floor.at_run(2.0), 1_600.0);
        assert!((floor.at_run(4.0 / 3.0) - 2_300.0).abs() < 1e-6);
        assert_eq!(floor.at_run(9.0), 900.0);
        assert_eq!(floor.at_run(0.5), 3_000.0);
        assert_eq!((floor.at_rate(1.0), floor.at_rate(7.0)), (Some(4_000.0), Some(2_000.0)));
    }

    #[test]
    fn a_small_floor_can_be_measured() {
        let pace = Some(Pace { rate: 2_000, fan_out: Some(2) });
        let options = FloorOptions { receivers: 5, packets: 500, pace, ..FloorOptions::default() };
        let floor = measure(&options, |_| ()).unwrap();
        assert_eq!((floor.send.len(), floor.send_at_rate.len()), (RUNS.len(), RUNS_AT_RATE.len()));
        assert!(floor.send_at_rate.iter().all(|(_, cost)| *cost > 0.0));
        assert!(floor.seal > 0.0 && floor.send.iter().all(|(_, cost)| *cost > 0.0));
    }
}
