//! The part of signalling: what members offer, publish and want in their slots. What comes of it for the workers is the
//! server's own room's to say.

use super::member::SlotState;
use super::{Conference, ROOM, servers};
use sfu_core::command::{Command, LayerPreference, TransportParams};
use sfu_core::ids::{PublicationId, TransportId};
use sfu_room::{ParticipantId, Publication, Source, Subscription, placement};
use sfu_rtc::dtls::DtlsRole;
use sfu_rtc::ice::{Candidate, CandidateProtocol, ICE_ENTROPY, IceCredentials};
use sfu_rtc::ids::{Mid, Ssrc};
use sfu_rtc::media::{Direction, MediaKind};
use sfu_rtc::sdp::{self, AnswerParams, MediaPolicy, Offer};

use super::member::Member;

/// Microphone and camera in a member's sources.
pub(super) const AUDIO: usize = 0;
pub(super) const VIDEO: usize = 1;

/// A member's number in the room.
pub(super) fn member_id(index: usize) -> ParticipantId {
    ParticipantId(index as u64)
}

impl Conference {
    pub(super) fn member_of(&mut self, transport: TransportId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.transport == transport)
    }

    /// A member offers, gets its transport, publishes, and has its slots filled.
    pub(super) fn join(&mut self, index: usize) {
        let server = placement::of_participant(self.room.workers(), &self.servers.loads(index), usize::MAX);
        let member = &mut self.members[index];
        member.server = server;
        member.joins_at = None;
        member.joined = Some(self.now);
        let offer = member.peer.offer();
        let slots = member.peer.slots.iter().map(|slot| slot.kind == str0m::media::MediaKind::Video);
        member.slots = slots.map(|video| SlotState::new(self.now, video)).collect();
        let local_ice = self.credentials();
        let parsed = self.answer(index, &offer, &local_ice);
        let member = &mut self.members[index];
        let params = TransportParams {
            local_ice: local_ice.clone(),
            remote_ice: parsed.ice,
            remote_fingerprints: parsed.fingerprints,
            dtls_role: DtlsRole::Server,
            sections: member.sections.clone(),
            rtcp: sfu_rtc::transport::RtcpSource { ssrc: sfu_rtc::ids::Ssrc(0x0a11_ce00), cname: "sim".to_owned() },
            signalled_from: None,
            candidates: Vec::new(),
        };
        member.local_ice = Some(local_ice);
        let (transport, sections) = (member.transport, member.sections.clone());
        self.room.enter(member_id(index), format!("member-{index}").into(), server, true);
        self.room.order(server, Command::AddTransport { room: ROOM, transport, params: Box::new(params) });
        // Members say themselves what they want in each slot.
        self.room.set_sections(member_id(index), transport, &sections, &Subscription::Nothing);
        self.carry_out_orders();
        self.publish(index, AUDIO);
        self.publish(index, VIDEO);
        self.fill_slots(index);
        for other in 0..self.members.len() {
            if other != index && self.members[other].is_present() {
                self.show_newcomer(other, index);
            }
        }
    }

    /// What may go into slots has changed.
    pub(super) fn fill_all(&mut self) {
        self.room.fill_all();
        self.carry_out_orders();
    }

    /// Answers an offer; the member has the answer at once.
    pub(super) fn answer(&mut self, index: usize, offer: &str, ice: &IceCredentials) -> Offer {
        let parsed = Offer::parse(offer).expect("we read str0m's offer");
        let member = &mut self.members[index];
        member.answers += 1;
        let params = AnswerParams {
            ice,
            fingerprint: self.servers.certificate.fingerprint(),
            candidates: &[Candidate::host(CandidateProtocol::Udp, servers::address(member.server), 1)],
            policy: &MediaPolicy::default(),
            session: 1,
            version: member.answers,
            previous: &member.sections,
            dtls_role: Some(DtlsRole::Server),
            cname: "sim",
            streams: &|mid| format!("slot-{mid}"),
        };
        let next_ssrc = &mut self.next_ssrc;
        let answer = sdp::answer(&parsed, &params, &mut || {
            *next_ssrc += 1;
            Ssrc(*next_ssrc)
        });
        let answer = answer.expect("we answer str0m's offer");
        member.sections = answer.sections;
        member.peer.accept(&answer.sdp);
        parsed
    }

    pub(super) fn credentials(&mut self) -> IceCredentials {
        let mut bytes = [0; ICE_ENTROPY];
        bytes.fill_with(|| self.rng.bits() as u8);
        IceCredentials::from_entropy('a', &bytes)
    }

    /// Publishes a member's microphone or camera.
    pub(super) fn publish(&mut self, index: usize, which: usize) {
        let publication = PublicationId(self.next_publication);
        self.next_publication += 1;
        self.publications.insert(publication, (index, which == VIDEO));
        let now = self.now;
        let member = &mut self.members[index];
        let mid = if which == VIDEO { member.peer.video_mid } else { member.peer.audio_mid };
        let mid = Mid::new(&mid).expect("a mid of str0m");
        let source = &mut member.sources[which];
        source.publication = Some(publication);
        source.muted = false;
        source.flows.set(now, true);
        let section = member.sections.iter().find(|section| section.mid == mid).expect("it was negotiated");
        let publication = Publication {
            id: publication,
            mid,
            kind: section.kind,
            source: if which == VIDEO { Source::Camera } else { Source::Microphone },
            label: String::new(),
            muted: false,
            codec: None,
            rids: section.rids.clone(),
        };
        let member = self.room.member(member_id(index)).expect("it has entered");
        let all = member.publications().iter().cloned().chain([publication]).collect();
        self.room.set_publications(member_id(index), all);
        self.fill_all();
    }

    /// Ends a publication: slots that carried it are empty.
    pub(super) fn unpublish(&mut self, index: usize, which: usize) {
        let now = self.now;
        let Some(publication) = self.members[index].sources[which].publication.take() else { return };
        self.members[index].sources[which].flows.set(now, false);
        self.room.unpublish(member_id(index), publication);
        self.fill_all();
        self.empty_slots_of(index, which == VIDEO);
    }

    /// Notes that what showed a source shows nothing.
    pub(super) fn empty_slots_of(&mut self, index: usize, video: bool) {
        let now = self.now;
        for slot in self.members.iter_mut().flat_map(|member| &mut member.slots) {
            if slot.video == video && slot.shows.last() == Some(index) {
                slot.shows.set(now, None);
            }
        }
    }

    /// Puts a source (or nothing) into a slot.
    pub(super) fn assign(&mut self, index: usize, slot: usize, shows: Option<usize>) {
        let Some(mid) = self.slot_mid(index, slot) else { return };
        let video = self.members[index].slots[slot].video;
        let source = shows.and_then(|source| self.members[source].sources[usize::from(video)].publication);
        let shows = shows.filter(|_| source.is_some());
        let now = self.now;
        let member = &mut self.members[index];
        let state = &mut member.slots[slot];
        state.shows.set(now, shows);
        let preference =
            LayerPreference { quality: state.quality, paused: state.paused.last(), ..LayerPreference::default() };
        let subscription = source.map_or(Subscription::Nothing, Subscription::Publication);
        self.room.subscribe(member_id(index), &mid, subscription, preference);
        self.carry_out_orders();
    }

    pub(super) fn slot_mid(&self, index: usize, slot: usize) -> Option<Mid> {
        Mid::new(&self.members[index].peer.slots.get(slot)?.mid)
    }

    /// Members whose sources `index` may get to see.
    pub(super) fn others(&self, index: usize) -> Vec<usize> {
        (0..self.members.len()).filter(|other| *other != index && self.members[*other].is_present()).collect()
    }

    pub(super) fn fill_slots(&mut self, index: usize) {
        for slot in 0..self.members[index].slots.len() {
            if self.members[index].slots[slot].shows.last().is_none() {
                let shows = self.unseen_by(index, self.members[index].slots[slot].video);
                self.assign(index, slot, shows);
            }
        }
    }

    /// Somebody whom the member does not get yet.
    pub(super) fn unseen_by(&mut self, index: usize, video: bool) -> Option<usize> {
        let slots = &self.members[index].slots;
        let seen = |other: &usize| slots.iter().any(|slot| slot.video == video && slot.shows.last() == Some(*other));
        let unseen: Vec<usize> = self.others(index).into_iter().filter(|other| !seen(other)).collect();
        self.rng.pick(&unseen).copied()
    }

    fn show_newcomer(&mut self, index: usize, newcomer: usize) {
        for video in [false, true] {
            let slots = &self.members[index].slots;
            let free = slots.iter().position(|slot| slot.video == video && slot.shows.last().is_none());
            if let Some(slot) = free {
                self.assign(index, slot, Some(newcomer));
            }
        }
    }

    /// A switch that the worker tells of must be one that was ordered.
    pub(super) fn check_switch(&mut self, transport: TransportId, mid: Mid, publication: PublicationId) {
        let source = self.publications.get(&publication).copied();
        let now = self.now;
        let Some(member) = self.member_of(transport) else { return };
        let slot = member.peer.slots.iter().position(|slot| Mid::new(&slot.mid) == Some(mid));
        let ordered = slot.and_then(|slot| member.slots.get(slot)).is_some_and(|slot| {
            source.is_some_and(|(index, video)| slot.video == video && slot.shows.held_within(now, now, Some(index)))
        });
        if !ordered {
            self.faults.push(format!("{mid} of {transport:?} switched to {source:?}, which nobody ordered"));
        }
    }

    /// Our sources in the member's slots: of the section, and whether it is a picture.
    pub(super) fn slot_sources(&self, index: usize) -> Vec<(usize, Ssrc, bool)> {
        let member = &self.members[index];
        let source_of = |slot: &crate::peer::Slot| {
            let section = member.sections.iter().find(|section| Some(section.mid) == Mid::new(&slot.mid))?;
            let live = section.direction == Direction::Send;
            Some((section.local_ssrcs.filter(|_| live)?.media, section.kind == MediaKind::Video))
        };
        let slots = member.peer.slots.iter().enumerate();
        slots.filter_map(|(at, slot)| source_of(slot).map(|(ssrc, video)| (at, ssrc, video))).collect()
    }
}
