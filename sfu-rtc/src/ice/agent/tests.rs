//! The agent against checks of every kind, over restarts, silence and attack.

use super::*;
use crate::ice::stun::{TransactionId, answer_to};
use crate::ice::ufrag_of;
use crate::net::Protocol;
use proptest::prelude::*;
use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};

const TRANSACTION: TransactionId = *b"transaction!";

fn local() -> IceCredentials {
    IceCredentials { ufrag: "aLOCAL".into(), pwd: "a password of 22 chars".into() }
}

fn remote() -> IceCredentials {
    IceCredentials { ufrag: "REMO".into(), pwd: "another password, also".into() }
}

fn renewed() -> [IceCredentials; 2] {
    [
        IceCredentials { ufrag: "aRENEWED".into(), pwd: "a password for renewal".into() },
        IceCredentials { ufrag: "RENE".into(), pwd: "the peer has a new one".into() },
    ]
}

fn udp(port: u16) -> NetworkPath {
    NetworkPath {
        remote: SocketAddr::from(([192, 0, 2, 7], port)),
        local: IpAddr::from([198, 51, 100, 1]),
        protocol: Protocol::Udp,
    }
}

fn tcp(connection: u32) -> NetworkPath {
    NetworkPath { protocol: Protocol::Tcp(connection), ..udp(9) }
}

fn seconds(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1_000)
}

fn unnamed(config: IceConfig) -> IceAgent {
    IceAgent::new(config, local(), &IceSecret::from_seed(1), seconds(0))
}

fn agent() -> IceAgent {
    let mut agent = unnamed(IceConfig::default());
    agent.set_remote(remote());
    agent.vouch(Some(udp(1).remote.ip()));
    agent
}

thread_local! {
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
}

/// A transaction that was not used before.
fn fresh() -> TransactionId {
    let number = REQUESTS.get();
    REQUESTS.set(number + 1);
    let mut transaction = TRANSACTION;
    transaction[..8].copy_from_slice(&number.to_be_bytes());
    transaction
}

/// A message that comes on `path`; of our checks, only those on that path are answered. What became of it.
fn visit(agent: &mut IceAgent, now: Instant, path: &NetworkPath, message: &[u8]) -> StunOutcome {
    let outcome = agent.handle_stun(now, path, message);
    answer_on(agent, now, path);
    outcome
}

/// Answers the checks of ours that are due on `path`, and no others.
fn answer_on(agent: &mut IceAgent, now: Instant, path: &NetworkPath) {
    while let Some((on, check)) = agent.poll_check(now) {
        if on == *path {
            let remotes = [remote(), renewed()[1].clone()];
            let answers = remotes.map(|remote| answer_for(&check, &remote));
            let answer = answers.into_iter().flatten().next().expect("a check of ours");
            assert_eq!(agent.handle_stun(now, path, &answer).drop, None);
        }
    }
}

/// What a peer with these credentials answers.
fn answer_for(check: &[u8], peer: &IceCredentials) -> Option<Vec<u8>> {
    (ufrag_of(check) == Some(&peer.ufrag)).then(|| answer_to(check, udp(1).remote, &StunKey::new(&peer.pwd)).unwrap())
}

fn request() -> StunWriter {
    let request = StunWriter::new(StunClass::Request, &fresh()).username("aLOCAL", "REMO");
    request.priority(1_853_824_767).role(IceRole::Controlling(7))
}

fn check() -> Vec<u8> {
    request().finish(&StunKey::new(&local().pwd))
}

fn nomination() -> Vec<u8> {
    request().use_candidate().finish(&StunKey::new(&local().pwd))
}

/// A nominating check after a restart.
fn renewed_nomination() -> Vec<u8> {
    let [local, remote] = renewed();
    let request = StunWriter::new(StunClass::Request, &fresh()).username(&local.ufrag, &remote.ufrag);
    request.role(IceRole::Controlling(7)).use_candidate().finish(&StunKey::new(&local.pwd))
}

