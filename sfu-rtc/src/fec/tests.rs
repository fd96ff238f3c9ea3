//! Encode, lose, decode, compare; and bytes that no encoder wrote.

use super::*;
use crate::drop_reason::DropReason;
use crate::rtp::{HeaderWriter, RtpHeader, RtpView, write_padding};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashMap;

const ULPFEC: PayloadType = PayloadType(117);
const SCHEMES: [Scheme; 3] = [Scheme::ReedSolomon, Scheme::FlexFec03, Scheme::Ulpfec { payload_type: ULPFEC }];
/// Id of the header extension that is protected as zero.
const TRANSPORT_CC: u8 = 3;
const SSRCS: [Ssrc; 3] = [Ssrc(0x1111), Ssrc(0x2222), Ssrc(0x3333)];

/// What a packet is like: every field that is recovered differs from packet to packet.
fn packet(ssrc: Ssrc, seq: u16, payload: &[u8], padding: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let header = RtpHeader {
        payload_type: PayloadType(96 + (seq % 3) as u8),
        seq,
        timestamp: u32::from(seq / 4) * 3_003,
        ssrc,
        marker: seq % 4 == 3,
    };
    let mut writer = HeaderWriter::new(&mut out, header);
    if !seq.is_multiple_of(5) {
        assert!(writer.extension(2, &seq.to_be_bytes()));
        assert!(writer.extension(TRANSPORT_CC, &[0, 0]));
    }
    if padding > 0 {
        writer.padded();
    }
    writer.finish();
    out.extend_from_slice(payload);
    write_padding(&mut out, padding);
    out
}

/// A payload of so many bytes that differs by `seed`.
fn payload(len: usize, seed: u16) -> Vec<u8> {
    (0..len).map(|at| (at as u16).wrapping_mul(seed | 1).wrapping_add(seed >> 3) as u8).collect()
}

/// A header extension: id and value.
type Extension = (u8, Vec<u8>);

/// What the packets of [`any_packet`] differ in.
#[derive(Clone, Debug)]
struct Shape {
    marker: bool,
    payload_type: u8,
    timestamp: u32,
    csrcs: Vec<u32>,
    extensions: Vec<Extension>,
    payload: Vec<u8>,
    padding: u8,
}

