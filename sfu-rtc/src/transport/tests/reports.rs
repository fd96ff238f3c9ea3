//! Reports and feedback both ways.

use super::*;
use crate::bwe::{EstimatorConfig, RembConfig};
use crate::media::RemoteSource;
use crate::rtcp::{self, ReportBlock, RtcpView};
use crate::time::NtpTime;

fn views(answers: &Answers) -> Vec<RtcpView<'_>> {
    answers.rtcp.iter().flat_map(|datagram| rtcp::compound(datagram)).map(Result::unwrap).collect()
}

#[test]
fn arrivals_are_reported() {
    let mut pair = Pair::connected();
    pair.drain();
    for seq in [1_u16, 2, 4] {
        let rtp = ClientRtp::new(u64::from(seq)).with(MID_ID, b"0").with(TCC_ID, &seq.to_be_bytes());
        let sealed = rtp.seal(&mut pair.client);
        assert_eq!(pair.give(sealed), None);
    }
    let answers = pair.pass(200);
    let views = views(&answers);
    let [RtcpView::Twcc(feedback)] = views[..] else { panic!("{views:?}") };
    let arrived: Vec<_> = feedback.packets().map(|(seq, delta)| (seq, delta.is_some())).collect();
    assert_eq!(arrived, [(1, true), (2, true), (3, false), (4, true)]);
    assert_eq!(feedback.media, MEDIA);
}

#[test]
fn a_report_and_its_echo_give_the_round_trip() {
    let mut pair = Pair::new();
    // Its answers would show the round trip too.
    pair.client.answers = false;
    pair.connect();
    let out = pair.out(1);
    pair.queue(out).unwrap();
    pair.drain();
    let ntp = NtpTime::from_unix(Duration::from_secs(1_000));
    pair.server.send_report(SUBSCRIBED, ntp, 4_711);
    pair.server.send_report(PUBLISHED, ntp, 1);
    let answers = pair.drain();
    let views = views(&answers);
    let [RtcpView::SenderReport(report), RtcpView::Sdes(_)] = views[..] else { panic!("{views:?}") };
    let report = report.info;
    assert_eq!((report.ssrc, report.rtp, report.packets, report.octets), (SLOT.media, 4_711, 1, 10));
    pair.pass(80);
    let block =
        ReportBlock { ssrc: SLOT.media, last_sr: ntp.middle(), delay_since_last_sr: 1 << 11, ..Default::default() };
    let echo = pair.seal_rtcp(|out| rtcp::write_receiver_report(out, MEDIA, &[block]));
    pair.give(echo);
    assert_eq!(pair.server.rtt().map(|rtt| rtt.as_micros()), Some(80_000 - 31_250));
}

#[test]
fn requests_leave_with_the_reports() {
    let mut pair = Pair::connected();
    pair.server.feedback().nack(MEDIA, &[1, 2, 9]);
    pair.server.feedback().pli(MEDIA);
    pair.server.feedback().report_block(ReportBlock { ssrc: MEDIA, ..Default::default() });
    let answers = pair.drain();
    assert_eq!(answers.rtcp.len(), 1);
    let views = views(&answers);
    let [RtcpView::ReceiverReport(_), RtcpView::Sdes(_), RtcpView::Nack(nack), RtcpView::Pli(pli)] = views[..] else {
        panic!("{views:?}")
    };
    assert!(nack.seqs().eq([1, 2, 9]) && nack.media == MEDIA && pli.media == MEDIA);
    let requests = pair.server.counters().requests;
    assert_eq!((requests.nacked, requests.keyframe_requests, requests.overflowed), (3, 1, 0));
}

/// Datagrams with a keyframe request and more feedback than one holds, to a peer that only sends.
fn feedback_alone(reduced_rtcp: bool) -> Answers {
    let sections = vec![MediaSection { reduced_rtcp, ..section("0", Direction::Receive) }];
    let mut pair = Pair::with(TransportConfig::default(), sections);
    pair.connect();
    pair.drain();
    let scattered: Vec<u16> = (0..250).map(|n| n * 20).collect();
    pair.server.feedback().pli(MEDIA);
    for _ in 0..3 {
        pair.server.feedback().nack(MEDIA, &scattered);
    }
    pair.drain()
}

#[test]
fn feedback_leaves_behind_a_report_and_a_name_unless_reduced_size_was_negotiated() {
    for reduced in [false, true] {
        let answers = feedback_alone(reduced);
        assert!(answers.rtcp.len() >= 3);
        for datagram in &answers.rtcp {
            let views: Vec<_> = rtcp::compound(datagram).map(Result::unwrap).collect();
            if reduced {
                assert!(views.iter().all(|view| matches!(view, RtcpView::Nack(_) | RtcpView::Pli(_))), "{views:?}");
                continue;
            }
            let [RtcpView::ReceiverReport(report), RtcpView::Sdes(names), rest @ ..] = views.as_slice() else {
                panic!("{views:?}")
            };
            assert_eq!((report.ssrc, report.blocks().count()), (own().ssrc, 0));
            assert_eq!(names.cnames().collect::<Vec<_>>(), [(own().ssrc, own().cname.as_bytes())]);
            assert!(!rest.is_empty());
        }
    }
}

