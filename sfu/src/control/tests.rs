//! What the control plane makes of its workers' reports, with a real worker that has no clients.

use super::outbox::Next;
use super::*;
use crate::config::MediaConfig;
use crate::net::bind_udp;
use crate::worker_thread::{RelayHub, Report, WorkerParts, spawn};
use auth::Permit;
use sfu_core::config::WorkerConfig;
use sfu_core::event::{CloseReason, Event};
use sfu_core::ids::PublicationId;
use sfu_proto::v1::server_message::Body;
use sfu_proto::v1::{Joined, LeaveReason, Offer, Publish, ServerMessage};
use sfu_rtc::media::Codec;
use tokio::sync::mpsc::{Sender, channel};

const OFFER: &str = include_str!("../../../sfu-rtc/src/sdp/fixtures/chromium-simulcast.sdp");

/// A control plane with one worker, and a way to report in its name.
fn control() -> (Arc<Control>, Sender<Report>) {
    let mut config = Config::default();
    config.auth.open = true;
    config.signal.resume_seconds = 0;
    let clock = Clock::start();
    let certificate = Arc::new(DtlsCertificate::generate());
    let (reports, from_workers) = channel(64);
    let media = MediaConfig { bind: [127, 0, 0, 1].into(), udp_port: 0, ..MediaConfig::default() };
    let parts = WorkerParts {
        index: 0,
        cpu: None,
        udp: bind_udp(&media, 0).unwrap(),
        candidates: Vec::new(),
        config: WorkerConfig::default(),
        certificate: Arc::clone(&certificate),
        clock,
        reports: reports.clone(),
        relays: RelayHub::new(1),
    };
    let (worker, _thread) = spawn(parts).unwrap();
    let control = Control::new(Arc::new(config), clock, &certificate, vec![worker]);
    tokio::spawn(Arc::clone(&control).handle_reports(from_workers));
    (control, reports)
}

struct Member {
    session: Session,
    joined: Joined,
}

impl Member {
    fn join(control: &Arc<Control>, access: Access) -> Self {
        let permit: Permit = control.auth.admit("", "demo", None).unwrap();
        let publish = |mid: &str| Publish { mid: mid.into(), ..Publish::default() };
        let request = JoinRequest {
            room: "demo".into(),
            name: String::new(),
            metadata: String::new(),
            client: String::new(),
            offer: Some(Offer { sdp: OFFER.into(), publish: vec![publish("0"), publish("1")] }),
            manual_subscribe: false,
            access,
            wish: Wish::Auto,
        };
        let Entered { session, joined } = control.join(&permit, request).unwrap();
        Self { session, joined }
    }

    fn publication(&self, i: usize) -> PublicationId {
        parse_publication(&self.joined.publications[i].id).unwrap()
    }

    fn transport(&self) -> TransportId {
        self.session.room.lock().participants[&self.session.id].media.as_ref().unwrap().transport
    }

    /// The next message that `pick` takes.
    async fn expect<T>(&self, pick: impl Fn(Body) -> Option<T>) -> T {
        loop {
            let Next::Message(message) = self.session.next().await else { panic!("the session ended") };
            let message: ServerMessage = serde_json::from_str(message.json()).unwrap();
            if let Some(picked) = message.body.and_then(&pick) {
                return picked;
            }
        }
    }

    async fn left(&self) -> LeaveReason {
        self.expect(|body| if let Body::Left(left) = body { Some(left.reason()) } else { None }).await
    }
}

fn event(event: Event) -> Report {
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

#[tokio::test]
async fn the_codec_that_is_seen_is_told() {
    let (control, reports) = control();
    let (watcher, other) = (Member::join(&control, Access::Signal), Member::join(&control, Access::Signal));
    let publication = other.publication(1);
    reports.send(event(Event::PublicationCodec { publication, codec: Codec::Vp8 })).await.unwrap();
    watcher
        .expect(|body| {
            let Body::Roster(roster) = body else { return None };
            roster.participants.iter().flat_map(|p| &p.publications).find(|p| p.codec == "VP8").map(|_| ())
        })
        .await;
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
    let request = sfu_proto::v1::client_message::Body::Offer(offer);
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
