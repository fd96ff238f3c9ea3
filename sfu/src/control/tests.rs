//! What the control plane makes of its workers' reports, with a real worker that has no clients.

use super::outbox::Next;
use super::*;
use crate::config::MediaConfig;
use crate::lock::lock;
use crate::net::bind_udp;
use crate::worker_thread::{RelayHub, Report, WorkerParts, spawn};
use auth::Permit;
use futures_util::FutureExt;
use prost::Message as _;
use sfu_core::command::Command;
use sfu_core::config::WorkerConfig;
use sfu_core::event::{CloseReason, Event, PauseReason};
use sfu_core::ids::PublicationId;
use sfu_proto::v1::{self, client_message::Body as Request, server_message::Body};
use sfu_proto::v1::{Joined, LeaveReason, Offer, Publish, RosterUpdate, ServerMessage};
use sfu_room::Subscription;
use sfu_rtc::ids::Mid;
use sfu_rtc::media::Codec;
use sfu_rtc::net::Neighbourhood;
use sfu_rtc::time::Duration;
use std::net::IpAddr;
use std::sync::Mutex;
use tokio::sync::mpsc::{Sender, channel};

const OFFER: &str = include_str!("../../../sfu-rtc/src/sdp/fixtures/chromium-simulcast.sdp");

/// A control plane with one worker, and a way to report in its name.
fn control() -> (Arc<Control>, Sender<Report>) {
    control_of(1)
}

/// A control plane with so many workers, each of which takes two participants of a room before the next one does.
fn control_of(workers: usize) -> (Arc<Control>, Sender<Report>) {
    control_with(workers, |_| {})
}

/// The same, configured otherwise.
pub(super) fn control_with(workers: usize, configure: impl FnOnce(&mut Config)) -> (Arc<Control>, Sender<Report>) {
    let mut config = Config::default();
    config.limits.spread_at = 2;
    config.auth.open = true;
    config.signal.resume_seconds = 0;
    configure(&mut config);
    let clock = Clock::start();
    let certificate = Arc::new(DtlsCertificate::generate());
    let (reports, from_workers) = channel(64);
    let media = MediaConfig { bind: [127, 0, 0, 1].into(), udp_port: 0, ..MediaConfig::default() };
    let (relays, claimed) = (RelayHub::new(workers), Arc::default());
    let worker = |index| {
        let parts = WorkerParts {
            index,
            cpu: None,
            realtime: false,
            udp: bind_udp(&media, 0).unwrap(),
            candidates: Vec::new(),
            config: WorkerConfig::default(),
            certificate: Arc::clone(&certificate),
            clock,
            reports: reports.clone(),
            relays: Arc::clone(&relays),
            claimed: Arc::clone(&claimed),
            max_tcp: 8,
        };
        spawn(parts).unwrap().0
    };
    let control = Control::new(Arc::new(config), clock, &certificate, (0..workers).map(worker).collect());
    tokio::spawn(Arc::clone(&control).handle_reports(from_workers));
    tokio::spawn(Arc::clone(&control).tell_news());
    (control, reports)
}

pub(super) struct Member {
    pub(super) session: Session,
    pub(super) joined: Joined,
}

impl Member {
    pub(super) fn join(control: &Arc<Control>, access: Access) -> Self {
        Self::join_from(control, access, None, None).unwrap()
    }

    /// One that cannot decode this codec.
    pub(super) fn join_without(control: &Arc<Control>, codec: Codec) -> Self {
        let (sent, received) = OFFER.split_at(OFFER.find("a=mid:2").unwrap());
        let offer = sent.to_owned() + &received.replace(&format!(" {}/90000", codec.name()), " unknown/90000");
        Self::join_offering(control, Access::Signal, None, None, &offer).unwrap()
    }

    /// One with this token, or without one, at this address.
    pub(super) fn join_from(
        control: &Arc<Control>,
        access: Access,
        address: Option<IpAddr>,
        token: Option<u64>,
    ) -> Result<Self, ControlError> {
        Self::join_offering(control, access, address, token, OFFER)
    }

