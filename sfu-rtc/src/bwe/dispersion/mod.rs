//! Capacity by the dispersion of bursts, held down by queueing delay.
//!
//! A server knows what GCC does not use: frames leave as bursts at a known rate, above the one that the path carries on
//! average. How a burst is spread when it arrives tells the bottleneck's rate before any queue stands (`arrivals`). While a
//! queue stands (`delay`), the bottleneck is busy, and what arrives is the rate that it has for us. So:
//!
//! | seen | done |
//! |---|---|
//! | no queue | rise quickly towards the rate that bursts show, slowly near one at which a queue stood |
//! | a queue | what arrives, less what drains the queue in time |
//! | a queue that stays however little is sent | somebody keeps it full: compete as CUBIC does (RFC 9438, `competition`) |
//! | loss without a queue | nothing, as long as what is sent arrives but for the path's own loss |
//! | loss around a silence, or in a row without a queue behind it | nothing: the path was gone, and carries what it did |
//! | the queue is gone after a drop | probe for the rate before, unless bursts show that the path carries no more |

mod arrivals;
mod competition;
mod delay;
mod loss;
mod probing;
mod unanswered;

use super::{BandwidthEstimator, PacketResult, ProbeCluster};
use crate::time::{Duration, Instant};
use crate::units::{Bitrate, DataSize};
use arrivals::{Arrivals, Capacity, LOSS_WINDOW, Rates};
use competition::Competition;
use delay::QueueDelay;
use loss::InherentLoss;
use probing::{Known, Prober};
use unanswered::Unanswered;

/// Limits of [`EstimatorConfig::Dispersion`](super::EstimatorConfig::Dispersion).
#[derive(Clone, PartialEq, Debug)]
pub struct DispersionConfig {
    /// Before anything is known.
    pub start: Bitrate,
    /// Never below: sound and the lowest layer.
    pub min: Bitrate,
    /// Never above.
    pub max: Bitrate,
    /// Share of the capacity that is used while no queue stands, 0.5 to 1: what is left drains the bursts.
    pub utilisation: f64,
    /// A standing queue up to this long is none, 5 to 200 ms: below it, jitter would be taken for one.
    pub queue_target: Duration,
    /// What is sent is one encoder's, which follows each rate at once. It can leave nearly all of the path unused while a
    /// queue drains, and where much less arrives than is sent, that is believed before bursts of just before. What is left
    /// of a path for several of them is shared out anew, which costs keyframes.
    pub follows_at_once: bool,
}

impl Default for DispersionConfig {
    fn default() -> Self {
        Self {
            start: Bitrate::from_kbps(600),
            min: Bitrate::from_kbps(60),
            max: Bitrate::from_kbps(50_000),
            utilisation: 0.96,
            queue_target: Duration::from_millis(12),
            follows_at_once: false,
        }
    }
}

