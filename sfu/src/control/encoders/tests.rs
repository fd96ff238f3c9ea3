//! What senders are asked for as a room goes on, with real workers that have no clients; times and figures are made up.

use super::*;
use crate::control::caps::VideoCaps;
use crate::control::participant::Access;
use crate::control::tests::{Member, control_with};
use sfu_core::event::{ReceiveStreamStats, TrafficStats, TransportStats};
use sfu_core::qos::Allocation;
use sfu_core::qos::room_planner::Reason;
use sfu_proto::v1::server_message::Body;
use sfu_proto::v1::{DirectiveOutcome, EncoderDirectiveAck, LeaveReason};
use sfu_rtc::media::Codec;
use sfu_rtc::transport::UplinkFigures;

/// A room whose first participant is `alice`.
struct World {
    control: Arc<Control>,
    alice: Member,
    now: Instant,
}

impl World {
    fn new(planner: PlannerPolicy) -> Self {
        let (control, _) = control_with(1, |config| {
            config.qos.planner = planner;
            // What a path carries is known by its figures, or not at all.
            config.bandwidth.estimator = Estimator::Fixed;
        });
        let alice = Member::join(&control, Access::Signal);
        let now = control.clock.now();
        let mut world = Self { control, alice, now };
        world.plan(Duration::ZERO, &[]);
        world
    }

    fn join(&self, access: Access) -> Member {
        let member = Member::join(&self.control, access);
        self.room().fill_slots(&mut self.room().lock());
        member
    }

    /// Plans the room so much later.
    fn plan(&mut self, later: Duration, figures: &[TransportStats]) {
        self.now += later;
        let figures = figures.iter().map(|stats| (stats.transport, stats)).collect();
        self.control.plan_room(self.room(), self.now, &figures);
    }

    fn room(&self) -> &Room {
        &self.alice.session.room
    }

    fn video(&self) -> PublicationId {
        self.alice.publication(1)
    }

    /// Why each encoding of alice is as it is, lowest first.
    fn reasons(&self) -> Vec<Reason> {
        let state = self.room().lock();
        let plan = state.encoder_plans().iter().find(|plan| plan.publication == self.video());
        plan.map(|plan| plan.encodings.iter().map(|encoding| encoding.reason).collect()).unwrap_or_default()
    }

    fn acknowledge(&self, version: u64, applied: Vec<EncodingDirective>) {
        let ack = EncoderDirectiveAck {
            version,
            outcome: DirectiveOutcome::Applied.into(),
            applied,
            ..EncoderDirectiveAck::default()
        };
        self.control.directives.acknowledge(self.video(), &ack);
    }
}

/// The next directive that a participant gets.
async fn directive(member: &Member) -> EncoderDirective {
    member.expect(|body| if let Body::EncoderDirective(directive) = body { Some(directive) } else { None }).await
}

fn active(directive: &EncoderDirective) -> Vec<bool> {
    directive.encodings.iter().map(|encoding| encoding.active).collect()
}

