//! Which stream a packet belongs to (RFC 8843 section 9.2, RFC 8852).
//!
//! Learned, in this order, from the MID and RID header extensions, from a=ssrc, and, for peers that offer neither,
//! from a payload type that only one section has. Only authenticated packets get here, and the table is bounded.

use crate::drop_reason::DropReason;
use crate::ids::{Mid, PayloadType, Rid, SeqNo, Ssrc};
use crate::media::{Codec, Direction, MediaSection, PayloadFormat, RemoteSource};
use crate::packet::CarriedExtensions;
use crate::prefetch::prefetch;
use crate::rtp::RtpView;
use crate::rtp::extension::{self, ExtensionKind};
use crate::time::Instant;

/// Kind by id. A bundled transport uses one id for one kind in all its sections (RFC 8843 section 9.1).
#[derive(Debug)]
pub(super) struct ExtensionIds([Option<ExtensionKind>; 256]);

/// What the header extensions of one packet say.
#[derive(Default, Debug)]
pub(super) struct HeaderExtensions {
    pub(super) hints: StreamHints,
    pub(super) transport_seq: Option<u16>,
    /// In units of 1/2^18 s, of 24 bits.
    pub(super) send_time: Option<u32>,
    pub(super) carried: CarriedExtensions,
}

impl ExtensionIds {
    pub(super) fn new(sections: &[MediaSection]) -> Self {
        let mut kinds = [None; 256];
        for (kind, id) in sections.iter().flat_map(|section| section.extensions.iter()) {
            kinds[usize::from(id)] = Some(kind);
        }
        Self(kinds)
    }

    /// Fetches the kinds of the ids that are in use as a rule.
    pub(super) fn prefetch(&self) {
        prefetch(&self.0[..16]);
    }

    /// Reads all that we know. A value of the wrong length counts as absent.
    pub(super) fn read(&self, view: &RtpView<'_>) -> HeaderExtensions {
        let mut read = HeaderExtensions::default();
        for (id, value) in view.extensions() {
            let Some(kind) = self.0[usize::from(id)] else { continue };
            let carried = &mut read.carried;
            match kind {
                ExtensionKind::Mid => read.hints.mid = extension::parse_mid(value),
                ExtensionKind::Rid => read.hints.rid = extension::parse_rid(value),
                ExtensionKind::RepairedRid => read.hints.repaired_rid = extension::parse_rid(value),
                ExtensionKind::TransportCc => read.transport_seq = extension::parse_transport_cc(value),
                ExtensionKind::AudioLevel => carried.audio_level = value.first().copied(),
                ExtensionKind::VideoOrientation => carried.video_orientation = value.first().copied(),
                ExtensionKind::PlayoutDelay => carried.playout_delay = value.first_chunk().copied(),
                ExtensionKind::AbsCaptureTime if matches!(value.len(), 8 | 16) => {
                    carried.abs_capture_time = place(view, id);
                }
                ExtensionKind::DependencyDescriptor => carried.dependency_descriptor = place(view, id),
                ExtensionKind::AbsSendTime => read.send_time = extension::parse_abs_send_time(value),
                ExtensionKind::AbsCaptureTime | ExtensionKind::VideoLayersAllocation => {}
            }
        }
        read
    }
}

/// Where in the packet the value of `id` stands: (start, length).
fn place(view: &RtpView<'_>, id: u8) -> Option<(u16, u16)> {
    let range = view.extension_range(id)?;
    Some((u16::try_from(range.start).ok()?, u16::try_from(range.len()).ok()?))
}

/// What a packet's header extensions say of its stream.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct StreamHints {
    pub(super) mid: Option<Mid>,
    pub(super) rid: Option<Rid>,
    pub(super) repaired_rid: Option<Rid>,
}

/// Where a source belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Route {
    /// Index of the section.
    pub(super) section: usize,
    /// Stream within the section; of retransmissions, the stream that they repair.
    pub(super) rid: Option<Rid>,
    /// Whether it carries retransmissions.
    pub(super) rtx: bool,
}

