//! What the peer's RTCP says of the path to it: round trip, loss, and what the path carries.

use super::{RtcpCompound, Transport, TransportConfig};
use crate::bwe::{BandwidthEstimator, LossReport, PacketResult, ProbeCluster, ProbeId};
use crate::path_meter::{PathMeter, PathQuality};
use crate::rtcp::{ReportBlock, RtcpView, TwccView};
use crate::time::{Duration, Instant, NtpTime};
use crate::twcc::{FramePacket, SendHistory};
use crate::units::{Bitrate, DataSize};
use arrayvec::ArrayVec;

/// Packets that one feedback tells of: 100 ms of 7 Mbit/s. Room for them is made at once, not when a burst comes.
const USUAL_RESULTS: usize = 64;

/// The path to the peer as it is known.
#[derive(Debug)]
pub(super) struct PathState {
    estimator: Box<dyn BandwidthEstimator>,
    /// What the estimator says, asked for with each packet.
    wants_feedback: bool,
    history: SendHistory,
    /// Loss and delay of each packet; `None` where nobody wants to know.
    meter: Option<PathMeter>,
    rtt: RttMeter,
    loss: f32,
    /// Reused for every feedback.
    results: Vec<PacketResult>,
}

/// Loss summed over the blocks of one compound.
#[derive(Default)]
struct LossSum {
    expected: u64,
    lost: f64,
}

impl PathState {
    pub(super) fn new(estimator: Box<dyn BandwidthEstimator>, config: &TransportConfig, now: Instant) -> Self {
        Self {
            wants_feedback: estimator.wants_feedback(),
            estimator,
            history: SendHistory::new(config.send_history.clone()),
            meter: config.measure_path.then(|| PathMeter::new(now)),
            rtt: RttMeter::default(),
            loss: 0.0,
            results: Vec::new(),
        }
    }

    pub(super) fn set_estimator(&mut self, now: Instant, mut estimator: Box<dyn BandwidthEstimator>) {
        if let Some(rtt) = self.rtt() {
            estimator.on_rtt(now, rtt);
        }
        self.wants_feedback = estimator.wants_feedback();
        self.estimator = estimator;
    }

    pub(super) fn estimate(&self) -> Option<Bitrate> {
        self.estimator.estimate()
    }

    pub(super) fn sustained(&self) -> Option<Bitrate> {
        self.estimator.sustained()
    }

    pub(super) fn is_queued(&self) -> bool {
        self.estimator.is_queued()
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt.rtt()
    }

    pub(super) fn quality(&self) -> Option<PathQuality> {
        self.meter.as_ref()?.quality()
    }

    pub(super) fn loss(&self) -> f32 {
        self.loss
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.estimator.poll_timeout()
    }

