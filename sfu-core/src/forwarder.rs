//! One subscription: what becomes of a publication's packets on one slot.
//!
//! Each packet goes through [`Forwarder::forward`]: the selector decides whether it goes (`layer_selector`), the
//! rewriter gives it the slot's numbers (`rewriter`), and a record is kept to send it again (`sent_history`).

mod audio;
pub(crate) mod layer_selector;
mod rewriter;
mod sent_history;

use crate::command::{LayerPreference, VideoCaps};
use crate::config::WorkerConfig;
use crate::event::{LayerLimit, PauseReason};
use crate::frame_class::CLASSES;
use crate::keyframes::{KeyframeConfig, ReceiverBudget};
use crate::layer_order::{LayerIndex, MAX_LAYERS};
use crate::overload::Shed;
use crate::payload_map::PayloadMap;
use crate::qos::LayerId;
use crate::rate::RateMeter;
use crate::receive_stream::ReceiveStream;
use crate::references::Holding;
use crate::repair::{LoadMeter, PendingCopy};
use crate::slab::Key;
use arrayvec::ArrayVec;
use layer_selector::{LayerSelector, LayerTarget, SimulcastSelector, SingleSelector, SvcSelector, Verdict};
use rewriter::{Rewriter, Rewritten, Timing};
use sent_history::SentHistory;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::{PayloadType, SeqNo, Ssrc};
use sfu_rtc::media::{Codec, MediaKind, SsrcPair};
use sfu_rtc::packet::Packet;
use sfu_rtc::prefetch::prefetch;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::transport::{PacketClass, Repeat, RtpOut};
use sfu_rtc::units::Bitrate;

/// The least that timestamps advance at a switch. Two frames must not share one; of audio, a frame of the usual
/// length was sent last.
const LEAST_STEP_VIDEO: Duration = Duration::from_millis(1);
const LEAST_STEP_AUDIO: Duration = Duration::from_millis(20);

/// With what has just come, a stream begins no later: half of what histories hold, so that all that follows is there.
const MAX_START_AGE: Duration = Duration::from_millis(500);

/// Why no better layer is sent is reported no more often: an estimate may go up and down many times in a second.
const LIMIT_INTERVAL: Duration = Duration::from_secs(1);

/// So many of its subscriber's round trips are kept, one of each report.
const ROUND_TRIPS: usize = 4;

/// Bytes per second that may be sent again in any case: a keyframe's worth just after the stream began.
const MIN_REPAIR_RATE: f64 = 64.0 * 1024.0;

/// State of one slot. It outlives what the slot carries, so that its stream goes on over switches.
#[derive(Debug)]
pub(crate) struct Forwarder {
    /// The subscriber's transport.
    pub(crate) subscriber: Key,
    /// Index of the slot's section.
    pub(crate) section: u16,
    /// Does not send: paused by the subscriber, or for lack of bandwidth.
    pub(crate) paused: bool,
    /// The subscriber can be sent to.
    pub(crate) connected: bool,
    /// The subscriber has the format that its publication is sent in, as far as known. Nothing is asked for else.
    pub(crate) playable: bool,
    kind: MediaKind,
    pub(crate) ssrcs: SsrcPair,
    /// Its source has not been heard yet.
    announce: bool,
    /// The layer whose numbers the rewriter maps now.
    carried: Option<LayerIndex>,
    /// By layer: follows the newest packet sent.
    sent_until: [SeqNo; MAX_LAYERS],
    selector: LayerSelector,
    pub(crate) formats: PayloadMap,
    pub(crate) rewriter: Rewriter,
    history: SentHistory,
    /// The subscriber's newest round trips.
    round_trips: [Duration; ROUND_TRIPS],
    packets: u64,
    bytes: RateMeter,
    resent_bytes: RateMeter,
    /// What it sends, by class of frame, where repair is planned.
    pub(crate) load: Option<Box<LoadMeter>>,
    /// How often a packet is sent again when it is asked for, by class of frame.
    pub(crate) copies: [u8; CLASSES],
    /// Generations of older audio that go along or follow; `None` where nothing is known of the path.
    redundancy: Option<u8>,
    /// Some packets of audio are sent once only, so that the path is known by them.
    is_sampled: bool,
    /// What the subscriber wants.
    pub(crate) preference: LayerPreference,
    /// The most that the subscriber may get.
    pub(crate) caps: VideoCaps,
    /// It may get none of the layers that there are.
    pub(crate) barred: bool,
    /// What the bandwidth allows.
    pub(crate) granted: Grant,
    /// Since when nothing of the publication comes.
    pub(crate) silent_since: Option<Instant>,
    /// That has lasted.
    pub(crate) silent: bool,
    /// Why nothing is sent, as it was reported last.
    reported: Option<PauseReason>,
    /// Why no better layer is sent, and as it was reported last.
    pub(crate) limit: LayerLimit,
    reported_limit: LayerLimit,
    /// It is reported again no sooner.
    limit_due: Instant,
    /// The newest keyframe: its timestamp, and when its newest packet went out.
    keyframe: Option<(u32, Instant)>,
    /// When the subscriber's stream began, and with which packet ...
    begun: Option<(Instant, SeqNo)>,
    /// ... and when something was last sent again to it.
    resent: Option<Instant>,
    /// Which keyframe it asked for last: of which layer, after how many.
    asked: Option<(LayerIndex, u32)>,
    keyframe_budget: ReceiverBudget,
    /// What is left out, since the worker has no time for it.
    pub(crate) shed: Shed,
    /// What it has of its publication's frames, where the sender keeps some for long.
    pub(crate) holding: Option<Box<Holding>>,
    /// It has asked for lost packets: what is lost may come yet.
    pub(crate) has_asked: bool,
}

