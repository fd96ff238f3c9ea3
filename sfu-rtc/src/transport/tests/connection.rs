//! Checks, handshake, change of address, restart, end.

use super::*;
use crate::dtls::DtlsRole;

#[test]
fn connecting_is_reported_once() {
    let mut pair = Pair::new();
    assert!(pair.check());
    assert_eq!(pair.events(), [TransportEvent::Reached]);
    pair.connect();
    let events = pair.events();
    assert!(matches!(events[..], [TransportEvent::Connected { path: p, .. }] if p == path(5_000)), "{events:?}");
    assert!(pair.server.figures().connected && pair.server.poll_timeout().is_some());
}

#[test]
fn as_dtls_client_it_begins_once_there_is_a_path() {
    let mut pair = Pair::in_role(DtlsRole::Client, TransportConfig::default(), vec![section("0", Direction::Receive)]);
    let mut batch = TransmitBatch::default();
    pair.pass(5_000);
    pair.server.poll_transmit(pair.now, &mut batch);
    assert_eq!(batch.transmits().len(), 0);
    // Our own check leaves first, then the answer to the peer's, and the ClientHello with them.
    pair.check_only();
    let mut batch = TransmitBatch::default();
    pair.server.poll_transmit(pair.now, &mut batch);
    let kinds: Vec<u8> = datagrams(&batch).map(|datagram| datagram[0]).collect();
    assert_eq!(kinds, [0, 1, 22], "STUN request, STUN response, DTLS handshake");
    // That one is lost, and sent again.
    pair.pass(200);
    pair.connect();
    let events = pair.events();
    let second = Duration::from_secs(1);
    assert!(
        matches!(events[..], [TransportEvent::Reached, TransportEvent::Connected { dtls, .. }] if dtls < second),
        "{events:?}"
    );
}

#[test]
fn media_before_the_keys_is_dropped() {
    let mut pair = Pair::new();
    assert!(pair.check());
    assert_eq!(pair.give(vec![0x80; 60]), Some(DropReason::NoKeys));
    let out = pair.out(1);
    assert_eq!(pair.queue(out), Err(DropReason::NotConnected));
}

#[test]
fn a_new_port_is_used_once_it_is_proven() {
    let mut pair = Pair::connected();
    pair.events();
    pair.client.path = path(6_000);
    let sealed = ClientRtp::new(1).with(MID_ID, b"0").seal(&mut pair.client);
    assert_eq!(pair.give(sealed.clone()), Some(DropReason::UnvalidatedAddress));
    assert_eq!(pair.server.path(), Some(path(5_000)));
    assert!(pair.check());
    assert_eq!(pair.server.path(), Some(path(6_000)));
    assert_eq!(pair.give(sealed), None);
    pair.pass(1_000);
    assert_eq!(pair.events(), [TransportEvent::PathChanged { path: path(6_000) }]);
    let out = pair.out(1);
    pair.queue(out).unwrap();
    assert_eq!(pair.drain().rtp.len(), 1);
}

#[test]
fn a_restart_keeps_the_call() {
    let mut pair = Pair::connected();
    pair.events();
    let (local, remote) = (credentials("server2"), credentials("client2"));
    pair.server.restart_ice(local.clone(), remote.clone());
    assert_eq!(pair.server.ufrags().count(), 2);
    assert!(pair.check(), "the old credentials hold until the new ones are used");
    (pair.client.remote, pair.client.local, pair.client.path) = (local, remote, path(6_000));
    assert!(pair.check());
    assert_eq!(pair.server.path(), Some(path(6_000)));
    assert_eq!(pair.server.ufrags().count(), 1);
    let sealed = ClientRtp::new(1).with(MID_ID, b"0").seal(&mut pair.client);
    assert_eq!(pair.give(sealed), None);
}

#[test]
fn close_reaches_the_peer() {
    let mut pair = Pair::connected();
    pair.events();
    pair.server.close(pair.now);
    assert_eq!(pair.events(), [TransportEvent::Closed(CloseReason::Local)]);
    assert!(pair.drain().closed);
    assert_eq!(pair.give(vec![0x80; 60]), Some(DropReason::NotConnected));
    assert_eq!(pair.server.poll_timeout(), None);
}

#[test]
fn the_peers_close_ends_it() {
    let mut pair = Pair::connected();
    pair.events();
    pair.client.dtls.close();
    for goodbye in pair.client.dtls.flight(pair.now).packets {
        assert_eq!(pair.give(goodbye), None);
    }
    assert_eq!(pair.events(), [TransportEvent::Closed(CloseReason::PeerClosed)]);
}

#[test]
fn without_a_check_it_ends() {
    let mut pair = Pair::new();
    pair.pass(9_999);
    assert_eq!(pair.events(), []);
    pair.pass(1);
    assert_eq!(pair.events(), [TransportEvent::Closed(CloseReason::IceTimeout)]);
}

#[test]
fn checks_without_an_answer_to_ours_buy_no_time() {
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let mut pair = Pair::in_role(role, TransportConfig::default(), vec![section("0", Direction::Receive)]);
        pair.client.answers = false;
        for _ in 0..9 {
            assert!(pair.check());
            pair.pass(1_000);
        }
        assert_eq!(pair.events(), [TransportEvent::Reached], "so that a keyframe is asked for early");
        pair.pass(1_000);
        assert_eq!(pair.events(), [TransportEvent::Closed(CloseReason::IceTimeout)]);
    }
}

#[test]
fn a_peer_that_was_reached_has_more_time_for_the_handshake() {
    let mut pair = Pair::new();
    pair.check();
    for _ in 0..10 {
        pair.pass(2_000);
        pair.check();
    }
    pair.connect();
    assert!(pair.server.is_connected());
}

#[test]
fn without_a_handshake_it_ends() {
    let mut pair = Pair::new();
    for _ in 0..30 {
        pair.check();
        pair.pass(2_000);
    }
    assert_eq!(pair.events(), [TransportEvent::Reached, TransportEvent::Closed(CloseReason::DtlsFailed)]);
}

#[test]
fn without_consent_it_ends() {
    let mut pair = Pair::connected();
    pair.events();
    for _ in 0..30 {
        pair.pass(2_000);
        assert!(pair.check());
    }
    assert!(pair.events().is_empty() && pair.server.is_connected());
    pair.client.answers = false;
    pair.pass(60_000);
    assert_eq!(pair.events(), [TransportEvent::Closed(CloseReason::IceTimeout)]);
}

#[test]
fn a_strangers_certificate_is_refused() {
    let mut pair = Pair::new();
    let stranger = DtlsCertificate::generate();
    pair.client.dtls = DtlsEndpoint::new(DtlsRole::Client, &stranger, vec![pair.fingerprint.clone()], pair.now);
    pair.check();
    for _ in 0..20 {
        pair.pump_dtls();
        pair.pass(5);
    }
    assert_eq!(pair.events(), [TransportEvent::Reached, TransportEvent::Closed(CloseReason::DtlsFailed)]);
}
