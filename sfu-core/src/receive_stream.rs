//! One received stream: a publication without simulcast has one, with simulcast one per layer.

mod at_origin;
mod layer_rates;
mod packet_history;
mod parameter_sets;
mod stream_tracker;

use crate::config::WorkerConfig;
use crate::event::ReceiveStreamStats;
use crate::ids::PublicationId;
use crate::keyframes::{KeyframeConfig, KeyframeDebt, KeyframeRequester};
use crate::publisher_clock::{NewestTimestamp, StreamClock};
use crate::relay::{RelayedPacket, Skipped};
use arrayvec::ArrayVec;
use at_origin::AtOrigin;
use layer_rates::LayerRates;
use packet_history::PacketHistory;
use parameter_sets::{MAX_SETS, Numbering, ParameterSets};
use sfu_rtc::codec::{self, FrameFacts};
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::{Rid, SeqNo, Ssrc};
use sfu_rtc::media::{Codec, PayloadFormat};
use sfu_rtc::nack::NackGenerator;
use sfu_rtc::packet::{CarriedExtensions, Packet, PacketData, PacketPool};
use sfu_rtc::reception::{MAX_DROPOUT, Reception};
use sfu_rtc::rtcp::SenderReport;
use sfu_rtc::rtp::extension::dependency_descriptor::DependencyStructure;
use sfu_rtc::time::{Duration, Instant, NtpTime};
use sfu_rtc::transport::{ReceivedRtp, RtcpQueue};
use std::ops::Range;
use stream_tracker::StreamTracker;

/// Former sources of a stream that are remembered: a publisher seldom replaces one, and late packets are late by a
/// second at most.
const MAX_FORMER: usize = 4;

/// A former source may return once the present one has been silent for this time: its late packets are over then.
const FORMER_RETURNS: Duration = Duration::from_millis(500);

/// A source that was silent for this time was away, and may not have received our requests.
const WAS_AWAY: Duration = Duration::from_secs(2);

/// Packets before its first slice that are looked at to know what a frame brings: a delimiter, supplemental
/// information and parameter sets.
const MAX_BEFORE_SLICES: u64 = 8;

/// Most numbers between two frames that are looked at: more parity is not sent for one.
const MAX_BETWEEN: u64 = 48;

/// A stream as it comes from its publisher.
#[derive(Debug)]
pub(crate) struct ReceiveStream {
    pub(crate) rid: Option<Rid>,
    pub(crate) tracker: StreamTracker,
    /// What the layers inside it usually take.
    pub(crate) rates: LayerRates,
    pub(crate) keyframes: KeyframeRequester,
    /// What keyframes took of it beyond their share.
    debt: KeyframeDebt,
    /// Where its timestamps stand on its publisher's clock.
    pub(crate) clock: Option<StreamClock>,
    /// What that came from: the newest sender report, as time and timestamp.
    pub(crate) report: Option<(NtpTime, u32)>,
    /// Grows whenever the stream restarts.
    pub(crate) epoch: u32,
    /// What may have to be sent again.
    pub(crate) history: PacketHistory,
    /// How many spatial layers it was seen to have inside.
    pub(crate) spatial_layers: u8,
    source: Option<Source>,
    /// Whose place the present source took: packets of theirs may still be on the way.
    former: ArrayVec<Ssrc, MAX_FORMER>,
    repairs: bool,
    parameter_sets: ParameterSets,
    /// What was reported last, where another worker receives it.
    origin: Option<AtOrigin>,
}

/// Of the source that sends the stream now; a publisher may replace it.
#[derive(Debug)]
struct Source {
    ssrc: Ssrc,
    codec: Codec,
    reception: Reception,
    nack: NackGenerator,
    structure: DependencyStructure,
    newest: NewestTimestamp,
    /// When its last packet arrived.
    heard: Instant,
    keyframe: Option<HeldKeyframe>,
    /// What is older belongs to a time in which the publication was muted.
    open_from: SeqNo,
    /// From its numbers to those of the packets that we make of it: what it lacks comes in between.
    numbering: Numbering,
}