    fn join_offering(
        control: &Arc<Control>,
        access: Access,
        address: Option<IpAddr>,
        token: Option<u64>,
        offer: &str,
    ) -> Result<Self, ControlError> {
        let permit = Permit { token, ..control.auth.admit("", "demo", None).unwrap() };
        let publish = |mid: &str| Publish { mid: mid.into(), ..Publish::default() };
        let request = JoinRequest {
            room: "demo".into(),
            name: String::new(),
            metadata: String::new(),
            client: String::new(),
            offer: Some(Offer { sdp: offer.into(), publish: vec![publish("0"), publish("1")] }),
            manual_subscribe: false,
            access,
            subscription: Subscription::Auto,
            address,
        };
        control.join(&permit, request).map(|Entered { session, joined, .. }| Self { session, joined })
    }

    pub(super) fn publication(&self, i: usize) -> PublicationId {
        parse_publication(&self.joined.publications[i].id).unwrap()
    }

    pub(super) fn transport(&self) -> TransportId {
        self.session.room.lock().participants[&self.session.id].media.as_ref().unwrap().transport
    }

    /// The next message that `pick` takes.
    pub(super) async fn expect<T>(&self, pick: impl Fn(Body) -> Option<T>) -> T {
        loop {
            let Next::Message(message) = self.session.next().await else { panic!("the session ended") };
            let message: ServerMessage = serde_json::from_str(message.json()).unwrap();
            if let Some(picked) = message.body.and_then(&pick) {
                return picked;
            }
        }
    }

    pub(super) async fn left(&self) -> LeaveReason {
        self.expect(|body| if let Body::Left(left) = body { Some(left.reason()) } else { None }).await
    }
}

