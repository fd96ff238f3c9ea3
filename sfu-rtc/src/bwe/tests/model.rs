//! A bottleneck in steps of 250 us: one link with a drop-tail queue, propagation delay, loss, and a TCP-like competitor.

use crate::bwe::{BandwidthEstimator, PacketResult, ProbeCluster, ProbeId};
use crate::pacer::{Pacer, PacerConfig, PacketClass};
use crate::time::{Duration, Instant};
use crate::units::DataSize;
use std::collections::VecDeque;

const STEP: Duration = Duration::from_micros(250);
const FRAME: Duration = Duration::from_micros(33_250);
const AUDIO: Duration = Duration::from_millis(20);
const FEEDBACK: Duration = Duration::from_millis(50);
const SAMPLE: Duration = Duration::from_millis(100);
const PACKET: u64 = 1_200;
const SEGMENT: u64 = 1_500;
const AUDIO_SIZE: u64 = 110;

/// Where the link's capacity comes from.
#[derive(Clone)]
pub(super) enum Capacity {
    /// From so many milliseconds on, so many kbit/s.
    Steps(Vec<(u64, u64)>),
    /// Milliseconds at which 1,500 bytes may leave; the last is the period.
    Opportunities(Vec<u64>),
}

#[derive(Clone, Copy)]
pub(super) enum Loss {
    None,
    Independent(f64),
    /// Bursts: share lost, and mean length.
    Gilbert(f64, f64),
}

/// What the application sends.
#[derive(Clone)]
pub(super) enum Source {
    /// An encoder that follows the estimate up to so many kbit/s, from so many milliseconds on.
    Encoder(Vec<(u64, u64)>),
    /// The highest of these layers, in kbit/s, that fits the estimate.
    Layers(Vec<u64>),
}

#[derive(Clone)]
pub(super) struct Scenario {
    pub(super) capacity: Capacity,
    pub(super) one_way: Duration,
    /// The queue in time at the link's rate, or in bytes for opportunities.
    pub(super) queue: Duration,
    pub(super) queue_bytes: u64,
    pub(super) loss: Loss,
    /// Share of feedback lost.
    pub(super) feedback_loss: f64,
    /// How much faster the peer's clock runs, in millionths.
    pub(super) drift: f64,
    /// Up to so much more delay for each packet.
    pub(super) jitter: Duration,
    pub(super) source: Source,
    /// What an encoder leaves of the estimate, in bit/s.
    pub(super) leaves: f64,
    /// When the TCP-like flow is there, in milliseconds.
    pub(super) competitor: Option<(u64, u64)>,
    /// When we begin to send, in milliseconds.
    pub(super) joins: u64,
    /// Whether padding can be sent, from so many milliseconds on.
    pub(super) padding_from: u64,
    pub(super) length: Duration,
    pub(super) seed: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            capacity: Capacity::Steps(vec![(0, 2_000)]),
            one_way: Duration::from_millis(50),
            queue: Duration::from_millis(300),
            queue_bytes: 250_000,
            loss: Loss::None,
            feedback_loss: 0.0,
            drift: 0.0,
            jitter: Duration::ZERO,
            source: Source::Encoder(vec![(0, 10_000)]),
            leaves: 0.0,
            competitor: None,
            joins: 0,
            padding_from: 0,
            length: Duration::from_secs(60),
            seed: 1,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: f64,
    pub(super) capacity: f64,
    pub(super) estimate: f64,
    /// Media that arrived, in kbit/s: without padding.
    pub(super) received: f64,
    pub(super) competitor: f64,
    /// In milliseconds.
    pub(super) queue: f64,
}

pub(super) struct Outcome {
    pub(super) samples: Vec<Sample>,
    /// Of each packet of ours that arrived: when, and how long it waited at the bottleneck, in milliseconds.
    pub(super) delays: Vec<(f64, f64)>,
    /// Bytes of padding.
    pub(super) padding: u64,
}