/// The newest keyframe of a source.
#[derive(Clone, Copy, Debug)]
struct HeldKeyframe {
    first: SeqNo,
    timestamp: u32,
    /// Somebody asked for it, as far as known.
    asked: bool,
}

/// Packets that a stream lacks.
pub(crate) type Inserted = ArrayVec<Packet, MAX_SETS>;

/// What a received packet turned out to be.
#[derive(Debug)]
pub(crate) struct Taken {
    /// What is to come before the packet, since the stream does not bring it.
    pub(crate) inserted: Inserted,
    pub(crate) packet: Packet,
    /// The stream restarted with it: nothing that was sent before fits.
    pub(crate) restarted: bool,
    /// Numbers before it that nothing of the stream has.
    pub(crate) empty: Range<u64>,
}

impl ReceiveStream {
    /// `repairs`: whether the publisher sends lost packets again.
    pub(crate) fn new(rid: Option<Rid>, repairs: bool, config: &WorkerConfig) -> Self {
        Self {
            rid,
            tracker: StreamTracker::default(),
            rates: LayerRates::default(),
            keyframes: KeyframeRequester::default(),
            debt: KeyframeDebt::default(),
            clock: None,
            report: None,
            epoch: 0,
            history: PacketHistory::new(config.history, config.max_history),
            spatial_layers: 1,
            source: None,
            former: ArrayVec::new(),
            repairs,
            parameter_sets: ParameterSets::default(),
            origin: None,
        }
    }

    /// What its formats say, where they are described for this stream alone.
    pub(crate) fn describe(&mut self, formats: &[PayloadFormat]) {
        self.parameter_sets.describe(formats);
    }

    /// Takes in a packet: refuses what came before, reads what it says of its frame, and shares it.
    pub(crate) fn receive(
        &mut self,
        received: &ReceivedRtp<'_>,
        pool: &mut PacketPool,
        config: &WorkerConfig,
    ) -> Result<Taken, DropReason> {
        let restarted = self.switch_source(received, config)?;
        let source = self.source.as_mut().ok_or(DropReason::UnknownStream)?;
        source.reception.admit(received.seq)?;
        if received.arrival - source.heard > WAS_AWAY {
            self.keyframes.forget_attempts();
        }
        if self.repairs {
            source.nack.on_packet(received.arrival, received.seq);
        }
        if !received.is_repaired() {
            source.reception.on_timing(received.arrival, received.timestamp, received.clock_rate);
        }
        let facts = source.facts(received)?;
        let inserted = self.complete_keyframe(received, &facts, pool);
        let seq = self.number(received.seq)?;
        let fill = |data: &mut PacketData| {
            received.fill(facts, data)?;
            data.seq = seq;
            Some(())
        };
        let packet = pool.take(fill).ok_or(DropReason::LimitReached)?;
        for packet in inserted.iter().chain([&packet]) {
            self.tracker.on_packet(packet);
            self.record(packet, received.clock_rate, config);
        }
        let begins_after = |before: &Packet| Self::begins_after(&packet, before);
        let empty = self.take_as_empty(packet.arrival, (packet.seq, received.seq), begins_after);
        Ok(Taken { inserted, packet, restarted, empty })
    }

    /// The parameter sets that a frame lacks from which decoding could begin otherwise, as packets of their own: a
    /// single unit each, which every packetization mode allows (RFC 6184 section 5.4, RFC 7798 section 4.4.1).
    fn complete_keyframe(&mut self, received: &ReceivedRtp<'_>, facts: &FrameFacts, pool: &mut PacketPool) -> Inserted {
        let mut inserted = Inserted::new();
        // Who sends a dependency descriptor may encrypt the rest, and knows what receivers need.
        let described = received.extensions.dependency_descriptor.is_some();
        let codec = received.codec;
        if !matches!(codec, Codec::H264 | Codec::H265) || !facts.keyframe || described {
            return inserted;
        }
        let (payload, timestamp) = (received.payload(), received.timestamp);
        self.parameter_sets.learn((received.payload_type, codec), received.seq, timestamp, payload);
        if !codec::begins_keyframe(codec, payload) || !self.is_whole_before(received) {
            return inserted;
        }
        let Some(source) = &mut self.source else { return inserted };
        let Some(first) = source.numbering.number(received.seq) else { return inserted };
        for unit in self.parameter_sets.lacking(timestamp) {
            let packet = pool.take(|data| {
                let facts = codec::frame_facts(codec, unit, false, None).ok()?;
                received.fill(facts, data)?;
                data.set_bytes(unit, 0..unit.len())?;
                data.extensions = CarriedExtensions::default();
                data.marker = false;
                data.seq = SeqNo(first.0 + inserted.len() as u64);
                Some(())
            });
            let Some(packet) = packet else { return Inserted::new() };
            inserted.push(packet);
        }
        source.numbering.make_room(received.seq, inserted.len());
        inserted
    }