    /// True where the estimate may have changed.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let due = self.estimator.poll_timeout().is_some_and(|at| at <= now);
        if due {
            self.estimator.handle_timeout(now);
        }
        due
    }

    /// The transport-wide number of the packet that leaves next.
    pub(super) fn next_seq(&self) -> u16 {
        self.history.next_seq()
    }

    /// Whether the estimator ever requests a probe.
    pub(super) fn probes(&self) -> bool {
        self.wants_feedback
    }

    /// The probe that the estimator requests now. It is answered, or requested again.
    pub(super) fn poll_probe(&mut self, now: Instant) -> Option<ProbeCluster> {
        self.estimator.poll_probe(now)
    }

    pub(super) fn set_demand(&mut self, demand: Option<Bitrate>) {
        self.estimator.set_demand(demand);
    }

    /// The packet with that number leaves, as part of a probe or not.
    pub(super) fn on_sent(&mut self, now: Instant, size: DataSize, probe: Option<ProbeId>) {
        if self.wants_feedback {
            self.estimator.on_sent(now, size);
        }
        if self.is_followed() {
            self.history.on_sent(now, size, probe);
        } else {
            self.history.skip();
        }
    }

    /// The packet with that transport-wide number leaves once more as it was.
    pub(super) fn on_repeated(&mut self, seq: u16) {
        if self.is_followed() {
            self.history.on_repeated(seq);
        }
    }

    /// The packet that left last is of a frame with a number: what becomes of it is told.
    pub(super) fn name_last(&mut self, frame: FramePacket) {
        if self.is_followed() {
            self.history.name_last(frame);
        }
    }

    pub(super) fn told(&mut self) -> std::vec::Drain<'_, (FramePacket, bool)> {
        self.history.told()
    }

    fn on_transport_feedback(&mut self, now: Instant, feedback: &TwccView<'_>) {
        if !self.is_followed() {
            return;
        }
        if self.results.capacity() == 0 {
            self.results.reserve(USUAL_RESULTS);
        }
        self.history.on_feedback(feedback.reference_time, feedback.packets(), &mut self.results);
        if self.results.is_empty() {
            return;
        }
        if let Some(meter) = &mut self.meter {
            meter.on_feedback(now, &self.results);
        }
        if self.wants_feedback {
            self.estimator.on_feedback(now, &self.results);
        }
    }

    /// Whether it matters what becomes of each packet.
    fn is_followed(&self) -> bool {
        self.wants_feedback || self.meter.is_some()
    }

    fn on_report_block(&mut self, now: Instant, block: &ReportBlock) {
        if let Some(rtt) = self.rtt.on_report_block(now, block.last_sr, block.delay_since_last_sr) {
            self.estimator.on_rtt(now, rtt);
        }
    }

    /// Whether the round trip was measured within `lifetime`.
    pub(super) fn knows_rtt(&self, now: Instant, lifetime: Duration) -> bool {
        self.rtt.measured.is_some_and(|at| now.saturating_since(at) < lifetime)
    }

    /// An answer to a check of ours took so long. The only measure for a peer that only sends.
    pub(super) fn on_rtt(&mut self, now: Instant, rtt: Duration) {
        if self.rtt.on_measured(now, rtt) {
            self.estimator.on_rtt(now, rtt);
        }
    }

    /// A sender report leaves.
    pub(super) fn on_report_sent(&mut self, now: Instant, ntp: NtpTime) {
        self.rtt.on_report_sent(now, ntp);
    }

    fn on_loss(&mut self, now: Instant, sum: &LossSum) {
        if sum.expected > 0 {
            self.loss = (sum.lost / sum.expected as f64) as f32;
            self.estimator.on_loss(now, LossReport { fraction: self.loss, packets: sum.expected });
        }
    }
}

impl Transport {
    /// Handles what concerns the path; the rest of the compound is the caller's.
    pub(super) fn handle_rtcp(&mut self, now: Instant, compound: RtcpCompound<'_>) {
        let mut loss = LossSum::default();
        for packet in compound.packets() {
            match packet {
                Ok(RtcpView::ReceiverReport(report)) => {
                    report.blocks().for_each(|block| self.handle_report_block(now, &block, &mut loss));
                }
                Ok(RtcpView::SenderReport(report)) => {
                    report.blocks().for_each(|block| self.handle_report_block(now, &block, &mut loss));
                }
                Ok(RtcpView::Twcc(feedback)) => self.path_state.on_transport_feedback(now, &feedback),
                Ok(RtcpView::Remb(remb)) => self.path_state.estimator.on_remb(now, remb.bitrate),
                Ok(_) => {}
                Err(reason) => self.drop_packet(reason),
            }
        }
        self.path_state.on_loss(now, &loss);
        self.apply_estimate(now);
    }

    fn handle_report_block(&mut self, now: Instant, block: &ReportBlock, loss: &mut LossSum) {
        self.path_state.on_report_block(now, block);
        let Some(sender) = self.sender_of(block.ssrc) else { return };
        let (expected, lost) = sender.on_report(block);
        loss.expected += expected;
        loss.lost += lost;
    }
}

/// Sender reports remembered. All sources report at the same moment, so these span this many rounds.
const MAX_REPORTS: usize = 16;
/// Longer is no round trip but a clock that lies.
const MAX_RTT: Duration = Duration::from_secs(10);
/// So many measurements in a row that are longer, or shorter, by half are no noise: the path is another, as after a change
/// of networks. At one per second the mean would need a quarter of a minute to say so.
const CHANGED: i8 = 3;