impl Shape {
    /// The bytes, written by hand, since our own writer knows no CSRCs.
    fn write(&self, seq: u16) -> Vec<u8> {
        let flags = 0x80 | u8::from(self.padding > 0) << 5 | u8::from(!self.extensions.is_empty()) << 4;
        let mut out = vec![flags | self.csrcs.len() as u8, u8::from(self.marker) << 7 | self.payload_type];
        out.extend(seq.to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend(SSRCS[0].0.to_be_bytes());
        self.csrcs.iter().for_each(|csrc| out.extend(csrc.to_be_bytes()));
        if !self.extensions.is_empty() {
            let mut block: Vec<u8> = Vec::new();
            for (id, value) in &self.extensions {
                block.push(id << 4 | (value.len() - 1) as u8);
                block.extend(value);
            }
            block.resize(block.len().next_multiple_of(4), 0);
            out.extend([0xbe, 0xde]);
            out.extend((block.len() as u16 / 4).to_be_bytes());
            out.extend(block);
        }
        out.extend(&self.payload);
        // Padding need not be zero.
        out.extend((1..self.padding).map(|n| n ^ 0xa5));
        out.extend((self.padding > 0).then_some(self.padding));
        out
    }
}

/// Any packet, but that what is written when it leaves is zero.
fn any_packet() -> impl Strategy<Value = Shape> {
    let id = (1..15u8).prop_filter("is written when the packet leaves", |id| *id != TRANSPORT_CC);
    let extensions =
        (vec((id, vec(any::<u8>(), 1..=16)), 0..4), any::<bool>()).prop_map(|(mut extensions, stamped)| {
            extensions.extend(stamped.then(|| (TRANSPORT_CC, vec![0, 0])));
            extensions
        });
    let head = (any::<bool>(), 0..128u8, any::<u32>(), vec(any::<u32>(), 0..=15));
    let lens = prop_oneof![Just(0..1usize), Just(0..40), Just(0..1_100)];
    let payload = lens.prop_flat_map(|len| vec(any::<u8>(), len));
    let padding = prop_oneof![Just(0), any::<u8>()];
    (head, extensions, payload, padding).prop_map(|(head, extensions, payload, padding)| {
        let (marker, payload_type, timestamp, csrcs) = head;
        Shape { marker, payload_type, timestamp, csrcs, extensions, payload, padding }
    })
}

/// A sender and a receiver, with a path between them that can lose what it likes.
struct Path {
    scheme: Scheme,
    encoder: Encoder,
    decoder: Decoder,
    sent: HashMap<(Ssrc, u16), Vec<u8>>,
    recovered: Vec<(Ssrc, u16)>,
    buf: Vec<u8>,
}

impl Path {
    fn new(scheme: Scheme, window: Window, streams: &[Ssrc], parity: usize) -> Self {
        let mutable_extensions: MutableExtensions = [TRANSPORT_CC].into_iter().collect();
        let config = EncoderConfig {
            scheme,
            window,
            streams: streams.iter().copied().collect(),
            mutable_extensions: mutable_extensions.clone(),
        };
        let mut encoder = Encoder::new(config);
        encoder.set_parity(parity);
        let mut decoder = Decoder::new(DecoderConfig { scheme, mutable_extensions });
        streams.iter().for_each(|&ssrc| assert!(decoder.add_stream(ssrc)));
        Self { scheme, encoder, decoder, sent: HashMap::new(), recovered: Vec::new(), buf: Vec::new() }
    }

    fn send(&mut self, packet: &[u8], is_lost: bool) {
        let view = RtpView::parse(packet).unwrap();
        self.sent.insert((view.ssrc(), view.seq()), packet.to_vec());
        self.encoder.add(packet).unwrap();
        if !is_lost {
            self.decoder.on_media(packet).unwrap();
            self.drain();
        }
    }

    /// Ends a frame; the parity that comes of it goes through `pass`. Returns how many parity packets there were.
    fn end_frame(&mut self, mut pass: impl FnMut(usize, &mut Vec<u8>) -> bool) -> usize {
        self.encoder.end_frame();
        let mut count = 0;
        let mut payload = Vec::new();
        while self.encoder.poll_parity(&mut payload).is_some() {
            if pass(count, &mut payload) {
                let red = usize::from(matches!(self.scheme, Scheme::Ulpfec { .. }));
                let _ = self.decoder.on_parity(SSRCS[0], &payload[red..]);
                self.drain();
            }
            count += 1;
        }
        count
    }