fn dropped(agent: &mut IceAgent, message: &[u8]) -> DropReason {
    let outcome = agent.handle_stun(seconds(1), &udp(1), message);
    assert_eq!(outcome.reply, None);
    assert!(!agent.is_known(&udp(1)));
    outcome.drop.expect("a reason")
}

#[test]
fn a_check_is_answered_and_names_its_path() {
    let mut agent = agent();
    let check = check();
    let transaction = StunMessage::parse(&check).unwrap().transaction;
    let outcome = agent.handle_stun(seconds(1), &udp(5_000), &check);
    assert_eq!(outcome.drop, None);
    let reply = outcome.reply.unwrap();
    let reply = StunMessage::parse(&reply).unwrap();
    assert_eq!((reply.class, reply.transaction), (StunClass::Success, transaction));
    assert_eq!(reply.mapped, Some(udp(5_000).remote));
    assert!(reply.is_authentic(&StunKey::new(&local().pwd)) && reply.fingerprint_fits());
    assert!(agent.is_known(&udp(5_000)));
    assert!(!agent.is_known(&udp(5_001)));
    assert!(!agent.is_known(&tcp(1)));
}

#[test]
fn a_path_is_selected_once_our_check_is_answered() {
    for path in [udp(1), tcp(1)] {
        let mut agent = agent();
        agent.handle_stun(seconds(1), &path, &nomination());
        assert_eq!((agent.selected(), agent.handshake_path()), (None, Some(path)));
        assert!(!agent.holds(seconds(1), &path));
        let (on, ours) = agent.poll_check(seconds(1)).expect("a check at once");
        let check = StunMessage::parse(&ours).unwrap();
        assert_eq!((on, check.class, check.username), (path, StunClass::Request, Some("REMO:aLOCAL")));
        assert!(matches!(check.role, Some(IceRole::Controlled(_))) && check.priority.is_some() && !check.use_candidate);
        assert!(check.is_authentic(&StunKey::new(&remote().pwd)) && check.fingerprint_fits());
        assert_eq!(agent.poll_check(seconds(1)), None);
        let answer = answer_for(&ours, &remote()).unwrap();
        // From elsewhere it proves nothing, and it counts once.
        assert_eq!(agent.handle_stun(seconds(2), &udp(9), &answer).drop, Some(DropReason::StunUnknownAnswer));
        assert_eq!(agent.selected(), None);
        assert_eq!(agent.handle_stun(seconds(2), &path, &answer), StunOutcome::default());
        assert_eq!((agent.selected(), agent.poll_event()), (Some(path), Some(IceEvent::Connected(path))));
        assert_eq!((agent.take_rtt(), agent.take_rtt()), (Some(Duration::from_secs(1)), None));
        assert!(agent.holds(seconds(1), &path) && !agent.is_limited());
        assert_eq!(agent.handle_stun(seconds(2), &path, &answer).drop, Some(DropReason::StunUnknownAnswer));
    }
}

#[test]
fn no_handshake_begins_where_neither_an_answer_nor_signalling_proves_the_address() {
    let elsewhere = "203.0.113.9".parse().unwrap();
    for vouched in [None, Some(elsewhere)] {
        let mut agent = agent();
        agent.vouch(vouched);
        agent.handle_stun(seconds(1), &udp(1), &nomination());
        assert_eq!(agent.handshake_path(), None);
        assert!(!agent.may_send(&udp(1), 1), "what a forged ClientHello asks for");
        answer_on(&mut agent, seconds(1), &udp(1));
        assert_eq!(agent.handshake_path(), Some(udp(1)));
        assert!(agent.may_send(&udp(1), 10_000));
    }
    // Nobody forges the address of a TCP connection.
    let mut agent = agent();
    agent.vouch(None);
    agent.handle_stun(seconds(1), &tcp(1), &nomination());
    assert_eq!(agent.handshake_path(), Some(tcp(1)));
}