impl Outcome {
    /// The mean over `[from, to)` seconds.
    pub(super) fn mean(&self, from: f64, to: f64, of: impl Fn(&Sample) -> f64) -> f64 {
        let within: Vec<f64> = self.samples.iter().filter(|s| s.at >= from && s.at < to).map(of).collect();
        within.iter().sum::<f64>() / within.len().max(1) as f64
    }

    /// Of what could be used, up to `demand`, the share that was.
    pub(super) fn utilisation(&self, from: f64, to: f64, demand: f64) -> f64 {
        self.mean(from, to, |s| s.received) / self.mean(from, to, |s| s.capacity.min(demand)).max(1.0)
    }

    /// The quantile of packets' delays at the bottleneck, in milliseconds.
    pub(super) fn queue(&self, from: f64, to: f64, quantile: f64) -> f64 {
        let mut delays: Vec<f64> =
            self.delays.iter().filter(|(at, _)| *at >= from && *at < to).map(|(_, delay)| *delay).collect();
        delays.sort_by(f64::total_cmp);
        let at = (delays.len() as f64 * quantile) as usize;
        delays.get(at.min(delays.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }

    /// Seconds from `from` until the estimate is at least `kbps`.
    pub(super) fn reaches(&self, from: f64, kbps: f64) -> f64 {
        self.samples.iter().find(|s| s.at >= from && s.estimate >= kbps).map_or(f64::INFINITY, |s| s.at - from)
    }
}

/// A repeatable source of chance (xorshift).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// In [0, 1).
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[derive(Clone, Copy)]
struct Packet {
    ours: bool,
    /// Index of ours; of the competitor, unused.
    index: usize,
    size: u64,
    queued: Instant,
}

/// One packet of ours.
#[derive(Clone, Copy)]
struct Sent {
    at: Instant,
    size: u64,
    probe: Option<ProbeId>,
    media: bool,
    received: Option<Instant>,
}

struct Run<'e> {
    scenario: Scenario,
    estimator: &'e mut dyn BandwidthEstimator,
    random: Random,
    now: Instant,
    pacer: Pacer<(u64, bool)>,
    probe: Option<(ProbeCluster, u64, u32)>,
    next_frame: Instant,
    next_audio: Instant,
    queue: VecDeque<Packet>,
    queue_size: u64,
    credit: f64,
    opportunity: usize,
    in_bad_state: bool,
    sent: Vec<Sent>,
    arriving: VecDeque<(Instant, usize)>,
    newest: usize,
    reported: usize,
    next_feedback: Instant,
    feedback: VecDeque<(Instant, Vec<PacketResult>)>,
    competitor: Tcp,
    outcome: Outcome,
    sampled: (u64, u64),
}

/// Runs a scenario.
pub(super) fn run(scenario: &Scenario, estimator: &mut dyn BandwidthEstimator) -> Outcome {
    let start = Instant::from_millis(1_000);
    let mut run = Run {
        random: Random::new(scenario.seed),
        scenario: scenario.clone(),
        estimator,
        now: start,
        pacer: Pacer::new(PacerConfig::default()),
        probe: None,
        next_frame: start,
        next_audio: start,
        queue: VecDeque::new(),
        queue_size: 0,
        credit: 0.0,
        opportunity: 0,
        in_bad_state: false,
        sent: Vec::new(),
        arriving: VecDeque::new(),
        newest: 0,
        reported: 0,
        next_feedback: start + FEEDBACK,
        feedback: VecDeque::new(),
        competitor: Tcp::default(),
        outcome: Outcome { samples: Vec::new(), delays: Vec::new(), padding: 0 },
        sampled: (0, 0),
    };
    let steps = (scenario.length.as_nanos() / STEP.as_nanos()) as u64;
    for step in 0..steps {
        run.step(start);
        if step % 400 == 399 {
            run.sample(start);
        }
        if step % 4_000 == 3_999 {
            let queueing = run.queueing();
            run.estimator.on_rtt(run.now, run.scenario.one_way * 2 + queueing);
        }
        run.now += STEP;
    }
    run.outcome
}

impl Run<'_> {
    fn step(&mut self, start: Instant) {
        let elapsed = (self.now - start).as_millis() as u64;
        if elapsed >= self.scenario.joins {
            self.produce(elapsed);
            self.pace(elapsed);
        }
        self.compete(elapsed);
        self.serve(elapsed);
        self.receive();
        while self.feedback.front().is_some_and(|(at, _)| *at <= self.now) {
            let (_, results) = self.feedback.pop_front().unwrap();
            self.estimator.on_feedback(self.now, &results);
        }
        if self.estimator.poll_timeout().is_some_and(|at| at <= self.now) {
            self.estimator.handle_timeout(self.now);
        }
    }

