//! What the peer tells of the path to it, and what we tell of the path from it.

use super::rtt::RttMeter;
use super::{RtcpCompound, Transport, TransportConfig};
use crate::bwe::{BandwidthEstimator, LossReport, PacketResult};
use crate::drop_reason::DropReason;
use crate::net::{NetworkPath, TransmitBatch};
use crate::rtcp::{ReportBlock, RtcpView, SenderInfo, TwccFeedback, TwccView};
use crate::time::{Duration, Instant, NtpTime};
use crate::twcc::SendHistory;
use crate::units::{Bitrate, DataSize};

/// The path to the peer as it is known.
#[derive(Debug)]
pub(super) struct PathState {
    estimator: Box<dyn BandwidthEstimator>,
    history: SendHistory,
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
    pub(super) fn new(estimator: Box<dyn BandwidthEstimator>, config: &TransportConfig) -> Self {
        Self {
            estimator,
            history: SendHistory::new(config.send_history.clone()),
            rtt: RttMeter::default(),
            loss: 0.0,
            results: Vec::new(),
        }
    }

    pub(super) fn set_estimator(&mut self, estimator: Box<dyn BandwidthEstimator>) {
        self.estimator = estimator;
    }

    pub(super) fn estimate(&self) -> Option<Bitrate> {
        self.estimator.estimate()
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt.rtt()
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

    /// The packet with that number leaves.
    pub(super) fn on_sent(&mut self, now: Instant, size: usize) {
        if self.estimator.wants_feedback() {
            self.history.on_sent(now, DataSize::from_bytes(size as u64));
        } else {
            self.history.skip();
        }
    }

    fn on_transport_feedback(&mut self, now: Instant, feedback: &TwccView<'_>) {
        if !self.estimator.wants_feedback() {
            return;
        }
        self.history.on_feedback(feedback.reference_time, feedback.packets(), &mut self.results);
        if !self.results.is_empty() {
            self.estimator.on_feedback(now, &self.results);
        }
    }

    fn on_block(&mut self, now: Instant, block: &ReportBlock) {
        if let Some(rtt) = self.rtt.on_block(now, block.last_sr, block.delay_since_last_sr) {
            self.estimator.on_rtt(now, rtt);
        }
    }

    /// An answer to a check of ours took so long. The only measure for a peer that only sends.
    pub(super) fn on_rtt(&mut self, now: Instant, rtt: Duration) {
        if self.rtt.on_measured(rtt) {
            self.estimator.on_rtt(now, rtt);
        }
    }

    fn on_loss(&mut self, now: Instant, sum: &LossSum) {
        if sum.expected > 0 {
            self.loss = (sum.lost / sum.expected as f64) as f32;
            self.estimator.on_loss(now, LossReport { fraction: self.loss, packets: sum.expected });
        }
    }
}

impl Transport {
    /// Heeds what concerns the path; the rest is for whoever gets the compound.
    pub(super) fn handle_rtcp(&mut self, now: Instant, compound: RtcpCompound<'_>) {
        let mut loss = LossSum::default();
        for packet in compound.packets() {
            match packet {
                Ok(RtcpView::ReceiverReport(report)) => {
                    report.blocks().for_each(|block| self.handle_block(now, &block, &mut loss));
                }
                Ok(RtcpView::SenderReport(report)) => {
                    report.blocks().for_each(|block| self.handle_block(now, &block, &mut loss));
                }
                Ok(RtcpView::Twcc(feedback)) => self.path_state.on_transport_feedback(now, &feedback),
                Ok(RtcpView::Remb(remb)) => self.path_state.estimator.on_remb(now, remb.bitrate),
                Ok(_) => {}
                Err(reason) => self.drop_packet(reason),
            }
        }
        self.path_state.on_loss(now, &loss);
        self.follow_estimate();
    }

    fn handle_block(&mut self, now: Instant, block: &ReportBlock, loss: &mut LossSum) {
        self.path_state.on_block(now, block);
        let Some(sender) = self.sender_of(block.ssrc) else { return };
        let expected = sender.on_report(block);
        loss.expected += expected;
        loss.lost += expected as f64 * f64::from(block.fraction_lost) / 256.0;
    }

    /// Adds a sender report on what we send in `section`: at `ntp` its media clock showed `rtp`. Nothing where the
    /// section has sent nothing.
    pub fn send_report(&mut self, section: usize, ntp: NtpTime, rtp: u32) {
        let source = self.sections.get(section).and_then(|section| section.local_ssrcs);
        let (Some(pair), Some(sender)) = (source, self.senders.get(section)) else { return };
        if sender.packets > 0 {
            let (packets, octets) = (sender.packets, sender.octets);
            self.rtcp.sender_report(SenderInfo { ssrc: pair.media, ntp, rtp, packets, octets });
        }
    }

    /// Queues feedback on what arrived, if it is due.
    pub(super) fn report_arrivals(&mut self, now: Instant) {
        let Self { arrivals, rtcp, feedback_count, media_source, .. } = self;
        arrivals.report(now, |base_seq, arrivals| {
            let (sender, media, fb_count) = (rtcp.sender(), *media_source, *feedback_count);
            *feedback_count = feedback_count.wrapping_add(1);
            rtcp.transport_feedback(&TwccFeedback { sender, media, base_seq, fb_count, arrivals })
        });
    }

    pub(super) fn flush_rtcp(&mut self, now: Instant, path: NetworkPath, batch: &mut TransmitBatch) {
        if self.rtcp.is_empty() {
            return;
        }
        let Self { rtcp, connection, path_state, counters, drops, config, .. } = self;
        let Some(keys) = connection.keys.as_mut() else { return };
        rtcp.reports().for_each(|info| path_state.rtt.on_report_sent(now, info.ntp));
        rtcp.flush(config.max_rtcp, |packet| {
            if !connection.ice.may_send(&path, packet.len()) {
                return drops.count(DropReason::UnprovenPath);
            }
            let sealed = batch.push(path, |out| {
                let start = out.len();
                out.extend_from_slice(packet);
                keys.sender.seal_rtcp(out, start)
            });
            match sealed {
                Ok(()) => counters.rtcp_out += 1,
                Err(reason) => drops.count(reason),
            }
        });
    }
}