    /// Whatever comes out is what was sent.
    fn drain(&mut self) {
        while let Some(ssrc) = self.decoder.poll_recovered(&mut self.buf) {
            let seq = RtpView::parse(&self.buf).unwrap().seq();
            assert_eq!(Some(&self.buf), self.sent.get(&(ssrc, seq)), "{ssrc:?} {seq}");
            self.recovered.push((ssrc, seq));
        }
    }
}

#[test]
fn one_parity_packet_brings_back_one_loss_in_every_scheme() {
    for scheme in SCHEMES {
        for lost in 0..10 {
            let mut path = Path::new(scheme, Window::Block(1), &SSRCS[..1], 1);
            for seq in 0..10 {
                let packet = packet(SSRCS[0], 65_530u16.wrapping_add(seq), &payload(seq.into(), seq), (seq % 3) as u8);
                path.send(&packet, seq == lost && seq > 0);
            }
            assert_eq!(path.end_frame(|_, _| true), 1);
            let expected: Vec<_> = (lost > 0).then(|| (SSRCS[0], 65_530u16.wrapping_add(lost))).into_iter().collect();
            assert_eq!(path.recovered, expected, "{scheme:?}");
            let stats = path.decoder.stats();
            assert_eq!((stats.parity, stats.recovered, stats.refused), (1, u64::from(lost > 0), 0));
            assert_eq!(stats.discarded, u64::from(lost == 0));
        }
    }
}

#[test]
fn parity_of_xor_is_the_same_bytes_in_all_schemes() {
    let bodies = SCHEMES.map(|scheme| {
        let mut path = Path::new(scheme, Window::Block(1), &SSRCS[..1], 1);
        (0..3).for_each(|seq| path.send(&packet(SSRCS[0], seq, &[seq as u8; 40], 0), false));
        let mut body = Vec::new();
        path.end_frame(|_, payload| {
            body = payload[payload.len() - 40..].to_vec();
            true
        });
        body
    });
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    assert_eq!(bodies[0], [3; 40].map(|_: u8| 1 ^ 2));
}

#[test]
fn a_sliding_window_heals_a_burst_longer_than_a_frames_parity() {
    let run = |window| {
        let mut path = Path::new(Scheme::ReedSolomon, window, &SSRCS[..1], 1);
        for frame in 0..12 {
            for seq in frame * 4..frame * 4 + 4 {
                path.send(&packet(SSRCS[0], seq, &payload(900, seq), 0), (17..20).contains(&seq));
            }
            path.end_frame(|_, _| true);
        }
        path.recovered.len()
    };
    assert_eq!(run(Window::Sliding(5)), 3);
    assert_eq!(run(Window::Block(1)), 0);
}

#[test]
fn a_window_that_is_full_makes_way_for_another() {
    for (scheme, span) in SCHEMES.into_iter().zip([128, 109, 48]) {
        let mut path = Path::new(scheme, Window::Block(1), &SSRCS[..1], 1);
        for seq in 0..2 * span {
            path.send(&packet(SSRCS[0], seq, &payload(20, seq), 0), seq == 5 || seq == span + 5);
        }
        assert_eq!(path.end_frame(|_, _| true), 2);
        assert_eq!(path.recovered, [(SSRCS[0], 5), (SSRCS[0], span + 5)], "{scheme:?}");
    }
}

#[test]
fn packets_that_come_late_help_and_are_no_duplicates() {
    let mut path = Path::new(Scheme::ReedSolomon, Window::Block(1), &SSRCS[..1], 2);
    let packets: Vec<_> = (0..6).map(|seq| packet(SSRCS[0], seq, &payload(100, seq), 0)).collect();
    packets.iter().enumerate().for_each(|(seq, packet)| path.send(packet, (1..5).contains(&seq)));
    assert_eq!(path.end_frame(|_, _| true), 2);
    assert!(path.recovered.is_empty(), "four are missing, there are two equations");
    path.decoder.on_media(&packets[3]).unwrap();
    path.drain();
    assert!(path.recovered.is_empty());
    path.decoder.on_media(&packets[1]).unwrap();
    path.drain();
    path.recovered.sort_unstable();
    assert_eq!(path.recovered, [(SSRCS[0], 2), (SSRCS[0], 4)]);
    assert_eq!(path.decoder.on_media(&packets[2]), Err(DropReason::Duplicate));
}

#[test]
fn what_is_written_when_a_packet_leaves_does_not_matter() {
    let mut path = Path::new(Scheme::ReedSolomon, Window::Block(1), &SSRCS[..1], 1);
    for seq in 1..5 {
        let plain = packet(SSRCS[0], seq, &payload(100, seq), 0);
        path.send(&plain, true);
        if seq != 3 {
            let mut stamped = plain.clone();
            let range = RtpView::parse(&plain).unwrap().extension_range(TRANSPORT_CC).unwrap();
            stamped[range].copy_from_slice(&[0xab, seq as u8]);
            path.decoder.on_media(&stamped).unwrap();
        }
    }
    path.end_frame(|_, _| true);
    assert_eq!(path.recovered, [(SSRCS[0], 3)]);
}

#[test]
fn a_packet_that_differs_from_what_was_protected_brings_nothing_wrong() {
    for (parity, lost) in [(1, 1..2), (3, 1..4)] {
        let mut path = Path::new(Scheme::ReedSolomon, Window::Block(1), &SSRCS[..1], parity);
        for seq in 0..8 {
            let plain = packet(SSRCS[0], seq, &payload(100, seq), 0);
            path.send(&plain, true);
            let mut other = plain.clone();
            other[60] ^= u8::from(seq == 6);
            if !lost.contains(&seq) {
                path.decoder.on_media(&other).unwrap();
            }
        }
        path.end_frame(|_, _| true);
        assert_eq!((path.recovered.len(), path.decoder.stats().refused), (0, lost.len() as u64));
    }
}

#[test]
fn the_check_tells_every_change_of_a_byte() {
    let check = |bytes: &[u8]| {
        let mut symbol = Symbol::ZERO;
        symbol.load(bytes, &[], true).unwrap();
        symbol.check().to_vec()
    };
    for seq in 0..20 {
        let mut bytes = packet(SSRCS[0], seq, &payload(120, seq), 0);
        let sound = check(&bytes);
        // From the timestamp on, past the header, which would no longer be one.
        for at in (4..12).chain(24..bytes.len()) {
            for flip in 1..=255 {
                bytes[at] ^= flip;
                assert_ne!(check(&bytes), sound, "{flip:#x} at {at}");
                bytes[at] ^= flip;
            }
        }
    }
}

#[test]
fn parity_for_what_was_never_sent_is_refused() {
    for scheme in SCHEMES {
        let mut far = Path::new(scheme, Window::Block(1), &SSRCS[..1], 1);
        let mut path = Path::new(scheme, Window::Block(1), &SSRCS[..1], 1);
        let parity_at = |path: &mut Path, seq: u16| {
            let mut kept = Vec::new();
            path.encoder.add(&packet(SSRCS[0], seq, &[1; 20], 0)).unwrap();
            path.end_frame(|_, payload| {
                kept = payload.clone();
                false
            });
            kept.split_off(usize::from(matches!(scheme, Scheme::Ulpfec { .. })))
        };
        let (back, ahead) = (parity_at(&mut far, 10_000), parity_at(&mut far, 20_200));
        assert_eq!(path.decoder.on_parity(SSRCS[0], &back), Err(DropReason::OutOfWindow), "no packet came yet");
        path.send(&packet(SSRCS[0], 20_000, &[2; 20], 0), false);
        assert_eq!(path.decoder.on_parity(SSRCS[0], &back), Err(DropReason::OutOfWindow));
        assert_eq!(path.decoder.on_parity(SSRCS[0], &ahead), Err(DropReason::OutOfWindow));
        let mut other = Path::new(scheme, Window::Block(1), &SSRCS[1..2], 1);
        assert_eq!(other.decoder.on_parity(SSRCS[0], &ahead), Err(DropReason::UnknownStream));
        assert_eq!(path.decoder.on_parity(SSRCS[0], &ahead[..10]), Err(DropReason::FecMalformed));
        assert_eq!(path.decoder.stats().recovered, 0);
    }
}

/// Parity reaches as far as the longest packet that it protects. Of what is longer it says nothing, as where it was cut, or
/// where RFC 5109 protects but the beginnings of packets.
#[test]
fn parity_shorter_than_what_it_protects_brings_nothing_wrong() {
    for scheme in SCHEMES {
        // The first is known before the parity, the second after it, and the third is missing; that one and another are long.
        for long in 0..3 {
            let mut path = Path::new(scheme, Window::Block(1), &SSRCS[..1], 1);
            let len = |seq| if seq == long || seq == 2 { 200 } else { 120 };
            let packets: Vec<_> = (0..3).map(|seq| packet(SSRCS[0], seq, &payload(len(seq), seq), 0)).collect();
            packets.iter().enumerate().for_each(|(seq, packet)| path.send(packet, seq > 0));
            path.end_frame(|_, parity| {
                parity.truncate(parity.len() - 40);
                if matches!(scheme, Scheme::Ulpfec { .. }) {
                    let len = parity.len() as u16 - 15;
                    parity[11..13].copy_from_slice(&len.to_be_bytes());
                }
                true
            });
            path.decoder.on_media(&packets[1]).unwrap();
            path.drain();
            assert_eq!(path.recovered, [], "{scheme:?} {long}");
            assert_eq!(path.decoder.stats().refused, 1, "{scheme:?} {long}");
        }
    }
}

#[test]
fn what_is_recovered_too_late_takes_nobodys_place() {
    let mut path = Path::new(Scheme::ReedSolomon, Window::Block(1), &SSRCS[..2], 1);
    let late = packet(SSRCS[1], 0, &payload(50, 0), 0);
    path.send(&packet(SSRCS[1], 65_535, &payload(50, 1), 0), false);
    for seq in 0..3 {
        path.send(&packet(SSRCS[0], seq, &payload(100, seq), 0), seq == 1);
    }
    path.send(&late, true);
    path.end_frame(|_, _| true);
    // No more parity comes, while one stream goes on; then the other's packet completes the equation.
    let newer: Vec<_> = (3..300).map(|seq| packet(SSRCS[0], seq, &payload(100, seq), 0)).collect();
    newer.iter().for_each(|packet| path.decoder.on_media(packet).unwrap());
    path.decoder.on_media(&late).unwrap();
    path.drain();
    assert_eq!(path.recovered, []);
    assert_eq!(path.decoder.on_media(&newer[257 - 3]), Err(DropReason::Duplicate), "it is still known");
}

#[test]
fn an_encoder_refuses_what_it_cannot_name() {
    let mut path = Path::new(Scheme::FlexFec03, Window::Block(1), &SSRCS, 1);
    path.encoder.add(&packet(SSRCS[0], 7, &[1], 0)).unwrap();
    assert_eq!(path.encoder.add(&packet(SSRCS[0], 7, &[1], 0)), Err(DropReason::OutOfWindow));
    assert_eq!(path.encoder.add(&packet(SSRCS[0], 6, &[1], 0)), Err(DropReason::OutOfWindow));
    assert_eq!(path.encoder.add(&packet(SSRCS[1], 8, &[1], 0)), Err(DropReason::UnknownStream), "one stream only");
    assert_eq!(path.encoder.add(&packet(SSRCS[0], 8, &[1; 1_500], 0)), Err(DropReason::TooLarge));
    assert_eq!(path.encoder.add(&[0; 20]), Err(DropReason::RtpMalformed));
}

#[test]
fn in_steady_state_nothing_is_allocated() {
    for scheme in SCHEMES {
        for window in [Window::Block(2), Window::Sliding(3)] {
            let mut path = Path::new(scheme, window, &SSRCS[..1], 3);
            let packets: Vec<_> = (0..1_200).map(|seq| packet(SSRCS[0], seq, &payload(400, seq), 0)).collect();
            let (mut parity, mut out) = (Vec::with_capacity(1_500), Vec::with_capacity(1_500));
            let red = usize::from(matches!(scheme, Scheme::Ulpfec { .. }));
            let mut recovered = 0;
            let mut play = |packets: &[Vec<u8>]| {
                for (at, packet) in packets.iter().enumerate() {
                    path.encoder.add(packet).unwrap();
                    if at % 7 != 3 {
                        path.decoder.on_media(packet).unwrap();
                    }
                    if at % 6 == 5 {
                        path.encoder.end_frame();
                    }
                    while path.encoder.poll_parity(&mut parity).is_some() {
                        path.decoder.on_parity(SSRCS[0], &parity[red..]).unwrap();
                        recovered += usize::from(path.decoder.poll_recovered(&mut out).is_some());
                    }
                }
            };
            play(&packets[..600]);
            let allocations = allocation_counter::measure(|| play(&packets[600..]));
            assert_eq!(allocations.count_total, 0, "{scheme:?} {window:?}");
            assert!(recovered > 100, "{recovered}");
        }
    }
}

proptest! {
    #[test]
    fn any_one_packet_of_a_row_comes_back_byte_by_byte(
        shapes in vec(any_packet(), 2..12), lost in any::<prop::sample::Index>(), first in any::<u16>(),
    ) {
        // The first packet arrives, so that the receiver knows where the stream is.
        let lost = 1 + lost.index(shapes.len() - 1);
        for scheme in SCHEMES {
            let mut path = Path::new(scheme, Window::Block(1), &SSRCS[..1], 1);
            for (at, shape) in shapes.iter().enumerate() {
                path.send(&shape.write(first.wrapping_add(at as u16)), at == lost);
            }
            path.end_frame(|_, _| true);
            // `Path::drain` compares the bytes.
            prop_assert_eq!(&path.recovered, &[(SSRCS[0], first.wrapping_add(lost as u16))], "{:?}", scheme);
        }
    }

    #[test]
    fn as_many_losses_as_parity_packets_come_back(
        lens in vec(0..1_400usize, 2..=48), parity in 1..=48usize, order in any::<u64>(), spare in 0..8usize,
        first in any::<u16>(),
    ) {
        // The first packet arrives, so that the receiver knows where the stream is.
        let lost = parity.min(lens.len() - 1);
        let key = |at: usize| (at as u64 ^ order).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut shuffled: Vec<_> = (1..lens.len()).collect();
        shuffled.sort_by_key(|&at| key(at));
        let lost = &shuffled[..lost.saturating_sub(spare)];
        let mut path = Path::new(Scheme::ReedSolomon, Window::Block(1), &SSRCS[..1], parity);
        for (at, &len) in lens.iter().enumerate() {
            let seq = first.wrapping_add(at as u16);
            path.send(&packet(SSRCS[0], seq, &payload(len, seq), 0), lost.contains(&at));
        }
        let mut rows: Vec<_> = (0..parity).collect();
        rows.sort_by_key(|&row| key(row + 100));
        let survive = &rows[..lost.len()];
        prop_assert_eq!(path.end_frame(|row, _| survive.contains(&row)), parity);
        prop_assert_eq!(path.recovered.len(), lost.len());
        prop_assert_eq!(path.decoder.stats().refused, 0);
    }

    #[test]
    fn streams_are_protected_together(
        frames in vec((0..3usize, 1..300usize, any::<bool>()), 4..40), parity in 1..6usize, sliding in 1..5u8,
    ) {
        let mut path = Path::new(Scheme::ReedSolomon, Window::Sliding(sliding), &SSRCS, parity);
        let mut next = [100u16, 65_530, 7];
        SSRCS.iter().enumerate().for_each(|(place, &ssrc)| {
            path.send(&packet(ssrc, next[place], &[9; 30], 0), false);
            next[place] = next[place].wrapping_add(1);
        });
        path.end_frame(|_, _| true);
        let mut lost = 0;
        for frame in frames.chunks(4) {
            let mut in_frame = 0;
            for &(place, len, is_lost) in frame {
                let seq = next[place];
                next[place] = seq.wrapping_add(1);
                let is_lost = is_lost && in_frame < parity;
                in_frame += usize::from(is_lost);
                path.send(&packet(SSRCS[place], seq, &payload(len, seq), 0), is_lost);
            }
            lost += in_frame;
            path.end_frame(|_, _| true);
        }
        (0..5).for_each(|seq| {
            path.send(&packet(SSRCS[0], next[0].wrapping_add(seq), &[9; 30], 0), false);
            path.end_frame(|_, _| true);
        });
        prop_assert_eq!(path.recovered.len(), lost, "never more losses per frame than parity packets");
    }

    #[test]
    fn xor_recovers_what_peeling_does(
        is_lost in vec(any::<bool>(), 2..40), parity in 1..8usize, parity_lost in any::<u8>(), ulpfec in any::<bool>(),
    ) {
        let scheme = SCHEMES[1 + usize::from(ulpfec)];
        let mut path = Path::new(scheme, Window::Block(1), &SSRCS[..1], parity);
        for (at, &is_lost) in is_lost.iter().enumerate() {
            path.send(&packet(SSRCS[0], at as u16, &payload(at * 20, at as u16), 0), is_lost && at > 0);
        }
        path.end_frame(|row, _| parity_lost >> row & 1 == 0);
        let mut missing: Vec<_> = (1..is_lost.len()).filter(|&at| is_lost[at]).collect();
        let all = missing.len();
        let sums: Vec<_> = (0..parity).filter(|row| parity_lost >> row & 1 == 0).collect();
        while let Some(found) = sums.iter().find_map(|&row| {
            let mut of_row = missing.iter().filter(|&&at| flexfec03::covers(at, row, parity));
            of_row.next().filter(|_| of_row.next().is_none()).copied()
        }) {
            missing.retain(|&at| at != found);
        }
        prop_assert!(path.recovered.len() >= all - missing.len());
    }

    #[test]
    fn damaged_parity_of_our_own_format_brings_nothing_wrong(
        is_lost in vec(any::<bool>(), 8), damage in vec((any::<usize>(), 1..=255u8, any::<bool>()), 1..6),
    ) {
        let mut path = Path::new(Scheme::ReedSolomon, Window::Sliding(2), &SSRCS[..2], 2);
        for (at, &is_lost) in is_lost.iter().enumerate() {
            let seq = at as u16;
            path.send(&packet(SSRCS[at % 2], seq, &payload(80, seq), 0), is_lost && at > 1);
            // `Path::drain` compares all that comes out.
            path.end_frame(|row, payload| {
                let (place, flip, is_cut) = damage[row % damage.len()];
                let place = place % payload.len();
                payload[place] ^= flip;
                if is_cut {
                    payload.truncate(place);
                }
                true
            });
        }
    }

    #[test]
    fn garbage_is_borne(
        which in 0..3usize, steps in vec((any::<bool>(), vec(any::<u8>(), 0..120)), 0..60), base in any::<u16>(),
    ) {
        let mut path = Path::new(SCHEMES[which], Window::Block(1), &SSRCS[..1], 1);
        for (at, (is_media, mut bytes)) in steps.into_iter().enumerate() {
            if is_media {
                let seq = base.wrapping_add(at as u16 * 3);
                let _ = path.decoder.on_media(&packet(SSRCS[0], seq, &bytes, 0));
                let _ = path.decoder.on_media(&bytes);
            } else {
                // So that some gets further than the header.
                if let Some(place) = [14, 12, 2].get(which).copied().filter(|&at| bytes.len() > at + 8) {
                    bytes[0] &= 0x3f;
                    if which == 0 {
                        bytes[0] = 0x11;
                    }
                    if which < 2 {
                        bytes[place..place + 4].copy_from_slice(&SSRCS[0].0.to_be_bytes());
                    }
                    let seq = if which < 2 { place + 4 } else { place };
                    bytes[seq..seq + 2].copy_from_slice(&base.to_be_bytes());
                    bytes[8] = if which == 1 { 1 } else { bytes[8] };
                }
                let _ = path.decoder.on_parity(SSRCS[0], &bytes);
            }
            while path.decoder.poll_recovered(&mut path.buf).is_some() {
                prop_assert!(RtpView::parse(&path.buf).is_ok());
            }
        }
    }
}
