//! Parity among the media, in RED (ULPFEC), and what a receiver makes of it.

use super::*;
use crate::fec::{Decoder, DecoderConfig, Scheme};
use crate::media::VideoRed;
use crate::transport::red::Red;

const RED: VideoRed =
    VideoRed { payload_type: PayloadType(116), rtx: Some(PayloadType(118)), parity: PayloadType(117) };

fn slot(red: Option<VideoRed>) -> MediaSection {
    MediaSection { red, ..section("1", Direction::Send) }
}

fn protected() -> Pair {
    let sections = vec![section("0", Direction::Receive), slot(Some(RED))];
    let mut pair = Pair::with(TransportConfig::default(), sections);
    pair.connect();
    protect(&mut pair, [2, 0, 1, 0], 1);
    pair
}

fn protect(pair: &mut Pair, parity: [u8; PROTECTION_GROUPS], frames: u8) {
    pair.server.protect(SUBSCRIBED, &parity.map(|parity| Protection { parity, frames }));
}

fn send(pair: &mut Pair, payload: &[u8], out: RtpOut) -> Vec<Vec<u8>> {
    let mut batch = TransmitBatch::default();
    let packet = pair.packet(payload, CarriedExtensions::default(), &[]);
    pair.server.send_rtp(pair.now, &packet, out, &mut batch).unwrap();
    let mut answers = Answers::default();
    for transmit in batch.transmits() {
        for datagram in batch.bytes(transmit).chunks(transmit.segment_size) {
            pair.client.take(pair.now, datagram, &mut answers);
        }
    }
    answers.rtp.into_iter().map(|(packet, _)| packet).collect()
}

/// A frame of `packets` packets in `group`, numbered from `first`; all that the client gets, in clear.
fn send_frame(pair: &mut Pair, group: u8, first: u64, packets: u64) -> Vec<Vec<u8>> {
    let sent = (0..packets).map(|n| {
        let marker = n + 1 == packets;
        let out = RtpOut { marker, timestamp: first as u32, group: Some(group), ..pair.out(first + n) };
        send(pair, &vec![n as u8 + 1; 300 + n as usize * 7], out)
    });
    sent.flatten().collect()
}

/// As its receiver has it: out of RED.
fn taken_out(packet: &[u8]) -> Vec<u8> {
    let sections = [MediaSection { red: Some(RED), ..section("1", Direction::Receive) }];
    Red::new(&sections).take_out(&sections, &mut packet.to_vec()).unwrap().to_vec()
}

fn is_parity(packet: &[u8]) -> bool {
    RtpView::parse(&taken_out(packet)).unwrap().payload_type() == RED.parity
}

fn numbers(packets: &[Vec<u8>]) -> Vec<u16> {
    packets.iter().map(|packet| RtpView::parse(packet).unwrap().seq()).collect()
}

/// What changes as a packet leaves is zero in one that was recovered.
fn zeroed(mut packet: Vec<u8>) -> Vec<u8> {
    for id in [TCC_ID, SEND_TIME_ID] {
        let range = RtpView::parse(&packet).unwrap().extension_range(id);
        range.into_iter().for_each(|range| packet[range].fill(0));
    }
    packet
}

/// What a receiver of `packets` recovers.
fn recovered<'p>(packets: impl Iterator<Item = &'p Vec<u8>>) -> Vec<Vec<u8>> {
    let mutable_extensions = [TCC_ID, SEND_TIME_ID].into_iter().collect();
    let mut decoder =
        Decoder::new(DecoderConfig { scheme: Scheme::Ulpfec { payload_type: RED.parity }, mutable_extensions });
    decoder.add_stream(SLOT.media);
    let mut recovered = Vec::new();
    for packet in packets.map(|packet| taken_out(packet)) {
        let view = RtpView::parse(&packet).unwrap();
        match view.payload_type() == RED.parity {
            true => decoder.on_parity(view.ssrc(), view.payload()).map(|_| ()).unwrap(),
            false => decoder.on_media(&packet).map(|_| ()).unwrap(),
        }
        let mut out = Vec::new();
        while decoder.poll_recovered(&mut out).is_some() {
            recovered.push(out.clone());
        }
    }
    recovered
}

#[test]
fn what_is_lost_comes_back_and_the_numbers_have_no_gap() {
    let mut pair = protected();
    let mut sent = Vec::new();
    for frame in 0..20u64 {
        let packets = send_frame(&mut pair, 0, 65_500 + frame * 6, 6);
        assert_eq!(packets.iter().map(|packet| is_parity(packet)).collect::<Vec<_>>()[5..], [false, true, true]);
        let lost = frame as usize % 6;
        let came = packets.iter().enumerate().filter(|(place, _)| *place != lost).map(|(_, packet)| packet);
        assert_eq!(recovered(came), [zeroed(taken_out(&packets[lost]))]);
        sent.extend(numbers(&packets));
    }
    assert_eq!(sent, (0..160u64).map(|n| (65_500 + n) as u16).collect::<Vec<_>>());
    let counters = pair.server.counters();
    assert_eq!((counters.fec_out, counters.rtp_out), (40, 160));
    let sender = pair.server.sender_of(SLOT.media).unwrap();
    assert_eq!(sender.packets, 160, "all that has the source, as its receiver counts");
}

