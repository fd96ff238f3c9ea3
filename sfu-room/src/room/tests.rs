//! What workers know of a room, as far as its orders say, is what the roster has.

use super::*;
use proptest::prelude::*;
use sfu_core::command::Quality;
use sfu_rtc::media::{Direction, MediaKind};
use sfu_rtc::rtp::extension::ExtensionMap;
use sfu_rtc::time::Duration;
use std::collections::BTreeSet;

const ROOM: RoomId = RoomId(7);
const WORKERS: usize = 3;

/// A worker as its orders leave it. It panics where an order names what is not there.
#[derive(Default, Debug)]
struct Worker {
    is_open: bool,
    /// Of publications that come in here: their transport.
    own: BTreeMap<PublicationId, TransportId>,
    /// Of those that come from elsewhere: their worker.
    relayed: BTreeMap<PublicationId, WorkerId>,
    /// Where the own ones are relayed to.
    relays: BTreeSet<(PublicationId, WorkerId)>,
    muted: BTreeSet<PublicationId>,
    slots: BTreeMap<(TransportId, String), PublicationId>,
}

impl Worker {
    fn carry_out(&mut self, command: Command) {
        assert_eq!(self.is_open, !matches!(command, Command::OpenRoom { .. }), "{command:?}");
        match command {
            Command::OpenRoom { room: ROOM } => self.is_open = true,
            Command::CloseRoom { room: ROOM } => *self = Self::default(),
            Command::RemoveTransport { transport } => {
                let ended: Vec<_> = self.own.iter().filter(|(_, of)| **of == transport).map(|(id, _)| *id).collect();
                ended.into_iter().for_each(|publication| self.end(publication));
                self.slots.retain(|(of, _), _| *of != transport);
            }
            Command::Publish { publication, transport, .. } => {
                assert!(self.own.insert(publication, transport).is_none());
            }
            Command::Unpublish { publication } => {
                assert!(self.knows(publication), "{publication:?} ended twice");
                self.end(publication);
            }
            Command::SetMuted { publication, muted } => {
                assert!(self.own.contains_key(&publication));
                assert!(if muted { self.muted.insert(publication) } else { self.muted.remove(&publication) });
            }
            Command::RelayTo { publication, destination } => {
                assert!(self.own.contains_key(&publication) && self.relays.insert((publication, destination)));
            }
            Command::StopRelay { publication, destination } => {
                assert!(self.relays.remove(&(publication, destination)));
            }
            Command::OpenRelay { room: ROOM, publication, origin, .. } => {
                assert!(!self.knows(publication) && self.relayed.insert(publication, origin).is_none());
            }
            Command::AssignSlot { transport, mid, source, .. } => {
                self.slots.remove(&(transport, mid.to_string()));
                if let Some(source) = source {
                    assert!(self.knows(source), "a slot is to carry {source:?}, which is not there");
                    self.slots.insert((transport, mid.to_string()), source);
                }
            }
            Command::SetPreference { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn knows(&self, publication: PublicationId) -> bool {
        self.own.contains_key(&publication) || self.relayed.contains_key(&publication)
    }

    fn end(&mut self, publication: PublicationId) {
        self.own.remove(&publication);
        self.relayed.remove(&publication);
        self.muted.remove(&publication);
        self.relays.retain(|(relayed, _)| *relayed != publication);
        self.slots.retain(|_, carried| *carried != publication);
    }
}

/// A room with its workers, and numbers for what comes.
struct Setup {
    room: Room,
    workers: Vec<Worker>,
    next: u64,
}

impl Setup {
    fn new() -> Self {
        let mut setup = Self { room: Room::open(ROOM, 0), workers: Vec::new(), next: 1 };
        setup.workers.resize_with(WORKERS, Worker::default);
        setup.settle();
        setup
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn settle(&mut self) {
        self.room.fill_all();
        for (worker, command) in self.room.take_orders() {
            self.workers[worker].carry_out(command);
        }
    }

    /// One of those who are there.
    fn pick(&self, which: usize) -> Option<ParticipantId> {
        let members: Vec<ParticipantId> = self.room.members.keys().copied().collect();
        (!members.is_empty()).then(|| members[which % members.len()])
    }

    fn change(&mut self, change: &Change) {
        match *change {
            Change::Enter { worker, slots } => {
                let id = ParticipantId(self.number());
                self.room.enter(id, format!("{id}").into(), worker, true);
                self.connect(id, slots);
            }
            Change::Leave(who) => {
                let Some(id) = self.pick(who) else { return };
                assert!(self.room.leave(id).is_some() && self.room.leave(id).is_none());
            }
            Change::Connect(who, slots) => {
                let Some(id) = self.pick(who) else { return };
                self.connect(id, slots);
            }
            Change::LoseMedia(who) => {
                let Some(id) = self.pick(who) else { return };
                let member = &self.room.members[&id];
                if let Some(transport) = member.transport {
                    self.workers[member.worker].carry_out(Command::RemoveTransport { transport });
                }
                self.room.media_ended(id);
            }
            Change::Publish(who, kind) => {
                let Some(id) = self.pick(who) else { return };
                let publication = publication(PublicationId(self.number()), kind);
                let all = self.room.members[&id].publications.iter().cloned().chain([publication]).collect();
                self.room.set_publications(id, all);
            }
            Change::Unpublish(who) => {
                let Some(id) = self.pick(who) else { return };
                if let Some(first) = self.room.members[&id].publications.first().map(|publication| publication.id) {
                    assert!(self.room.unpublish(id, first) && !self.room.unpublish(id, first));
                }
            }
            Change::Mute(who, muted) => {
                let publications = self.pick(who).map(|id| &self.room.members[&id].publications);
                if let Some(last) = publications.and_then(|all| all.last()).map(|publication| publication.id) {
                    self.room.set_muted(last, muted);
                }
            }
            Change::Subscribe(who, slot, ref wanted) => self.subscribe(who, slot, wanted),
            Change::Hear(worker, who) => {
                let spoke = self.pick(who).and_then(|id| self.room.members[&id].publications.first());
                let heard: Vec<_> = spoke.map(|publication| (publication.id, 0.5)).into_iter().collect();
                self.room.set_heard(worker, &heard);
            }
        }
    }

    /// What there is ends; there is a new transport.
    fn connect(&mut self, id: ParticipantId, slots: usize) {
        self.room.end_media(id);
        let transport = TransportId(self.number());
        let sections: Vec<MediaSection> = (0..slots).map(section).collect();
        self.room.set_sections(id, transport, &sections, &Subscription::Auto);
    }

    fn subscribe(&mut self, who: usize, slot: usize, wanted: &Wanted) {
        let Some(id) = self.pick(who) else { return };
        let other = self.pick(who + 1).unwrap_or(id);
        let theirs = self.room.members[&other].publications.first().map(|publication| publication.id);
        let subscription = match wanted {
            Wanted::Auto => Subscription::Auto,
            Wanted::Nothing => Subscription::Nothing,
            Wanted::Publication => theirs.map_or(Subscription::Nothing, Subscription::Publication),
            Wanted::Identity => Subscription::Identity(format!("{other}")),
        };
        let preference = LayerPreference { quality: Quality::Low, ..LayerPreference::default() };
        self.room.subscribe(id, &mid(slot), subscription, preference);
    }

    fn check(&self) {
        let on: BTreeMap<usize, usize> = self.room.workers().collect();
        assert_eq!(on.values().sum::<usize>(), self.room.members.len());
        for (index, worker) in self.workers.iter().enumerate() {
            assert_eq!(worker.is_open, on.contains_key(&index));
            if !worker.is_open {
                continue;
            }
            let all = || self.room.members.values().flat_map(|m| m.publications.iter().map(move |p| (m, p)));
            let own: BTreeMap<_, _> =
                all().filter(|(m, _)| m.worker == index).map(|(m, p)| (p.id, m.transport.unwrap())).collect();
            let from: BTreeMap<_, _> =
                all().filter(|(m, _)| m.worker != index).map(|(m, p)| (p.id, worker_id(m.worker))).collect();
            assert_eq!((&worker.own, &worker.relayed), (&own, &from));
            let others = || on.keys().filter(|other| **other != index).map(|other| worker_id(*other));
            let relays: BTreeSet<_> = own.keys().flat_map(|id| others().map(move |other| (*id, other))).collect();
            assert_eq!(worker.relays, relays);
            let muted: BTreeSet<_> = all().filter(|(m, p)| m.worker == index && p.muted).map(|(_, p)| p.id).collect();
            assert_eq!(worker.muted, muted);
            let here = self.room.members.values().filter(|member| member.worker == index);
            let carried =
                here.flat_map(|m| m.slots.iter().filter_map(move |s| Some((m.transport?, s.mid, s.current?))));
            let slots: BTreeMap<_, _> =
                carried.map(|(transport, mid, current)| ((transport, mid.to_string()), current)).collect();
            assert_eq!(worker.slots, slots);
        }
    }
}

fn mid(slot: usize) -> Mid {
    Mid::new(&slot.to_string()).unwrap()
}

/// The slots take turns: video, audio, video ...
fn section(slot: usize) -> MediaSection {
    MediaSection {
        mid: mid(slot),
        kind: if slot.is_multiple_of(2) { MediaKind::Video } else { MediaKind::Audio },
        direction: Direction::Send,
        formats: std::sync::Arc::default(),
        extensions: ExtensionMap::default(),
        rids: Vec::new(),
        remote_ssrcs: Vec::new(),
        local_ssrcs: None,
        local_fec: None,
        remote_fec: None,
        red: None,
        rtx_time: Duration::ZERO,
        nack: false,
        reduced_rtcp: false,
        remb: true,
    }
}

fn publication(id: PublicationId, kind: MediaKind) -> Publication {
    let source = if kind == MediaKind::Video { Source::Camera } else { Source::Microphone };
    Publication { id, mid: mid(90), kind, source, label: String::new(), muted: false, codec: None, rids: Vec::new() }
}

#[derive(Clone, Debug)]
enum Wanted {
    Auto,
    Nothing,
    Publication,
    Identity,
}

#[derive(Clone, Debug)]
enum Change {
    Enter { worker: usize, slots: usize },
    Leave(usize),
    Connect(usize, usize),
    LoseMedia(usize),
    Publish(usize, MediaKind),
    Unpublish(usize),
    Mute(usize, bool),
    Subscribe(usize, usize, Wanted),
    Hear(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let who = 0..8_usize;
    let kind = prop_oneof![Just(MediaKind::Audio), Just(MediaKind::Video)];
    let wanted =
        prop_oneof![Just(Wanted::Auto), Just(Wanted::Nothing), Just(Wanted::Publication), Just(Wanted::Identity)];
    prop_oneof![
        3 => (0..WORKERS, 0..6_usize).prop_map(|(worker, slots)| Change::Enter { worker, slots }),
        2 => who.clone().prop_map(Change::Leave),
        1 => (who.clone(), 0..6_usize).prop_map(|(who, slots)| Change::Connect(who, slots)),
        1 => who.clone().prop_map(Change::LoseMedia),
        4 => (who.clone(), kind).prop_map(|(who, kind)| Change::Publish(who, kind)),
        1 => who.clone().prop_map(Change::Unpublish),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, muted)| Change::Mute(who, muted)),
        2 => (who.clone(), 0..6_usize, wanted).prop_map(|(who, slot, wanted)| Change::Subscribe(who, slot, wanted)),
        1 => (0..WORKERS, who).prop_map(|(worker, who)| Change::Hear(worker, who)),
    ]
}

proptest! {
    #[test]
    fn workers_know_what_the_roster_has(changes in prop::collection::vec(change(), 0..60)) {
        let mut setup = Setup::new();
        for change in &changes {
            setup.change(change);
            setup.settle();
            setup.check();
        }
        setup.room.close();
        setup.settle();
        prop_assert!(setup.workers.iter().all(|worker| !worker.is_open));
    }
}

#[test]
fn who_speaks_is_what_the_home_hears_and_a_new_home_has_heard_it_already() {
    let mut setup = Setup::new();
    for worker in [0, 1] {
        setup.change(&Change::Enter { worker, slots: 0 });
    }
    setup.change(&Change::Publish(1, MediaKind::Audio));
    let (first, second) = (setup.pick(0).unwrap(), setup.pick(1).unwrap());
    let heard = [(setup.room.members[&second].publications[0].id, 0.5)];
    assert!(!setup.room.set_heard(1, &heard) && setup.room.speakers().is_empty());
    let left = setup.room.leave(first).unwrap();
    assert!(left.speakers_changed && left.left_worker);
    assert_eq!((setup.room.home(), setup.room.speakers()), (1, &[(second, 0.5)][..]));
}
