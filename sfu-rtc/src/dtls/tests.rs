//! A client and a server of ours in memory, over a link that loses, repeats and reorders.

mod forged;
mod peers;

use super::*;
use crate::drop_reason::DropReason;
use crate::srtp::{KeyingMaterial, SrtpProfile};
use crate::time::{Duration, Instant};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::OnceLock;

/// One way, in the link below.
const DELAY: Duration = Duration::from_millis(20);

fn certificates() -> &'static [DtlsCertificate; 2] {
    static BOTH: OnceLock<[DtlsCertificate; 2]> = OnceLock::new();
    BOTH.get_or_init(|| [DtlsCertificate::generate(), DtlsCertificate::generate()])
}

/// One endpoint and what it told.
#[derive(Debug)]
struct Side {
    endpoint: DtlsEndpoint,
    keys: Option<KeyingMaterial>,
    closed: Option<DtlsClosed>,
}

/// A client, a server, and the datagrams between them: (arrival, to the client, bytes).
#[derive(Debug)]
struct Pair {
    now: Instant,
    sides: [Side; 2],
    link: VecDeque<(Instant, usize, Vec<u8>)>,
    buf: Vec<u8>,
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

impl Pair {
    fn new() -> Self {
        let [client, server] = certificates();
        Self::expecting(vec![server.fingerprint().clone()], vec![client.fingerprint().clone()])
    }

    /// The client expects the first fingerprints, the server the second.
    fn expecting(of_server: Vec<Fingerprint>, of_client: Vec<Fingerprint>) -> Self {
        let [client, server] = certificates();
        let now = Instant::from_millis(5_000);
        let side = |endpoint| Side { endpoint, keys: None, closed: None };
        Self {
            now,
            sides: [
                side(DtlsEndpoint::new(DtlsRole::Client, client, of_server, now)),
                side(DtlsEndpoint::new(DtlsRole::Server, server, of_client, now)),
            ],
            link: VecDeque::new(),
            buf: Vec::new(),
        }
    }

    /// We in a role against a peer with a certificate of its own.
    fn ours_and(peer: &DtlsCertificate, role: usize) -> Self {
        let ours = &certificates()[0];
        let now = Instant::from_millis(5_000);
        let side = |at: usize| {
            let dtls_role = if at == CLIENT { DtlsRole::Client } else { DtlsRole::Server };
            let (own, other) = if at == role { (ours, peer) } else { (peer, ours) };
            let endpoint = DtlsEndpoint::new(dtls_role, own, vec![other.fingerprint().clone()], now);
            Side { endpoint, keys: None, closed: None }
        };
        Self { now, sides: [side(CLIENT), side(SERVER)], link: VecDeque::new(), buf: Vec::new() }
    }

    fn poll(&mut self, at: usize, mut send: impl FnMut(&mut VecDeque<(Instant, usize, Vec<u8>)>, usize, Vec<u8>)) {
        while let Some(output) = self.sides[at].endpoint.poll_output(&mut self.buf) {
            match output {
                DtlsOutput::Packet(packet) => {
                    let packet = packet.to_vec();
                    send(&mut self.link, 1 - at, packet);
                }
                DtlsOutput::Connected(keys) => assert!(self.sides[at].keys.replace(keys).is_none()),
                DtlsOutput::Closed(why) => assert!(self.sides[at].closed.replace(why).is_none()),
            }
        }
    }

    /// Runs until nothing is under way and nobody waits, or `limit` has passed. `fate` says of each datagram how
    /// often it arrives and how much later than others.
    fn run(&mut self, limit: Duration, mut fate: impl FnMut() -> (usize, Duration)) {
        let end = self.now + limit;
        while self.advance(end, &mut fate) {}
    }