/// What the bandwidth allows of a publication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grant {
    /// All.
    All,
    /// Up to this layer.
    UpTo(LayerId),
    /// Nothing.
    Nothing,
}

/// A packet on its way out.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub(crate) out: RtpOut,
    /// It is the first of a source or layer.
    pub(crate) switch: bool,
    /// It is the first of a publication on this slot.
    pub(crate) announce: bool,
    /// It is to be sent once more.
    pub(crate) copy: Option<PendingCopy>,
}

impl Forwarder {
    /// The slot in section `section` of `subscriber`. `first` begins its sequence numbers.
    pub(crate) fn new(
        (subscriber, section): (Key, u16),
        kind: MediaKind,
        ssrcs: SsrcPair,
        first: SeqNo,
        config: &WorkerConfig,
    ) -> Self {
        Self {
            subscriber,
            section,
            paused: false,
            connected: false,
            playable: true,
            kind,
            ssrcs,
            announce: false,
            carried: None,
            sent_until: [SeqNo(0); MAX_LAYERS],
            selector: LayerSelector::Single(SingleSelector::new(LayerTarget::ALL)),
            formats: PayloadMap::default(),
            rewriter: Rewriter::new(first),
            history: SentHistory::new(config.history, config.max_history),
            round_trips: [Duration::ZERO; ROUND_TRIPS],
            packets: 0,
            bytes: RateMeter::default(),
            resent_bytes: RateMeter::default(),
            load: (config.repair.planner && kind == MediaKind::Video).then(Box::default),
            copies: [1; CLASSES],
            redundancy: None,
            is_sampled: false,
            preference: LayerPreference::default(),
            caps: VideoCaps::default(),
            barred: false,
            granted: Grant::All,
            silent_since: None,
            silent: false,
            reported: None,
            limit: LayerLimit::Best,
            reported_limit: LayerLimit::Best,
            limit_due: Instant::ZERO,
            keyframe: None,
            begun: None,
            resent: None,
            asked: None,
            keyframe_budget: ReceiverBudget::default(),
            shed: Shed::Nothing,
            holding: None,
            has_asked: false,
        }
    }

    /// From now on it carries a publication with `layers` streams of `codec` (as far as known).
    pub(crate) fn attach(&mut self, formats: PayloadMap, layers: usize, codec: Option<Codec>) {
        self.formats = formats;
        self.announce = true;
        self.playable = true;
        self.carried = None;
        self.sent_until = [SeqNo(0); MAX_LAYERS];
        (self.silent_since, self.silent, self.reported) = (None, false, None);
        (self.limit, self.reported_limit, self.limit_due) = (LayerLimit::Best, LayerLimit::Best, Instant::ZERO);
        self.shed = Shed::Nothing;
        self.holding = None;
        self.history.clear();
        self.rewriter.stop();
        self.select_by(layers, codec);
    }

