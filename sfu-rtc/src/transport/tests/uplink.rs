//! What a peer is told to send at most, and what is known of the way from it.

use super::*;
use crate::rtcp::{self, RtcpView};
use crate::rtp::extension::abs_send_time;
use crate::units::Bitrate;

/// Rates told by REMB, in kbit/s, and the sources named.
fn rembs(answers: &Answers) -> Vec<(u64, Vec<Ssrc>)> {
    let packets = answers.rtcp.iter().flat_map(|datagram| rtcp::compound(datagram)).map(Result::unwrap);
    packets
        .filter_map(|packet| match packet {
            RtcpView::Remb(remb) => Some((remb.bitrate.as_kbps(), remb.ssrcs().collect())),
            _ => None,
        })
        .collect()
}

fn rates(answers: &Answers) -> Vec<u64> {
    rembs(answers).into_iter().map(|(kbps, _)| kbps).collect()
}

/// A peer that publishes, with these header extensions.
fn publisher(remb: bool, kinds: &[(ExtensionKind, u8)]) -> Pair {
    let mut extensions = ExtensionMap::default();
    assert!(kinds.iter().all(|(kind, id)| extensions.set(*kind, *id)));
    let section = MediaSection { remb, extensions, ..section("0", Direction::Receive) };
    let mut pair = Pair::with(TransportConfig::default(), vec![section]);
    pair.connect();
    pair.drain();
    pair
}

const WITH_FEEDBACK: [(ExtensionKind, u8); 3] =
    [(ExtensionKind::Mid, MID_ID), (ExtensionKind::TransportCc, TCC_ID), (ExtensionKind::AbsSendTime, SEND_TIME_ID)];

/// Sends a packet each 10 ms for so many seconds, but for those that `lost` names; what came back.
fn send(pair: &mut Pair, from: u64, seconds: u64, lost: impl Fn(u64) -> bool) -> Answers {
    let mut answers = Answers::default();
    for seq in from..from + seconds * 100 {
        if !lost(seq) {
            let mut rtp = ClientRtp::new(seq).with(MID_ID, b"0").with(TCC_ID, &(seq as u16).to_be_bytes());
            rtp = rtp.with(SEND_TIME_ID, &abs_send_time(pair.now));
            rtp.payload = vec![0; 1_000];
            let sealed = rtp.seal(&mut pair.client);
            assert_eq!(pair.give(sealed), None);
        }
        answers.add(pair.pass(10));
    }
    answers
}

#[test]
fn a_cap_is_told_at_once_and_again_until_it_is_lifted() {
    let mut pair = publisher(true, &WITH_FEEDBACK);
    assert_eq!(rates(&send(&mut pair, 0, 8, |_| false)), [0; 0], "the peer estimates by itself");
    pair.server.set_receive_cap(Some(Bitrate::from_kbps(400)));
    let at_once = rembs(&pair.pass(1));
    assert_eq!(at_once, [(400, vec![MEDIA])]);
    for _ in 0..5 {
        let again = rates(&pair.pass(1_000));
        assert!(again.len() >= 2 && again.iter().all(|rate| *rate == 400), "{again:?}");
    }
    pair.server.set_receive_cap(Some(Bitrate::from_kbps(400)));
    assert_eq!(rates(&pair.pass(1)), [0; 0], "no news");
    pair.server.set_receive_cap(Some(Bitrate::from_kbps(900)));
    assert_eq!(rates(&pair.pass(1)), [900]);
    assert_eq!(pair.server.figures().uplink.cap, Some(Bitrate::from_kbps(900)));
    pair.server.set_receive_cap(None);
    let most = TransportConfig::default().ingress.bitrate.as_kbps();
    let lifted = rates(&pair.pass(10_000));
    assert!(lifted.len() == 3 && lifted.iter().all(|rate| rate.abs_diff(most) <= 1), "{lifted:?}");
}

#[test]
fn a_cap_waits_for_a_connection_and_goes_to_none_who_does_not_follow_it() {
    let mut pair = Pair::new();
    pair.server.set_receive_cap(Some(Bitrate::from_kbps(400)));
    assert!(pair.server.poll_timeout().is_none_or(|at| at > pair.now));
    pair.connect();
    assert_eq!(rates(&pair.pass(1)).first(), Some(&400));
    let mut deaf = publisher(false, &WITH_FEEDBACK);
    deaf.server.set_receive_cap(Some(Bitrate::from_kbps(400)));
    assert_eq!(rates(&deaf.pass(3_000)), [0; 0]);
}

#[test]
fn a_peer_that_relies_on_us_is_told_what_its_way_carries() {
    let mut pair = publisher(true, &[(ExtensionKind::Mid, MID_ID), (ExtensionKind::AbsSendTime, SEND_TIME_ID)]);
    let answers = send(&mut pair, 0, 10, |_| false);
    let rates = rates(&answers);
    assert!(rates.len() >= 8, "{rates:?}");
    let sends = 840;
    assert!(rates.iter().all(|rate| (sends..2 * sends).contains(rate)), "{rates:?}");
    let uplink = pair.server.figures().uplink;
    assert_eq!(uplink.loss, None, "nothing numbers all its packets");
    assert!(uplink.received.unwrap().as_kbps().abs_diff(sends) < 60, "{uplink:?}");
    pair.server.set_receive_cap(Some(Bitrate::from_kbps(400)));
    assert_eq!(super::uplink::rates(&pair.pass(1)), [400], "the lower of both");
}

#[test]
fn loss_on_the_way_from_the_peer_is_known_apart() {
    let mut pair = publisher(true, &WITH_FEEDBACK);
    send(&mut pair, 0, 5, |seq| seq % 10 == 3);
    let figures = pair.server.figures();
    assert!((figures.uplink.loss.unwrap() - 0.1).abs() < 0.03, "{figures:?}");
    assert_eq!(figures.loss, 0.0);
    assert!((35..=50).contains(&pair.server.counters().rtp_in_lost), "{figures:?}");
    send(&mut pair, 500, 3, |_| false);
    assert_eq!(pair.server.figures().uplink.loss, Some(0.0));
}