    /// Runs until both have keys; after how long.
    fn connect(&mut self, limit: Duration, mut fate: impl FnMut() -> (usize, Duration)) -> Option<Duration> {
        let start = self.now;
        while self.sides.iter().any(|side| side.keys.is_none()) {
            if !self.advance(start + limit, &mut fate) {
                return None;
            }
        }
        Some(self.now.saturating_since(start))
    }

    fn send(&mut self, fate: &mut impl FnMut() -> (usize, Duration)) {
        for side in [CLIENT, SERVER] {
            let now = self.now;
            self.poll(side, |link, to, packet| {
                let (copies, late) = fate();
                (0..copies).for_each(|_| link.push_back((now + DELAY + late, to, packet.clone())));
            });
        }
    }

    /// Sends what is to be sent and lets the next thing happen, if there is one until `end`.
    fn advance(&mut self, end: Instant, fate: &mut impl FnMut() -> (usize, Duration)) -> bool {
        self.send(fate);
        let arrival = self.link.iter().map(|(at, ..)| *at).min();
        let timers = self.sides.iter().filter_map(|side| side.endpoint.poll_timeout());
        let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else { return false };
        self.now = next.max(self.now);
        self.deliver();
        self.send(fate);
        true
    }

    fn deliver(&mut self) {
        let now = self.now;
        if let Some(due) = self.link.iter().position(|(at, ..)| *at <= now) {
            let (_, to, packet) = self.link.remove(due).unwrap();
            let _ = self.sides[to].endpoint.handle_packet(now, &packet);
            return;
        }
        for side in &mut self.sides {
            if side.endpoint.poll_timeout().is_some_and(|at| at <= now) {
                side.endpoint.handle_timeout(now);
            }
        }
    }

    fn run_clean(&mut self) {
        self.run(Duration::from_secs(1), || (1, Duration::ZERO));
    }