#[test]
fn whoever_forges_addresses_makes_us_send_three_times_what_it_sends_at_most() {
    let mut agent = agent();
    agent.vouch(Some("203.0.113.9".parse().unwrap()));
    let check = nomination();
    let mut sent = agent.handle_stun(seconds(0), &udp(1), &check).reply.unwrap().len();
    for millis in 0..30_000 {
        let now = Instant::from_millis(millis);
        sent += agent.poll_check(now).map_or(0, |(_, check)| check.len());
    }
    assert!(sent <= 3 * check.len(), "{sent} for {}", check.len());
}

#[test]
fn the_first_path_is_used_until_the_peer_nominates() {
    let mut agent = agent();
    assert_eq!((agent.selected(), agent.poll_event()), (None, None));
    visit(&mut agent, seconds(1), &udp(1), &check());
    visit(&mut agent, seconds(1), &udp(2), &check());
    assert_eq!(agent.poll_event(), Some(IceEvent::Connected(udp(1))));
    visit(&mut agent, seconds(1), &udp(2), &nomination());
    visit(&mut agent, seconds(1), &udp(1), &check());
    assert_eq!((agent.selected(), agent.poll_event()), (Some(udp(2)), None));
    agent.handle_timeout(seconds(2));
    assert_eq!(agent.poll_event(), Some(IceEvent::PathChanged(udp(2))));
    assert_eq!(agent.poll_event(), None);
}

#[test]
fn the_latest_nomination_wins_over_udp_and_tcp() {
    let mut agent = agent();
    for path in [udp(1), tcp(3), tcp(4), udp(1)] {
        visit(&mut agent, seconds(1), &path, &nomination());
        assert_eq!(agent.selected(), Some(path));
    }
    visit(&mut agent, seconds(1), &tcp(4), &nomination());
    agent.on_path_closed(seconds(1), &tcp(4));
    assert!(!agent.is_known(&tcp(4)));
    assert!(agent.selected().is_some_and(|path| path != tcp(4)), "another path takes over");
}

#[test]
fn a_nomination_that_comes_again_changes_nothing() {
    let mut agent = agent();
    let old = nomination();
    visit(&mut agent, seconds(1), &udp(1), &old);
    visit(&mut agent, seconds(1), &udp(2), &nomination());
    assert!(agent.handle_stun(seconds(2), &udp(1), &old).reply.is_some(), "its response may have been lost");
    assert_eq!(agent.selected(), Some(udp(2)));
    assert_eq!(agent.handle_stun(seconds(2), &udp(2), &old).drop, Some(DropReason::StunReplay));
    assert_eq!(agent.handle_stun(seconds(2), &udp(3), &old).drop, Some(DropReason::StunReplay));
    assert!(!agent.is_known(&udp(3)));
}

#[test]
fn consent_is_kept_by_answers_and_not_by_checks() {
    let mut agent = agent();
    visit(&mut agent, seconds(10), &udp(1), &nomination());
    assert_eq!(agent.poll_event(), Some(IceEvent::Connected(udp(1))));
    for second in 11..40 {
        agent.handle_stun(seconds(second), &udp(1), &nomination());
        while agent.poll_check(seconds(second)).is_some() {}
        agent.handle_timeout(seconds(second));
        assert_eq!(agent.poll_event(), None);
    }
    agent.handle_timeout(seconds(40));
    assert_eq!(agent.poll_event(), Some(IceEvent::Disconnected));
    assert_eq!((agent.selected(), agent.poll_timeout(), agent.poll_event()), (None, None, None));
    visit(&mut agent, seconds(70), &udp(3), &nomination());
    assert_eq!(agent.poll_event(), Some(IceEvent::Connected(udp(3))));
    for second in 71..200 {
        agent.handle_timeout(seconds(second));
        answer_on(&mut agent, seconds(second), &udp(3));
    }
    assert_eq!((agent.poll_event(), agent.selected()), (None, Some(udp(3))));
}

