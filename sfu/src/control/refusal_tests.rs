//! No refused request changes anything: random requests, and the whole state before and after each refusal.

use super::shown::{AFTER_RESTART, BEFORE_RESTART, PLAYER, SIMULCAST, small, state, with_names};
use super::*;
use crate::control::auth::{GrantClaims, Permit};
use proptest::prelude::*;
use proptest::sample::select;
use sfu_proto::v1::client_message::Body as Request;
use sfu_proto::v1::moderate::Action;
use sfu_proto::v1::{
    EncoderDirective, EncoderDirectiveAck, EncodingDirective, ErrorCode, LongTermReference, Moderate, Offer, Publish,
    ReferenceDirectiveAck, Resume, SendData, SetMuted, Subscribe, Tile, Unpublish,
};
use sfu_room::Subscription;

/// Something that somebody asks for.
#[derive(Clone, Debug)]
enum Step {
    Join { identity: String, room: String, offer: Option<Offer>, access: Access, metadata: usize, grants: GrantClaims },
    Resume { of: usize },
    Ask { of: usize, body: Request },
    MakeRoom { room: String, metadata: usize },
    Direct { of: usize, directive: EncoderDirective },
}

/// `sdp` with one section so many times.
fn sections(count: usize) -> String {
    let (session, media) = PLAYER.split_once("m=").unwrap();
    let first = media.split("m=").next().unwrap();
    let mid = first.lines().find(|line| line.starts_with("a=mid:")).unwrap();
    let bundle: Vec<String> = (0..count).map(|i| i.to_string()).collect();
    let session: String = session
        .lines()
        .map(|line| if line.starts_with("a=group:BUNDLE") { "a=group:BUNDLE *" } else { line })
        .map(|line| format!("{}\r\n", line.replace('*', &bundle.join(" "))))
        .collect();
    let section = |i| format!("m={first}").replace(mid, &format!("a=mid:{i}")).replace("a=recvonly", "a=sendonly");
    session + &(0..count).map(section).collect::<String>()
}

fn sdp() -> impl Strategy<Value = String> {
    let good = select(vec![SIMULCAST, BEFORE_RESTART, AFTER_RESTART, PLAYER]);
    let cut = (good.clone(), 0..4_000usize).prop_map(|(sdp, len)| sdp.chars().take(len).collect());
    let without = (good.clone(), 0..120usize).prop_map(|(sdp, at)| {
        sdp.lines().enumerate().filter(|(i, _)| *i != at).map(|(_, line)| format!("{line}\r\n")).collect()
    });
    prop_oneof![
        6 => good.prop_map(str::to_owned),
        1 => cut,
        2 => without,
        1 => (1..20usize).prop_map(sections),
        1 => ".{0,40}",
    ]
}

fn publish() -> impl Strategy<Value = Publish> {
    let mid = select(vec!["0", "1", "2", "3", "9", "", "a mid that is too long for any header extension"]);
    (mid, any::<i32>(), any::<bool>()).prop_map(|(mid, source, muted)| Publish {
        mid: mid.to_owned(),
        source: source.rem_euclid(6),
        label: "label".into(),
        muted,
    })
}

fn offer() -> impl Strategy<Value = Offer> {
    (sdp(), prop::collection::vec(publish(), 0..4)).prop_map(|(sdp, publish)| Offer { sdp, publish })
}

fn grants() -> impl Strategy<Value = GrantClaims> {
    // Mostly everything is granted.
    prop::array::uniform5(prop::bool::weighted(0.9)).prop_map(|[publish, subscribe, data, moderate, create]| {
        GrantClaims { publish, subscribe, data, moderate, create, ..GrantClaims::default() }
    })
}

/// Names of things: such as are there, `{t}` and `{p}`, and such as are not.
fn name() -> impl Strategy<Value = String> {
    select(vec!["{t}", "{t}", "{p}", "t_0", "p_0", "", "nonsense\u{1b}"]).prop_map(str::to_owned)
}

fn request() -> impl Strategy<Value = Request> {
    let mid = select(vec!["0", "2", "3", "4", "", "x"]).prop_map(str::to_owned);
    prop_oneof![
        3 => offer().prop_map(Request::Offer),
        2 => publish().prop_map(Request::Publish),
        1 => name().prop_map(|publication_id| Request::Unpublish(Unpublish { publication_id })),
        1 => (name(), any::<bool>())
            .prop_map(|(publication_id, muted)| Request::SetMuted(SetMuted { publication_id, muted })),
        2 => (mid, name(), any::<(bool, bool)>(), -1..9i32).prop_map(|(mid, publication_id, (paused, none), quality)| {
            let tile = paused.then(|| Tile { hidden: none, width: 640, height: quality.unsigned_abs(), priority: 0 });
            Request::Subscribe(Subscribe { mid, publication_id, quality, paused, none, tile })
        }),
        1 => (prop::collection::vec(name(), 0..3), select(vec![0usize, 10, 70_000]), any::<bool>()).prop_map(
            |(to, len, lossy)| Request::SendData(SendData { payload: vec![0; len], to, topic: String::new(), lossy })
        ),
        1 => (name(), 0..4u8).prop_map(|(name, action)| {
            let action = match action {
                0 => Some(Action::RemoveParticipantId(name)),
                1 => Some(Action::MutePublicationId(name)),
                2 => Some(Action::CloseRoom(name.is_empty())),
                _ => None,
            };
            Request::Moderate(Moderate { action })
        }),
        1 => (name(), 0..3u64).prop_map(|(publication_id, version)| {
            Request::EncoderDirectiveAck(EncoderDirectiveAck { publication_id, version, ..Default::default() })
        }),
        1 => (name(), 0..70_000u32, 0..70_000u32).prop_map(|(publication_id, frame, by)| {
            Request::LongTermReference(LongTermReference { publication_id, frame, by })
        }),
        1 => (name(), 0..3u64).prop_map(|(publication_id, version)| {
            Request::ReferenceDirectiveAck(ReferenceDirectiveAck { publication_id, version, ..Default::default() })
        }),
        1 => Just(Request::Resume(Resume { session: "x".into() })),
    ]
}