/// Waits until a room has been told all that has changed.
async fn all_is_told(room: &Room) {
    while room.lock().news.waits() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

pub(super) fn event(event: Event) -> Report {
    Report::Event { worker: 0, event }
}

#[tokio::test]
async fn a_failed_room_or_worker_ends_its_sessions_and_the_next_join_begins_anew() {
    let (control, reports) = control();
    let member = Member::join(&control, Access::Signal);
    let failed = member.session.room.id;
    reports.send(Report::RoomFailed { room: failed }).await.unwrap();
    assert_eq!(member.left().await, LeaveReason::ConnectionLost);
    let member = Member::join(&control, Access::Signal);
    assert_ne!(member.session.room.id, failed);
    reports.send(Report::WorkerFailed { worker: 0 }).await.unwrap();
    assert_eq!(member.left().await, LeaveReason::ConnectionLost);
    assert_eq!(control.all_rooms().len(), 0);
}

#[tokio::test]
async fn slots_follow_who_speaks() {
    let (control, reports) = control();
    let watcher = Member::join(&control, Access::Signal);
    let others: Vec<Member> = (0..3).map(|_| Member::join(&control, Access::Signal)).collect();
    let (room, speaks) = (watcher.session.room.id, others[2].publication(0));
    reports.send(event(Event::ActiveSpeakers { room, speakers: vec![(speaks, 0.5)] })).await.unwrap();
    let speakers =
        watcher.expect(|body| if let Body::ActiveSpeakers(speakers) = body { Some(speakers) } else { None }).await;
    assert_eq!(speakers.speakers[0].participant_id, others[2].session.id.to_string());
    let picture = others[2].joined.publications[1].id.clone();
    let sound = publication_text(speaks);
    watcher
        .expect(|body| {
            let Body::Slots(slots) = body else { return None };
            let carried: Vec<&str> = slots.slots.iter().map(|slot| slot.publication_id.as_str()).collect();
            (carried.contains(&picture.as_str()) && carried.contains(&sound.as_str())).then_some(())
        })
        .await;
}

impl Member {
    /// Mutes or unmutes the first publication, past any budget.
    fn mute(&self, control: &Control, muted: bool) {
        let room = &self.session.room;
        control.set_muted(room, &mut room.lock(), self.publication(0), muted).unwrap();
    }

    /// All rosters that come before an answer that is asked for now.
    async fn rosters(&self) -> Vec<RosterUpdate> {
        all_is_told(&self.session.room).await;
        self.session.send(Outgoing::new(Body::Pong(sfu_proto::v1::Pong { timestamp: 0 })));
        let rosters = Mutex::new(Vec::new());
        self.expect(|body| match body {
            Body::Roster(roster) => {
                lock(&rosters).push(roster);
                None
            }
            Body::Pong(_) => Some(()),
            _ => None,
        })
        .await;
        rosters.into_inner().unwrap()
    }
}

#[tokio::test]
async fn changes_that_come_fast_are_told_together_and_the_newest_wins() {
    let (control, _reports) = control();
    let watcher = Member::join(&control, Access::Signal);
    let (one, two) = (Member::join(&control, Access::Signal), Member::join(&control, Access::Signal));
    watcher.rosters().await;
    for n in 0..1_000 {
        one.mute(&control, n % 2 == 0);
        two.mute(&control, n % 2 == 1);
    }
    let rosters = watcher.rosters().await;
    // The first at once, the others in one.
    assert!((1..=2).contains(&rosters.len()), "{rosters:?}");
    let newest = rosters.last().unwrap();
    let muted = |member: &Member| {
        let id = member.session.id.to_string();
        newest.participants.iter().find(|p| p.id == id).map(|p| p.publications[0].muted)
    };
    assert_eq!((muted(&one), muted(&two)), (Some(false), Some(true)));
    // Whoever changed hears of the other, not of itself.
    let ids: Vec<String> = one.rosters().await.into_iter().flat_map(|r| r.participants).map(|p| p.id).collect();
    assert!(ids.contains(&two.session.id.to_string()) && !ids.contains(&one.session.id.to_string()), "{ids:?}");
}

#[tokio::test]
async fn a_newcomer_is_told_of_all_and_nobody_misses_who_has_left() {
    let (control, _reports) = control();
    let watcher = Member::join(&control, Access::Signal);
    let passers: Vec<Member> = (0..5).map(|_| Member::join(&control, Access::Signal)).collect();
    // Nothing of this has been told when the last one comes.
    assert!(watcher.session.room.lock().news.waits());
    let newcomer = Member::join(&control, Access::Signal);
    assert_eq!(newcomer.joined.participants.len(), 6);
    let carried = newcomer.joined.slots.iter().filter(|slot| !slot.publication_id.is_empty()).count();
    assert_eq!(carried, newcomer.joined.slots.len());
    let mut gone: Vec<String> = passers.iter().map(|passer| passer.session.id.to_string()).collect();
    passers.iter().for_each(|passer| passer.session.leave());
    for member in [&watcher, &newcomer] {
        let mut left: Vec<String> = member.rosters().await.into_iter().flat_map(|roster| roster.left).collect();
        left.sort();
        gone.sort();
        assert_eq!(left, gone);
    }
}

#[tokio::test]
async fn more_news_than_a_room_may_get_come_later_and_all_come() {
    let (control, _reports) = control_with(1, |config| config.limits.room_bytes_per_second = 20_000);
    let members: Vec<Member> = (0..12).map(|_| Member::join(&control, Access::Signal)).collect();
    let rosters = members[0].rosters().await;
    let mut told: Vec<String> = rosters.iter().flat_map(|r| &r.participants).map(|p| p.id.clone()).collect();
    told.dedup();
    assert_eq!(told.len(), 11, "each once, in order");
    // A quarter of a second's worth at a time, to eleven or twelve; one participant at least.
    assert!(rosters.iter().all(|roster| roster.encoded_len() * 12 < 5_000 || roster.participants.len() == 1));
}

#[tokio::test]
async fn an_entry_costs_what_is_told_because_of_it() {
    let (control, _reports) = control();
    let accesses = [Access::Signal, Access::Whip, Access::Whep];
    let members = accesses.map(|access| Member::join(&control, access));
    let state = members[0].session.room.lock();
    // A viewer by WHEP is told of nobody, and nobody of it; one who publishes by WHIP is told nothing.
    let entry = |access, text| state.entry_cost(access, text);
    let one = entry(Access::Whip, 0);
    let names: usize =
        state.participants.values().filter(|other| other.is_visible()).map(|other| other.text_bytes()).sum();
    assert_eq!(accesses.map(|access| entry(access, 0)), [2 * one + names, one, 0]);
    assert_eq!(entry(Access::Whip, 4_000), one + 4_000);
    assert_eq!(members.each_ref().map(|member| member.joined.participants.len()), [0, 0, 0]);
}

#[tokio::test]
async fn refused_entries_leave_the_turns_of_other_addresses() {
    let (control, _reports) = control();
    let member = Member::join(&control, Access::Signal);
    let room = &member.session.room;
    let (now, mut state) = (control.clock.now(), room.lock());
    let address = |text: &str| Some(Neighbourhood::of(text.parse().unwrap()));
    for refused in ["192.0.2.1", "198.51.100.1"].map(address) {
        while state.reserve_entry(&room.pace, refused, 0, now).is_some() {
            state.charge_refusal(&room.pace, refused.unwrap(), now);
        }
    }
    assert_eq!(state.reserve_entry(&room.pace, address("203.0.113.1"), 0, now), Some(Duration::ZERO));
}

#[tokio::test]
async fn an_offer_in_a_call_waits_for_its_turn_and_what_costs_nothing_does_not() {
    let (control, _reports) = control();
    let session = Member::join(&control, Access::Signal).session;
    let (flooder, other) = ([192, 0, 2, 1].into(), control.turns.stranger([192, 0, 2, 2].into()));
    let offer = Request::Offer(Offer { sdp: OFFER.into(), publish: Vec::new() });
    let ping = Request::Ping(v1::Ping::default());
    let mut answer = Box::pin(session.handle_in_turn(&offer, flooder));
    // In a turn of somebody else's.
    let (offered, pinged) = control
        .turns
        .drive(other, async {
            (answer.as_mut().now_or_never().is_some(), session.handle_in_turn(&ping, flooder).now_or_never().is_some())
        })
        .await;
    assert!(!offered && pinged);
    assert!(matches!(answer.await, Ok(Some(Body::Answer(_)))));
}

#[tokio::test]
async fn negotiated_formats_are_held_once() {
    let (control, _reports) = control();
    let member = Member::join(&control, Access::Signal);
    let state = member.session.room.lock();
    let media = state.participants[&member.session.id].media.as_ref().unwrap();
    let [Command::UpdateSections { sections, .. }] =
        &media.commands(RoomId(1), negotiation::Change::Sections, None)[..]
    else {
        panic!("one command");
    };
    assert!(sections.iter().zip(&media.sections).all(|(told, kept)| Arc::ptr_eq(&told.formats, &kept.formats)));
}

#[tokio::test]
async fn a_moderator_mutes_a_large_room_in_one_go() {
    let (control, _reports) = control_with(1, |config| config.limits.changes_per_second = 1);
    let members: Vec<Member> = (0..20).map(|_| Member::join(&control, Access::Signal)).collect();
    for member in &members {
        let publication_id = publication_text(member.publication(0));
        let action = Some(sfu_proto::v1::moderate::Action::MutePublicationId(publication_id));
        let moderate = Request::Moderate(sfu_proto::v1::Moderate { action });
        members[0].session.handle(&moderate).unwrap();
    }
}

#[tokio::test]
async fn the_codec_that_is_seen_is_told() {
    let (control, reports) = control();
    let (watcher, other) = (Member::join(&control, Access::Signal), Member::join(&control, Access::Signal));
    let publication = other.publication(1);
    let transport = other.transport();
    reports.send(event(Event::PublicationCodec { transport, publication, codec: Codec::Vp8 })).await.unwrap();
    watcher
        .expect(|body| {
            let Body::Roster(roster) = body else { return None };
            roster.participants.iter().flat_map(|p| &p.publications).find(|p| p.codec == "VP8").map(|_| ())
        })
        .await;
}

#[tokio::test]
async fn a_slot_says_why_nothing_comes_in_it() {
    let (control, reports) = control();
    let (watcher, other) = (Member::join(&control, Access::Signal), Member::join(&control, Access::Signal));
    let (transport, publication) = (watcher.transport(), other.publication(1));
    let slots = |body| if let Body::Slots(slots) = body { Some(slots.slots) } else { None };
    let carried = publication_text(publication);
    let of_picture = |body| slots(body).and_then(|slots| slots.into_iter().find(|slot| slot.publication_id == carried));
    let slot = watcher.expect(of_picture).await;
    assert!(!slot.unplayable && slot.pause_reason() == v1::PauseReason::Unspecified);
    let mid = Mid::new(&slot.mid).unwrap();
    let paused = |publication, reason| event(Event::SlotPaused { transport, mid, publication, reason });
    reports.send(paused(other.publication(0), Some(PauseReason::Codec))).await.unwrap(); // what it carried before
    reports.send(paused(publication, Some(PauseReason::Codec))).await.unwrap();
    assert!(watcher.expect(of_picture).await.unplayable);
    reports.send(paused(publication, Some(PauseReason::Bandwidth))).await.unwrap();
    let slot = watcher.expect(of_picture).await;
    assert!(!slot.unplayable && slot.pause_reason() == v1::PauseReason::Bandwidth);
    reports.send(paused(publication, None)).await.unwrap();
    assert_eq!(watcher.expect(of_picture).await.pause_reason(), v1::PauseReason::Unspecified);
}

#[tokio::test]
async fn lost_media_ends_publications_and_a_new_offer_brings_them_back() {
    let (control, reports) = control();
    let (watcher, other) = (Member::join(&control, Access::Signal), Member::join(&control, Access::Signal));
    let transport = other.transport();
    reports.send(event(Event::Closed { transport, reason: CloseReason::IceTimeout })).await.unwrap();
    let publications = |body| {
        let Body::Roster(roster) = body else { return None };
        roster.participants.first().map(|p| p.publications.len())
    };
    assert_eq!(watcher.expect(|body| publications(body).filter(|n| *n == 0)).await, 0);
    let offer = Offer { sdp: OFFER.into(), publish: vec![Publish { mid: "0".into(), ..Publish::default() }] };
    let request = Request::Offer(offer);
    assert!(matches!(other.session.handle(&request), Ok(Some(Body::Answer(_)))));
    assert_ne!(other.transport(), transport);
    assert_eq!(watcher.expect(|body| publications(body).filter(|n| *n > 0)).await, 1);
}

#[tokio::test]
async fn a_whip_session_ends_with_its_media_and_others_in_time() {
    let (control, reports) = control();
    let whip = Member::join(&control, Access::Whip);
    let transport = whip.transport();
    reports.send(event(Event::Closed { transport, reason: CloseReason::PeerClosed })).await.unwrap();
    assert_eq!(whip.left().await, LeaveReason::Client);
    let signal = Member::join(&control, Access::Signal);
    let transport = signal.transport();
    reports.send(event(Event::Closed { transport, reason: CloseReason::DtlsFailed })).await.unwrap();
    tokio::spawn(Arc::clone(&control).sweep());
    assert_eq!(signal.left().await, LeaveReason::ConnectionLost);
    assert!(control.session(&signal.joined.session).is_none() && control.transports.is_empty());
}

/// Number of the worker of a member, and how many participants each worker of its room has.
fn place(member: &Member) -> (usize, Vec<(usize, usize)>) {
    let state = member.session.room.lock();
    (state.roster.member(member.session.id).unwrap().worker(), state.roster.workers().collect())
}

/// Rooms and publications' worth of ignored orders and stray messages of each worker.
async fn figures(control: &Arc<Control>) -> Vec<(u64, u64, u64)> {
    // Figures are kept for a moment.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let stats = control.worker_stats().await;
    let stray = |stats: &sfu_core::event::WorkerStats| stats.drops.of(sfu_rtc::drop_reason::DropReason::NotPublished);
    stats.iter().flatten().map(|stats| (stats.rooms, stats.ignored_commands, stray(stats))).collect()
}

#[tokio::test]
async fn a_large_room_spreads_over_workers_and_leaves_them_again() {
    let (control, reports) = control_of(3);
    let mut members: Vec<Member> = (0..5).map(|_| Member::join(&control, Access::Signal)).collect();
    let places: Vec<usize> = members.iter().map(|member| place(member).0).collect();
    assert_eq!(places, [0, 0, 1, 1, 2]);
    assert_eq!(place(&members[0]).1, [(0, 2), (1, 2), (2, 1)]);
    // Each is served by its own worker, which the first letter of the user name fragment names.
    for (member, worker) in members.iter().zip(places) {
        let state = member.session.room.lock();
        let me = &state.participants[&member.session.id];
        let letter = sfu_rtc::ice::ice_char(worker);
        assert!(me.media.as_ref().unwrap().local.ufrag.starts_with(letter));
    }
    // All workers hear the same; the home counts.
    let room = Arc::clone(&members[0].session.room);
    let (id, speaks) = (room.id, members[2].publication(0));
    let speakers = |id, speaks| Event::ActiveSpeakers { room: id, speakers: vec![(speaks, 0.5)] };
    reports.send(Report::Event { worker: 1, event: speakers(id, speaks) }).await.unwrap();
    reports.send(Report::Event { worker: 0, event: speakers(id, members[3].publication(0)) }).await.unwrap();
    let heard = |body| if let Body::ActiveSpeakers(speakers) = body { Some(speakers.speakers) } else { None };
    assert_eq!(members[4].expect(heard).await[0].participant_id, members[3].session.id.to_string());
    assert_eq!(figures(&control).await, [(1, 0, 0), (1, 0, 0), (1, 0, 0)]);
    // Those at home leave: the room lives on elsewhere, and hears with other ears.
    let speaker = members[2].session.id.to_string();
    members.drain(..2).for_each(|member| member.session.leave());
    assert_eq!(members[2].expect(heard).await[0].participant_id, speaker);
    assert_eq!(place(&members[0]), (1, vec![(1, 2), (2, 1)]));
    // The next goes where there is room, also for the first time again.
    members.push(Member::join(&control, Access::Whip));
    members.push(Member::join(&control, Access::Signal));
    assert_eq!(place(&members[0]).1, [(1, 2), (2, 2), (0, 1)]);
    assert_eq!(figures(&control).await, [(1, 0, 0), (1, 0, 0), (1, 0, 0)]);
    // The last of all keeps the room on one worker until it is closed.
    members.drain(..).for_each(|member| member.session.leave());
    assert_eq!(room.lock().roster.workers().map(|(_, participants)| participants).collect::<Vec<_>>(), [0]);
    control.close_room(&room, &mut room.lock(), LeaveReason::RoomClosed, "The test is over.");
    let figures = figures(&control).await;
    assert_eq!(figures.iter().map(|of| (of.0, of.1)).collect::<Vec<_>>(), [(0, 0); 3]);
    for worker in control.workers.iter() {
        assert_eq!((worker.placed().participants.get(), worker.placed().rooms.get()), (0, 0));
    }
}

#[tokio::test]
async fn what_is_published_later_and_what_ends_is_known_on_all_workers() {
    let (control, _reports) = control_of(2);
    let members: Vec<Member> = (0..3).map(|_| Member::join(&control, Access::Signal)).collect();
    let (first, last) = (&members[0], &members[2]);
    let carried = |member: &Member| {
        let state = member.session.room.lock();
        let member = state.roster.member(member.session.id).unwrap();
        member.slots().iter().filter_map(|slot| slot.current).collect::<Vec<_>>()
    };
    all_is_told(&first.session.room).await;
    assert!(carried(last).contains(&first.publication(1)) && carried(first).contains(&last.publication(1)));
    for (member, muted) in [(first, true), (last, true), (first, false)] {
        let publication_id = publication_text(member.publication(1));
        let mute = sfu_proto::v1::SetMuted { publication_id, muted };
        let request = Request::SetMuted(mute);
        assert!(member.session.handle(&request).is_ok());
    }
    for member in [first, last] {
        let publication_id = publication_text(member.publication(1));
        let request = Request::Unpublish(sfu_proto::v1::Unpublish { publication_id });
        assert!(member.session.handle(&request).is_ok());
        let again = Publish { mid: "1".into(), muted: true, ..Publish::default() };
        assert!(member.session.handle(&Request::Publish(again)).is_ok());
    }
    all_is_told(&first.session.room).await;
    // A transport that the worker gives up takes its publications with it, everywhere.
    let room = &first.session.room;
    control.end_media(&mut room.lock(), first.session.id);
    assert_eq!(figures(&control).await.iter().map(|of| (of.0, of.1)).collect::<Vec<_>>(), [(1, 0); 2]);
}

#[tokio::test]
async fn a_room_that_fails_on_one_worker_ends_on_all() {
    let (control, reports) = control_of(2);
    let members: Vec<Member> = (0..3).map(|_| Member::join(&control, Access::Signal)).collect();
    reports.send(Report::WorkerFailed { worker: 1 }).await.unwrap();
    for member in &members {
        assert_eq!(member.left().await, LeaveReason::ConnectionLost);
    }
    assert!(figures(&control).await.iter().all(|of| of.0 == 0));
}