/// A queue of so many milliseconds is more than the pacer's bursts make: it is to be drained by the pacer as well.
const LONG_QUEUE: f64 = 50.0;
/// A queue is drained in about so much time, in milliseconds ...
const DRAIN: f64 = 350.0;
/// ... with at most so much of the capacity left unused, and so much where what is sent follows at once.
const MAX_DRAIN: (f64, f64) = (0.55, 0.85);
/// Once it is gone, so much of what is used else is sent again at once, as what arrived tells the capacity with some error;
/// but where what is too much shows after more seconds than this, the rate rises as else.
const DRAINED_SHARE: f64 = 0.93;
const SHOWS_SOON: f64 = 0.25;
/// Where bursts show more, the rate doubles in so many seconds.
const DOUBLING: f64 = 0.5;
/// Without that, it rises so much per second, up to so much more than is sent.
const SLOW_RISE: f64 = 0.25;
const UNPROVEN: f64 = 1.5;
/// Above a rate at which a queue stood, up to so much more than is sent.
const UNPROVEN_NEAR: f64 = 1.1;
/// Near a rate at which a queue stood: so much per second, in bit/s and as a share. The first is the same for all who
/// share a bottleneck, so that they become equal; but no more than a share, since a queue that a slow path builds up
/// within a response time takes long to drain.
const NEAR_RISE: f64 = 40_000.0;
const NEAR_RISE_SHARE: f64 = 0.06;
const NEAR_SHARE: f64 = 0.01;
/// A rate at which a queue stood counts for so long.
const CEILING_AGE: Duration = Duration::from_secs(15);
/// Bursts that show so much more than the ceiling for so long: the capacity rose.
const ABOVE_CEILING: f64 = 1.2;
const ABOVE_FOR: Duration = Duration::from_millis(250);
/// A fall to less than this share is a drop.
const DROP: f64 = 0.7;
/// Sending less than this share of the estimate is being limited by the application.
const USED: f64 = 0.8;
/// A queue is ours as well, if so much arrives of what bursts show.
const OURS: f64 = 0.5;
/// Less than this share of what is sent arrives where the path has become slow: else at least what is sent, later.
const ARRIVING: f64 = 0.6;
/// Somebody keeps the queue full, if it stays for so many seconds and response times while we send so little of what we did
/// before: never below so much of its most, and no less at the end than so much of what it was.
const STANDING: f64 = 1.5;
const STANDING_RESPONSES: f64 = 2.5;
const YIELDED: f64 = 0.75;
const STAYS: f64 = 0.35;
const DRAINED: f64 = 0.85;
/// What arrives has become less than this share with what we send, or we send the least.
const FOLLOWS: f64 = 0.7;
/// Competing, the rate is at most so many times what arrives.
const COMPETE_UNPROVEN: f64 = 1.3;
/// A flow that fills the queue leaves it after a loss, and is back within so much time. So who joined a full queue, and took
/// it for the path's own delay, does not have to find out each time anew.
const SAWTOOTH: Duration = Duration::from_secs(10);
/// When nobody else is there, bursts arrive at the same rate as everything.
const ALONE: f64 = 0.92;
/// Loss that is still more than this share of what it was at a rate of less than this share is the path's own.
const LOSS_TRIAL: f64 = 0.75;
/// While feedback is overdue, the rate halves with each such time.
const SILENCE: Duration = Duration::from_millis(200);
/// A path that was silent, and has no queue any more within so much time, carries what it did; later, half of it.
const STALL: Duration = Duration::from_secs(2);
/// No feedback for so long and a response time, while something was sent: the path was gone, and what was lost meanwhile
/// tells nothing of its rate. Feedback is due each 100 ms at the least, and now and then one is lost.
const OUTAGE: Duration = Duration::from_millis(200);

/// So many packets lost in a row, over so much time: the path was gone. A queue that overflows, or a policer, lets one
/// pass as often as it serves one, and who overflows a queue leaves it full.
const LOST_IN_A_ROW: u32 = 3;
const LOST_FOR: Duration = Duration::from_millis(80);

/// From a packet's sending to the feedback on it before any is known, in seconds.
const RESPONSE: f64 = 0.2;

/// A standing queue, since when, and how it was then.
#[derive(Clone, Copy, Debug)]
struct Standing {
    since: Instant,
    /// What arrived when it began, in bit/s.
    received: f64,
    rate: f64,
    ceiling: Option<(f64, Instant)>,
    /// While we send little of what we did.
    window: Option<Window>,
}

/// A standing queue for a while: since when, the queue and what arrived then, and its least and most since.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    queue: f64,
    received: f64,
    least: f64,
    most: f64,
}

impl Standing {
    /// Whether somebody else keeps the queue full: it stays, though we send so much less that it would drain, and what
    /// arrives follows us down. Of a path that became slow, what arrives is what it carries, and its queue drains.
    fn is_theirs(&mut self, now: Instant, queue: f64, rates: Rates, response: f64, at_least: bool) -> bool {
        let (sent, received) = (rates.sent.as_bps() as f64, rates.received.as_bps() as f64);
        if sent >= self.received * YIELDED {
            self.window = None;
            return false;
        }
        let window = self.window.get_or_insert(Window { since: now, queue, received, least: queue, most: queue });
        (window.least, window.most) = (window.least.min(queue), window.most.max(queue));
        if now.saturating_since(window.since).as_secs_f64() < STANDING.max(STANDING_RESPONSES * response) {
            return false;
        }
        let follows = at_least || received < window.received * FOLLOWS;
        let stays = window.least > STAYS * window.most && queue > DRAINED * window.queue;
        self.window = None;
        stays && follows
    }
}

