//! What goes back: to the publisher our requests and reports, from subscribers theirs.

use super::Publication;
use crate::config::WorkerConfig;
use crate::context::Context;
use crate::forwarder::Forwarder;
use crate::layer_selector::LayerIndex;
use crate::sender_report;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::media::MediaKind;
use sfu_rtc::rtcp::SenderReport;
use sfu_rtc::time::{Duration, Instant, NtpTime, WallClock};
use sfu_rtc::transport::RtcpQueue;

/// A packet is not sent again more often than the round trip, which counts at least so much ...
const MIN_RESEND_INTERVAL: Duration = Duration::from_millis(10);
/// ... and at most so much: a receiver that asks again after that has lost the repair too.
const MAX_RESEND_INTERVAL: Duration = Duration::from_millis(200);

impl Publication {
    /// The publisher's report on one of its streams, of which this publication may have none: all publications of one
    /// publisher learn its clock from the same reports, so that they stay in step exactly.
    pub(crate) fn on_sender_report(&mut self, clock: &WallClock, report: &SenderReport<'_>, ctx: &mut Context<'_>) {
        self.clock.on_sender_report(ctx.now, clock, report.info.ntp);
        if let Some(layer) = self.streams.iter_mut().position(|stream| stream.on_sender_report(ctx.now, report)) {
            self.relay_report(layer as LayerIndex, ctx);
        }
    }

    /// Asks the publisher for packets and keyframes that are due.
    pub(crate) fn send_requests(&mut self, now: Instant, rtt: Duration, config: &WorkerConfig, out: &mut RtcpQueue) {
        let Self { streams, forwarders, relays, missing, .. } = self;
        for (layer, stream) in streams.iter_mut().enumerate() {
            if stream.poll_timeout() > now {
                continue;
            }
            missing.clear();
            stream.take_missing(now, rtt, missing);
            // What nobody gets is not worth the publisher's uplink.
            let index = layer as LayerIndex;
            let wanted = || forwarders.iter().any(|forwarder| forwarder.playable && forwarder.is_interested(index));
            if !missing.is_empty() && (wanted() || relays.iter().any(|relay| relay.wants(index))) {
                stream.request_repair(missing, out);
            }
            let awaited = |forwarder: &Forwarder| forwarder.awaits_keyframe() == Some(index);
            if stream.keyframes.due() <= now {
                let awaited = forwarders.iter().any(awaited) || relays.iter().any(|relay| relay.awaits(index));
                if awaited || stream.keyframes.is_requested() {
                    stream.request_keyframe(now, rtt, config, out);
                } else {
                    stream.keyframes.cancel();
                }
            }
        }
    }

    /// Reports to the publisher on what arrived. False where nothing did.
    pub(crate) fn send_reports(&mut self, now: Instant, out: &mut RtcpQueue) -> bool {
        self.streams.iter_mut().fold(false, |active, stream| stream.report(now, out) | active)
    }

    /// When [`Self::send_requests`] will have something to do; [`Instant::NEVER`] where nothing is wanted.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.streams.iter().map(|stream| stream.poll_timeout()).min().unwrap_or(Instant::NEVER)
    }

    /// What a sender report to a subscriber says: the time, and the slot's timestamp then. `None` while nothing is sent.
    pub(crate) fn report_for(&self, index: u32, now: Instant, clock: &WallClock) -> Option<(NtpTime, u32)> {
        let forwarder = self.forwarder(index).filter(|forwarder| forwarder.is_active() && !self.muted)?;
        let (layer, offset) = forwarder.timestamp_offset()?;
        let stream = self.streams.get(usize::from(layer))?;
        let newest = stream.newest()?;
        let timestamp = sender_report::timestamp_now(now, clock, &self.clock, stream.clock.as_ref(), &newest);
        Some((clock.ntp(now), timestamp.wrapping_add(offset)))
    }

    /// A subscriber asks for packets again.
    pub(crate) fn on_nack(
        &mut self,
        index: u32,
        seqs: impl Iterator<Item = u16>,
        rtt: Duration,
        ctx: &mut Context<'_>,
    ) {
        let Some(forwarder) = self.forwarders.get_mut(index as usize) else { return };
        let interval = rtt.clamp(MIN_RESEND_INTERVAL, MAX_RESEND_INTERVAL);
        for seq in seqs {
            match forwarder.resend(ctx.now, seq, interval, &self.streams) {
                Ok((packet, out)) => ctx.send(forwarder.subscriber, packet, out),
                Err(reason) => ctx.drop_packet(reason),
            }
        }
    }

    /// A subscriber sent PLI or FIR.
    pub(crate) fn on_keyframe_request(&mut self, index: u32, rtt: Duration, ctx: &mut Context<'_>) {
        let Some(forwarder) = self.forwarders.get(index as usize) else { return };
        if self.muted || self.kind == MediaKind::Audio || !forwarder.playable {
            return;
        }
        let config = &ctx.config.keyframes;
        let Some(at) = forwarder.admit_keyframe_request(ctx.now, rtt, config) else {
            ctx.drop_packet(DropReason::RateLimited);
            return;
        };
        let Some(layer) = forwarder.current().or(forwarder.awaits_keyframe()) else { return };
        if self.request_keyframe(layer, at, ctx)
            && let Some(forwarder) = self.forwarders.get_mut(index as usize)
        {
            forwarder.count_keyframe_request(at, config);
        }
    }
}
