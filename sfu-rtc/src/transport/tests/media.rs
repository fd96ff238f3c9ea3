//! Media both ways.

use super::*;

fn rtx(seq: u64, original: u16, payload: &[u8]) -> ClientRtp {
    let payload = [&original.to_be_bytes(), payload].concat();
    ClientRtp { ssrc: RTX, payload_type: VP8_RTX, payload, ..ClientRtp::new(seq) }
}

#[test]
fn media_comes_up_routed_and_in_clear() {
    let mut pair = Pair::connected();
    let sealed = ClientRtp::new(5).with(MID_ID, b"0").with(LEVEL_ID, &[0x85]).seal(&mut pair.client);
    pair.give_rtp(sealed, |received| {
        let rtp = received.unwrap();
        assert_eq!((rtp.section, rtp.rid, rtp.ssrc, rtp.codec), (PUBLISHED, None, MEDIA, Codec::Vp8));
        assert_eq!((rtp.payload(), rtp.extensions.audio_level, rtp.rtx), (&b"picture"[..], Some(0x85), None));
        assert_eq!(rtp.seq, SeqNo(5));
    });
    let unrouted = ClientRtp { ssrc: Ssrc(9), payload_type: PayloadType(50), ..ClientRtp::new(1) };
    let sealed = unrouted.seal(&mut pair.client);
    pair.give_rtp(sealed, |received| assert_eq!(received.unwrap_err(), DropReason::UnknownStream));
}

#[test]
fn a_received_packet_fills_one_of_the_pool() {
    let mut pair = Pair::connected();
    let descriptor = [0x80, 0, 7];
    let sealed = ClientRtp::new(3).with(MID_ID, b"0").with(DESCRIPTOR_ID, &descriptor).seal(&mut pair.client);
    let mut pool = PacketPool::new(4);
    let packet = pair.give_rtp(sealed, |received| {
        let rtp = received.unwrap();
        assert_eq!(rtp.dependency_descriptor(), Some(&descriptor[..]));
        pool.take(|data| rtp.fill(FrameFacts::default(), data)).unwrap()
    });
    assert_eq!((packet.payload(), packet.seq, packet.repaired), (&b"picture"[..], SeqNo(3), false));
    assert_eq!(packet.part(packet.extensions.dependency_descriptor.unwrap()), descriptor);
}

#[test]
fn retransmissions_come_up_as_what_they_repeat() {
    let mut pair = Pair::connected();
    let first = rtx(1, 9, b"early").with(MID_ID, b"0").seal(&mut pair.client);
    pair.give_rtp(first, |received| assert_eq!(received.unwrap_err(), DropReason::UnknownStream));
    let media = ClientRtp::new(0xffff).with(MID_ID, b"0").seal(&mut pair.client);
    pair.give_rtp(media, |received| assert!(received.is_ok()));
    let repeated = rtx(2, 0xfffd, b"again").with(MID_ID, b"0").seal(&mut pair.client);
    pair.give_rtp(repeated, |received| {
        let rtp = received.unwrap();
        assert_eq!((rtp.ssrc, rtp.seq, rtp.payload_type), (MEDIA, SeqNo(0xfffd), VP8));
        assert_eq!((rtp.payload(), rtp.rtx.unwrap().ssrc), (&b"again"[..], RTX));
    });
    let probe = ClientRtp { payload: Vec::new(), ..rtx(3, 0, b"") }.with(MID_ID, b"0").seal(&mut pair.client);
    pair.give_rtp(probe, |received| assert_eq!(received.unwrap_err(), DropReason::Padding));
    let cut = ClientRtp { payload: vec![1], ..rtx(4, 0, b"") }.with(MID_ID, b"0").seal(&mut pair.client);
    pair.give_rtp(cut, |received| assert_eq!(received.unwrap_err(), DropReason::RtxMalformed));
    assert_eq!(pair.server.counters().rtx_in, 3);
}