    /// Whether nothing of the packet's frame is missing before it, nor came after it: only then it is known what the
    /// frame lacks, and there is room before it.
    fn is_whole_before(&self, received: &ReceivedRtp<'_>) -> bool {
        let Some(source) = self.source.as_ref().filter(|source| source.reception.highest() == received.seq) else {
            return false;
        };
        if source.reception.received() == 1 && self.epoch == 0 {
            return true;
        }
        let Ok(seq) = self.number(received.seq) else { return false };
        let before = (1..=MAX_BEFORE_SLICES).map(|n| self.history.get(SeqNo(seq.0.saturating_sub(n))));
        // Found where the frame before ends; `None` where something is missing.
        let other = |packet: &&Packet| packet.timestamp != received.timestamp;
        before.map_while(|packet| packet).any(|packet| other(&packet))
    }

    /// The number that a packet of the present source has among us.
    pub(crate) fn number(&self, seq: SeqNo) -> Result<SeqNo, DropReason> {
        let source = self.source.as_ref().ok_or(DropReason::UnknownStream)?;
        source.numbering.number(seq).ok_or(DropReason::OutOfWindow)
    }

    /// Takes in a packet that another worker received.
    pub(crate) fn receive_relayed(&mut self, relayed: &RelayedPacket, config: &WorkerConfig) -> Result<(), DropReason> {
        let (packet, clock_rate) = (&relayed.packet, relayed.clock_rate);
        let newest = NewestTimestamp { timestamp: packet.timestamp, arrival: packet.arrival, clock_rate };
        let begin = || Source::new((packet.ssrc, packet.codec, packet.seq), newest, config);
        let source = self.source.get_or_insert_with(begin);
        source.reception.admit(packet.seq)?;
        self.record(packet, clock_rate, config);
        Ok(())
    }

    /// Another worker has nothing to forward for a number.
    pub(crate) fn skip_relayed(&mut self, now: Instant, skipped: Skipped) {
        // What comes before its first packet belongs to nothing here.
        let is_new = self.source.as_mut().is_some_and(|source| source.reception.admit(skipped.seq).is_ok());
        if is_new && !skipped.left_out {
            self.history.insert_empty(now, skipped.seq);
        }
    }

    /// The stream of another worker is in this epoch. True where another was before: nothing of that goes on.
    pub(crate) fn set_epoch(&mut self, epoch: u32) -> bool {
        if std::mem::replace(&mut self.epoch, epoch) == epoch {
            return false;
        }
        self.history.clear();
        (self.clock, self.report) = (None, None);
        self.source.take().is_some()
    }

    /// How many spatial and temporal layers inside it were told apart.
    pub(crate) fn layers_inside(&self) -> usize {
        self.rates.layers()
    }

    /// The highest temporal layer with which no more than so many frames per second come. Each doubles the frame rate in
    /// the scalability modes of WebRTC-SVC, and the whole is taken to have 30 at least.
    pub(crate) fn temporal_within(&self, fps: u8) -> u8 {
        let (layers, whole) = (self.rates.temporal_layers(), 30_u32);
        let rate = |layer: u8| whole.checked_shr(u32::from(layers - 1 - layer)).unwrap_or(0);
        (0..layers).rev().find(|layer| rate(*layer) <= u32::from(fps)).unwrap_or(0)
    }