#[test]
fn what_is_not_protected_is_not_in_red() {
    let mut pair = protected();
    let packets = send_frame(&mut pair, 1, 100, 4);
    let types: Vec<_> = packets.iter().map(|packet| RtpView::parse(packet).unwrap().payload_type()).collect();
    assert_eq!(types, [VP8; 4]);
    assert_eq!(numbers(&packets), [100, 101, 102, 103]);
}

#[test]
fn parity_waits_for_the_end_of_the_frame() {
    let mut pair = protected();
    // The mask is full in the middle of the frame.
    let packets = send_frame(&mut pair, 0, 100, 60);
    assert!(packets[..60].iter().all(|packet| !is_parity(packet)));
    assert_eq!(packets[60..].iter().filter(|packet| is_parity(packet)).count(), 4);
    // Without a marker, a frame ends where the next begins, which then is not interrupted either.
    let without = RtpOut { marker: false, timestamp: 1, group: Some(0), ..pair.out(160) };
    assert_eq!(send(&mut pair, &[1; 300], without).len(), 1);
    let next = send_frame(&mut pair, 1, 161, 2);
    assert_eq!(next.iter().map(|packet| is_parity(packet)).collect::<Vec<_>>(), [false, false, true]);
}

#[test]
fn the_late_end_of_a_frame_lets_no_parity_into_the_next() {
    let mut pair = protected();
    let packet = |pair: &mut Pair, seq, timestamp, marker| {
        let out = RtpOut { marker, timestamp, group: Some(0), ..pair.out(seq) };
        send(pair, &[1; 300], out)
    };
    let parity = |packets: Vec<Vec<u8>>| packets.iter().filter(|packet| is_parity(packet)).count();
    let sent = [(100, 1, false), (102, 2, false), (101, 1, true), (103, 2, false)];
    for (seq, timestamp, marker) in sent {
        assert_eq!(parity(packet(&mut pair, seq, timestamp, marker)), 0, "{seq}");
    }
    assert!(parity(packet(&mut pair, 104, 2, true)) > 0);
}

#[test]
fn what_the_peer_asks_for_is_what_it_lacks() {
    let mut pair = protected();
    let first = send_frame(&mut pair, 0, 100, 3);
    let second = send_frame(&mut pair, 0, 103, 3);
    assert_eq!((numbers(&first), numbers(&second)), ((100..105).collect(), (105..110).collect()));
    let known = |pair: &Pair, seq| pair.server.number_of(SUBSCRIBED, seq);
    assert_eq!([102, 103, 104, 105, 107].map(|seq| known(&pair, seq)), [Some(102), None, None, Some(103), Some(105)]);
    // Sent again, it says which number it had.
    let again = RtpOut {
        ssrc: SLOT.rtx.unwrap(),
        payload_type: VP8_RTX,
        edit: PayloadEdit { prefix: 105u16.to_be_bytes().into_iter().collect(), skip: 0 },
        class: PacketClass::Rtx,
        ..pair.out(105)
    };
    let again = send(&mut pair, &[7; 300], again);
    assert_eq!(RtpView::parse(&again[0]).unwrap().payload()[..3], [0, 107, 7]);
}

#[test]
fn one_that_comes_late_has_the_number_that_was_left_for_it() {
    let mut pair = protected();
    let sent = [100, 102, 103].map(|seq| {
        let out = RtpOut { group: Some(0), timestamp: 1, ..pair.out(seq) };
        numbers(&send(&mut pair, &[1; 300], out))
    });
    let late = RtpOut { group: Some(0), timestamp: 1, ..pair.out(101) };
    assert_eq!(
        (sent.concat(), numbers(&send(&mut pair, &[1; 300], late))),
        (vec![100, 101, 103, 104, 105, 106], vec![102])
    );
}

#[test]
fn numbers_go_on_without_parity() {
    let mut pair = protected();
    assert_eq!(numbers(&send_frame(&mut pair, 0, 100, 3)), (100..105).collect::<Vec<_>>());
    pair.server.update_sections(vec![section("0", Direction::Receive), slot(None)]);
    assert_eq!(numbers(&send_frame(&mut pair, 0, 103, 3)), [105, 106, 107]);
    pair.server.update_sections(vec![section("0", Direction::Receive), slot(Some(RED))]);
    protect(&mut pair, [1; PROTECTION_GROUPS], 1);
    assert_eq!(numbers(&send_frame(&mut pair, 0, 106, 3)), [108, 109, 110, 111]);
    assert_eq!(*pair.server.drops(), DropCounts::default());
}