    fn assert_same_keys(&self) {
        let [client, server] = &self.sides;
        let (client, server) = (client.keys.as_ref().expect("client"), server.keys.as_ref().expect("server"));
        assert_eq!((&client.local, &client.remote), (&server.remote, &server.local));
        assert_ne!(client.local, client.remote);
    }
}

#[test]
fn both_sides_get_the_same_keys() {
    let mut pair = Pair::new();
    pair.run_clean();
    pair.assert_same_keys();
    assert!(pair.sides.iter().all(|side| side.endpoint.is_connected() && side.closed.is_none()));
    assert_ne!(pair.sides[0].keys.as_ref().unwrap().profile(), SrtpProfile::Aes128CmHmacSha1_80);
}

#[test]
fn a_handshake_takes_two_round_trips_in_1_2_and_one_and_a_half_in_1_3() {
    for (version, ways) in [(peers::Version::Dtls12, 4), (peers::Version::Dtls13, 3)] {
        for role in [CLIENT, SERVER] {
            let mut pair = Pair::ours_and(&peers::p256(version), role);
            let took = pair.connect(Duration::from_secs(1), || (1, Duration::ZERO));
            pair.assert_same_keys();
            assert_eq!(took, Some(ways * DELAY), "{version:?}");
        }
    }
}

#[test]
fn a_handshake_survives_loss() {
    for pattern in 0..64u32 {
        let mut pair = Pair::new();
        let mut sent = 0;
        // The first six datagrams are lost or not, as the bits of the pattern say.
        pair.run(Duration::from_secs(20), || {
            let lost = sent < 6 && pattern & (1 << sent) != 0;
            sent += 1;
            (usize::from(!lost), Duration::ZERO)
        });
        pair.assert_same_keys();
    }
}

#[test]
fn a_peer_with_another_certificate_is_refused() {
    let [client, server] = certificates();
    let mut forged = client.fingerprint().clone();
    forged.bytes[0] ^= 1;
    let mut pair = Pair::expecting(vec![server.fingerprint().clone()], vec![forged]);
    pair.run_clean();
    assert_eq!(pair.sides[SERVER].closed, Some(DtlsClosed::WrongFingerprint));
    assert!(pair.sides[SERVER].keys.is_none());
    assert_eq!(pair.sides[CLIENT].closed, Some(DtlsClosed::Failed));

    let mut pair = Pair::expecting(vec![client.fingerprint().clone()], vec![client.fingerprint().clone()]);
    pair.run_clean();
    assert_eq!(pair.sides[CLIENT].closed, Some(DtlsClosed::WrongFingerprint));
    assert!(pair.sides[CLIENT].keys.is_none());
}

#[test]
fn any_of_several_fingerprints_is_enough_and_none_is_not() {
    let [client, server] = certificates();
    let other = Fingerprint { algorithm: "sha-512".into(), bytes: vec![1; 64] };
    let mut pair =
        Pair::expecting(vec![other.clone(), server.fingerprint().clone()], vec![other, client.fingerprint().clone()]);
    pair.run_clean();
    pair.assert_same_keys();
    // Of the same certificates by stronger hashes.
    let by = |certificate: &DtlsCertificate, algorithm| Fingerprint::of(algorithm, certificate.der()).unwrap();
    let mut pair = Pair::expecting(vec![by(server, "sha-384")], vec![by(client, "sha-512")]);
    pair.run_clean();
    pair.assert_same_keys();
    let mut pair = Pair::expecting(vec![server.fingerprint().clone()], vec![]);
    pair.run_clean();
    assert_eq!(pair.sides[SERVER].closed, Some(DtlsClosed::WrongFingerprint));
}

#[test]
fn either_side_may_close() {
    for closing in [CLIENT, SERVER] {
        let mut pair = Pair::new();
        pair.run_clean();
        pair.sides[closing].endpoint.close();
        pair.run_clean();
        assert_eq!(pair.sides[closing].closed, Some(DtlsClosed::Local));
        assert_eq!(pair.sides[1 - closing].closed, Some(DtlsClosed::Peer));
        for side in &mut pair.sides {
            assert!(!side.endpoint.is_connected());
            assert_eq!(side.endpoint.poll_timeout(), None);
            assert_eq!(side.endpoint.handle_packet(pair.now, &[22; 40]), Err(DropReason::DtlsRefused));
            assert_eq!(side.endpoint.poll_output(&mut pair.buf), None);
        }
    }
}

#[test]
fn a_client_without_answer_gives_up() {
    let mut pair = Pair::new();
    let start = pair.now;
    let mut sent = 0;
    pair.run(Duration::from_secs(120), || {
        sent += 1;
        (0, Duration::ZERO)
    });
    assert_eq!(pair.sides[CLIENT].closed, Some(DtlsClosed::Failed));
    assert_eq!(pair.now, start + Duration::from_secs(30));
    assert!(sent > 5, "{sent}");
}

#[test]
fn a_server_waits_without_limit_and_sends_nothing() {
    let mut pair = Pair::new();
    let server = &mut pair.sides[SERVER].endpoint;
    assert_eq!(server.poll_output(&mut pair.buf), None);
    server.handle_timeout(pair.now + Duration::from_secs(3_600));
    assert_eq!(server.poll_output(&mut pair.buf), None);
}

#[test]
fn a_connected_side_ignores_what_is_not_authentic() {
    let mut pair = Pair::new();
    let mut seen = Vec::new();
    pair.run_clean();
    for kind in [20, 21, 22, 23] {
        for epoch in [0, 1, 2] {
            let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 99, 0, 40];
            record.extend([2; 40]);
            seen.push(pair.sides[SERVER].endpoint.handle_packet(pair.now, &record));
        }
    }
    pair.run_clean();
    assert!(seen.iter().all(|handled| handled.is_ok()), "{seen:?}");
    assert!(pair.sides.iter().all(|side| side.closed.is_none()));
}