/// What a packet's payload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct StreamFormat {
    /// Payload type of the media, also for a retransmission.
    pub(super) payload_type: PayloadType,
    pub(super) codec: Codec,
    pub(super) clock_rate: u32,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    route: Route,
    /// That of its section: together with the format all that packets need of it, which is large.
    mid: Mid,
    /// Payload type on the wire, and what it means, of the latest packet.
    format: Option<(PayloadType, StreamFormat)>,
    /// Highest sequence number so far.
    highest: SeqNo,
    last_seen: Instant,
}

/// The sources of one peer. They are few, so that a search through a dense list beats hashing.
#[derive(Debug)]
pub(super) struct StreamTable {
    ssrcs: Vec<Ssrc>,
    streams: Vec<Stream>,
    limit: usize,
    /// Sources that were forgotten, for [`Self::take_removed`].
    removed: Vec<Ssrc>,
}

impl StreamTable {
    pub(super) fn new(limit: usize) -> Self {
        Self { ssrcs: Vec::new(), streams: Vec::new(), limit: limit.max(1), removed: Vec::new() }
    }

    pub(super) fn prefetch(&self) {
        prefetch(self.ssrcs.as_slice());
        prefetch(self.streams.as_slice());
    }

    /// Section of a source that is known.
    pub(super) fn section_of(&self, ssrc: Ssrc) -> Option<usize> {
        let at = self.ssrcs.iter().position(|known| *known == ssrc)?;
        Some(self.streams[at].route.section)
    }

    /// Route of a packet, learned where the source is new or the packet says that it moved; and its format, where the
    /// section has one of that payload type.
    pub(super) fn route(
        &mut self,
        now: Instant,
        sections: &[MediaSection],
        (ssrc, payload_type, seq): (Ssrc, PayloadType, SeqNo),
        hints: &StreamHints,
    ) -> Result<(Route, Option<StreamFormat>), DropReason> {
        if let Some(at) = self.ssrcs.iter().position(|known| *known == ssrc) {
            let stream = &mut self.streams[at];
            if stream.may_have(hints) {
                stream.last_seen = now;
                stream.highest = stream.highest.max(seq);
                return Ok((stream.route, stream.format(sections, payload_type)));
            }
            self.remove(at);
        }
        let route = find_route(sections, ssrc, payload_type, hints).ok_or(DropReason::UnknownStream)?;
        let mid = sections.get(route.section).ok_or(DropReason::UnknownStream)?.mid;
        let mut stream = Stream { route, mid, format: None, highest: seq, last_seen: now };
        let format = stream.format(sections, payload_type);
        self.insert(ssrc, stream);
        Ok((route, format))
    }

    /// Whether a source is known, and a packet with `hints` may be its.
    pub(super) fn agrees(&self, ssrc: Ssrc, hints: &StreamHints) -> bool {
        self.ssrcs.iter().position(|known| *known == ssrc).is_some_and(|at| self.streams[at].may_have(hints))
    }

    /// Highest sequence number of a source that is known.
    pub(super) fn highest_of(&self, ssrc: Ssrc) -> Option<SeqNo> {
        let at = self.ssrcs.iter().position(|known| *known == ssrc)?;
        Some(self.streams[at].highest)
    }

    /// Source and highest sequence number of the media stream that `rtx` repairs.
    pub(super) fn media_of(&self, rtx: Route) -> Option<(Ssrc, SeqNo)> {
        let media = Route { rtx: false, ..rtx };
        let matching = self.streams.iter().zip(&self.ssrcs).filter(|(stream, _)| stream.route == media);
        matching.max_by_key(|(stream, _)| stream.last_seen).map(|(stream, ssrc)| (*ssrc, stream.highest))
    }

    /// After a negotiation: forgets the sources of sections for which `keep` does not hold, and all formats.
    pub(super) fn retain_sections(&mut self, keep: impl Fn(usize) -> bool) {
        self.streams.iter_mut().for_each(|stream| stream.format = None);
        for at in (0..self.streams.len()).rev() {
            if !keep(self.streams[at].route.section) {
                self.removed.push(self.ssrcs[at]);
                self.remove(at);
            }
        }
    }

