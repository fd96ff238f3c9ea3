//! What a path must have shown before media goes there, and what the peer must do to go on getting it.

use super::*;

impl Pair {
    /// Hands over a datagram as if it came from `from`.
    fn give_from(&mut self, from: NetworkPath, mut datagram: Vec<u8>) -> Option<DropReason> {
        match self.server.handle_datagram(self.now, &from, &mut datagram) {
            Received::Dropped(reason) => Some(reason),
            _ => None,
        }
    }

    /// Hands over a packet with so many bytes of media.
    fn give_media(&mut self, seq: u64) -> usize {
        let sealed = ClientRtp::new(seq).with(MID_ID, b"0").seal(&mut self.client);
        let bytes = sealed.len();
        assert_eq!(self.give(sealed), None);
        bytes
    }

    /// Queues so many packets and lets them leave; what left, by path.
    fn send_media(&mut self, seqs: std::ops::Range<u64>) -> HashMap<NetworkPath, usize> {
        let mut all = Answers::default();
        for seq in seqs {
            let out = self.out(seq);
            assert!(matches!(self.queue(out), Ok(_) | Err(DropReason::UnprovenPath)));
            all.add(self.drain());
            all.add(self.pass(5));
        }
        all.bytes
    }
}

fn tcp(connection: u32) -> NetworkPath {
    NetworkPath { protocol: Protocol::Tcp(connection), ..path(7_000) }
}

#[test]
fn a_check_with_a_forged_source_moves_no_media() {
    for victim in [path(6_666), tcp(3)] {
        let mut pair = Pair::connected();
        pair.events();
        let (mut at_victim, mut given) = (0, 0);
        for round in 0..40 {
            let check = pair.client.check();
            given += check.len();
            assert_eq!(pair.give_from(victim, check), None);
            let sent = pair.send_media(round * 5 + 1..round * 5 + 6);
            at_victim += sent.get(&victim).copied().unwrap_or_default();
            assert_eq!(pair.server.path(), Some(path(5_000)), "the old path goes on");
            assert!(sent[&path(5_000)] > 5 * 30);
            pair.pass(975);
        }
        assert!(at_victim <= 3 * given, "{at_victim} bytes for {given}");
        assert_eq!(pair.events(), []);
    }
}

#[test]
fn a_recorded_check_moves_nothing_from_elsewhere_and_is_answered_again_where_it_came_from() {
    let mut pair = Pair::connected();
    let check = pair.client.check();
    assert_eq!(pair.give(check.clone()), None);
    assert_eq!(pair.drain().checks, 1);
    for thief in [path(6_666), tcp(1)] {
        assert_eq!(pair.give_from(thief, check.clone()), Some(DropReason::StunReplay));
        assert!(!pair.drain().bytes.contains_key(&thief));
        assert!(!pair.server.is_known(&thief));
    }
    assert_eq!(pair.give(check), None);
    assert_eq!(pair.drain().checks, 1, "the response was lost");
}

/// However long ago it was recorded: nobody but the peer can answer there.
#[test]
fn an_old_recorded_check_moves_nothing() {
    let mut pair = Pair::connected();
    let check = pair.client.check();
    pair.give(check.clone());
    for _ in 0..100 {
        pair.check();
    }
    pair.give_from(path(6_666), check);
    pair.pass(10_000);
    assert_eq!(pair.server.path(), Some(path(5_000)));
}

#[test]
fn a_peer_that_answers_no_checks_gets_three_times_what_it_sends() {
    let mut pair = Pair::new();
    pair.client.answers = false;
    pair.connect();
    assert_eq!(pair.server.path(), Some(path(5_000)), "the handshake counts");
    let credit = TransportConfig::default().ice.credit as usize;
    // Whatever is left from the handshake goes first.
    pair.send_media(1..200);
    let mut given = 0;
    for seq in 0..10 {
        given += pair.give_media(100 + seq);
    }
    let sent = pair.send_media(200..400)[&path(5_000)];
    assert!(sent <= 3 * given && 3 * given - sent < 200, "{sent} for {given}, beyond {credit} at first");
    // An answer ends the limit.
    pair.client.answers = true;
    pair.check();
    pair.pass(5_000);
    let sent = pair.send_media(400..600)[&path(5_000)];
    assert!(sent > 200 * 30);
}

#[test]
fn media_waits_for_the_first_answer_and_none_is_lost() {
    let mut pair = Pair::new();
    pair.client.answers = false;
    pair.connect();
    let mut got = Vec::new();
    for seq in 1..150 {
        let out = pair.out(seq);
        pair.queue(out).unwrap();
        got.extend(pair.pass(5).rtp);
    }
    assert!(got.len() < 149, "the limit");
    pair.client.answers = true;
    // A check of its own makes us check soon, and that is answered.
    pair.check_only();
    got.extend(pair.drain().rtp);
    got.extend(pair.pass(5_000).rtp);
    let seqs: Vec<_> = got.iter().map(|(_, seq)| seq.0).collect();
    assert_eq!(seqs, (1..150).collect::<Vec<_>>());
}