/// Figures of a participant that receives at most so much, and from whom all layers of `publication` arrive.
fn figures(member: &Member, estimate: Option<u64>, publication: Option<PublicationId>) -> TransportStats {
    let layer = |publication| {
        move |(rid, kbps, height): (&str, u64, u16)| ReceiveStreamStats {
            publication,
            rid: Rid::new(rid),
            codec: Codec::Vp8,
            packets: 1,
            lost: 0,
            bitrate: Bitrate::from_kbps(kbps),
            fps: 30.0,
            parity: None,
            resolution: Some((height / 9 * 16, height)),
        }
    };
    let layers = [("q", 150, 180), ("h", 500, 360), ("f", 1_700, 720)];
    TransportStats {
        transport: member.transport(),
        room: member.session.room.id,
        connected: true,
        path: None,
        rtt: None,
        downlink_loss: 0.0,
        downlink_estimate: None,
        downlink_sustained: estimate.map(Bitrate::from_kbps),
        allocation: Allocation::default(),
        uplink: UplinkFigures::default(),
        traffic: TrafficStats::default(),
        received: publication.map(|publication| layers.map(layer(publication)).to_vec()).unwrap_or_default(),
        slots: Vec::new(),
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_nobody_watches_stops_and_is_there_at_once_for_who_comes() {
    let mut world = World::new(PlannerPolicy::Gso);
    world.plan(SECOND, &[]);
    let stop = directive(&world.alice).await;
    assert_eq!((active(&stop), stop.version, stop.ttl_ms), (vec![false; 3], 1, 10_000));
    assert_eq!(world.reasons(), [Reason::Unwanted; 3]);
    let bob = world.join(Access::Signal);
    world.plan(Duration::from_millis(1), &[]);
    let start = directive(&world.alice).await;
    assert_eq!((active(&start), start.version), (vec![false, false, true], 2));
    world.control.set_muted(world.room(), &mut world.room().lock(), world.video(), true).unwrap();
    world.plan(SECOND, &[]);
    assert_eq!(active(&directive(&world.alice).await), [false; 3], "muted");
    drop(bob);
}

/// Who lacks the codec of a publication is not left without it where its sender has another.
#[tokio::test]
async fn a_codec_that_somebody_lacks_gives_way_to_one_that_all_have() {
    let mut world = World::new(PlannerPolicy::Gso);
    let comes_in = |world: &World, codec| world.room().lock().roster.set_codec(world.video(), codec);
    let bob = world.join(Access::Signal);
    comes_in(&world, Codec::Av1);
    world.plan(SECOND, &[]);
    assert_eq!(directive(&world.alice).await.codec, "");
    let carol = Member::join_without(&world.control, Codec::Av1);
    world.plan(SECOND, &[]);
    assert_eq!(directive(&world.alice).await.codec, "VP8");
    comes_in(&world, Codec::Vp8);
    world.plan(RENEWAL, &[]);
    assert_eq!(directive(&world.alice).await.codec, "VP8", "it would lapse");
    world.control.end_session(
        &world.alice.session.room,
        &mut world.room().lock(),
        carol.session.id,
        LeaveReason::Client,
        "",
    );
    world.plan(SECOND, &[]);
    assert_eq!(directive(&world.alice).await.codec, "AV1", "as its sender chose");
    comes_in(&world, Codec::Av1);
    world.plan(RENEWAL, &[]);
    assert_eq!(directive(&world.alice).await.codec, "");
    drop(bob);
}

/// Others' slots are filled a moment later: a publication that begins is not stopped before.
#[tokio::test]
async fn what_has_just_begun_is_given_a_moment() {
    let mut world = World::new(PlannerPolicy::Gso);
    let (bob, whip) = (Member::join(&world.control, Access::Signal), Member::join(&world.control, Access::Whip));
    world.plan(Duration::from_millis(10), &[]);
    let transport = whip.transport();
    assert!(!world.room().lock().encoders.limits.contains_key(&transport));
    world.room().fill_slots(&mut world.room().lock());
    world.plan(SECOND, &[]);
    assert_eq!(active(&directive(&bob).await), [false, false, true], "the first that it is asked for");
}

#[tokio::test]
async fn a_directive_is_renewed_long_before_it_lapses() {
    let mut world = World::new(PlannerPolicy::Gso);
    (0..=6).for_each(|_| world.plan(SECOND, &[]));
    // At once, and after three and six seconds.
    for version in 1..=3 {
        let directive = directive(&world.alice).await;
        assert_eq!((directive.version, active(&directive)), (version, vec![false; 3]));
    }
    let bob = world.join(Access::Signal);
    world.plan(SECOND, &[]);
    assert_eq!(directive(&world.alice).await.version, 4, "none in between");
    drop(bob);
}

#[tokio::test]
async fn an_estimate_that_fell_lowers_what_is_sent_and_leaves_something_to_probe_for() {
    let mut world = World::new(PlannerPolicy::Gso);
    let bob = world.join(Access::Signal);
    let arriving = figures(&world.alice, None, Some(world.video()));
    world.plan(SECOND, &[arriving.clone(), figures(&bob, Some(5_000), None)]);
    assert_eq!(active(&directive(&world.alice).await), [true, false, true]);
    world.plan(SECOND, &[arriving, figures(&bob, Some(750), None)]);
    assert_eq!(world.reasons(), [Reason::Fallback, Reason::Wanted, Reason::NoRoom]);
    let mut state = world.room().lock();
    let plan = state.encoder_plans().iter().find(|plan| plan.publication == world.video()).unwrap();
    let attainable = Bitrate::from_kbps(1_700);
    assert_eq!(plan.encodings[2].withheld(), attainable);
    state.tell_targets();
    let told = state.roster.take_orders().into_iter().find_map(|(_, command)| match command {
        Command::SetEncoderTarget { publication, target } if publication == world.video() => Some(target.layers),
        _ => None,
    });
    let off = EncodingTarget { rid: Rid::new("f"), bitrate: None, attainable };
    assert_eq!(told.unwrap().as_slice(), [off], "so that paths are probed for it");
}

#[test]
fn workers_know_the_bitrate_of_what_is_bounded_and_once_what_it_becomes_afterwards() {
    let (full, low) = (Bitrate::from_kbps(1_700), Bitrate::from_kbps(900));
    let mut bounded = HashSet::new();
    let mut target = |reason, active, bitrate| {
        let encoding = Encoding { rid: None, active, bitrate, framerate: None, scale: None, full, size: None, reason };
        let target = target_of(PublicationId(1), &encoding, &mut bounded);
        (target.bitrate, target.attainable)
    };
    assert_eq!(target(Reason::Wanted, true, None), (None, Bitrate::ZERO));
    assert_eq!(target(Reason::Fitted, true, Some(low)), (Some(low), full));
    assert_eq!(target(Reason::NoRoom, false, None), (None, full));
    assert_eq!(target(Reason::Wanted, true, None), (Some(full), Bitrate::ZERO));
    assert_eq!(target(Reason::Wanted, true, None), (None, Bitrate::ZERO));
}

/// The plan follows what arrives, not what a client says of itself.
#[tokio::test]
async fn a_client_that_lies_about_what_it_applied_is_seen() {
    let mut world = World::new(PlannerPolicy::Gso);
    world.plan(SECOND, &[]);
    let stop = directive(&world.alice).await;
    world.acknowledge(stop.version, stop.encodings.clone());
    world.acknowledge(stop.version + 7, Vec::new());
    world.plan(SECOND, &[figures(&world.alice, None, Some(world.video()))]);
    assert_eq!(world.reasons(), [Reason::Unwanted; 3]);
    let ack = world.control.directives.latest(world.video()).unwrap().ack.unwrap();
    assert_eq!((ack.version, ack.applied), (stop.version, stop.encodings));
    let state = world.room().lock();
    assert_eq!(state.arriving(world.video(), Rid::new("f")), Bitrate::from_kbps(1_700));
}

#[tokio::test]
async fn one_who_has_gone_is_asked_for_nothing_and_forgotten() {
    let mut world = World::new(PlannerPolicy::Gso);
    let bob = world.join(Access::Signal);
    world.plan(SECOND, &[]);
    let (video, room) = (bob.publication(1), Arc::clone(&world.alice.session.room));
    assert!(room.lock().encoders.sent.contains_key(&video));
    let stale = [figures(&bob, Some(300), Some(video)), figures(&world.alice, None, None)];
    world.control.end_session(&room, &mut room.lock(), bob.session.id, LeaveReason::Client, "");
    world.plan(SECOND, &stale);
    let state = room.lock();
    assert!(state.encoder_plans().iter().all(|plan| plan.publication != video));
    assert!(!state.encoders.sent.contains_key(&video) && state.encoders.limits.is_empty());
    assert!(world.control.directives.latest(video).is_none());
}

#[tokio::test]
async fn a_directive_by_hand_holds_until_it_lapses() {
    let mut world = World::new(PlannerPolicy::Gso);
    let by_hand = EncoderDirective {
        ttl_ms: 5_000,
        encodings: vec![EncodingDirective { rid: "q".into(), active: true, ..EncodingDirective::default() }],
        ..EncoderDirective::default()
    };
    let sent = world.control.direct_by_hand(world.room(), world.video(), by_hand).unwrap();
    assert_eq!(directive(&world.alice).await, sent);
    world.plan(SECOND, &[]);
    world.plan(5 * SECOND, &[]);
    let next = directive(&world.alice).await;
    assert_eq!((next.version, active(&next)), (sent.version + 1, vec![false; 3]), "then the plan holds again");
}

#[tokio::test]
async fn a_sender_without_signalling_is_bounded_by_remb() {
    let mut world = World::new(PlannerPolicy::Gso);
    let whip = world.join(Access::Whip);
    let transport = whip.transport();
    let limit = |world: &World| world.room().lock().encoders.limits.get(&transport).map(|rate| rate.as_kbps());
    let small = figures(&world.alice, Some(800), None);
    world.plan(SECOND, std::slice::from_ref(&small));
    assert_eq!(limit(&world), None, "nobody knows which layers are the upper ones");
    world.plan(SECOND, &[figures(&whip, None, Some(whip.publication(1)))]);
    assert_eq!(limit(&world), None, "alice watches it as large as it is");
    world.plan(SECOND, &[small, figures(&whip, None, Some(whip.publication(1)))]);
    assert_eq!(limit(&world), Some(775), "the lower two layers, a tenth more, and audio");
    let room = Arc::clone(&world.alice.session.room);
    let publication = whip.publication(1);
    world.control.set_muted(&room, &mut room.lock(), publication, true).unwrap();
    world.plan(SECOND, &[]);
    assert_eq!(limit(&world), Some(60));
}

/// Whatever the planner is: the directive, and the worker for those who ignore it.
#[tokio::test]
async fn caps_hold_with_and_without_a_planner() {
    for planner in [PlannerPolicy::Off, PlannerPolicy::Gso] {
        let mut world = World::new(planner);
        let bob = world.join(Access::Signal);
        let own = VideoCaps { bitrate_bps: Some(400_000), ..VideoCaps::default() };
        let gets = VideoCaps { height: Some(360), fps: Some(15), ..VideoCaps::default() };
        let orders = {
            let mut state = world.alice.session.room.lock();
            state.participants.get_mut(&world.alice.session.id).unwrap().grants.publish_video = own;
            state.options.subscribe_video = gets;
            state.roster.take_orders();
            state.enforce_caps(world.alice.session.id);
            state.roster.take_orders()
        };
        let expected = sfu_core::command::VideoCaps {
            bitrate: Some(Bitrate::from_kbps(400)),
            framerate: Some(15),
            height: Some(360),
        };
        let video = world.video();
        let is_cap = |(_, command): &(usize, Command)| matches!(command, Command::CapPublication { publication, caps } if *publication == video && *caps == expected);
        assert!(orders.iter().any(is_cap), "{orders:?}");
        let is_bound = |(_, command): &(usize, Command)| matches!(command, Command::CapSubscriber { caps, .. } if *caps == gets.into());
        assert!(orders.iter().any(is_bound), "{orders:?}");
        world.plan(SECOND, &[figures(&world.alice, None, Some(video))]);
        let asked = directive(&world.alice).await;
        let on: Vec<&EncodingDirective> = asked.encodings.iter().filter(|encoding| encoding.active).collect();
        assert!(!on.is_empty() && on.iter().all(|encoding| encoding.rid != "f" && encoding.max_framerate == 15.0));
        assert!(on.iter().map(|encoding| encoding.max_bitrate_bps).sum::<u64>() <= 380_000, "{asked:?}");
        drop(bob);
    }
}

/// The parity that the worker wants of alice's picture, in packets per block of its frames of the base layer.
fn wanting(world: &World, packets: u8) -> TransportStats {
    let mut stats = figures(&world.alice, None, Some(world.video()));
    let base = sfu_rtc::transport::Protection { parity: packets, frames: 2 };
    stats.received.iter_mut().for_each(|stream| stream.parity = Some([Default::default(), base, base, base]));
    stats
}

#[tokio::test]
async fn parity_is_asked_for_at_once_and_taken_back_after_a_while() {
    let mut world = World::new(PlannerPolicy::Gso);
    let bob = world.join(Access::Signal);
    world.plan(SECOND, &[wanting(&world, 0)]);
    world.plan(SECOND, &[wanting(&world, 3)]);
    let parity = |directive: &EncoderDirective| -> Vec<(i32, u32, u32)> {
        directive.parity.iter().map(|entry| (entry.frame_class, entry.packets, entry.frames)).collect()
    };
    let mut first = directive(&world.alice).await;
    while first.parity.is_empty() {
        first = directive(&world.alice).await;
    }
    assert_eq!(parity(&first), [(2, 3, 2), (3, 3, 2), (4, 3, 2)]);
    world.plan(SECOND, &[wanting(&world, 1)]);
    world.plan(SECOND, &[wanting(&world, 1)]);
    world.plan(SECOND, &[wanting(&world, 1)]);
    assert_eq!(parity(&directive(&world.alice).await)[0], (2, 3, 2), "renewed as it was");
    (0..2).for_each(|_| world.plan(SECOND, &[wanting(&world, 0)]));
    assert_eq!(parity(&directive(&world.alice).await), []);
    drop(bob);
}