    /// The sources that were forgotten since the last call.
    pub(super) fn take_removed(&mut self) -> impl Iterator<Item = Ssrc> + '_ {
        self.removed.drain(..)
    }

    /// Sources of media.
    pub(super) fn media(&self) -> impl Iterator<Item = Ssrc> + '_ {
        self.streams.iter().zip(&self.ssrcs).filter(|(stream, _)| !stream.route.rtx).map(|(_, ssrc)| *ssrc)
    }

    /// Sources of media of one section.
    pub(super) fn media_of_section(&self, section: usize) -> impl Iterator<Item = Ssrc> + '_ {
        let of_section = move |stream: &Stream| stream.route.section == section && !stream.route.rtx;
        self.streams.iter().zip(&self.ssrcs).filter(move |(stream, _)| of_section(stream)).map(|(_, ssrc)| *ssrc)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ssrcs.len()
    }

    fn insert(&mut self, ssrc: Ssrc, stream: Stream) {
        if self.ssrcs.len() >= self.limit {
            let silent = self.streams.iter().enumerate().min_by_key(|(_, stream)| stream.last_seen);
            if let Some((at, _)) = silent {
                self.removed.push(self.ssrcs[at]);
                self.remove(at);
            }
        }
        self.ssrcs.push(ssrc);
        self.streams.push(stream);
    }

    fn remove(&mut self, at: usize) {
        self.ssrcs.swap_remove(at);
        self.streams.swap_remove(at);
    }
}

impl Stream {
    /// Whether a packet with `hints` may be its: a source keeps its stream unless its packets name another.
    fn may_have(&self, hints: &StreamHints) -> bool {
        let route = self.route;
        let rid = if route.rtx { hints.repaired_rid } else { hints.rid };
        hints.mid.is_none_or(|mid| mid == self.mid) && (route.rid.is_none() || rid.is_none() || rid == route.rid)
    }

    /// What `payload_type` means in it; for parity among media, what the media is.
    fn format(&mut self, sections: &[MediaSection], payload_type: PayloadType) -> Option<StreamFormat> {
        if let Some((known, format)) = self.format
            && known == payload_type
        {
            return Some(format);
        }
        let section = sections.get(self.route.section)?;
        if section.red.is_some_and(|red| red.parity == payload_type) {
            return self.format.map(|(_, format)| format);
        }
        let found = if self.route.rtx { section.format_of_rtx(payload_type) } else { section.format(payload_type) };
        let PayloadFormat { payload_type: media, codec, clock_rate, .. } = *found?;
        let format = StreamFormat { payload_type: media, codec, clock_rate };
        self.format = Some((payload_type, format));
        Some(format)
    }
}

fn find_route(sections: &[MediaSection], ssrc: Ssrc, payload_type: PayloadType, hints: &StreamHints) -> Option<Route> {
    let index = match hints.mid {
        Some(mid) => sections.iter().position(|section| section.mid == mid)?,
        None => by_ssrc(sections, ssrc).or_else(|| by_payload_type(sections, payload_type))?,
    };
    let section = sections.get(index).filter(|section| section.direction == Direction::Receive)?;
    let rtx = is_rtx(section, payload_type)?;
    if section.rids.is_empty() {
        return Some(Route { section: index, rid: None, rtx });
    }
    // Browsers put the RID of the repaired stream into retransmissions; some older ones its plain RID.
    let rid = if rtx { hints.repaired_rid.or(hints.rid) } else { hints.rid };
    let rid = rid.or_else(|| announced(section, ssrc)?.rid).filter(|rid| section.rids.contains(rid))?;
    Some(Route { section: index, rid: Some(rid), rtx })
}

fn by_ssrc(sections: &[MediaSection], ssrc: Ssrc) -> Option<usize> {
    sections.iter().position(|section| announced(section, ssrc).is_some())
}

/// What the peer said of a source, or of the source that it repairs.
fn announced(section: &MediaSection, ssrc: Ssrc) -> Option<&RemoteSource> {
    section.remote_ssrcs.iter().find(|source| source.ssrcs.media == ssrc || source.ssrcs.rtx == Some(ssrc))
}

/// The only receiving section that has the payload type, if it is the only one.
fn by_payload_type(sections: &[MediaSection], payload_type: PayloadType) -> Option<usize> {
    let mut having = sections
        .iter()
        .enumerate()
        .filter(|(_, s)| s.direction == Direction::Receive && is_rtx(s, payload_type).is_some())
        .map(|(index, _)| index);
    let only = having.next()?;
    having.next().is_none().then_some(only)
}