/// Our own estimator.
#[derive(Clone, Debug)]
pub(super) struct Dispersion {
    config: DispersionConfig,
    delay: QueueDelay,
    arrivals: Arrivals,
    inherent: InherentLoss,
    prober: Prober,
    /// The estimate in bit/s.
    rate: f64,
    updated: Instant,
    unanswered: Unanswered,
    /// From a packet's sending to the feedback on it, in seconds.
    response: f64,
    /// The same while no queue stands.
    clear_response: f64,
    standing: Option<Standing>,
    /// The rate at which a queue stood, and when.
    ceiling: Option<(f64, Instant)>,
    above_since: Option<Instant>,
    /// What the path carries as the last probe that it spread has it, and when.
    probed: Option<(f64, Instant)>,
    /// Since when the queue is somebody else's.
    competing: Option<Competition>,
    /// When the queue was gone, though somebody else was there, and the window then.
    competed: Option<(Instant, Competition)>,
    loss_fall: Instant,
    /// When a queue was gone.
    cleared: Instant,
    /// The rate and the loss before the rate fell for loss.
    loss_trial: Option<(f64, f64)>,
    limited: bool,
    /// When feedback is overdue. From who never gave any it cannot fail to come.
    silent_at: Option<Instant>,
    heard: bool,
    /// When something was first sent since the last feedback.
    unanswered_since: Option<Instant>,
    /// When feedback came again after an outage, or the first packet left that arrived after it.
    outage_ended: Instant,
    /// When the newest packet left that arrived.
    arrived: Instant,
    /// The rate before feedback failed to come, and when that was.
    before_silence: Option<(f64, Instant)>,
    may_probe: bool,
    /// How long the queue is, in milliseconds.
    queue: f64,
}

impl Dispersion {
    /// Begins at the configured start.
    pub(super) fn new(config: DispersionConfig, now: Instant) -> Self {
        let (min, max) = (config.min, config.max.max(config.min));
        let start = config.start.clamp(min, max);
        let utilisation = if config.utilisation.is_finite() { config.utilisation.clamp(0.5, 1.0) } else { 0.95 };
        let queue_target = config.queue_target.clamp(Duration::from_millis(5), Duration::from_millis(200));
        Self {
            delay: QueueDelay::default(),
            arrivals: Arrivals::new(),
            inherent: InherentLoss::default(),
            prober: Prober::new(max, now),
            rate: start.as_bps() as f64,
            updated: now,
            unanswered: Unanswered::new(RESPONSE),
            response: RESPONSE,
            clear_response: 0.1,
            standing: None,
            ceiling: None,
            above_since: None,
            probed: None,
            competing: None,
            competed: None,
            loss_fall: now,
            cleared: Instant::ZERO,
            loss_trial: None,
            limited: false,
            silent_at: None,
            heard: false,
            unanswered_since: None,
            outage_ended: Instant::ZERO,
            arrived: Instant::ZERO,
            before_silence: None,
            may_probe: true,
            queue: 0.0,
            config: DispersionConfig { start, min, max, utilisation, queue_target, ..config },
        }
    }

    fn set_rate(&mut self, rate: f64) {
        let (min, max) = (self.config.min.as_bps() as f64, self.config.max.as_bps() as f64);
        self.rate = if rate.is_finite() { rate.clamp(min, max) } else { min };
    }

    /// A queue stands for `queue` milliseconds.
    fn on_queue(&mut self, now: Instant, queue: f64, rates: Rates) {
        let received = rates.received.as_bps() as f64;
        let at_least = self.rate <= self.config.min.as_bps() as f64 * 1.5;
        let standing = self.standing.get_or_insert(Standing {
            since: now,
            received,
            rate: self.rate,
            ceiling: self.ceiling,
            window: None,
        });
        let is_theirs = standing.is_theirs(now, queue, rates, self.response, at_least);
        let standing = *standing;
        let lasts = now.saturating_since(standing.since).as_secs_f64() >= self.response;
        let before = self.competed.filter(|(at, _)| lasts && now.saturating_since(*at) < SAWTOOTH);
        if let Some((_, before)) = before {
            self.competing = Some(before);
            return;
        }
        if is_theirs {
            self.set_rate(standing.received.max(self.rate));
            self.competing = Some(Competition::new(now, self.rate, self.response));
            return;
        }
        // Where little is sent of what bursts show, the queue is not ours, and they tell what there is for us. Where it is
        // much, we yield as those do who send all they may: else nothing would be left for them.
        let falls_behind = self.config.follows_at_once && received < rates.sent.as_bps() as f64 * ARRIVING;
        let capacity = match self.arrivals.capacity(now, self.delay.noise()) {
            Some(Capacity::Is(shown) | Capacity::AtLeast(shown))
                if self.limited && received < shown.as_bps() as f64 * OURS && !falls_behind =>
            {
                shown.as_bps() as f64
            }
            _ => received,
        };
        let target = self.config.queue_target.as_secs_f64() * 1_000.0;
        let most = if self.config.follows_at_once { MAX_DRAIN.1 } else { MAX_DRAIN.0 };
        let drain = ((queue - target / 2.0) / DRAIN).clamp(0.0, most);
        let rate = capacity * (self.config.utilisation - drain);
        let before = self.rate;
        self.ceiling = Some((capacity, now));
        // While it drains, the rate may rise again with the queue's end.
        self.set_rate(rate.min(standing.rate));
        if self.rate < standing.rate.max(before) * DROP {
            let lost = Bitrate::from_bps(standing.rate as u64);
            if standing.since == now || before >= standing.rate * DROP {
                self.prober.on_drop(now, lost);
            }
        }
    }

