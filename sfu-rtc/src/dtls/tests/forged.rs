//! Whatever somebody else sends from a peer's address, the handshake goes on.

use super::peers::{VERSIONS, Version, p256, thief};
use super::*;

/// A plaintext record.
fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    // A number far from those in use, so that it is no replay.
    let mut out = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 3, 99, len[0], len[1]];
    out.extend(body);
    out
}

fn handshake(kind: u8, seq: u8, length: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0, 0, length, 0, seq, 0, 0, 0, 0, 0, u8::try_from(body.len()).unwrap()];
    out.extend(body);
    record(22, 0, &out)
}

/// Every record type, alone: alerts, key changes, data, acknowledgements, sealed records of every epoch, and every
/// handshake message, complete, damaged and as a fragment.
fn forgeries() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for epoch in 0..4 {
        for description in [0, 10, 20, 40, 42, 47, 50, 70, 80, 90, 100] {
            all.push(record(21, epoch, &[2, description]));
            all.push(record(21, epoch, &[1, description]));
        }
        for kind in [0, 19, 20, 22, 23, 24, 25, 26, 27, 63] {
            all.push(record(kind, epoch, &[1]));
            all.push(record(kind, epoch, &[3; 40]));
        }
    }
    for head in 32..64u8 {
        all.push([&[head][..], &[7; 60]].concat());
    }
    for kind in [0, 1, 2, 3, 4, 5, 6, 8, 11, 12, 13, 14, 15, 16, 20, 24, 254] {
        for seq in 0..8 {
            all.push(handshake(kind, seq, 0, &[]));
            all.push(handshake(kind, seq, 40, &[9; 40]));
            all.push(handshake(kind, seq, 200, &[9; 40]));
        }
    }
    all
}

/// Another ClientHello than that of the link, with the same and with the next message number.
fn other_hellos() -> [Vec<u8>; 2] {
    let mut stranger = Pair::new();
    let mut hello = Vec::new();
    stranger.poll(CLIENT, |_, _, packet| hello = packet);
    let mut next = hello.clone();
    next[18] = 1;
    hello[10] = 77;
    next[10] = 78;
    [hello, next]
}

/// Runs a handshake in which `forge` is received by us just before the datagram `step` of all.
fn attacked(pair: &mut Pair, ours: usize, step: usize, forge: &[Vec<u8>]) {
    let end = pair.now + Duration::from_secs(20);
    let mut at = 0;
    while pair.now < end && pair.sides.iter().any(|side| side.keys.is_none()) {
        for side in [CLIENT, SERVER] {
            let now = pair.now;
            pair.poll(side, |link, to, packet| {
                if at == step {
                    forge.iter().for_each(|forged| link.push_back((now + DELAY, ours, forged.clone())));
                }
                at += 1;
                link.push_back((now + DELAY, to, packet));
            });
        }
        let timers = pair.sides.iter().filter_map(|side| side.endpoint.poll_timeout());
        let Some(next) = timers.chain(pair.link.iter().map(|(at, ..)| *at)).min() else { break };
        pair.now = next.max(pair.now);
        pair.deliver();
    }
}

#[test]
fn no_forged_record_at_any_step_ends_a_handshake() {
    let peers = VERSIONS.map(p256);
    let mut forgeries = forgeries();
    forgeries.extend(other_hellos());
    for (peer, role) in [(0, CLIENT), (0, SERVER), (1, CLIENT), (1, SERVER)] {
        for forged in &forgeries {
            for step in 0..4 {
                let mut pair = Pair::ours_and(&peers[peer], role);
                // A ClientHello before the true one is the first of two, which goes on.
                if step == 0 && role == SERVER && forged.len() > 1_000 {
                    continue;
                }
                attacked(&mut pair, role, step, std::slice::from_ref(forged));
                let head = &forged[..forged.len().min(30)];
                assert!(
                    pair.sides.iter().all(|side| side.keys.is_some()),
                    "{:?}, we are {role}, step {step}: {head:?}, {pair:?}",
                    VERSIONS[peer]
                );
                pair.assert_same_keys();
            }
        }
    }
}

