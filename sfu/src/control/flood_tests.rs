//! What one participant repeats without end costs the others, and the workers, nothing; and what it changes without end
//! has a rate.

use super::shown::{AFTER_RESTART, BEFORE_RESTART, PLAYER, SIMULCAST, small, state};
use super::*;
use sfu_proto::v1::client_message::Body as Request;
use sfu_proto::v1::server_message::Body;
use sfu_proto::v1::{ErrorCode, Offer, Publish, Subscribe, Tile};
use sfu_room::Subscription;

/// Joins an own room by this offer, in which `mids` are published.
fn join(control: &Arc<Control>, sdp: &str, mids: &[&str]) -> Session {
    let publish = mids.iter().map(|mid| Publish { mid: (*mid).to_owned(), ..Publish::default() }).collect();
    let request = JoinRequest {
        room: "demo".into(),
        name: String::new(),
        metadata: String::new(),
        client: String::new(),
        offer: Some(Offer { sdp: sdp.into(), publish }),
        manual_subscribe: false,
        access: Access::Signal,
        subscription: Subscription::Auto,
        address: None,
    };
    let permit = control.auth.admit("", "demo", None).unwrap();
    let session = control.join(&permit, request).unwrap().session;
    // As it is once the workers have heard of it, and the others.
    control.workers.iter().for_each(WorkerHandle::forget_waiting);
    session
}

fn news(session: &Session) -> String {
    format!("{:?}", session.room.lock().news)
}

fn workers(control: &Control) -> Vec<String> {
    control.workers.iter().map(WorkerHandle::shown).collect()
}

fn offer(sdp: &str, mids: &[&str]) -> Request {
    let publish = mids.iter().map(|mid| Publish { mid: (*mid).to_owned(), ..Publish::default() }).collect();
    Request::Offer(Offer { sdp: sdp.into(), publish })
}

fn tile(mid: &str, width: u32) -> Request {
    let tile = Some(Tile { hidden: false, width, height: 90, priority: 0 });
    Request::Subscribe(Subscribe { mid: mid.into(), tile, ..Subscribe::default() })
}

/// The first slot of a session.
fn slot(session: &Session) -> String {
    session.room.lock().roster.member(session.id).unwrap().slots()[0].mid.to_string()
}

/// The first of so many requests that is refused, and why.
fn refused(session: &Session, count: u32, request: impl Fn(u32) -> Request) -> (u32, ControlError) {
    let first = (0..count).find_map(|n| Some((n, session.handle(&request(n)).err()?)));
    first.expect("not all are carried out")
}

#[test]
fn an_equal_offer_reaches_neither_the_room_nor_a_worker() {
    let control = small(&DtlsCertificate::generate());
    let session = join(&control, SIMULCAST, &["0", "1"]);
    let before = (news(&session), workers(&control));
    for mids in [&["0", "1"][..], &[]] {
        let Some(Body::Answer(answer)) = session.handle(&offer(SIMULCAST, mids)).unwrap() else { panic!("an answer") };
        assert!(answer.sdp.starts_with("v=0") && answer.publications.len() == mids.len());
        assert_eq!((news(&session), workers(&control)), before);
    }
    let other = SIMULCAST.replace("a=sendonly", "a=inactive").replace("a=sendrecv", "a=inactive");
    assert!(session.handle(&offer(&other, &[])).is_ok());
    assert_ne!(workers(&control), before.1, "another one does");
}

#[test]
fn an_equal_publication_is_not_told_again() {
    let control = small(&DtlsCertificate::generate());
    let session = join(&control, SIMULCAST, &["0", "1"]);
    let publish = |label: &str| {
        let publish = Publish { mid: "0".into(), label: label.into(), ..Publish::default() };
        session.handle(&Request::Publish(publish)).unwrap()
    };
    let before = (news(&session), workers(&control));
    assert!(matches!(publish(""), Some(Body::Published(published)) if published.publication.is_some()));
    assert_eq!((news(&session), workers(&control)), before);
    publish("another label");
    assert_ne!(news(&session), before.0);
}

#[test]
fn offers_have_a_rate() {
    let control = small(&DtlsCertificate::generate());
    let session = join(&control, SIMULCAST, &[]);
    let (passed, refusal) = refused(&session, 400, |_| offer(SIMULCAST, &[]));
    // 40 s' worth at once, and what the time of the test has earned.
    assert!(passed >= 40, "{passed}");
    assert!(refusal.retry && refusal.code == ErrorCode::Limit, "{refusal:?}");
    assert!(refusal.message.contains("limits.offers_per_second"), "{refusal:?}");
}

#[test]
fn an_equal_subscription_changes_nothing_and_is_free() {
    let control = small(&DtlsCertificate::generate());
    let session = join(&control, PLAYER, &[]);
    let mid = slot(&session);
    session.handle(&tile(&mid, 160)).unwrap();
    control.workers.iter().for_each(WorkerHandle::forget_waiting);
    session.room.lock().encoders = encoders::Encoders::default();
    let before = state(&control);
    for _ in 0..2_000 {
        session.handle(&tile(&mid, 160)).unwrap();
    }
    assert_eq!(state(&control), before);
}

#[test]
fn subscriptions_that_differ_have_a_rate_that_a_large_grid_does_not_reach() {
    let control = small(&DtlsCertificate::generate());
    let session = join(&control, PLAYER, &[]);
    let mid = slot(&session);
    let (passed, refusal) = refused(&session, 5_000, |n| tile(&mid, 100 + n % 2));
    assert!(passed >= 8 * 49, "{passed}");
    assert!(refusal.retry && refusal.message.contains("limits.subscriptions_per_second"), "{refusal:?}");
    assert!(session.handle(&tile("no such slot", 100)).unwrap_err().code == ErrorCode::NotFound);
}

#[test]
fn credentials_of_which_only_one_is_new_restart_nothing() {
    let line = |sdp: &'static str, name: &str| sdp.lines().find(|line| line.starts_with(name)).unwrap();
    let control = small(&DtlsCertificate::generate());
    let session = join(&control, BEFORE_RESTART, &[]);
    for (name, other) in [("a=ice-ufrag:", "a=ice-pwd:"), ("a=ice-pwd:", "a=ice-ufrag:")] {
        let half = BEFORE_RESTART.replace(line(BEFORE_RESTART, name), line(AFTER_RESTART, name));
        let before = state(&control);
        let error = session.handle(&offer(&half, &[])).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadSdp);
        assert!(error.message.contains(&format!("{} is new", name.trim_end_matches(':'))), "{error:?}");
        assert!(error.message.contains(other.trim_end_matches(':')), "{error:?}");
        assert_eq!(state(&control), before);
    }
    session.handle(&offer(AFTER_RESTART, &[])).unwrap();
    assert!(workers(&control)[0].contains("RestartIce"));
}