    fn estimate(&self) -> f64 {
        self.estimator.estimate().map_or(f64::INFINITY, |rate| rate.as_bps() as f64)
    }

    fn produce(&mut self, elapsed: u64) {
        if self.now >= self.next_audio {
            self.next_audio += AUDIO;
            let _ = self.pacer.push(PacketClass::Audio, DataSize::from_bytes(AUDIO_SIZE), (AUDIO_SIZE, true));
        }
        if self.now < self.next_frame {
            return;
        }
        self.next_frame += FRAME;
        let audio = AUDIO_SIZE as f64 * 8.0 / AUDIO.as_secs_f64();
        let left = (self.estimate() - audio).max(0.0);
        let rate = match &self.scenario.source {
            Source::Encoder(demand) => (left - self.scenario.leaves).max(0.0).min(at(demand, elapsed) as f64 * 1_000.0),
            Source::Layers(layers) => {
                layers.iter().rev().map(|kbps| *kbps as f64 * 1_000.0).find(|rate| *rate <= left).unwrap_or(0.0)
            }
        };
        let mut frame = (rate * FRAME.as_secs_f64() / 8.0 * (0.8 + 0.4 * self.random.share())) as u64;
        while frame > 0 {
            let size = frame.min(PACKET);
            let _ = self.pacer.push(PacketClass::Video, DataSize::from_bytes(size), (size, true));
            frame -= size;
        }
    }

    fn pace(&mut self, elapsed: u64) {
        if self.probe.is_none() {
            self.pacer.set_estimate(self.now, self.estimator.estimate(), self.estimator.is_queued());
            if elapsed >= self.scenario.padding_from
                && let Some(cluster) = self.estimator.poll_probe(self.now)
            {
                self.pacer.set_rate(self.now, Some(cluster.bitrate));
                self.probe = Some((cluster, cluster.bitrate.in_duration(cluster.duration).as_bytes(), 0));
            }
        }
        while let Some((size, media)) = self.pacer.pop(self.now) {
            self.send(size, media);
        }
        while let Some((cluster, left, packets)) = self.probe {
            if left == 0 && packets >= cluster.packets {
                self.probe = None;
            } else if self.pacer.pass(self.now, PacketClass::Padding, DataSize::from_bytes(PACKET)) {
                self.outcome.padding += PACKET;
                self.send(PACKET, false);
            } else {
                break;
            }
        }
    }

    fn send(&mut self, size: u64, media: bool) {
        if let Some((_, left, packets)) = &mut self.probe {
            *left = left.saturating_sub(size);
            *packets += u32::from(ProbeCluster::is_measured_by(DataSize::from_bytes(size)));
        }
        let probe = self.probe.map(|(cluster, ..)| cluster.id);
        self.sent.push(Sent { at: self.now, size, probe, media, received: None });
        self.estimator.on_sent(self.now, DataSize::from_bytes(size));
        let packet = Packet { ours: true, index: self.sent.len() - 1, size, queued: self.now };
        self.enqueue(packet);
    }

