//! Datagrams of those who do not belong here.

use super::*;

/// What a flood could make grow.
fn sizes(server: &Transport) -> (usize, usize, usize, bool) {
    let keys = server.connection.keys.as_ref();
    (keys.map_or(0, |keys| keys.receiver.streams()), server.streams.len(), server.pacer.len(), server.rtcp.is_empty())
}

#[test]
fn from_an_unvalidated_address_only_checks_are_read() {
    let mut pair = Pair::connected();
    pair.client.path = path(6_666);
    for first in (0..=255).filter(|first| !matches!(first, 0..=3)) {
        let reason = pair.give(vec![first; 100]).unwrap();
        let expected = matches!(reason, DropReason::UnvalidatedAddress | DropReason::Unclassified);
        assert!(expected, "{first}: {reason:?}");
    }
    assert!(pair.give(vec![0; 100]).is_some());
    assert!(pair.drain().rtcp.is_empty());
}

#[test]
fn a_million_forged_packets_grow_nothing() {
    let mut pair = Pair::connected();
    let before = sizes(&pair.server);
    let mut dropped = 0_u32;
    for n in 0..1_000_000_u32 {
        let mut packet = [0x5a; 60];
        let kind = if n % 8 == 0 { 200 } else { 96 };
        packet[..2].copy_from_slice(&[0x80, kind]);
        packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
        packet[8..12].copy_from_slice(&n.to_be_bytes());
        let path = if n % 2 == 0 { path(5_000) } else { path((n % 60_000) as u16) };
        let received = pair.server.handle_datagram(pair.now, &path, &mut packet);
        dropped += u32::from(matches!(received, Received::Dropped(_)));
    }
    assert_eq!((dropped, sizes(&pair.server)), (1_000_000, before));
    assert!(pair.drain().rtp.is_empty());
}

#[test]
fn a_replay_is_dropped() {
    let mut pair = Pair::connected();
    let sealed = ClientRtp::new(5).with(MID_ID, b"0").seal(&mut pair.client);
    assert_eq!(pair.give(sealed.clone()), None);
    assert_eq!(pair.give(sealed), Some(DropReason::SrtpReplay));
    let report = pair.seal_rtcp(|out| crate::rtcp::write_pli(out, MEDIA, SLOT.media));
    assert_eq!(pair.give(report.clone()), None);
    assert_eq!(pair.give(report), Some(DropReason::SrtpReplay));
}

#[test]
fn damage_is_dropped_and_harms_nothing() {
    let mut pair = Pair::connected();
    for at in 0..40 {
        let mut sealed = ClientRtp::new(100 + at).with(MID_ID, b"0").seal(&mut pair.client);
        let last = sealed.len() - 1;
        let at = usize::try_from(at).unwrap().min(last);
        sealed[at] ^= 0x40;
        assert!(pair.give(sealed).is_some());
    }
    let whole = ClientRtp::new(500).with(MID_ID, b"0").seal(&mut pair.client);
    assert_eq!(pair.give(whole), None);
}

#[test]
fn answers_that_nobody_fetches_are_bounded() {
    let mut pair = Pair::connected();
    for n in 0..10_000_u32 {
        let request = StunWriter::new(StunClass::Request, &[7; 12])
            .username(&pair.client.remote.ufrag, &pair.client.local.ufrag)
            .finish(&StunKey::new(&pair.client.remote.pwd));
        pair.give(request);
        pair.server.feedback().pli(Ssrc(n));
        pair.server.feedback().report_block(crate::rtcp::ReportBlock::default());
    }
    let answers = pair.drain();
    assert!(answers.checks <= TransportConfig::default().max_control);
    let bytes: usize = answers.rtcp.iter().map(Vec::len).sum();
    assert!(bytes <= 2 * TransportConfig::default().max_rtcp_queue, "{bytes}");
    assert!(answers.rtcp.iter().all(|datagram| datagram.len() <= TransportConfig::default().max_rtcp));
}