/// RFC 7675 section 5.1: five seconds, spread.
#[test]
fn checks_of_ours_are_paced() {
    let mut agent = agent();
    agent.handle_stun(seconds(0), &udp(1), &nomination());
    let mut at = Vec::new();
    for millis in 0..30_000 {
        let now = Instant::from_millis(millis);
        at.extend(agent.poll_check(now).map(|_| millis));
    }
    assert_eq!(at[..3], [0, 50, 150], "nobody answers; what came allows no more");
    agent.handle_stun(seconds(30), &udp(1), &nomination());
    answer_on(&mut agent, seconds(30), &udp(1));
    let mut last = 30_000;
    for millis in 30_001..100_000 {
        let now = Instant::from_millis(millis);
        if let Some((_, check)) = agent.poll_check(now) {
            assert!((4_000..=6_000).contains(&(millis - last)), "{millis} after {last}");
            assert!(millis.is_multiple_of(50), "{millis}: not at a time at which others are checked too");
            last = millis;
            agent.handle_stun(now, &udp(1), &answer_for(&check, &remote()).unwrap());
        }
    }
    assert!(last > 90_000);
}

#[test]
fn where_no_check_is_answered_authentic_media_counts_within_its_limit() {
    let config = IceConfig { credit: 0, ..IceConfig::default() };
    let mut agent = unnamed(config);
    agent.set_remote(remote());
    agent.vouch(Some(udp(1).remote.ip()));
    let check = nomination();
    let reply = agent.handle_stun(seconds(1), &udp(1), &check).reply.unwrap();
    assert!(agent.may_send(&udp(1), 3 * check.len() - reply.len()) && !agent.may_send(&udp(1), 1));
    assert!(!agent.may_send(&udp(2), 1), "nobody checked there");
    let known = agent.on_datagram(&udp(1), 100).unwrap();
    assert!(agent.on_authentic(seconds(1), known));
    assert_eq!((agent.selected(), agent.is_limited()), (Some(udp(1)), true));
    assert!(agent.may_send(&udp(1), 200) && agent.may_send(&udp(1), 100) && !agent.may_send(&udp(1), 1));
    assert!(agent.on_datagram(&udp(2), 100).is_none());
    // Another path of such a peer is as good.
    agent.handle_stun(seconds(2), &udp(2), &nomination());
    assert_eq!(agent.selected(), Some(udp(1)));
    let known = agent.on_datagram(&udp(2), 100).unwrap();
    agent.on_authentic(seconds(2), known);
    assert_eq!(agent.selected(), Some(udp(2)));
    // Where checks are answered, media is not.
    visit(&mut agent, seconds(3), &udp(1), &nomination());
    assert_eq!((agent.selected(), agent.is_limited()), (Some(udp(1)), false));
    agent.handle_stun(seconds(3), &udp(2), &nomination());
    assert_eq!(agent.selected(), Some(udp(1)));
    assert!(agent.may_send(&udp(1), usize::MAX));
}

#[test]
fn the_freshest_path_takes_over_from_one_that_expired() {
    let mut agent = agent();
    visit(&mut agent, seconds(1), &udp(1), &nomination());
    visit(&mut agent, seconds(10), &udp(2), &check());
    visit(&mut agent, seconds(20), &udp(3), &check());
    agent.poll_event();
    agent.handle_timeout(seconds(31));
    assert_eq!(agent.selected(), Some(udp(3)));
    agent.handle_timeout(seconds(32));
    assert_eq!(agent.poll_event(), Some(IceEvent::PathChanged(udp(3))));
}

#[test]
fn a_peer_that_never_checks_is_given_up_once() {
    let mut agent = agent();
    assert_eq!(agent.poll_timeout(), Some(seconds(30)));
    agent.handle_timeout(seconds(30));
    assert_eq!((agent.poll_event(), agent.poll_event()), (Some(IceEvent::Disconnected), None));
    assert_eq!(agent.poll_timeout(), None);
    visit(&mut agent, seconds(31), &udp(1), &check());
    assert_eq!((agent.poll_event(), agent.poll_event()), (Some(IceEvent::Connected(udp(1))), None));
}