    /// The queue is gone. One that is so before our answer can have worked was none of ours: the answer is taken back. Else
    /// what was held back so that it drained is there again.
    fn take_back(&mut self, now: Instant) {
        let Some(standing) = self.standing.take() else { return };
        self.cleared = now;
        if now.saturating_since(standing.since).as_secs_f64() < self.clear_response {
            self.ceiling = standing.ceiling;
            self.set_rate(self.rate.max(standing.rate));
        } else if let Some((capacity, _)) = self.ceiling.filter(|_| self.clear_response < SHOWS_SOON) {
            self.set_rate(self.rate.max(standing.rate.min(capacity * self.config.utilisation * DRAINED_SHARE)));
        }
    }

    /// The path is back, and no queue stands.
    fn end_silence(&mut self, now: Instant) {
        if let Some((before, at)) = self.before_silence.take() {
            let share = if now.saturating_since(at) < STALL { 1.0 } else { 0.5 };
            self.set_rate(self.rate.max(before * share));
            self.prober.encourage();
        }
    }

    /// No queue stands.
    fn on_clear(&mut self, now: Instant, passed: f64, rates: Rates) {
        let sent = rates.sent.as_bps() as f64;
        self.limited = sent < self.rate * USED;
        let (goal, proven) = match self.arrivals.capacity(now, self.delay.noise()) {
            Some(Capacity::Is(rate)) => (rate.as_bps() as f64 * self.config.utilisation, true),
            Some(Capacity::AtLeast(rate)) => (rate.as_bps() as f64 * self.config.utilisation, true),
            None => (self.unproven(now, sent), false),
        };
        // Too little is sent at once to show anything: then probes must.
        self.limited |= !proven;
        self.check_ceiling(now, goal);
        if goal <= self.rate {
            return;
        }
        let risen = match self.ceiling {
            Some((ceiling, _)) if self.rate >= ceiling * self.config.utilisation => {
                self.rate + (NEAR_RISE.min(NEAR_RISE_SHARE * self.rate) + NEAR_SHARE * self.rate) * passed
            }
            Some((ceiling, _)) if proven => {
                (self.rate * 2.0_f64.powf(passed / DOUBLING)).min(ceiling * self.config.utilisation)
            }
            None if proven => self.rate * 2.0_f64.powf(passed / DOUBLING),
            _ => self.rate * (1.0 + SLOW_RISE * passed),
        };
        self.set_rate(risen.min(goal));
    }

    /// How far the rate may rise though too little is sent to show that the path carries it.
    fn unproven(&self, now: Instant, sent: f64) -> f64 {
        let probed = self.probed.filter(|(_, at)| now.saturating_since(*at) < CEILING_AGE);
        let near = self.ceiling.map_or(f64::INFINITY, |(ceiling, _)| ceiling * self.config.utilisation);
        let risen = (sent * UNPROVEN).min(near.max(sent * UNPROVEN_NEAR));
        risen.min(probed.map_or(f64::INFINITY, |(rate, _)| rate * self.config.utilisation))
    }

    /// The ceiling is forgotten when it is old, or when bursts show for a while that the path carries more.
    fn check_ceiling(&mut self, now: Instant, shown: f64) {
        let Some((ceiling, at)) = self.ceiling else { return };
        if shown < ceiling * ABOVE_CEILING {
            self.above_since = None;
        } else {
            self.above_since.get_or_insert(now);
        }
        let above = self.above_since.is_some_and(|since| now.saturating_since(since) >= ABOVE_FOR);
        if above || now.saturating_since(at) >= CEILING_AGE {
            (self.ceiling, self.above_since) = (None, None);
        }
    }