    /// A packet of padding, or of parity among the media: the numbers that nothing of the stream has, its own and those before
    /// it.
    pub(crate) fn receive_padding(&mut self, received: &ReceivedRtp<'_>) -> Result<Range<u64>, DropReason> {
        let source = self.source.as_mut().filter(|source| source.ssrc == received.ssrc);
        let source = source.ok_or(DropReason::Padding)?;
        source.reception.admit(received.seq)?;
        if self.repairs {
            source.nack.on_packet(received.arrival, received.seq);
        }
        let seq = self.number(received.seq)?;
        // It comes behind a whole frame, whose timestamp it has.
        let is_behind = |before: &Packet| before.marker && before.timestamp == received.timestamp;
        let empty = self.take_as_empty(received.arrival, (seq, received.seq), is_behind);
        self.history.insert_empty(received.arrival, seq);
        Ok(empty.start..seq.0 + 1)
    }

    /// Whether `packet` begins the frame after the one that `before` ends.
    fn begins_after(packet: &Packet, before: &Packet) -> bool {
        let pictures = before.frame.picture_id.zip(packet.frame.picture_id);
        let is_next = pictures.is_some_and(|(before, next)| before.wrapping_add(1) & 0x7fff == next);
        is_next && before.marker && packet.frame.start_of_frame
    }

    /// The numbers before `seq` (of the source: `wire`) that are missing, and were parity or padding since the packet held
    /// before them `is_neighbour`. They are not to be asked for.
    fn take_as_empty(
        &mut self,
        now: Instant,
        (seq, wire): (SeqNo, SeqNo),
        is_neighbour: impl Fn(&Packet) -> bool,
    ) -> Range<u64> {
        let nothing = seq.0..seq.0;
        if seq.0 == 0 || self.history.knows(SeqNo(seq.0 - 1)) {
            return nothing;
        }
        let held = (2..=MAX_BETWEEN + 1).find_map(|n| self.history.get(SeqNo(seq.0.checked_sub(n)?)));
        let Some(before) = held.filter(|before| is_neighbour(before)).map(|before| before.seq) else { return nothing };
        for empty in (before.0 + 1..seq.0).map(SeqNo) {
            if self.history.knows(empty) {
                continue;
            }
            self.history.insert_empty(now, empty);
            if let Some(source) = self.source.as_mut().filter(|_| self.repairs) {
                source.nack.on_packet(now, SeqNo((wire.0 + empty.0).saturating_sub(seq.0)));
            }
        }
        before.0 + 1..seq.0
    }

    /// A packet that came and is dropped counts as lost, but need not be sent again.
    pub(crate) fn refuse(&mut self, received: &ReceivedRtp<'_>) {
        if self.repairs
            && let Some(source) = self.source.as_mut().filter(|source| source.ssrc == received.ssrc)
        {
            source.nack.on_packet(received.arrival, received.seq);
        }
    }

    /// The publisher's report on this stream, if it is on this stream.
    pub(crate) fn on_sender_report(&mut self, now: Instant, report: &SenderReport<'_>) -> bool {
        let Some(source) = self.source.as_mut().filter(|source| source.ssrc == report.info.ssrc) else { return false };
        source.reception.on_sender_report(now, report.info.ntp);
        let clock_rate = source.newest.clock_rate;
        self.set_clock((report.info.ntp, report.info.rtp), clock_rate);
        true
    }

    /// The stream showed this timestamp at this time of its publisher.
    pub(crate) fn set_clock(&mut self, (ntp, rtp): (NtpTime, u32), clock_rate: u32) {
        self.clock = Some(StreamClock::new(ntp, rtp, clock_rate));
        self.report = Some((ntp, rtp));
    }

    /// Parity of this stream came, which may have been the last of its block.
    pub(crate) fn on_parity(&mut self, now: Instant, completes: bool) {
        if let Some(source) = &mut self.source {
            source.nack.on_parity(now, completes);
        }
    }

    /// Appends to `missing` what is to be asked for now; counts it as asked for.
    pub(crate) fn take_missing(&mut self, now: Instant, rtt: Duration, missing: &mut Vec<u16>) {
        if let Some(source) = &mut self.source {
            source.nack.take_due(now, rtt, missing);
        }
    }

    /// Asks the publisher for what is missing.
    pub(crate) fn request_repair(&self, missing: &[u16], out: &mut RtcpQueue) {
        if let Some(source) = &self.source {
            out.nack(source.ssrc, missing);
        }
    }