fn directive() -> impl Strategy<Value = EncoderDirective> {
    let rid = select(vec!["q", "h", "f", "q", "", "x"]).prop_map(str::to_owned);
    let scale = select(vec![0.0, 1.0, 2.0, -5.0, f32::NAN, f32::INFINITY]);
    let encoding = (rid, scale, any::<bool>()).prop_map(|(rid, scale_resolution_down_by, active)| EncodingDirective {
        rid,
        active,
        scale_resolution_down_by,
        ..EncodingDirective::default()
    });
    prop::collection::vec(encoding, 0..5)
        .prop_map(|encodings| EncoderDirective { encodings, ..EncoderDirective::default() })
}

fn step() -> impl Strategy<Value = Step> {
    let room = select(vec!["one", "one", "two", "three", "", "a/b", "line\nbreak"]).prop_map(str::to_owned);
    let identity = select(vec!["ann", "ben", "eve"]).prop_map(str::to_owned);
    let access = select(vec![Access::Signal, Access::Signal, Access::Whip, Access::Whep]);
    let metadata = select(vec![0usize, 10, 5_000]);
    let join = (identity, room.clone(), prop::option::weighted(0.9, offer()), access, metadata.clone(), grants());
    prop_oneof![
        4 => join.prop_map(|(identity, room, offer, access, metadata, grants)| {
            Step::Join { identity, room, offer, access, metadata, grants }
        }),
        1 => (0..4usize).prop_map(|of| Step::Resume { of }),
        8 => (0..4usize, request()).prop_map(|(of, body)| Step::Ask { of, body }),
        1 => (room, metadata).prop_map(|(room, metadata)| Step::MakeRoom { room, metadata }),
        2 => (0..4usize, directive()).prop_map(|(of, directive)| Step::Direct { of, directive }),
    ]
}

/// Carries a step out; why it was refused.
fn carry_out(control: &Arc<Control>, sessions: &mut Vec<Session>, step: Step) -> Result<(), ControlError> {
    match step {
        Step::Join { identity, room, offer, access, metadata, grants } => {
            let permit = Permit { grants, ..control.auth.admit("", &room, Some(&identity))? };
            let request = JoinRequest {
                room,
                name: String::new(),
                metadata: "m".repeat(metadata),
                client: String::new(),
                offer,
                manual_subscribe: false,
                access,
                subscription: Subscription::Auto,
                address: None,
            };
            sessions.push(control.join(&permit, request)?.session);
        }
        Step::Resume { of } => {
            let secret = sessions.get(of).and_then(|session| {
                session.room.lock().participants.get(&session.id).map(|participant| participant.secret.clone())
            });
            let (session, _) = control.resume(&secret.unwrap_or_default(), None)?;
            sessions.push(session);
        }
        Step::Ask { of, body } => {
            if let Some(session) = sessions.iter().rev().nth(of) {
                session.handle(&with_names(body, session))?;
            }
        }
        Step::MakeRoom { room, metadata } => {
            let options = RoomOptions { metadata: Some("m".repeat(metadata)), ..RoomOptions::default() };
            control.make_room(&room, &options)?;
        }
        Step::Direct { of, directive } => {
            if let Some(session) = sessions.get(of) {
                let publication = with_names(Request::Unpublish(Unpublish { publication_id: "{t}".into() }), session);
                let Request::Unpublish(named) = publication else { unreachable!() };
                let id = parse_publication(&named.publication_id).unwrap_or(sfu_core::ids::PublicationId(0));
                control.direct_by_hand(&session.room, id, directive)?;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_refusal_changes_nothing(steps in prop::collection::vec(step(), 1..40)) {
        let control = small(&DtlsCertificate::generate());
        let mut sessions = Vec::new();
        for step in steps {
            let before = state(&control);
            let told = format!("{step:.300?}");
            if let Err(error) = carry_out(&control, &mut sessions, step) {
                prop_assert_eq!(&before, &state(&control), "{} was refused with `{}`", told, error.message);
                let full = control.rooms.len() >= 2 || control.sessions.len() >= 5;
                let by_server = error.code == ErrorCode::Unavailable && full;
                let ours = matches!(error.code, ErrorCode::Unavailable | ErrorCode::Internal | ErrorCode::Unspecified);
                prop_assert!(!ours || by_server, "{} is no fault of ours: {:?}", told, error);
            }
            control.workers.iter().for_each(WorkerHandle::forget_waiting);
        }
    }
}