/// Whether the payload type carries retransmissions; `None` where the section does not have it.
fn is_rtx(section: &MediaSection, payload_type: PayloadType) -> Option<bool> {
    if section.format(payload_type).is_some() { Some(false) } else { section.format_of_rtx(payload_type).map(|_| true) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{MediaKind, SsrcPair};
    use crate::rtp::extension::ExtensionMap;
    use crate::time::Duration;
    use std::sync::Arc;

    fn section(mid: &str, payload_type: u8, rids: &[&str]) -> MediaSection {
        MediaSection {
            mid: Mid::new(mid).unwrap(),
            kind: MediaKind::Video,
            direction: Direction::Receive,
            formats: Arc::new(vec![PayloadFormat {
                payload_type: PayloadType(payload_type),
                codec: Codec::Vp8,
                clock_rate: 90_000,
                fmtp: String::new(),
                rtx: Some(PayloadType(payload_type + 1)),
            }]),
            extensions: ExtensionMap::default(),
            rids: rids.iter().map(|rid| Rid::new(rid).unwrap()).collect(),
            remote_ssrcs: Vec::new(),
            local_ssrcs: None,
            local_fec: None,
            remote_fec: None,
            red: None,
            reduced_rtcp: true,
            rtx_time: Duration::ZERO,
            nack: true,
            remb: true,
        }
    }

    fn mid(text: &str) -> StreamHints {
        StreamHints { mid: Mid::new(text), ..StreamHints::default() }
    }

    fn rid(mid: &str, rid: &str) -> StreamHints {
        StreamHints { mid: Mid::new(mid), rid: Rid::new(rid), ..StreamHints::default() }
    }

    fn packet(ssrc: u32, payload_type: u8) -> (Ssrc, PayloadType, SeqNo) {
        (Ssrc(ssrc), PayloadType(payload_type), SeqNo(7))
    }

    fn route(section: usize, rid: Option<&str>, rtx: bool) -> Result<Route, DropReason> {
        Ok(Route { section, rid: rid.and_then(Rid::new), rtx })
    }

    /// Where the table sends a packet.
    fn route_of(
        table: &mut StreamTable,
        sections: &[MediaSection],
        packet: (Ssrc, PayloadType, SeqNo),
        hints: &StreamHints,
    ) -> Result<Route, DropReason> {
        table.route(NOW, sections, packet, hints).map(|(route, _)| route)
    }

    const NOW: Instant = Instant::from_millis(5);
    const UNKNOWN: Result<Route, DropReason> = Err(DropReason::UnknownStream);

    #[test]
    fn mid_and_rid_are_learned_and_kept() {
        let sections = [section("0", 96, &[]), section("1", 96, &["lo", "hi"])];
        let mut table = StreamTable::new(8);
        assert_eq!(route_of(&mut table, &sections, packet(1, 96), &StreamHints::default()), UNKNOWN);
        assert_eq!(route_of(&mut table, &sections, packet(1, 96), &mid("1")), UNKNOWN, "a layer has to be named");
        assert_eq!(route_of(&mut table, &sections, packet(1, 96), &rid("1", "hi")), route(1, Some("hi"), false));
        assert_eq!(
            route_of(&mut table, &sections, packet(1, 96), &StreamHints::default()),
            route(1, Some("hi"), false)
        );
        assert_eq!(route_of(&mut table, &sections, packet(2, 96), &rid("1", "other")), UNKNOWN);
        assert_eq!(route_of(&mut table, &sections, packet(3, 96), &mid("0")), route(0, None, false));
        assert_eq!(route_of(&mut table, &sections, packet(3, 96), &rid("1", "lo")), route(1, Some("lo"), false));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_source_may_change_its_format_and_a_negotiation_what_it_means() {
        let mut sections = [section("0", 96, &[])];
        let mut formats = sections[0].formats.as_ref().clone();
        formats.push(PayloadFormat { payload_type: PayloadType(98), codec: Codec::Vp9, ..formats[0].clone() });
        sections[0].formats = Arc::new(formats.clone());
        let mut table = StreamTable::new(8);
        let codec = |table: &mut StreamTable, sections: &[MediaSection], payload_type| {
            let (_, format) = table.route(NOW, sections, packet(1, payload_type), &mid("0")).unwrap();
            format.map(|format| format.codec)
        };
        for (payload_type, expected) in
            [(96, Some(Codec::Vp8)), (98, Some(Codec::Vp9)), (96, Some(Codec::Vp8)), (100, None)]
        {
            assert_eq!(codec(&mut table, &sections, payload_type), expected);
        }
        formats[0].codec = Codec::H264;
        sections[0].formats = Arc::new(formats);
        table.retain_sections(|_| true);
        assert_eq!(codec(&mut table, &sections, 96), Some(Codec::H264));
    }

    #[test]
    fn retransmissions_find_their_media() {
        let sections = [section("1", 96, &["lo", "hi"])];
        let mut table = StreamTable::new(8);
        table.route(NOW, &sections, packet(1, 96), &rid("1", "lo")).unwrap();
        table.route(NOW, &sections, packet(2, 96), &rid("1", "hi")).unwrap();
        let hints = StreamHints { repaired_rid: Rid::new("hi"), ..mid("1") };
        let (rtx, format) = table.route(NOW, &sections, packet(3, 97), &hints).unwrap();
        assert_eq!(Ok(rtx), route(0, Some("hi"), true));
        assert_eq!(format.map(|format| format.payload_type), Some(PayloadType(96)), "that of the media");
        assert_eq!(table.media_of(rtx), Some((Ssrc(2), SeqNo(7))));
    }

    #[test]
    fn announced_sources_and_unambiguous_payload_types_do_without_extensions() {
        let mut sections = [section("0", 96, &[]), section("1", 98, &[]), section("2", 98, &[])];
        let ssrcs = SsrcPair { media: Ssrc(20), rtx: Some(Ssrc(21)) };
        sections[2].remote_ssrcs = vec![RemoteSource { ssrcs, rid: None }];
        let none = StreamHints::default();
        let mut table = StreamTable::new(8);
        assert_eq!(route_of(&mut table, &sections, packet(20, 98), &none), route(2, None, false));
        assert_eq!(route_of(&mut table, &sections, packet(21, 99), &none), route(2, None, true));
        assert_eq!(route_of(&mut table, &sections, packet(5, 96), &none), route(0, None, false));
        assert_eq!(route_of(&mut table, &sections, packet(6, 98), &none), UNKNOWN, "two sections have it");
        sections[0].direction = Direction::Send;
        assert_eq!(route_of(&mut table, &sections, packet(7, 96), &none), UNKNOWN);
    }

    #[test]
    fn layers_are_told_apart_by_announced_sources() {
        let mut sections = [section("0", 96, &["0", "1"])];
        let source = |at: u32, rid: &str| {
            let ssrcs = SsrcPair { media: Ssrc(20 + at), rtx: Some(Ssrc(30 + at)) };
            RemoteSource { ssrcs, rid: Rid::new(rid) }
        };
        sections[0].remote_ssrcs = vec![source(0, "0"), source(1, "1"), source(2, "")];
        let mut table = StreamTable::new(8);
        let none = StreamHints::default();
        for hints in [none, mid("0")] {
            assert_eq!(route_of(&mut table, &sections, packet(20, 96), &hints), route(0, Some("0"), false));
            assert_eq!(route_of(&mut table, &sections, packet(31, 97), &hints), route(0, Some("1"), true));
        }
        assert_eq!(route_of(&mut table, &sections, packet(22, 96), &none), UNKNOWN, "a layer too many");
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_silent() {
        let sections = [section("0", 96, &[])];
        let mut table = StreamTable::new(4);
        for ssrc in 0..1_000 {
            let now = Instant::from_millis(u64::from(ssrc));
            table.route(now, &sections, packet(ssrc, 96), &mid("0")).unwrap();
            table.route(now, &sections, packet(0, 96), &StreamHints::default()).unwrap();
            assert!(table.len() <= 4);
        }
        table.retain_sections(|_| false);
        assert_eq!(table.len(), 0);
    }
}