#[test]
fn a_second_client_hello_neither_ends_nor_replaces_the_first() {
    for version in VERSIONS {
        let mut pair = Pair::ours_and(&p256(version), SERVER);
        let now = pair.now;
        let mut first = Vec::new();
        pair.poll(CLIENT, |_, _, packet| first = packet);
        assert_eq!(pair.sides[SERVER].endpoint.handle_packet(now, &first), Ok(()));
        let mut answered = 0;
        pair.poll(SERVER, |link, to, packet| {
            answered += 1;
            link.push_back((now + DELAY, to, packet));
        });
        assert!(answered > 0);
        for _ in 0..100 {
            for other in other_hellos() {
                let _ = pair.sides[SERVER].endpoint.handle_packet(now, &other);
            }
        }
        pair.poll(SERVER, |_, _, _| panic!("a stranger's ClientHello is answered"));
        pair.run_clean();
        pair.assert_same_keys();
    }
}

/// What proves nothing costs most of all that a stranger can send.
#[test]
fn few_datagrams_that_prove_nothing_are_looked_at() {
    for ours in [CLIENT, SERVER] {
        let mut pair = Pair::ours_and(&thief(Version::Dtls12), ours);
        let (mut now, mut datagrams) = (pair.now, Vec::<Vec<u8>>::new());
        // Of either side its whole flight; ours is then attacked with the thief's last one.
        for side in [CLIENT, SERVER, CLIENT].into_iter().take(if ours == CLIENT { 2 } else { 3 }) {
            for datagram in std::mem::take(&mut datagrams) {
                let _ = pair.sides[side].endpoint.handle_packet(now, &datagram);
            }
            pair.poll(side, |_, _, datagram| datagrams.push(datagram));
        }
        let mut attack = |now| {
            let results = (0..100)
                .flat_map(|_| datagrams.iter())
                .map(|datagram| pair.sides[ours].endpoint.handle_packet(now, datagram));
            let count = |results: &[_], reason| results.iter().filter(|result| **result == Err(reason)).count();
            let results: Vec<_> = results.collect();
            (count(&results, DropReason::DtlsRefused), count(&results, DropReason::DtlsRate))
        };
        let (refused, unseen) = attack(now);
        assert!((1..=8).contains(&refused) && unseen >= 90, "{refused} {unseen}");
        now += Duration::from_millis(600);
        assert_eq!(attack(now).0, 1);
    }
}

/// More than is kept.
#[test]
fn a_flood_of_fragments_ends_no_handshake() {
    let mut pair = Pair::new();
    let fragments = |from: u8| -> Vec<u8> { (from..from + 32).flat_map(|seq| handshake(11, seq, 200, &[9])).collect() };
    for from in [1, 33, 65, 97, 129, 161] {
        let _ = pair.sides[SERVER].endpoint.handle_packet(pair.now, &fragments(from));
    }
    pair.run_clean();
    pair.assert_same_keys();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Garbage between all datagrams delays a handshake and does not end it.
    #[test]
    fn garbage_between_datagrams_ends_no_handshake(
        seed: u64,
        garbage in prop::collection::vec((0usize..6, prop::collection::vec(any::<u8>(), 1..120)), 1..12),
        server: bool,
        newer: bool,
    ) {
        let role = if server { SERVER } else { CLIENT };
        let mut pair = Pair::ours_and(&p256(VERSIONS[usize::from(newer)]), role);
        let known = forgeries();
        let mut state = seed | 1;
        for (step, bytes) in garbage {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let of_known = known[usize::try_from(state >> 33).unwrap() % known.len()].clone();
            let forged = [record(20 + bytes[0] % 7, bytes[0] % 3, &bytes), of_known, bytes];
            attacked(&mut pair, role, step, &forged);
        }
        prop_assert!(pair.sides.iter().all(|side| side.keys.is_some()), "{pair:?}");
        pair.assert_same_keys();
    }
}