#[test]
fn the_time_of_consent_is_a_setting() {
    let config = IceConfig { consent_timeout: Duration::from_secs(5), ..IceConfig::default() };
    let mut agent = unnamed(config);
    agent.handle_stun(seconds(2), &udp(1), &check());
    agent.handle_timeout(seconds(7));
    assert!(!agent.is_known(&udp(1)));
}

#[test]
fn paths_are_bounded_and_the_selected_one_is_kept() {
    let mut agent = agent();
    visit(&mut agent, seconds(0), &udp(1), &nomination());
    for port in 2..1_000 {
        agent.handle_stun(seconds(port.into()), &udp(port), &check());
    }
    assert_eq!(agent.paths.len(), MAX_PATHS);
    assert!(agent.is_known(&udp(1)) && agent.is_known(&udp(999)));
    assert!(!agent.is_known(&udp(500)));
    assert_eq!(agent.selected(), Some(udp(1)));
}

#[test]
fn after_a_restart_the_old_credentials_hold_until_a_path_is_proven_with_the_new_ones() {
    let mut agent = agent();
    visit(&mut agent, seconds(1), &udp(1), &nomination());
    let [new_local, new_remote] = renewed();
    agent.restart(new_local.clone(), new_remote);
    assert_eq!(agent.local(), &new_local);
    assert_eq!(agent.ufrags().collect::<Vec<_>>(), ["aRENEWED", "aLOCAL"]);
    assert_eq!(visit(&mut agent, seconds(2), &udp(1), &nomination()).drop, None);
    assert_eq!(agent.selected(), Some(udp(1)));

    assert_eq!(agent.handle_stun(seconds(3), &udp(2), &renewed_nomination()).drop, None);
    assert_eq!((agent.selected(), agent.ufrags().count()), (Some(udp(1)), 2));
    answer_on(&mut agent, seconds(3), &udp(2));
    assert_eq!(agent.selected(), Some(udp(2)));
    assert!(agent.is_known(&udp(1)), "what is under way on the old path still arrives");
    assert_eq!(agent.handle_stun(seconds(4), &udp(1), &nomination()).drop, Some(DropReason::StunUnknownUser));
    assert_eq!(agent.ufrags().collect::<Vec<_>>(), ["aRENEWED"]);
    while let Some((path, _)) = agent.poll_check(seconds(20)) {
        assert_eq!(path, udp(2), "nobody would answer on the old path");
    }
}

#[test]
fn a_restart_over_the_same_path_takes_effect_at_once() {
    let restarted = || {
        let mut agent = agent();
        visit(&mut agent, seconds(1), &udp(1), &nomination());
        let [local, remote] = renewed();
        agent.restart(local, remote);
        agent.handle_stun(seconds(2), &udp(1), &renewed_nomination());
        agent
    };
    let mut agent = restarted();
    // The first is lost, and sent again soon.
    let lost = agent.poll_check(seconds(2)).map(|(path, _)| path);
    assert_eq!((lost, agent.ufrags().count()), (Some(udp(1)), 2));
    answer_on(&mut agent, seconds(3), &udp(1));
    assert_eq!((agent.selected(), agent.ufrags().count()), (Some(udp(1)), 1));
    // A peer that answers none goes on sending.
    let mut agent = restarted();
    let known = agent.on_datagram(&udp(1), 100).unwrap();
    agent.on_authentic(seconds(2), known);
    assert_eq!((agent.selected(), agent.ufrags().count()), (Some(udp(1)), 1));
}

#[test]
fn two_restarts_in_a_row_keep_the_path_in_use() {
    let mut agent = agent();
    visit(&mut agent, seconds(1), &udp(1), &nomination());
    let unused = IceCredentials { ufrag: "aUNUSED".into(), pwd: "never used by any peer".into() };
    agent.restart(unused.clone(), unused);
    let [new_local, new_remote] = renewed();
    agent.restart(new_local, new_remote);
    assert_eq!(agent.ufrags().collect::<Vec<_>>(), ["aRENEWED", "aLOCAL"]);
    assert_eq!(visit(&mut agent, seconds(2), &udp(1), &nomination()).drop, None);
    assert_eq!(visit(&mut agent, seconds(3), &udp(1), &renewed_nomination()).drop, None);
    assert_eq!(agent.selected(), Some(udp(1)));
}