    /// The slot's SSRCs were renegotiated; that of the media stays.
    pub(crate) fn set_sources(&mut self, ssrcs: SsrcPair) {
        self.ssrcs = ssrcs;
    }

    /// It carries nothing.
    pub(crate) fn detach(&mut self) {
        self.carried = None;
        self.rewriter.stop();
        self.history.clear();
    }

    /// Chooses the selector that fits a publication.
    pub(crate) fn select_by(&mut self, layers: usize, codec: Option<Codec>) {
        let target = LayerTarget::ALL;
        self.selector = match codec {
            _ if layers > 1 => LayerSelector::Simulcast(SimulcastSelector::new(target)),
            Some(Codec::Vp9 | Codec::Av1) => LayerSelector::Svc(SvcSelector::new(target)),
            _ => LayerSelector::Single(SingleSelector::new(target)),
        };
    }

    /// Sets what is sent from the next occasion on.
    pub(crate) fn set_target(&mut self, target: LayerTarget) {
        self.selector.set_target(target);
    }

    /// Stream `layer` restarted: nothing more of it before a keyframe, and its numbers and timestamps are no longer
    /// those that were mapped.
    pub(crate) fn restart(&mut self, layer: LayerIndex) {
        self.selector.restart(layer);
        self.sent_until[usize::from(layer)] = SeqNo(0);
        if self.carried == Some(layer) {
            self.carried = None;
        }
    }

    /// After a pause everything begins at a keyframe.
    pub(crate) fn restart_all(&mut self) {
        if let Some(layer) = self.selector.current() {
            self.selector.restart(layer);
        }
    }

    /// Whether it sends at all.
    pub(crate) fn is_active(&self) -> bool {
        self.connected && !self.paused
    }

    /// Whether packets of stream `layer` are of interest.
    pub(crate) fn is_interested(&self, layer: LayerIndex) -> bool {
        self.is_active() && self.selector.is_interested(layer)
    }

    /// Stream of which a keyframe is needed.
    pub(crate) fn awaits_keyframe(&self) -> Option<LayerIndex> {
        if self.is_active() { self.will_await_keyframe() } else { None }
    }

    /// Stream of which a keyframe will be needed as soon as the subscriber is connected.
    pub(crate) fn will_await_keyframe(&self) -> Option<LayerIndex> {
        let asks = !self.paused && self.playable && self.kind == MediaKind::Video;
        if asks { self.selector.awaits_keyframe() } else { None }
    }

    /// Why nothing is sent, where that is another reason than was reported last.
    pub(crate) fn news_of_pause(&mut self) -> Option<Option<PauseReason>> {
        let reason = self.pause_reason();
        (std::mem::replace(&mut self.reported, reason) != reason).then_some(reason)
    }

    /// Why no better layer is sent, where that is another reason than was reported last; or when it may be reported.
    pub(crate) fn news_of_limit(&mut self, now: Instant) -> Result<LayerLimit, Option<Instant>> {
        if self.limit == self.reported_limit {
            return Err(None);
        }
        if now < self.limit_due {
            return Err(Some(self.limit_due));
        }
        (self.reported_limit, self.limit_due) = (self.limit, now + LIMIT_INTERVAL);
        Ok(self.limit)
    }

    /// Why nothing is sent. What is muted or shed does not count.
    pub(crate) fn pause_reason(&self) -> Option<PauseReason> {
        if !self.playable {
            Some(PauseReason::Codec)
        } else if !self.preference.is_visible() {
            Some(PauseReason::NotVisible)
        } else if self.granted == Grant::Nothing {
            Some(PauseReason::Bandwidth)
        } else {
            (self.silent || self.barred).then_some(PauseReason::NoLayer)
        }
    }

    /// Stream that is sent now.
    pub(crate) fn current(&self) -> Option<LayerIndex> {
        self.selector.current()
    }

    pub(crate) fn is_simulcast(&self) -> bool {
        matches!(self.selector, LayerSelector::Simulcast(_))
    }

