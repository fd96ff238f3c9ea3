//! What flows back: NACKs and keyframe requests of subscribers, ours to the publisher, and reports.

use super::fan_out::CATCH_UP;
use super::{Publication, Source};
use crate::config::WorkerConfig;
use crate::context::Context;
use crate::forwarder::Forwarder;
use crate::keyframes::Need;
use crate::layer_order::LayerIndex;
use crate::publisher_clock;
use crate::repair::PendingCopy;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::media::MediaKind;
use sfu_rtc::rtcp::SenderReport;
use sfu_rtc::time::{Duration, Instant, NtpTime, WallClock};
use sfu_rtc::transport::{Repeat, RtcpQueue};

/// A packet is not sent again more often than the round trip, which counts at least so much ...
const MIN_RESEND_INTERVAL: Duration = Duration::from_millis(10);
/// ... and at most so much: a receiver that asks again after that has lost the repair too.
const MAX_RESEND_INTERVAL: Duration = Duration::from_millis(200);
/// A packet is kept for so many round trips: two requests for it and the time until it is known to be missing.
const ROUND_TRIPS_KEPT: u32 = 3;

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
            // What no subscriber gets is not worth the publisher's uplink.
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

    /// When [`Self::send_requests`] or [`Self::judge_due_references`] will have something to do; [`Instant::NEVER`] where
    /// nothing is wanted.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let references = self.references.iter().map(|references| references.due());
        self.streams.iter().map(|stream| stream.poll_timeout()).chain(references).min().unwrap_or(Instant::NEVER)
    }

    /// What a sender report to a subscriber says: the time, and the slot's timestamp then. `None` while nothing is
    /// sent.
    pub(crate) fn report_for(&self, index: u32, now: Instant, clock: &WallClock) -> Option<(NtpTime, u32)> {
        let forwarder = self.forwarder(index).filter(|forwarder| forwarder.is_active() && !self.muted)?;
        let (layer, offset) = forwarder.timestamp_offset()?;
        let stream = self.streams.get(usize::from(layer))?;
        let newest = stream.newest()?;
        let timestamp = publisher_clock::timestamp_now(now, clock, &self.clock, stream.clock.as_ref(), &newest);
        Some((clock.ntp(now), timestamp.wrapping_add(offset)))
    }

    /// A subscriber has this round trip: where its requests come late, packets are kept for it, until the next time that
    /// this is said.
    pub(crate) fn keep_for(&mut self, index: u32, rtt: Duration, now: Instant, config: &WorkerConfig) {
        let Some(forwarder) = self.forwarders.get_mut(index as usize) else { return };
        let window = (forwarder.steady_rtt(rtt) * ROUND_TRIPS_KEPT).min(config.longest_history).max(config.history);
        forwarder.set_history(window);
        if window > config.history {
            let until = now + config.report_interval * 2;
            self.streams.iter_mut().for_each(|stream| stream.history.keep_longer(now, window, until));
        }
    }

    /// A subscriber sent a NACK.
    pub(crate) fn on_nack(
        &mut self,
        index: u32,
        seqs: impl Iterator<Item = u16>,
        rtt: Duration,
        ctx: &mut Context<'_>,
    ) {
        let interval = rtt.clamp(MIN_RESEND_INTERVAL, MAX_RESEND_INTERVAL);
        if let Some(forwarder) = self.forwarders.get_mut(index as usize) {
            forwarder.has_asked = true;
        }
        for seq in seqs {
            match self.number_of(index, seq, ctx) {
                Some(seq) => self.resend(index, seq, None, interval, ctx),
                None => ctx.drop_packet(DropReason::NotInHistory),
            }
        }
    }

    /// The number by which a forwarder knows what its subscriber names by `seq`; `None` for parity.
    fn number_of(&self, index: u32, seq: u16, ctx: &Context<'_>) -> Option<u16> {
        let forwarder = self.forwarders.get(index as usize)?;
        ctx.peers.get(forwarder.subscriber)?.transport.number_of(forwarder.section.into(), seq)
    }

    /// Sends a packet again, unless it was within `interval`: the `copy` that is due, or else the first of as many as are
    /// planned for its class of frame.
    pub(crate) fn resend(
        &mut self,
        index: u32,
        seq: u16,
        copy: Option<PendingCopy>,
        interval: Duration,
        ctx: &mut Context<'_>,
    ) {
        let Some(forwarder) = self.forwarders.get_mut(index as usize) else { return };
        match forwarder.resend(ctx.now, seq, interval, &self.streams) {
            Ok((packet, out, planned)) => {
                let (times, sent) = copy.map_or((planned, 0), |copy| (copy.times, copy.sent));
                // Retransmissions of their own have numbers of their own, so that one may be sent twice.
                if times > 1 && out.repeat != Repeat::Again {
                    let copy = PendingCopy { section: forwarder.section, seq, times: times - 1, sent: sent + 1 };
                    ctx.send_later(forwarder.subscriber, copy);
                }
                ctx.send(forwarder.subscriber, packet, out);
            }
            Err(reason) => ctx.drop_packet(reason),
        }
    }

    /// A subscriber sent PLI or FIR.
    pub(crate) fn on_keyframe_request(&mut self, index: u32, rtt: Duration, ctx: &mut Context<'_>) {
        let Some(forwarder) = self.forwarders.get(index as usize) else { return };
        if self.muted || self.kind == MediaKind::Audio || !forwarder.playable {
            return;
        }
        if self.recovers_instead(index, ctx) {
            return;
        }
        let Some(forwarder) = self.forwarders.get(index as usize) else { return };
        let config = &ctx.config.keyframes;
        if let Some(first) = forwarder.newcomers_first(ctx.now, config) {
            self.resend(index, first.wire(), None, rtt.clamp(MIN_RESEND_INTERVAL, MAX_RESEND_INTERVAL), ctx);
        }
        let Some(forwarder) = self.forwarders.get(index as usize) else { return };
        let Some(at) = forwarder.admit_keyframe_request(ctx.now, rtt, config) else {
            ctx.drop_packet(DropReason::RateLimited);
            return;
        };
        let Some(layer) = forwarder.current().or(forwarder.awaits_keyframe()) else { return };
        let Some(epoch) = self.streams.get(usize::from(layer)).map(|stream| stream.keyframes.epoch()) else { return };
        if let Some(forwarder) = self.forwarders.get_mut(index as usize) {
            forwarder.asked(layer, epoch);
        }
        if self.request_keyframe(layer, at, Asker::Counted, ctx)
            && let Some(forwarder) = self.forwarders.get_mut(index as usize)
        {
            forwarder.count_keyframe_request(at, config);
        }
    }

    /// Asks for the keyframes that subscribers wait for.
    pub(super) fn need_keyframes(&mut self, ctx: &mut Context<'_>) {
        for index in 0..self.forwarders.len() {
            self.need_keyframe_for(index, ctx);
        }
        for index in 0..self.relays.len() {
            self.need_keyframes_for_relay(index, ctx);
        }
    }

    pub(super) fn need_keyframe_for(&mut self, index: usize, ctx: &mut Context<'_>) {
        if self.muted || self.kind == MediaKind::Audio {
            return;
        }
        if let Some(layer) = self.forwarders.get(index).and_then(|forwarder| forwarder.awaits_keyframe()) {
            self.need_keyframe(layer, ctx);
        }
    }

    /// Asks for the keyframe with which a subscriber's stream can begin, while its handshake is still under way: a far
    /// publisher's answer then is there in time, and is held for it.
    pub(crate) fn prepare(&mut self, index: usize, ctx: &mut Context<'_>) {
        let layer = self.forwarders.get(index).and_then(Forwarder::will_await_keyframe);
        let Some(layer) = layer.filter(|_| !self.muted) else { return };
        let Some(stream) = self.streams.get(usize::from(layer)) else { return };
        // While another keyframe would cost too much, it begins with what is held, or asks when it is connected.
        let is_allowed = stream.keyframes.next_for_few(ctx.now, &ctx.config.keyframes) <= ctx.now
            && stream.keyframe_wait(ctx.now, &ctx.config.keyframes) == Duration::ZERO;
        let is_allowed = is_allowed || self.need_of(layer, Asker::Another, ctx) == Need::Most;
        if is_allowed && stream.recent_keyframe(ctx.now, CATCH_UP / 2).is_none() {
            self.request_keyframe(layer, ctx.now, Asker::Another, ctx);
        }
    }

    /// Asks for a keyframe of one stream at `at` or later, for one that may not ask again. Whether a request goes out
    /// because of it.
    pub(crate) fn request_keyframe(&mut self, layer: u8, at: Instant, asker: Asker, ctx: &mut Context<'_>) -> bool {
        let need = self.need_of(layer, asker, ctx);
        let Some(stream) = self.streams.get_mut(usize::from(layer)) else { return false };
        let asked = stream.keyframes.request(at, need, &ctx.config.keyframes);
        self.wake_source(ctx);
        asked
    }

    /// Asks for a keyframe of one stream, for as long as forwarders need it.
    pub(super) fn need_keyframe(&mut self, layer: u8, ctx: &mut Context<'_>) {
        if let Source::Relay(relay) = self.source {
            // The origin learns which keyframes are awaited, and asks for them.
            ctx.relays.wake(relay);
            return;
        }
        let is_due = self.streams.get(usize::from(layer)).is_none_or(|stream| stream.keyframes.is_due_by(ctx.now));
        let need = if is_due { Need::Most } else { self.need_of(layer, Asker::Counted, ctx) };
        let Some(stream) = self.streams.get_mut(usize::from(layer)) else { return };
        stream.keyframes.need(ctx.now, need, &ctx.config.keyframes);
        self.wake_source(ctx);
    }

    /// How many of those who watch a stream need a keyframe of it.
    fn need_of(&self, layer: LayerIndex, asker: Asker, ctx: &Context<'_>) -> Need {
        let Some(stream) = self.streams.get(usize::from(layer)).filter(|_| asker != Asker::All) else {
            return Need::Most;
        };
        let epoch = stream.keyframes.epoch();
        let forwarders = self.forwarders.iter().filter(|forwarder| forwarder.is_interested(layer));
        let (mut watch, mut lack) = (0, usize::from(asker == Asker::Another));
        for forwarder in forwarders {
            watch += 1;
            lack += usize::from(forwarder.lacks_keyframe(layer, epoch));
        }
        for relay in self.relays.iter().filter(|relay| relay.wants(layer)) {
            watch += 1;
            lack += usize::from(relay.awaits(layer));
        }
        if lack * 2 >= watch {
            return Need::Most;
        }
        Need::Few(ctx.now + stream.keyframe_wait(ctx.now, &ctx.config.keyframes))
    }
}

/// Who asks for a keyframe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// Forwarders that are known to lack it, and relays that await it.
    Counted,
    /// One more.
    Another,
    /// Nobody can go on without it.
    All,
}