#[test]
fn malformed_messages_are_dropped() {
    let mut agent = agent();
    for message in [&[][..], &[0; 20], &check()[..40], &[check(), vec![0; 4]].concat()] {
        assert_eq!(dropped(&mut agent, message), DropReason::StunMalformed);
    }
}

#[test]
fn unasked_responses_are_dropped_and_indications_ignored() {
    let mut agent = agent();
    let key = StunKey::new(&local().pwd);
    for class in [StunClass::Success, StunClass::Error] {
        let response = StunWriter::new(class, &TRANSACTION).finish(&key);
        assert_eq!(dropped(&mut agent, &response), DropReason::StunUnknownAnswer);
    }
    let indication = StunWriter::new(StunClass::Indication, &TRANSACTION).finish(&key);
    assert_eq!(agent.handle_stun(seconds(1), &udp(1), &indication), StunOutcome::default());
    assert!(!agent.is_known(&udp(1)));
}

#[test]
fn checks_for_another_user_are_dropped() {
    let mut agent = agent();
    let key = StunKey::new(&local().pwd);
    for (checked, checking) in [("aOTHER", "REMO"), ("aLOCAL", "OTHER"), ("", ""), ("aLOCALx", "REMO")] {
        let check = StunWriter::new(StunClass::Request, &TRANSACTION).username(checked, checking).finish(&key);
        assert_eq!(dropped(&mut agent, &check), DropReason::StunUnknownUser);
    }
    let nameless = StunWriter::new(StunClass::Request, &TRANSACTION).finish(&key);
    assert_eq!(dropped(&mut agent, &nameless), DropReason::StunUnknownUser);
}

#[test]
fn any_peer_that_knows_our_password_may_check_before_its_name_is_known() {
    let mut agent = unnamed(IceConfig::default());
    let check = StunWriter::new(StunClass::Request, &TRANSACTION).username("aLOCAL", "anyone");
    let check = check.finish(&StunKey::new(&local().pwd));
    assert!(agent.handle_stun(seconds(1), &udp(1), &check).reply.is_some());
}

#[test]
fn checks_that_are_not_authentic_are_dropped() {
    let mut agent = agent();
    let forged = request().finish(&StunKey::new("a guessed password, so"));
    assert_eq!(dropped(&mut agent, &forged), DropReason::StunIntegrity);
    let mut damaged = check();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(dropped(&mut agent, &damaged), DropReason::StunIntegrity);
    // Without MESSAGE-INTEGRITY (24 bytes) and FINGERPRINT (8 bytes).
    let mut bare = check();
    bare.truncate(bare.len() - 32);
    let len = u16::try_from(bare.len() - 20).unwrap();
    bare[2..4].copy_from_slice(&len.to_be_bytes());
    assert_eq!(dropped(&mut agent, &bare), DropReason::StunIntegrity);
}

fn error_of(agent: &mut IceAgent, check: &[u8]) -> Option<u16> {
    let outcome = agent.handle_stun(seconds(1), &udp(1), check);
    assert!(!agent.is_known(&udp(1)));
    let reply = outcome.reply.expect("an error response");
    let reply = StunMessage::parse(&reply).unwrap();
    assert!(reply.is_authentic(&StunKey::new(&local().pwd)) && reply.fingerprint_fits());
    assert_eq!(reply.class, StunClass::Error);
    reply.error
}

#[test]
fn a_peer_in_the_wrong_role_gets_a_role_conflict() {
    let check = StunWriter::new(StunClass::Request, &TRANSACTION).username("aLOCAL", "REMO");
    let check = check.role(IceRole::Controlled(9)).finish(&StunKey::new(&local().pwd));
    assert_eq!(error_of(&mut agent(), &check), Some(487));
}