/// Round trip between us and the peer, from our sender reports and the peer's answers (RFC 3550 section 6.4.1), and from
/// our STUN checks.
#[derive(Default, Debug)]
pub(super) struct RttMeter {
    /// Middle of the NTP time of our reports, and when they left.
    sent: ArrayVec<(u32, Instant), MAX_REPORTS>,
    smoothed: Option<Duration>,
    /// When it was measured last.
    measured: Option<Instant>,
    /// How many of the last measurements were far above the smoothed value, or negative: below it.
    apart: i8,
}

impl RttMeter {
    /// A sender report leaves.
    pub(super) fn on_report_sent(&mut self, now: Instant, ntp: NtpTime) {
        let middle = ntp.middle();
        if self.sent.iter().any(|(known, _)| *known == middle) {
            return;
        }
        if self.sent.is_full() {
            self.sent.remove(0);
        }
        self.sent.push((middle, now));
    }

    /// The peer refers to our report `last_sr`, which it held for `delay` (units of 1/65536 s). The new measurement,
    /// if it is one.
    pub(super) fn on_report_block(&mut self, now: Instant, last_sr: u32, delay: u32) -> Option<Duration> {
        let (_, left) = self.sent.iter().find(|(middle, _)| last_sr != 0 && *middle == last_sr)?;
        let held = Duration::from_nanos((u64::from(delay) * 1_000_000_000) >> 16);
        let rtt = now.saturating_since(*left).checked_sub(held)?;
        self.on_measured(now, rtt).then_some(rtt)
    }

    /// The round trip was measured in another way. False where it is none.
    pub(super) fn on_measured(&mut self, now: Instant, rtt: Duration) -> bool {
        if rtt >= MAX_RTT {
            return false;
        }
        self.measured = Some(now);
        let old = *self.smoothed.get_or_insert(rtt);
        let side = i8::from(rtt > old + old / 2) - i8::from(rtt + rtt / 2 < old);
        self.apart = if side == self.apart.signum() { self.apart + side } else { side };
        if self.apart.abs() >= CHANGED {
            (self.smoothed, self.apart) = (Some(rtt), 0);
        } else {
            // An eighth of weight for the newest, as TCP smooths its round trip (RFC 6298).
            self.smoothed = Some((old * 7 + rtt) / 8);
        }
        true
    }

    /// The round trip, smoothed.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.smoothed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_the_peer_held_it_is_taken_off() {
        let mut meter = RttMeter::default();
        let ntp = NtpTime::from_unix(Duration::from_secs(1_000));
        meter.on_report_sent(Instant::from_millis(100), ntp);
        assert_eq!(
            meter.on_report_block(Instant::from_millis(400), ntp.middle(), 1 << 14),
            Some(Duration::from_millis(50))
        );
        assert_eq!(meter.on_report_block(Instant::from_millis(400), 77, 0), None, "not ours");
        assert_eq!(
            meter.on_report_block(Instant::from_millis(400), ntp.middle(), 1 << 20),
            None,
            "held longer than it was away"
        );
        assert_eq!(meter.rtt(), Some(Duration::from_millis(50)));
    }

    #[test]
    fn a_path_that_has_become_another_is_known_by_the_third_measurement() {
        let measure = |meter: &mut RttMeter, rtts: &[u64]| {
            rtts.iter().for_each(|rtt| {
                meter.on_measured(Instant::ZERO, Duration::from_millis(*rtt));
            });
            meter.rtt().map(|rtt| rtt.as_millis())
        };
        let mut meter = RttMeter::default();
        assert_eq!(measure(&mut meter, &[1, 500, 500, 500]), Some(500));
        assert_eq!(measure(&mut meter, &[80, 80, 80]), Some(80), "and shorter");
        let noisy = measure(&mut meter, &[200, 80, 200, 80, 200, 80]);
        assert!(noisy.is_some_and(|rtt| (80..140).contains(&rtt)), "noise is smoothed: {noisy:?}");
        assert_eq!(measure(&mut meter, &[10_000, 10_000, 10_000]), noisy);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut meter = RttMeter::default();
        for second in 0..100 {
            meter.on_report_sent(Instant::from_millis(second * 1_000), NtpTime::from_unix(Duration::from_secs(second)));
        }
        assert_eq!(meter.sent.len(), MAX_REPORTS);
    }
}