    fn compete(&mut self, elapsed: u64) {
        let active = self.scenario.competitor.is_some_and(|(from, to)| (from..to).contains(&elapsed));
        self.competitor.round_trip = self.scenario.one_way * 2 + self.queueing();
        self.competitor.on_time(self.now);
        while active && self.competitor.may_send() {
            self.competitor.in_flight += 1;
            let packet = Packet { ours: false, index: 0, size: SEGMENT, queued: self.now };
            if !self.enqueue(packet) {
                let noticed = self.now + self.scenario.one_way * 2 + self.queueing();
                self.competitor.losses.push_back(noticed);
            }
        }
    }

    /// False where the queue is full.
    fn enqueue(&mut self, packet: Packet) -> bool {
        if self.queue_size + packet.size > self.queue_limit() {
            return false;
        }
        self.queue_size += packet.size;
        self.queue.push_back(packet);
        true
    }

    fn rate(&self) -> f64 {
        let elapsed = (self.now.as_millis()).saturating_sub(1_000);
        match &self.scenario.capacity {
            Capacity::Steps(steps) => at(steps, elapsed) as f64 * 1_000.0,
            Capacity::Opportunities(times) => {
                // Over the second around now.
                let period = times.last().copied().unwrap_or(1).max(1);
                let here = elapsed % period;
                let from = times.partition_point(|t| *t < here.saturating_sub(500));
                let to = times.partition_point(|t| *t < here + 500);
                (to - from) as f64 * SEGMENT as f64 * 8.0
            }
        }
    }

    fn queue_limit(&self) -> u64 {
        match self.scenario.capacity {
            Capacity::Steps(_) => ((self.rate() / 8.0 * self.scenario.queue.as_secs_f64()) as u64).max(3 * SEGMENT),
            Capacity::Opportunities(_) => self.scenario.queue_bytes,
        }
    }

    /// How long a packet waits that comes now.
    fn queueing(&self) -> Duration {
        Duration::from_secs_f64((self.queue_size as f64 * 8.0 / self.rate().max(1_000.0)).min(10.0))
    }

    fn serve(&mut self, elapsed: u64) {
        if let Capacity::Opportunities(times) = &self.scenario.capacity {
            let period = times.last().copied().unwrap_or(1).max(1);
            let due = |n: usize| times[n % times.len()] + (n / times.len()) as u64 * period;
            while due(self.opportunity) <= elapsed {
                self.opportunity += 1;
                self.credit += SEGMENT as f64;
            }
        } else {
            self.credit += self.rate() / 8.0 * STEP.as_secs_f64();
        }
        while let Some(packet) = self.queue.front().copied().filter(|packet| packet.size as f64 <= self.credit) {
            self.credit -= packet.size as f64;
            self.queue_size -= packet.size;
            self.queue.pop_front();
            self.deliver(packet);
        }
        if self.queue.is_empty() {
            self.credit = 0.0;
        }
    }

    fn deliver(&mut self, packet: Packet) {
        if self.is_lost() {
            return;
        }
        if packet.ours {
            let jitter = self.scenario.jitter.mul_f64(self.random.share());
            let arrival = self.now + self.scenario.one_way + jitter;
            let arrival = self.arriving.back().map_or(arrival, |(last, _)| arrival.max(*last));
            self.arriving.push_back((arrival, packet.index));
            let at = (self.now.as_millis() as f64 - 1_000.0) / 1_000.0;
            self.outcome.delays.push((at, (self.now - packet.queued).as_secs_f64() * 1_000.0));
        } else {
            self.competitor.acks.push_back(self.now + self.scenario.one_way * 2);
            self.competitor.received += packet.size;
        }
    }

    fn is_lost(&mut self) -> bool {
        let share = self.random.share();
        match self.scenario.loss {
            Loss::None => false,
            Loss::Independent(p) => share < p,
            Loss::Gilbert(p, mean) => {
                let leave = 1.0 / mean;
                let change = if self.in_bad_state { leave } else { leave * p / (1.0 - p) };
                self.in_bad_state ^= share < change;
                self.in_bad_state
            }
        }
    }