    /// Somebody else keeps the queue full: rise, and fall with loss, as CUBIC does.
    fn compete(&mut self, now: Instant, rates: Rates, lost: Option<Instant>) {
        let Some(competition) = &mut self.competing else { return };
        let received = rates.received.as_bps() as f64;
        if let Some(sent) = lost.filter(|_| self.arrivals.loss(now).0 > self.inherent.least() + 0.005) {
            competition.on_loss(now, sent, self.rate, self.response);
        }
        // What is not sent cannot be found to be too much.
        let most = (received * COMPETE_UNPROVEN).max(self.rate);
        let rate = competition.rate(now, self.response).min(most);
        self.set_rate(rate);
        let Some(competition) = &mut self.competing else { return };
        let shown = match self.arrivals.capacity(now, self.delay.noise()) {
            Some(Capacity::Is(rate)) => rate.as_bps() as f64,
            _ => f64::INFINITY,
        };
        if received < shown * ALONE {
            competition.alone_since = None;
        } else if now.saturating_since(*competition.alone_since.get_or_insert(now)).as_secs_f64() >= STANDING {
            self.end_competition(now);
        }
    }

    fn end_competition(&mut self, now: Instant) {
        let theirs = self.competing.take().filter(|competition| competition.will_go_on(now));
        self.competed = theirs.map(|competition| (now, competition));
        self.standing = None;
        self.ceiling = Some((self.rate, now));
    }

    /// Much more is lost than the path's own share, and what arrives is less for it: a policer, or a queue too short to be
    /// seen. What one that was seen has lost is no sign of that.
    fn on_loss_without_queue(&mut self, now: Instant, rates: Rates) {
        let (sent, received) = (rates.sent.as_bps() as f64, rates.received.as_bps() as f64);
        let carried = received / (1.0 - self.inherent.share()).max(0.5);
        let apart = now.saturating_since(self.loss_fall).as_secs_f64() >= self.response + 0.2
            && now.saturating_since(self.cleared) >= LOSS_WINDOW;
        if !self.inherent.is_exceeded() || carried >= sent * 0.95 || !apart || carried >= self.rate {
            return;
        }
        self.loss_fall = now;
        let share = self.arrivals.loss(now).0;
        let (rate, lost) = *self.loss_trial.get_or_insert((self.rate, share));
        if self.rate > rate * LOSS_TRIAL {
            self.ceiling = Some((carried, now));
            self.set_rate(carried);
            return;
        }
        self.loss_trial = None;
        if share > lost * LOSS_TRIAL {
            // We send less, and as much of it is lost.
            self.inherent.accept(share);
            self.ceiling = None;
            self.set_rate(rate);
        }
    }

    /// Feedback came: whether the path was gone before, as its absence tells or what it says.
    fn note_outage(&mut self, now: Instant, packets: &[PacketResult], queue: Option<f64>) {
        let outage = OUTAGE + Duration::from_secs_f64(self.response);
        if self.unanswered_since.take().is_some_and(|since| now.saturating_since(since) >= outage) {
            self.outage_ended = now;
        }
        let is_clear = queue.is_some_and(|queue| queue <= self.queue_target());
        let mut lost = 0;
        for packet in packets {
            if packet.received.is_none() {
                lost += 1;
                continue;
            }
            let took = packet.sent.saturating_since(self.arrived);
            if lost >= LOST_IN_A_ROW && took >= LOST_FOR && is_clear {
                self.outage_ended = self.outage_ended.max(packet.sent);
                self.arrivals.resume(packet.sent);
            }
            (lost, self.arrived) = (0, self.arrived.max(packet.sent));
        }
    }

    fn queue_target(&self) -> f64 {
        self.config.queue_target.as_secs_f64() * 1_000.0
    }

    fn on_probe(&mut self, now: Instant, measured: Bitrate, saturated: bool) {
        self.probed = saturated.then_some((measured.as_bps() as f64, now));
        let share = if saturated { 0.88 } else { 0.95 };
        let rate = measured.as_bps() as f64 * share;
        if rate > self.rate {
            (self.ceiling, self.above_since) = (None, None);
            self.set_rate(rate);
        }
    }
}