    /// Decides on a packet of stream `layer`, and makes of it what the subscriber gets.
    pub(crate) fn forward(
        &mut self,
        now: Instant,
        layer: LayerIndex,
        packet: &Packet,
        streams: &[ReceiveStream],
    ) -> Result<Forwarded, DropReason> {
        let begins = self.selector.current() != Some(layer);
        if begins && is_stale(layer, packet, streams) && self.formats.of(packet).is_some() {
            return Err(DropReason::OutOfWindow);
        }
        self.pass(now, layer, packet, streams, false)
    }

    /// Like [`Self::forward`], where all that followed the packet is held: however old it is, the stream can begin there.
    pub(crate) fn forward_held(
        &mut self,
        now: Instant,
        layer: LayerIndex,
        packet: &Packet,
        streams: &[ReceiveStream],
    ) -> Result<Forwarded, DropReason> {
        self.pass(now, layer, packet, streams, true)
    }

    fn pass(
        &mut self,
        now: Instant,
        layer: LayerIndex,
        packet: &Packet,
        streams: &[ReceiveStream],
        is_held: bool,
    ) -> Result<Forwarded, DropReason> {
        let Some(format) = self.formats.of(packet) else {
            self.skip(layer, packet.seq, vp8_picture(packet));
            return Err(DropReason::CodecNotNegotiated);
        };
        if self.selector.current() != Some(layer) && self.is_past(layer, packet.seq) {
            return Err(DropReason::OutOfWindow);
        }
        let (switch, marker) = match self.selector.select(layer, packet) {
            Verdict::Forward { switch, marker } => (switch, marker),
            Verdict::Drop(reason) => {
                self.skip(layer, packet.seq, vp8_picture(packet));
                return Err(reason);
            }
        };
        if switch {
            self.switch(layer, packet, streams, is_held);
        }
        let sent = self.rewriter.forward(packet)?;
        if switch && self.announce {
            self.begun = Some((now, sent.seq));
        }
        self.record(now, layer, packet, marker, &sent);
        let announce = switch && std::mem::take(&mut self.announce);
        let class = if self.kind == MediaKind::Audio { PacketClass::Audio } else { PacketClass::Video };
        let mut out = self.packet_out(packet, format.media, marker, &sent, class);
        if let Some(load) = &mut self.load {
            let class = load.on_packet(now, &packet.frame, sent.timestamp, packet.payload().len());
            out.group = Some(class.index() as u8).filter(|_| self.rewriter.may_have_parity(&sent));
        }
        let copy = self.copy_of(packet, &out);
        if copy.is_some() || self.formats.nack && self.ssrcs.rtx.and(format.rtx).is_none() {
            out.repeat = Repeat::Kept;
        }
        Ok(Forwarded { out, switch, announce, copy })
    }

    /// The source that its media is sent with.
    pub(crate) fn source(&self) -> Ssrc {
        self.ssrcs.media
    }

    /// Fetches what is behind its pointers.
    pub(crate) fn prefetch(&self) {
        self.history.prefetch(self.rewriter.next_seq());
        if let Some(load) = &self.load {
            prefetch(&**load);
        }
    }

    /// A packet of stream `layer` is not forwarded, such as padding: the next takes its number.
    pub(crate) fn skip(&mut self, layer: LayerIndex, seq: SeqNo, picture: Option<u16>) {
        if self.carried == Some(layer) {
            self.rewriter.skip(seq, picture);
        }
    }

    /// Takes its subscriber's round trip, with each report; the least of the last few. A stall of the path makes it longer
    /// for a moment, and what was lost then is not wanted any more.
    pub(crate) fn steady_rtt(&mut self, rtt: Duration) -> Duration {
        self.round_trips.rotate_right(1);
        self.round_trips[0] = rtt;
        self.round_trips.iter().copied().min().unwrap_or(rtt)
    }

    /// Remembers what it sent over `window`, to send it again.
    pub(crate) fn set_history(&mut self, window: Duration) {
        self.history.set_window(window);
    }