#[test]
fn simulcast_layers_are_told_apart() {
    let mut sections = vec![section("0", Direction::Receive)];
    sections[0].rids = ["q", "h"].iter().map(|rid| Rid::new(rid).unwrap()).collect();
    assert!(sections[0].extensions.set(ExtensionKind::Rid, 10));
    let mut pair = Pair::with(TransportConfig::default(), sections);
    pair.connect();
    for (ssrc, rid) in [(Ssrc(1), "q"), (Ssrc(2), "h")] {
        let named = ClientRtp { ssrc, ..ClientRtp::new(1) }.with(MID_ID, b"0").with(10, rid.as_bytes());
        let sealed = named.seal(&mut pair.client);
        pair.give_rtp(sealed, |received| assert_eq!(received.unwrap().rid, Rid::new(rid)));
        let later = ClientRtp { ssrc, ..ClientRtp::new(2) };
        let sealed = later.seal(&mut pair.client);
        pair.give_rtp(sealed, |received| assert_eq!(received.unwrap().rid, Rid::new(rid)));
    }
}

#[test]
fn what_is_sent_arrives_edited() {
    let mut pair = Pair::connected();
    let mut out = pair.out(7);
    out.edit = PayloadEdit { prefix: [b'a', b'b', b'c'].into_iter().collect(), skip: 2 };
    pair.queue(out).unwrap();
    let answers = pair.drain();
    let view = RtpView::parse(&answers.rtp[0].0).unwrap();
    assert_eq!((view.payload(), view.seq(), view.ssrc()), (&b"abc23456789"[..], 7, SLOT.media));
    assert_eq!((view.timestamp(), view.marker(), view.payload_type()), (90_000, true, VP8));
    assert_eq!(view.extension(MID_ID), Some(&b"1"[..]));
    assert_eq!(view.extension(SEND_TIME_ID).map(<[u8]>::len), Some(3));
}

#[test]
fn carried_extensions_get_the_subscribers_ids() {
    let mut pair = Pair::connected();
    let descriptor = [0xc1, 0, 7, 0x80];
    let carried = CarriedExtensions {
        audio_level: Some(0x11),
        dependency_descriptor: Some((12, 4)),
        video_orientation: Some(1),
        ..CarriedExtensions::default()
    };
    let packet = pair.packet(b"payload", carried, &descriptor);
    let out = RtpOut { frame_number: Some(0x1234), ..pair.out(1) };
    pair.server.queue_rtp(pair.now, &packet, out).unwrap();
    let answers = pair.drain();
    let view = RtpView::parse(&answers.rtp[0].0).unwrap();
    assert_eq!(view.extension(LEVEL_ID), Some(&[0x11][..]));
    assert_eq!(view.extension(DESCRIPTOR_ID), Some(&[0xc1, 0x12, 0x34, 0x80][..]));
    let ids: Vec<u8> = view.extensions().map(|(id, _)| id).collect();
    assert_eq!(ids, [TCC_ID, SEND_TIME_ID, MID_ID, LEVEL_ID, DESCRIPTOR_ID], "orientation was not negotiated");
}

#[test]
fn sequence_numbers_wrap() {
    let mut pair = Pair::connected();
    for seq in (0xfff0..0x1_0010).chain(0x1_8000..0x1_8001) {
        let out = pair.out(seq);
        pair.queue(out).unwrap();
        assert_eq!(pair.drain().rtp[0].1, SeqNo(seq));
    }
}

#[test]
fn every_packet_has_the_next_transport_wide_number() {
    let mut pair = Pair::connected();
    for seq in 0..10 {
        let out = pair.out(seq);
        pair.queue(out).unwrap();
    }
    let answers = pair.drain();
    let numbers = answers.rtp.iter().map(|(packet, _)| {
        let view = RtpView::parse(packet).unwrap();
        u16::from_be_bytes(*view.extension(TCC_ID).unwrap().first_chunk().unwrap())
    });
    assert!(numbers.eq(0..10));
}