    /// Asks the publisher for a keyframe, if one is due.
    pub(crate) fn request_keyframe(&mut self, now: Instant, rtt: Duration, config: &WorkerConfig, out: &mut RtcpQueue) {
        self.keyframes.put_off(now, self.keyframe_wait(now, &config.keyframes));
        if let Some(source) = &self.source
            && self.keyframes.take_due(now, rtt, &config.keyframes)
        {
            out.pli(source.ssrc);
        }
    }

    /// How long it will be until keyframes have taken no more than their share.
    pub(crate) fn keyframe_wait(&self, now: Instant, config: &KeyframeConfig) -> Duration {
        self.debt.wait(self.tracker.bitrate(now), config)
    }

    /// People join: where keyframes cost too much now, the next may begin with the newest, and then ask for what they lost.
    pub(crate) fn hold_keyframe(&mut self, now: Instant, config: &WorkerConfig) {
        let keyframe = self.source.as_ref().and_then(|source| source.keyframe);
        if keyframe.is_some_and(|keyframe| keyframe.asked) {
            let window = config.history + config.keyframes.longest_wait;
            self.history.keep_longer(now, window, now + window);
        }
    }

    /// Reports to the publisher on what arrived. False where nothing did.
    pub(crate) fn report(&mut self, now: Instant, out: &mut RtcpQueue) -> bool {
        let block = self.source.as_mut().and_then(|source| source.reception.take_report(now, source.ssrc));
        match block {
            Some(block) => out.report_block(block),
            // A silent stream holds on to nothing.
            None => self.history.expire(now),
        }
        block.is_some()
    }

    /// When something is to be asked for next.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let Some(source) = &self.source else { return Instant::NEVER };
        source.nack.poll_timeout().unwrap_or(Instant::NEVER).min(self.keyframes.due())
    }

    /// Highest number received, as [`Self::number`] has it.
    pub(crate) fn highest(&self) -> SeqNo {
        self.source.as_ref().map_or(SeqNo(0), Source::highest)
    }

    /// The publication was muted until now: nothing received so far goes out late or again.
    pub(crate) fn close_past(&mut self) {
        self.history.clear();
        if let Some(source) = &mut self.source {
            source.open_from = source.highest().next();
        }
    }

    /// Whether a packet is one of the time before [`Self::close_past`].
    pub(crate) fn is_closed(&self, seq: SeqNo) -> bool {
        self.source.as_ref().is_some_and(|source| seq < source.open_from)
    }

    /// The source that sends the stream now.
    pub(crate) fn ssrc(&self) -> Option<Ssrc> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// Where timestamps stand.
    pub(crate) fn newest(&self) -> Option<NewestTimestamp> {
        self.source.as_ref().map(|source| source.newest)
    }

    /// First packet of the newest keyframe, if all that followed is still held and it is no older than `age`.
    pub(crate) fn recent_keyframe(&self, now: Instant, age: Duration) -> Option<SeqNo> {
        let source = self.source.as_ref()?;
        let first = source.keyframe?.first;
        let recent = self.history.get(first).is_some_and(|packet| now - packet.arrival <= age);
        let complete = || (first.0..=source.highest().0).all(|n| self.history.knows(SeqNo(n)));
        (recent && complete()).then_some(first)
    }

    /// Figures; `None` before the first packet.
    pub(crate) fn stats(&self, now: Instant, publication: PublicationId) -> Option<ReceiveStreamStats> {
        let source = self.source.as_ref()?;
        Some(ReceiveStreamStats {
            publication,
            rid: self.rid,
            codec: source.codec,
            packets: source.reception.received(),
            lost: source.reception.lost(),
            bitrate: self.tracker.bitrate(now),
            fps: self.tracker.fps(now),
            resolution: self.tracker.resolution(),
            parity: None,
        })
    }

    /// Restarts the stream where another source sends it, or its numbers leap. True where there was one before.
    fn switch_source(&mut self, received: &ReceivedRtp<'_>, config: &WorkerConfig) -> Result<bool, DropReason> {
        if let Some(source) = &self.source
            && source.ssrc == received.ssrc
            && received.seq.0.abs_diff(source.reception.highest().0) <= MAX_DROPOUT
        {
            return Ok(false);
        }
        if received.is_repaired() {
            // What is sent again never begins a stream.
            return Err(DropReason::OutOfWindow);
        }
        self.leave_former(received)?;
        let newest = NewestTimestamp {
            timestamp: received.timestamp,
            arrival: received.arrival,
            clock_rate: received.clock_rate,
        };
        let source = Source::new((received.ssrc, received.codec, received.seq), newest, config);
        let before = self.source.replace(source);
        self.parameter_sets.restart();
        if before.is_some() {
            // Whether the former source answered says nothing of this one.
            self.keyframes.forget_attempts();
        }
        self.history.clear();
        (self.clock, self.report) = (None, None);
        self.epoch = self.epoch.wrapping_add(u32::from(before.is_some()));
        Ok(before.is_some())
    }

    /// Where a packet is of another source than the stream's: refused if late, else its source takes the stream over.
    fn leave_former(&mut self, received: &ReceivedRtp<'_>) -> Result<(), DropReason> {
        let Some(source) = self.source.as_ref().filter(|source| source.ssrc != received.ssrc) else { return Ok(()) };
        if self.former.contains(&received.ssrc) && received.arrival - source.heard < FORMER_RETURNS {
            return Err(DropReason::OutOfWindow);
        }
        self.former.retain(|former| *former != received.ssrc);
        if self.former.is_full() {
            self.former.remove(0);
        }
        self.former.push(source.ssrc);
        Ok(())
    }

    fn record(&mut self, packet: &Packet, clock_rate: u32, config: &WorkerConfig) {
        if let Some(source) = &mut self.source {
            // Of one that another worker asked for nothing is known here.
            let asked = self.keyframes.is_out() || self.origin.is_some();
            source.record(packet, clock_rate, asked);
            let keyframe = source.keyframe.filter(|keyframe| keyframe.asked);
            let is_cost = keyframe.is_some_and(|keyframe| keyframe.timestamp == packet.timestamp);
            self.debt.on_packet(is_cost, packet.payload().len(), &config.keyframes);
        }
        self.rates.on_packet(packet);
        self.history.insert(packet);
        self.spatial_layers = self.spatial_layers.max(packet.frame.spatial.saturating_add(1));
    }
}

