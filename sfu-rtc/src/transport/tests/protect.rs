//! Parity beside the media, and what a receiver makes of it.

use super::*;
use crate::fec::{Decoder, DecoderConfig, ProtectedGroups, Scheme};
use crate::media::FecStream;

const FEC: FecStream = FecStream { ssrc: Ssrc(0x5555), payload_type: PayloadType(49), scheme: Scheme::FlexFec03 };

fn protected() -> MediaSection {
    MediaSection { local_fec: Some(FEC), ..section("1", Direction::Send) }
}

fn subscriber(section: MediaSection) -> Pair {
    let mut pair = Pair::with(TransportConfig::default(), vec![super::section("0", Direction::Receive), section]);
    pair.connect();
    pair
}

fn protect(pair: &mut Pair, parity: [u8; PROTECTION_GROUPS], frames: u8) {
    pair.server.protect(SUBSCRIBED, &parity.map(|parity| Protection { parity, frames }));
}

/// Sends a frame of `packets` packets in `group`, numbered from `first`; all that the client gets, in clear.
fn send_frame(pair: &mut Pair, group: u8, first: u64, packets: u64) -> Vec<Vec<u8>> {
    let mut batch = TransmitBatch::default();
    for n in 0..packets {
        let payload = vec![n as u8; 300 + n as usize * 7];
        let packet = pair.packet(&payload, CarriedExtensions::default(), &[]);
        let marker = n + 1 == packets;
        let padding = n as u8 * 3;
        let out = RtpOut { marker, timestamp: first as u32, group: Some(group), padding, ..pair.out(first + n) };
        let handover = pair.server.send_rtp(pair.now, &packet, out, &mut batch).unwrap();
        assert!(marker || handover == Handover::Sealed);
    }
    let mut answers = Answers::default();
    for transmit in batch.transmits() {
        for datagram in batch.bytes(transmit).chunks(transmit.segment_size) {
            pair.client.take(pair.now, datagram, &mut answers);
        }
    }
    answers.add(pair.drain());
    answers.rtp.into_iter().map(|(packet, _)| packet).collect()
}

fn is_parity(packet: &[u8]) -> bool {
    RtpView::parse(packet).unwrap().ssrc() == FEC.ssrc
}

/// A receiver: media but those of `lost` (places), then parity; what it recovers.
fn receive(decoder: &mut Decoder, packets: &[Vec<u8>], lost: &[usize]) -> Vec<Vec<u8>> {
    let mut recovered = Vec::new();
    for (place, packet) in packets.iter().enumerate().filter(|(place, _)| !lost.contains(place)) {
        if is_parity(packet) {
            let view = RtpView::parse(packet).unwrap();
            assert_eq!(view.payload_type(), FEC.payload_type);
            decoder.on_parity(view.ssrc(), view.payload()).unwrap();
        } else {
            decoder.on_media(packet).unwrap_or_else(|reason| panic!("{place}: {reason:?}"));
        }
        let mut out = Vec::new();
        while decoder.poll_recovered(&mut out).is_some() {
            recovered.push(out.clone());
        }
    }
    recovered
}

fn decoder() -> Decoder {
    let mutable_extensions = [TCC_ID, SEND_TIME_ID].into_iter().collect();
    let mut decoder = Decoder::new(DecoderConfig { scheme: Scheme::FlexFec03, mutable_extensions });
    decoder.add_stream(SLOT.media);
    decoder
}

/// What changes as a packet leaves is zero in one that was recovered.
fn zeroed(packet: &[u8]) -> Vec<u8> {
    let mut zeroed = packet.to_vec();
    let view = RtpView::parse(packet).unwrap();
    for id in [TCC_ID, SEND_TIME_ID] {
        view.extension_range(id).into_iter().for_each(|range| zeroed[range].fill(0));
    }
    zeroed
}

#[test]
fn what_is_lost_comes_back_as_it_was_sent() {
    let mut pair = subscriber(protected());
    protect(&mut pair, [2, 0, 0, 0], 1);
    let mut decoder = decoder();
    for frame in 0..20 {
        let packets = send_frame(&mut pair, 0, 100 + frame * 6, 6);
        assert_eq!(packets.iter().filter(|packet| is_parity(packet)).count(), 2);
        assert!(packets[6..].iter().all(|packet| is_parity(packet)), "after the frame");
        let lost = frame as usize % 6;
        assert_eq!(receive(&mut decoder, &packets, &[lost]), [zeroed(&packets[lost])]);
    }
    let counters = pair.server.counters();
    assert_eq!((counters.fec_out, counters.rtp_out), (40, 160));
    assert!(counters.fec_bytes_out > 40 * 335);
}