/// Splits the first handshake message of a datagram into two datagrams, as a browser does whose ClientHello has
/// become too long for one by a post-quantum key share.
fn fragments(datagram: &[u8]) -> [Vec<u8>; 2] {
    let (record, message) = datagram.split_at(13);
    let (header, body) = message.split_at(12);
    let middle = body.len() / 2;
    let fragment = |number: u8, from: usize, to: usize| {
        let mut out = record.to_vec();
        out[10] = number;
        out[11..13].copy_from_slice(&u16::try_from(12 + to - from).unwrap().to_be_bytes());
        out.extend(&header[..6]);
        out.extend(&u32::try_from(from).unwrap().to_be_bytes()[1..]);
        out.extend(&u32::try_from(to - from).unwrap().to_be_bytes()[1..]);
        out.extend(&body[from..to]);
        out
    };
    [fragment(10, 0, middle), fragment(11, middle, body.len())]
}

#[test]
fn a_fragmented_client_hello_is_put_together_in_any_order() {
    for order in [[0, 1], [1, 0]] {
        let mut pair = Pair::new();
        let mut hello = Vec::new();
        pair.poll(CLIENT, |_, _, packet| hello = packet);
        let fragments = fragments(&hello);
        for at in order {
            pair.link.push_back((pair.now, SERVER, fragments[at].clone()));
        }
        pair.run_clean();
        pair.assert_same_keys();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Lost, repeated and reordered datagrams delay a handshake and break none. (No more than half a dozen are lost, as the
    /// time to the next retransmission doubles with each.)
    #[test]
    fn a_handshake_survives_disorder(seed: u64) {
        let mut state = seed | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut pair = Pair::new();
        let mut may_be_lost = 6;
        pair.run(Duration::from_secs(25), || {
            let copies = match random() % 10 {
                0 | 1 if may_be_lost > 0 => 0,
                2 => 2,
                _ => 1,
            };
            may_be_lost -= i32::from(copies == 0);
            (copies, Duration::from_millis(random() % 50))
        });
        pair.assert_same_keys();
    }

    /// Whatever arrives, nothing panics, and what is put out is bounded.
    #[test]
    fn arbitrary_datagrams_do_no_harm(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..40),
        kind in 20u8..24,
        like_a_record: bool,
    ) {
        let mut pair = Pair::new();
        let server = &mut pair.sides[SERVER].endpoint;
        let mut sent = 0;
        for mut datagram in datagrams {
            if like_a_record && datagram.len() > 13 {
                let len = u16::try_from(datagram.len() - 13).unwrap().to_be_bytes();
                datagram[..5].copy_from_slice(&[kind, 0xfe, 0xfd, 0, 0]);
                datagram[11..13].copy_from_slice(&len);
            }
            let _ = server.handle_packet(pair.now, &datagram);
            while let Some(output) = server.poll_output(&mut pair.buf) {
                sent += usize::from(matches!(output, DtlsOutput::Packet(_)));
            }
        }
        prop_assert!(sent <= 40);
    }

    /// A handshake in which a datagram is damaged ends with equal keys or with none.
    #[test]
    fn damaged_datagrams_yield_no_wrong_keys(which in 0usize..8, byte in any::<prop::sample::Index>(), mask in 1u8..) {
        let mut pair = Pair::new();
        let mut delivered = 0;
        let end = pair.now + Duration::from_secs(40);
        while pair.now < end {
            for side in [CLIENT, SERVER] {
                let now = pair.now;
                pair.poll(side, |link, to, mut packet| {
                    if delivered == which {
                        let at = byte.index(packet.len());
                        packet[at] ^= mask;
                    }
                    delivered += 1;
                    link.push_back((now + DELAY, to, packet));
                });
            }
            let timers = pair.sides.iter().filter_map(|side| side.endpoint.poll_timeout());
            let Some(next) = timers.chain(pair.link.iter().map(|(at, ..)| *at)).min() else { break };
            pair.now = next.max(pair.now);
            pair.deliver();
        }
        if pair.sides.iter().all(|side| side.keys.is_some()) {
            pair.assert_same_keys();
        }
    }
}