#[test]
fn our_rtcp_is_from_none_of_the_peers_sources() {
    let announced = |ssrc| RemoteSource { ssrcs: SsrcPair { media: ssrc, rtx: None }, rid: None };
    let mut sections = vec![section("0", Direction::Receive)];
    let mut pair = Pair::with(TransportConfig::default(), sections.clone());
    pair.connect();
    let sender = |pair: &mut Pair| {
        pair.server.feedback().pli(MEDIA);
        let answers = pair.drain();
        let pli =
            views(&answers).into_iter().find_map(|view| if let RtcpView::Pli(pli) = view { Some(pli) } else { None });
        pli.unwrap().sender
    };
    assert_eq!(sender(&mut pair), own().ssrc);
    // The peer takes up that very number.
    sections[0].remote_ssrcs = vec![announced(own().ssrc)];
    pair.server.update_sections(sections.clone());
    let other = sender(&mut pair);
    assert_ne!(other, own().ssrc);
    sections.push(section("1", Direction::Send));
    pair.server.update_sections(sections);
    assert_eq!(sender(&mut pair), SLOT.media, "it is from whoever sends media");
}

#[test]
fn the_peers_requests_come_up() {
    let mut pair = Pair::connected();
    let mut sealed = pair.seal_rtcp(|out| {
        rtcp::write_nack(out, MEDIA, SLOT.media, &[7, 8]);
    });
    let Received::Rtcp(compound) = pair.server.handle_datagram(pair.now, &pair.client.path, &mut sealed) else {
        panic!("no reports")
    };
    let packets: Vec<_> = compound.packets().collect();
    assert!(matches!(&packets[..], [Ok(RtcpView::Nack(nack))] if nack.seqs().eq([7, 8])));
}

#[test]
fn loss_and_remb_reach_the_estimator() {
    let estimator = EstimatorConfig::Remb(RembConfig::default());
    let config = TransportConfig { estimator, ..TransportConfig::default() };
    let mut pair = Pair::with(config, vec![section("0", Direction::Receive), section("1", Direction::Send)]);
    pair.connect();
    let remb = pair.seal_rtcp(|out| rtcp::write_remb(out, MEDIA, Bitrate::from_kbps(800), &[SLOT.media]));
    pair.give(remb);
    assert_eq!(pair.server.estimate().map(Bitrate::as_kbps), Some(800));
    for seq in 0..100 {
        let out = pair.out(seq);
        pair.queue(out).unwrap();
        pair.pass(20);
    }
    for (highest_seq, fraction_lost) in [(10, 0), (99, 128)] {
        let block = ReportBlock { ssrc: SLOT.media, highest_seq, fraction_lost, ..Default::default() };
        let report = pair.seal_rtcp(|out| rtcp::write_receiver_report(out, MEDIA, &[block]));
        pair.give(report);
        pair.pass(1_000);
    }
    assert_eq!((pair.server.figures().loss, pair.server.estimate().map(Bitrate::as_kbps)), (0.5, Some(600)));
}

#[test]
fn what_had_not_come_to_us_is_not_lost_on_the_way_to_the_peer() {
    let mut pair = Pair::connected();
    // A fifth of the numbers is missing, as it was from the publisher; of the rest the peer misses another fifth.
    for (highest_seq, fraction_lost) in [(100, 51), (200, 51), (300, 92)] {
        for seq in highest_seq - 99..=highest_seq {
            if seq % 5 != 0 || seq == highest_seq {
                let out = pair.out(u64::from(seq));
                pair.queue(out).unwrap();
            }
        }
        pair.pass(1_000);
        let block = ReportBlock { ssrc: SLOT.media, highest_seq, fraction_lost, ..Default::default() };
        let report = pair.seal_rtcp(|out| rtcp::write_receiver_report(out, MEDIA, &[block]));
        pair.give(report);
        let loss = pair.server.figures().loss;
        let expected = if highest_seq < 300 { 0.0 } else { 0.2 };
        assert!((loss - expected).abs() < 0.02, "{loss} at {highest_seq}");
    }
}

#[test]
fn under_an_estimate_packets_are_paced() {
    let estimator = EstimatorConfig::Fixed(Some(Bitrate::from_kbps(100)));
    let config = TransportConfig { estimator, ..TransportConfig::default() };
    let mut pair = Pair::with(config, vec![section("0", Direction::Receive), section("1", Direction::Send)]);
    pair.connect();
    for seq in 0..50 {
        let out = pair.out(seq);
        pair.queue(out).unwrap();
    }
    let at_once = pair.drain().rtp.len();
    assert!((1..25).contains(&at_once), "{at_once}");
    assert!(pair.server.poll_timeout().unwrap() > pair.now);
    assert_eq!(at_once + pair.pass(2_000).rtp.len(), 50);
}