#[test]
fn what_is_protected_is_not_padded() {
    let mut pair = subscriber(protected());
    protect(&mut pair, [2, 0, 0, 0], 1);
    let paddings = |packets: &[Vec<u8>]| {
        let media = packets.iter().filter(|packet| !is_parity(packet));
        media.map(|packet| RtpView::parse(packet).unwrap().padding_len()).collect::<Vec<_>>()
    };
    assert_eq!(paddings(&send_frame(&mut pair, 0, 100, 4)), [0; 4]);
    assert_eq!(paddings(&send_frame(&mut pair, 1, 104, 4)), [0, 3, 6, 9], "nobody computes with it");
}

#[test]
fn without_a_plan_or_a_peer_that_takes_it_there_is_none() {
    let mut pair = subscriber(protected());
    protect(&mut pair, [0; PROTECTION_GROUPS], 1);
    assert!(!send_frame(&mut pair, 0, 100, 6).iter().any(|packet| is_parity(packet)));
    let mut pair = subscriber(section("1", Direction::Send));
    protect(&mut pair, [2; PROTECTION_GROUPS], 1);
    assert_eq!(send_frame(&mut pair, 0, 100, 6).len(), 6);
    assert_eq!(pair.server.counters().fec_out, 0);
}

#[test]
fn a_block_spans_frames_of_its_group_and_ends_in_time() {
    let mut pair = subscriber(protected());
    protect(&mut pair, [1, 0, 1, 0], 3);
    let parity = |packets: Vec<Vec<u8>>| packets.iter().filter(|packet| is_parity(packet)).count();
    let mut sent = Vec::new();
    let mut counts = Vec::new();
    for (n, group) in [0, 2, 0, 2, 1, 1].into_iter().enumerate() {
        let packets = send_frame(&mut pair, group, 100 + n as u64 * 4, 4);
        sent.extend(packets.iter().cloned());
        counts.push(parity(packets));
    }
    assert_eq!(counts, [0, 0, 1, 1, 0, 0], "group 0 is complete with the third frame, group 2 with the fourth");
    assert_eq!(receive(&mut decoder(), &sent, &[6]), [zeroed(&sent[6])], "of the second frame, by the fourth's parity");
}

#[test]
fn numbers_of_parity_go_on_after_a_negotiation_and_a_new_source_begins_anew() {
    let mut pair = subscriber(protected());
    protect(&mut pair, [1; PROTECTION_GROUPS], 1);
    let number = |packets: &[Vec<u8>]| RtpView::parse(packets.last().unwrap()).unwrap().seq();
    let first = number(&send_frame(&mut pair, 0, 100, 2));
    let mut without = protected();
    without.extensions = ExtensionMap::default();
    pair.server.update_sections(vec![section("0", Direction::Receive), without.clone()]);
    assert_eq!(send_frame(&mut pair, 0, 102, 2).len(), 2, "to be planned anew");
    protect(&mut pair, [1; PROTECTION_GROUPS], 1);
    assert_eq!(number(&send_frame(&mut pair, 0, 104, 2)), first + 1);
    pair.server.update_sections(vec![section("0", Direction::Receive), MediaSection { local_fec: None, ..without }]);
    protect(&mut pair, [1; PROTECTION_GROUPS], 1);
    assert_eq!(send_frame(&mut pair, 0, 106, 2).len(), 2);
    assert_eq!(*pair.server.drops(), DropCounts::default());
}

/// Frames whose last packets come late, as over an uplink that loses and repairs, are counted once.
#[test]
fn one_that_comes_late_ends_no_frame() {
    let mut groups = ProtectedGroups::new(Scheme::FlexFec03, SLOT.media, Default::default());
    groups.protect(&[Protection { parity: 1, frames: 2 }; PROTECTION_GROUPS]);
    let mut pair = subscriber(protected());
    let media = send_frame(&mut pair, 3, 100, 12);
    let mut pass = |place: usize, frame: u32, marker| groups.on_media(&media[place], (frame, marker), Some(0));
    assert!(!pass(0, 1, false));
    assert!(!pass(2, 2, false), "the first frame is over");
    assert!(!pass(1, 1, true), "its end comes late");
    assert!(pass(3, 2, true), "the block is two frames long");
}