#[test]
fn the_mid_stops_when_the_peer_reports() {
    let mut pair = Pair::connected();
    let mids = |pair: &mut Pair, seq: u64| {
        let out = pair.out(seq);
        pair.queue(out).unwrap();
        pair.drain().rtp.iter().any(|(packet, _)| RtpView::parse(packet).unwrap().extension(MID_ID).is_some())
    };
    assert!(mids(&mut pair, 1) && mids(&mut pair, 2));
    let block = crate::rtcp::ReportBlock { ssrc: SLOT.media, ..Default::default() };
    let report = pair.seal_rtcp(|out| crate::rtcp::write_receiver_report(out, MEDIA, &[block]));
    assert_eq!(pair.give(report), None);
    assert!(!mids(&mut pair, 3));
}

#[test]
fn packets_of_one_subscriber_make_one_entry() {
    let mut pair = Pair::connected();
    for seq in 0..100 {
        let out = pair.out(seq);
        pair.queue(out).unwrap();
    }
    pair.drain();
    for seq in 100..116 {
        let out = pair.out(seq);
        pair.queue(out).unwrap();
    }
    let mut batch = TransmitBatch::default();
    pair.server.poll_transmit(pair.now, &mut batch);
    assert_eq!((batch.transmits().len(), batch.datagrams()), (1, 16));
}

#[test]
fn a_slot_that_went_sends_nothing() {
    let mut pair = Pair::connected();
    let out = pair.out(1);
    pair.queue(out).unwrap();
    pair.server.update_sections(vec![section("0", Direction::Receive), section("1", Direction::Inactive)]);
    assert!(pair.drain().rtp.is_empty());
    assert_eq!(pair.server.drops().of(DropReason::UnknownStream), 1);
}

#[test]
fn a_new_negotiation_keeps_streams_and_counters() {
    let mut pair = Pair::connected();
    let sealed = ClientRtp::new(1).with(MID_ID, b"0").seal(&mut pair.client);
    assert_eq!(pair.give(sealed), None);
    let mut sections = pair.server.sections().to_vec();
    sections.push(section("2", Direction::Receive));
    pair.server.update_sections(sections);
    let sealed = ClientRtp::new(2).seal(&mut pair.client);
    assert_eq!(pair.give(sealed), None, "its source is known still");
    pair.server.update_sections(vec![section("0", Direction::Inactive)]);
    let sealed = ClientRtp::new(3).seal(&mut pair.client);
    assert_eq!(pair.give(sealed), Some(DropReason::UnknownStream));
}

#[test]
fn padded_packets_of_equal_length_leave_as_one_run() {
    let mut pair = Pair::connected();
    let payloads = [(vec![1; 400], 1), (vec![2; 401], 0), (vec![3; 390], 0)];
    let mut batch = TransmitBatch::default();
    for (seq, (payload, padding)) in payloads.iter().enumerate() {
        let packet = pair.packet(payload, CarriedExtensions::default(), &[]);
        let out = RtpOut { padding: *padding, ..pair.out(seq as u64) };
        let done = pair.server.send_rtp(pair.now, &packet, out, &mut batch);
        assert_eq!(done, Ok(Handover::Sealed), "nothing holds it back");
    }
    assert_eq!(batch.transmits().iter().map(|run| run.datagrams()).collect::<Vec<_>>(), [3]);
    let mut answers = Answers::default();
    let run = &batch.transmits()[0];
    for datagram in batch.bytes(run).chunks(run.segment_size) {
        pair.client.take(pair.now, datagram, &mut answers);
    }
    let got: Vec<_> = answers.rtp.iter().map(|(packet, ..)| RtpView::parse(packet).unwrap()).collect();
    assert_eq!(got.iter().map(|view| view.padding_len()).collect::<Vec<_>>(), [1, 0, 0]);
    assert!(got.iter().zip(&payloads).all(|(view, (payload, _))| view.payload() == payload));
}