impl Source {
    fn new((ssrc, codec, first): (Ssrc, Codec, SeqNo), newest: NewestTimestamp, config: &WorkerConfig) -> Self {
        Self {
            ssrc,
            codec,
            reception: Reception::new(first),
            nack: NackGenerator::new(config.nack.clone()),
            structure: DependencyStructure::default(),
            newest,
            heard: newest.arrival,
            keyframe: None,
            open_from: SeqNo(0),
            numbering: Numbering::default(),
        }
    }

    /// Highest number received, as packets have it among us.
    fn highest(&self) -> SeqNo {
        let highest = self.reception.highest();
        self.numbering.number(highest).unwrap_or(highest)
    }

    fn facts(&mut self, received: &ReceivedRtp<'_>) -> Result<FrameFacts, DropReason> {
        // A descriptor that cannot be read (its structure was in a packet that was lost) is carried on all the same;
        // the payload header has to do.
        let descriptor = received.dependency_descriptor().and_then(|value| self.structure.parse(value).ok());
        codec::frame_facts(received.codec, received.payload(), received.marker, descriptor.as_ref())
    }

    fn record(&mut self, packet: &Packet, clock_rate: u32, asked: bool) {
        self.codec = packet.codec;
        self.heard = packet.arrival;
        if packet.timestamp.wrapping_sub(self.newest.timestamp) as i32 > 0 {
            self.newest = NewestTimestamp { timestamp: packet.timestamp, arrival: packet.arrival, clock_rate };
        }
        let begins = packet.frame.keyframe && packet.frame.start_of_frame && packet.frame.spatial == 0;
        if begins && self.keyframe.is_none_or(|before| packet.seq > before.first) {
            self.keyframe = Some(HeldKeyframe { first: packet.seq, timestamp: packet.timestamp, asked });
        }
    }
}