    /// The packet that was sent as `seq`, to be sent again: as a retransmission (RFC 4588), or itself where the
    /// subscriber takes none; and how often this is planned for its class of frame. Not twice within `interval`.
    pub(crate) fn resend<'s>(
        &mut self,
        now: Instant,
        seq: u16,
        interval: Duration,
        streams: &'s [ReceiveStream],
    ) -> Result<(&'s Packet, RtpOut, u8), DropReason> {
        if self.shed != Shed::Nothing {
            return Err(DropReason::Overload);
        }
        let seq = SeqNo(self.rewriter.next_seq().0.saturating_sub(1)).extend(seq);
        let record = self.history.find(now, seq, interval)?;
        let stream = streams.get(usize::from(record.layer)).ok_or(DropReason::NotInHistory)?;
        let packet = stream.history.get(record.in_seq(stream.highest())).ok_or(DropReason::NotInHistory)?;
        let rtx = self.formats.of(packet).and_then(|format| format.rtx);
        self.charge_repair(now, packet.payload().len())?;
        self.history.resent(now, seq);
        self.resent = Some(now);
        let class = self.load.as_ref().map(|load| load.class_of(&packet.frame, record.timestamp).index());
        let copies = class.map_or(1, |class| self.copies[class]);
        let sent = record.rewritten(seq);
        let Some((rtx_ssrc, payload_type)) = self.ssrcs.rtx.zip(rtx) else {
            let itself = self.packet_out(packet, packet.payload_type, record.marker(), &sent, PacketClass::Rtx);
            return Ok((packet, RtpOut { repeat: Repeat::Again, ..itself }, copies));
        };
        let mut out = self.packet_out(packet, payload_type, record.marker(), &sent, PacketClass::Rtx);
        // RFC 4588 section 4: the original sequence number, then the payload as it was.
        let mut prefix = ArrayVec::from_iter(seq.wire().to_be_bytes());
        prefix.try_extend_from_slice(&out.edit.prefix).map_err(|_| DropReason::PayloadMalformed)?;
        out.edit.prefix = prefix;
        out.ssrc = rtx_ssrc;
        Ok((packet, out, copies))
    }

    /// When the subscriber's request for a keyframe counts; `None` where it has just been sent one.
    pub(crate) fn admit_keyframe_request(
        &self,
        now: Instant,
        rtt: Duration,
        config: &KeyframeConfig,
    ) -> Option<Instant> {
        let answered = self.keyframe.is_some_and(|(_, at)| now - at < config.answer_window(rtt));
        // What a newcomer lost of the keyframe with which it began comes again sooner than another one would.
        let begun = self.begun.filter(|(begun, _)| now - *begun < config.newcomer_repair);
        let is_repaired = begun.is_some_and(|(begun, _)| self.resent.is_some_and(|resent| resent >= begun));
        (!answered && !is_repaired && self.is_active()).then(|| self.keyframe_budget.next(now, config))
    }

    /// The packet with which the stream of a newcomer began: of what it lost, all else is known to it to be missing.
    pub(crate) fn newcomers_first(&self, now: Instant, config: &KeyframeConfig) -> Option<SeqNo> {
        self.begun.filter(|(begun, _)| now - *begun < config.newcomer_repair).map(|(_, first)| first)
    }

    /// The subscriber asked for the keyframe of a stream that comes after so many.
    pub(crate) fn asked(&mut self, layer: LayerIndex, epoch: u32) {
        self.asked = Some((layer, epoch));
    }

    /// Whether it cannot go on with a stream before a keyframe, of which there were so many.
    pub(crate) fn lacks_keyframe(&self, layer: LayerIndex, epoch: u32) -> bool {
        self.awaits_keyframe() == Some(layer) || self.asked == Some((layer, epoch))
    }

    /// A publisher is asked at `at` because of the subscriber.
    pub(crate) fn count_keyframe_request(&mut self, at: Instant, config: &KeyframeConfig) {
        self.keyframe_budget.count(at, config);
    }

    /// What a timestamp of stream `layer` is on the slot, if the slot carries that stream.
    pub(crate) fn timestamp_offset(&self) -> Option<(LayerIndex, u32)> {
        Some((self.carried?, self.rewriter.timestamp_offset()?))
    }

    /// Packets sent, and the bitrate over the last second.
    pub(crate) fn sent(&self, now: Instant) -> (u64, Bitrate) {
        (self.packets, self.bytes.bitrate(now))
    }

    /// Repair may double what is sent, but not more, whatever a subscriber asks for.
    fn charge_repair(&mut self, now: Instant, bytes: usize) -> Result<(), DropReason> {
        if self.resent_bytes.per_second(now) > self.bytes.per_second(now) + MIN_REPAIR_RATE {
            return Err(DropReason::RateLimited);
        }
        self.resent_bytes.add(now, u32::try_from(bytes).unwrap_or(0));
        Ok(())
    }

    /// Whether a stream was sent beyond this packet before: it does not begin again in its past, at a keyframe's first
    /// packet that comes late.
    fn is_past(&self, layer: LayerIndex, seq: SeqNo) -> bool {
        seq < self.sent_until[usize::from(layer)]
    }

    fn switch(&mut self, layer: LayerIndex, packet: &Packet, streams: &[ReceiveStream], is_held: bool) {
        let newest = streams.get(usize::from(layer)).and_then(ReceiveStream::newest);
        let clock_rate = newest.map_or(90_000, |newest| newest.clock_rate);
        let least_step = if self.kind == MediaKind::Audio { LEAST_STEP_AUDIO } else { LEAST_STEP_VIDEO };
        let timing = Timing { clock_rate, least_step };
        let aligned = |timestamp| self.aligned_timestamp(layer, timestamp, streams);
        match newest.filter(|_| is_held).map(|newest| (newest.timestamp, newest.arrival)) {
            Some(newest) => self.rewriter.switch_to_past(packet, newest, aligned(newest.0), timing),
            None => self.rewriter.switch(packet, aligned(packet.timestamp), timing),
        }
        self.carried = Some(layer);
    }

    /// What a timestamp is on the slot, by the clocks of the layers of one source.
    fn aligned_timestamp(&self, layer: LayerIndex, timestamp: u32, streams: &[ReceiveStream]) -> Option<u32> {
        let (carried, offset) = self.timestamp_offset()?;
        if carried == layer {
            return Some(timestamp.wrapping_add(offset));
        }
        let from = streams.get(usize::from(layer))?.clock.as_ref()?;
        let to = streams.get(usize::from(carried))?.clock.as_ref()?;
        Some(to.translate(from, timestamp).wrapping_add(offset))
    }

    fn record(&mut self, now: Instant, layer: LayerIndex, packet: &Packet, marker: bool, sent: &Rewritten) {
        self.packets += 1;
        let sent_until = &mut self.sent_until[usize::from(layer)];
        *sent_until = packet.seq.next().max(*sent_until);
        self.bytes.add(now, u32::try_from(packet.payload().len()).unwrap_or(0));
        let begins = packet.frame.keyframe && packet.frame.start_of_frame;
        if begins || self.keyframe.is_some_and(|(timestamp, _)| timestamp == sent.timestamp) {
            self.keyframe = Some((sent.timestamp, now));
        }
        if self.ssrcs.rtx.is_some() || self.formats.nack || self.redundancy > Some(0) {
            self.history.record(now, layer, packet.seq, marker, sent);
        }
    }

    fn packet_out(
        &self,
        packet: &Packet,
        payload_type: PayloadType,
        marker: bool,
        sent: &Rewritten,
        class: PacketClass,
    ) -> RtpOut {
        RtpOut {
            section: usize::from(self.section),
            ssrc: self.ssrcs.media,
            payload_type,
            seq: sent.seq,
            timestamp: sent.timestamp,
            marker,
            edit: self.edit(packet, sent),
            frame_number: sent.frame_number.filter(|number| packet.frame.frame_number != Some(*number)),
            padding: 0,
            class,
            repeat: Repeat::Never,
            group: None,
        }
    }
}

/// Whether a packet is so old that what followed it may no longer be held: a stream that began there would go on with a
/// gap that cannot be repaired.
fn is_stale(layer: LayerIndex, packet: &Packet, streams: &[ReceiveStream]) -> bool {
    let Some(newest) = streams.get(usize::from(layer)).and_then(ReceiveStream::newest) else { return false };
    let behind = newest.timestamp.wrapping_sub(packet.timestamp) as i32;
    i64::from(behind) * 1_000 > i64::from(newest.clock_rate) * MAX_START_AGE.as_millis() as i64 // 500, by definition
}

/// VP8 picture id of a packet.
pub(crate) fn vp8_picture(packet: &Packet) -> Option<u16> {
    packet.frame.picture_id.filter(|_| packet.codec == Codec::Vp8)
}