    fn receive(&mut self) {
        while let Some((at, index)) = self.arriving.front().copied().filter(|(at, _)| *at <= self.now) {
            self.arriving.pop_front();
            let nanos = at.as_nanos() as f64 * (1.0 + self.scenario.drift / 1e6);
            let ticks = (nanos / 250_000.0) as u64;
            self.sent[index].received = Some(Instant::from_nanos(ticks * 250_000 + 1_000_000_000_000));
            self.newest = self.newest.max(index + 1);
            if self.sent[index].media {
                self.sampled.0 += self.sent[index].size;
            }
        }
        if self.now < self.next_feedback || self.newest == self.reported {
            return;
        }
        self.next_feedback = self.now + FEEDBACK;
        let results = self.sent[self.reported..self.newest]
            .iter()
            .map(|s| PacketResult {
                sent: s.at,
                received: s.received,
                size: DataSize::from_bytes(s.size),
                probe: s.probe,
            })
            .collect();
        self.reported = self.newest;
        if self.random.share() >= self.scenario.feedback_loss {
            self.feedback.push_back((self.now + self.scenario.one_way, results));
        }
    }

    fn sample(&mut self, start: Instant) {
        let kbps = |bytes: u64| bytes as f64 * 8.0 / SAMPLE.as_secs_f64() / 1_000.0;
        let competitor = self.competitor.received;
        self.outcome.samples.push(Sample {
            at: (self.now - start).as_secs_f64(),
            capacity: self.rate() / 1_000.0,
            estimate: self.estimate() / 1_000.0,
            received: kbps(self.sampled.0),
            competitor: kbps(competitor - self.sampled.1),
            queue: self.queueing().as_secs_f64() * 1_000.0,
        });
        self.sampled = (0, competitor);
    }
}

/// The value of the last step at or before `elapsed`.
fn at(steps: &[(u64, u64)], elapsed: u64) -> u64 {
    steps.iter().rev().find(|(from, _)| *from <= elapsed).map_or(0, |(_, value)| *value)
}

/// A long flow with CUBIC's window (RFC 9438).
struct Tcp {
    window: f64,
    threshold: f64,
    before_loss: f64,
    epoch: Option<Instant>,
    reduced: Instant,
    round_trip: Duration,
    in_flight: u64,
    received: u64,
    acks: VecDeque<Instant>,
    losses: VecDeque<Instant>,
    now: Instant,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            window: 10.0,
            threshold: f64::INFINITY,
            before_loss: 0.0,
            epoch: None,
            reduced: Instant::ZERO,
            round_trip: Duration::ZERO,
            in_flight: 0,
            received: 0,
            acks: VecDeque::new(),
            losses: VecDeque::new(),
            now: Instant::ZERO,
        }
    }
}

impl Tcp {
    fn may_send(&self) -> bool {
        (self.in_flight as f64) < self.window
    }

    fn on_time(&mut self, now: Instant) {
        self.now = now;
        while self.acks.front().is_some_and(|at| *at <= now) {
            self.acks.pop_front();
            self.in_flight -= 1;
            self.on_ack();
        }
        while self.losses.front().is_some_and(|at| *at <= now) {
            self.losses.pop_front();
            self.in_flight -= 1;
            self.on_loss();
        }
    }

    fn on_ack(&mut self) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        let epoch = *self.epoch.get_or_insert(self.now);
        let k = (self.before_loss * 0.3 / 0.4).cbrt();
        let t = (self.now - epoch).as_secs_f64();
        let target = 0.4 * (t - k).powi(3) + self.before_loss;
        self.window += if target > self.window { (target - self.window) / self.window } else { 0.01 / self.window };
        // As fast as Reno would at least (section 4.3).
        self.window += 0.5 / self.window;
    }

    fn on_loss(&mut self) {
        // Once for what is lost within a round trip (RFC 5681 section 3.2, RFC 6675 section 5).
        if self.now - self.reduced < self.round_trip {
            return;
        }
        self.reduced = self.now;
        self.before_loss = self.window;
        self.window = (self.window * 0.7).max(2.0);
        self.threshold = self.window;
        self.epoch = None;
    }
}