#[test]
fn a_request_with_an_unknown_demand_is_refused() {
    let check = request().attribute(0x0077, &[1, 2, 3]).finish(&StunKey::new(&local().pwd));
    assert_eq!(error_of(&mut agent(), &check), Some(420));
    let check = request().attribute(0x8077, &[1, 2, 3]).finish(&StunKey::new(&local().pwd));
    assert!(agent().handle_stun(seconds(1), &udp(1), &check).drop.is_none(), "optional ones are passed over");
}

#[test]
fn the_owner_of_a_check_is_found_before_it_is_authenticated() {
    assert_eq!(ufrag_of(&check()), Some("aLOCAL"));
    assert_eq!(ufrag_of(&check()[..30]), None);
    let key = StunKey::new("");
    assert_eq!(ufrag_of(&StunWriter::new(StunClass::Request, &TRANSACTION).finish(&key)), None);
    let response = StunWriter::new(StunClass::Success, &TRANSACTION).username("a", "b").finish(&key);
    assert_eq!(ufrag_of(&response), None);
}

/// The path that the events tell of, which was `told` before.
fn follow(agent: &mut IceAgent, told: Option<NetworkPath>) -> Option<NetworkPath> {
    std::iter::from_fn(|| agent.poll_event()).fold(told, |_, event| match event {
        IceEvent::Connected(path) | IceEvent::PathChanged(path) => Some(path),
        IceEvent::Disconnected => None,
    })
}

proptest! {
    /// A check of which any byte is changed validates nothing. (FINGERPRINT, the last eight bytes, may be missing.)
    #[test]
    fn damaged_checks_have_no_effect(at in any::<prop::sample::Index>(), mask in 1u8..) {
        let mut message = nomination();
        let at = at.index(message.len() - 8);
        message[at] ^= mask;
        let mut agent = agent();
        let outcome = agent.handle_stun(seconds(1), &udp(1), &message);
        prop_assert_eq!(outcome.reply, None);
        prop_assert_eq!(agent.selected(), None);
    }

    #[test]
    fn arbitrary_bytes_have_no_effect(mut bytes in prop::collection::vec(any::<u8>(), 0..300), like_stun: bool) {
        if like_stun && bytes.len() >= 20 {
            let len = u16::try_from(bytes.len() - 20).unwrap();
            bytes[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
        }
        let mut agent = agent();
        let outcome = agent.handle_stun(seconds(1), &udp(1), &bytes);
        prop_assert!(outcome.drop.is_some());
        prop_assert_eq!(agent.selected(), None);
        let _ = ufrag_of(&bytes);
    }

    /// Whatever happens, the selected path is a proven one, the events tell it, and timers lie ahead.
    #[test]
    fn the_selected_path_is_always_proven(
        steps in prop::collection::vec((0u64..20, 1u16..24, 0usize..6), 1..200),
    ) {
        let mut agent = agent();
        let (mut now, mut told) = (0, None);
        for (wait, port, step) in steps {
            now += wait;
            match step {
                0 => drop(agent.handle_stun(seconds(now), &udp(port), &check())),
                1 => drop(visit(&mut agent, seconds(now), &udp(port), &nomination())),
                2 => agent.on_path_closed(seconds(now), &udp(port)),
                3 => {
                    if let Some(known) = agent.on_datagram(&udp(port), 100) {
                        agent.on_authentic(seconds(now), known);
                    }
                }
                4 => answer_on(&mut agent, seconds(now), &udp(port)),
                _ => {}
            }
            agent.handle_timeout(seconds(now));
            while agent.poll_check(seconds(now)).is_some() {}
            prop_assert!(agent.selected().is_none_or(|path| agent.find(&path).is_some_and(Path::is_usable)));
            prop_assert!(agent.poll_timeout().is_none_or(|at| at > seconds(now)));
            told = follow(&mut agent, told);
            prop_assert_eq!(told.is_some(), agent.selected().is_some());
        }
        while agent.change_due.is_some() {
            now += 1;
            agent.handle_timeout(seconds(now));
            told = follow(&mut agent, told);
        }
        prop_assert_eq!(told, agent.selected());
    }
}