#[test]
fn media_that_waited_for_an_answer_in_vain_is_dropped() {
    let mut pair = Pair::new();
    pair.client.answers = false;
    pair.connect();
    for seq in (1..4_001).step_by(10) {
        pair.send_media(seq..seq + 10);
        // Ten each 20 ms, for a second.
        assert!(pair.server.pacer.len() <= 520);
        pair.pass(20);
    }
}

#[test]
fn the_handshake_is_bounded_until_our_check_is_answered() {
    let mut pair = Pair::new();
    pair.client.answers = false;
    let mut given = 0;
    let credit = TransportConfig::default().ice.credit as usize;
    let mut sent = 0;
    // ClientHello after ClientHello, none of which gets on.
    for _ in 0..20 {
        let check = pair.client.check();
        let flight = pair.client.dtls.flight(pair.now);
        for datagram in [check].into_iter().chain(flight.packets) {
            given += datagram.len();
            pair.give(datagram);
        }
        let mut batch = TransmitBatch::default();
        pair.server.poll_transmit(pair.now, &mut batch);
        sent += batch.len();
        assert!(sent <= 3 * given + credit, "{sent} for {given}");
        pair.now += Duration::from_millis(500);
        pair.server.handle_timeout(pair.now);
    }
}

#[test]
fn checks_alone_keep_no_consent() {
    let mut pair = Pair::connected();
    pair.events();
    pair.client.answers = false;
    for _ in 0..40 {
        pair.pass(1_000);
        pair.check();
    }
    assert_eq!(pair.events(), [TransportEvent::Closed(CloseReason::IceTimeout)]);
}

#[test]
fn media_alone_keeps_consent() {
    let mut pair = Pair::connected();
    pair.events();
    pair.client.answers = false;
    for seq in 0..100 {
        pair.give_media(seq + 1);
        pair.pass(1_000);
    }
    assert_eq!(pair.events(), []);
}

#[test]
fn answers_alone_keep_consent_and_tell_the_round_trip_of_a_peer_that_only_sends() {
    let mut pair = Pair::connected();
    pair.events();
    for _ in 0..100 {
        pair.pass(1_000);
    }
    assert_eq!(pair.events(), []);
    assert_eq!(pair.server.rtt(), Some(Duration::ZERO), "the client answers at once");
}

#[test]
fn an_answer_that_was_not_asked_for_proves_nothing() {
    let mut pair = Pair::connected();
    let victim = path(6_666);
    let check = pair.client.check();
    assert_eq!(pair.give_from(victim, check), None);
    let mut batch = TransmitBatch::default();
    pair.server.poll_transmit(pair.now, &mut batch);
    let ours = datagrams(&batch).find(|bytes| bytes[0] == 0).unwrap().to_vec();
    let key = StunKey::new(&pair.client.local.pwd);
    let answer = answer_to(&ours, victim.remote, &key).unwrap();
    let mut guessed = StunWriter::new(StunClass::Success, &[9; 12]).mapped(victim.remote).finish(&key);
    assert_eq!(pair.give_from(victim, guessed.clone()), Some(DropReason::StunUnknownAnswer));
    guessed = answer_to(&ours, victim.remote, &key).unwrap();
    // The right one from another place, and one of somebody who does not know the password.
    assert_eq!(pair.give_from(path(5_000), guessed), Some(DropReason::StunUnknownAnswer));
    let transaction = StunMessage::parse(&ours).unwrap().transaction;
    let forged = StunWriter::new(StunClass::Success, &transaction).finish(&StunKey::new("some other password"));
    assert_eq!(pair.give_from(victim, forged), Some(DropReason::StunIntegrity));
    assert_eq!(pair.server.path(), Some(path(5_000)));
    assert_eq!(pair.give_from(victim, answer), None);
    assert_eq!(pair.server.path(), Some(victim));
}

#[test]
fn paths_that_take_turns_are_no_news() {
    let mut pair = Pair::connected();
    pair.events();
    for n in 0..80 {
        pair.client.path = path(5_000 + n % 2);
        pair.check();
        assert_eq!(pair.server.path(), Some(pair.client.path), "media follows");
        pair.pass(100);
    }
    assert_eq!(pair.events(), []);
    pair.pass(1_000);
    assert_eq!(pair.events(), [TransportEvent::PathChanged { path: path(5_001) }]);
}