impl BandwidthEstimator for Dispersion {
    fn on_feedback(&mut self, now: Instant, packets: &[PacketResult]) {
        (self.silent_at, self.heard) = (None, true);
        let passed = now.saturating_since(self.updated).as_secs_f64().min(0.25);
        self.updated = now;
        if let Some(newest) = packets.last() {
            self.silent_at = self.unanswered.on_feedback(now, newest.sent, passed);
            self.response = self.unanswered.response();
        }
        let queue = self.delay.on_feedback(now, packets, self.competing.is_some());
        self.note_outage(now, packets, queue);
        // What was sent before the outage and did not arrive was told of by earlier feedback, or fell to the outage.
        let outage_ended = self.outage_ended;
        let judged = |packet: &&PacketResult| packet.received.is_some() || packet.sent > outage_ended;
        let judged = packets.iter().filter(judged);
        let lost = judged.clone().filter(|packet| packet.received.is_none()).map(|packet| packet.sent).max();
        self.arrivals.on_feedback(now, judged, Bitrate::from_bps(self.rate as u64));
        let probe = self.prober.on_feedback(packets);
        let target = self.queue_target();
        self.may_probe = queue.is_some_and(|queue| queue < target.max(20.0)) && self.competing.is_none();
        if let Some(probe) = probe.filter(|_| self.may_probe) {
            self.on_probe(now, probe.measured, probe.saturated);
        }
        self.queue = queue.unwrap_or(self.queue);
        if queue.is_some_and(|queue| queue <= target) {
            self.end_silence(now);
        }
        let (Some(queue), Some(rates)) = (queue, self.arrivals.rates()) else { return };
        if queue <= target {
            if self.competing.is_some() {
                self.end_competition(now);
            }
            self.take_back(now);
            self.clear_response += (self.response.min(2.0 * self.clear_response) - self.clear_response) / 8.0;
            self.inherent.update(now, self.arrivals.loss(now));
            self.on_clear(now, passed, rates);
            self.on_loss_without_queue(now, rates);
        } else if self.competing.is_some() {
            self.compete(now, rates, lost);
        } else {
            self.on_queue(now, queue, rates);
        }
    }

    fn on_rtt(&mut self, _now: Instant, rtt: Duration) {
        self.prober.on_rtt(rtt);
    }

    fn estimate(&self) -> Option<Bitrate> {
        Some(Bitrate::from_bps(self.rate as u64))
    }

    fn sustained(&self) -> Option<Bitrate> {
        let standing = self.standing.filter(|_| self.competing.is_none()).zip(self.ceiling);
        let carried = standing.map(|(before, (capacity, _))| before.rate.min(capacity * self.config.utilisation));
        Some(Bitrate::from_bps(self.rate.max(carried.unwrap_or(0.0)) as u64))
    }

    fn is_queued(&self) -> bool {
        let stands = match &self.competing {
            // Bursts that leave slowly would not show whether we are alone.
            Some(competition) => competition.alone_since.is_none(),
            None => self.standing.is_some(),
        };
        stands && self.queue >= LONG_QUEUE
    }

    fn on_sent(&mut self, now: Instant, size: DataSize) {
        self.arrivals.on_sent(now, size, self.rate);
        self.unanswered.on_sent(now);
        self.unanswered_since.get_or_insert(now);
        if self.silent_at.is_none() && self.heard {
            self.silent_at = Some(now + self.unanswered.patience());
        }
    }

    fn poll_probe(&mut self, now: Instant) -> Option<ProbeCluster> {
        let estimate = self.estimate()?;
        if !self.may_probe {
            return None;
        }
        let Self { prober, arrivals, delay, limited, .. } = self;
        prober.poll(now, estimate, || match arrivals.capacity(now, delay.noise()) {
            _ if *limited => Known::Little,
            Some(Capacity::Is(_)) => Known::Exactly,
            _ => Known::AtLeast,
        })
    }

    fn set_demand(&mut self, demand: Option<Bitrate>) {
        self.prober.set_demand(demand);
    }

    fn wants_feedback(&self) -> bool {
        true
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.silent_at, self.prober.poll_timeout()].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.prober.handle_timeout(now, Bitrate::from_bps(self.rate as u64));
        if self.silent_at.is_none_or(|at| at > now) {
            return;
        }
        let (before, _) = *self.before_silence.get_or_insert((self.rate, now));
        self.prober.on_drop(now, Bitrate::from_bps(before as u64));
        self.set_rate(self.rate * 0.5);
        let is_least = self.rate <= self.config.min.as_bps() as f64;
        self.silent_at = (!is_least).then(|| now + SILENCE);
    }
}
