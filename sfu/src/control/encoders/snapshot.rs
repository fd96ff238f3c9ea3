//! A room as the planner sees it.

use crate::control::caps::VideoCaps;
use crate::control::room::RoomState;
use sfu_core::command::{LayerPreference, Quality, Role};
use sfu_core::event::{PauseReason, ReceiveStreamStats, TransportStats};
use sfu_core::ids::{PublicationId, TransportId};
use sfu_core::qos::room_planner::{Layer, Snapshot, Source, Subscriber, Subscription};
use sfu_room::{Member, ParticipantId, Publication, Slot};
use sfu_rtc::ids::Rid;
use sfu_rtc::media::MediaKind;
use sfu_rtc::units::Bitrate;
use std::collections::HashMap;

/// What a bit of a screen, of what somebody pinned, and of one who speaks is worth, beside one of others.
const SCREEN: u32 = 8;
const PINNED: u32 = 4;
const SPEAKER: u32 = 3;
/// What a subscriber gives priority goes before all else.
const PRIORITY: u32 = 16;

/// Senders are asked for this much of what they may send, in percent: encoders miss their rate, and are cut above it.
const ASKED_PERCENT: u64 = 95;

/// The workers' figures of all transports.
pub(super) type Figures<'a> = HashMap<TransportId, &'a TransportStats>;

impl RoomState {
    /// What a participant may publish at most. What nobody may get, nobody need send.
    pub(super) fn publish_caps(&self, id: ParticipantId) -> VideoCaps {
        let own = self.participants.get(&id).map(|participant| participant.grants.publish_video).unwrap_or_default();
        own.and(self.options.publish_video).and(VideoCaps { bitrate_bps: None, ..self.options.subscribe_video })
    }

    /// What a participant may get at most.
    pub(super) fn subscribe_caps(&self, id: ParticipantId) -> VideoCaps {
        let own = self.participants.get(&id).map(|participant| participant.grants.subscribe_video).unwrap_or_default();
        own.and(self.options.subscribe_video)
    }

    /// Everybody as they are. Of whose path nothing is known yet, `start` is.
    pub(super) fn snapshot(&self, figures: &Figures<'_>, start: Option<Bitrate>) -> Snapshot {
        let sources = self.sources(figures, |_| true);
        let of_publications = self.roster.members().flat_map(|member| {
            let speaks = self.roster.speakers().iter().any(|(id, _)| *id == member.id());
            member.publications().iter().map(move |publication| (publication, speaks))
        });
        // What is muted is wanted by nobody.
        let heard: HashMap<PublicationId, bool> = of_publications
            .filter(|(publication, _)| !publication.muted)
            .map(|(publication, speaks)| (publication.id, speaks))
            .collect();
        let places = sources
            .iter()
            .enumerate()
            .filter_map(|(place, source)| Some((source.publication, (place, *heard.get(&source.publication)?))));
        let places: HashMap<PublicationId, (usize, bool)> = places.collect();
        let subscribers = self.roster.members().filter_map(|member| {
            let transport = member.transport()?;
            let caps: sfu_core::command::VideoCaps = self.subscribe_caps(member.id()).into();
            let subscription = |slot: &Slot| {
                let (source, speaks) =
                    *places.get(&slot.current.filter(|_| slot.pause != Some(PauseReason::Codec))?)?;
                let preference = slot.preference(member.candidates());
                Some(Subscription { source, preference, caps, weight: weight(preference, speaks) })
            };
            let subscriptions = member.slots().iter().filter_map(subscription).collect();
            let stats = figures.get(&transport);
            let estimate = stats.map_or(start, |stats| stats.downlink_sustained);
            let estimate = estimate.into_iter().chain(caps.bitrate).min();
            let audio = stats.map(|stats| audio_rate(member, stats)).unwrap_or_default();
            Some(Subscriber { transport, estimate, audio, subscriptions })
        });
        Snapshot { subscribers: subscribers.collect(), sources }
    }

    /// Only those who may not send what they like, and somebody for each quality of all of them.
    pub(super) fn snapshot_of_capped(&self, figures: &Figures<'_>) -> Snapshot {
        let sources = self.sources(figures, |caps| !caps.is_none());
        let all = |quality| {
            let preference = LayerPreference { quality, ..LayerPreference::default() };
            let subscription = |source| Subscription { source, preference, caps: Default::default(), weight: 1 };
            let subscriptions = (0..sources.len()).map(subscription).collect();
            Subscriber { transport: TransportId(0), estimate: None, audio: Bitrate::ZERO, subscriptions }
        };
        Snapshot { subscribers: [Quality::Low, Quality::Medium, Quality::High].map(all).into(), sources }
    }

    /// All video of those whose caps `are_taken`.
    fn sources(&self, figures: &Figures<'_>, are_taken: impl Fn(&VideoCaps) -> bool) -> Vec<Source> {
        let of_member = |member: &Member| {
            let caps = self.publish_caps(member.id());
            let asked = caps.bitrate_bps.map(|bitrate| bitrate.saturating_mul(ASKED_PERCENT) / 100);
            let asked = VideoCaps { bitrate_bps: asked, ..caps };
            let received = member.transport().and_then(|transport| figures.get(&transport));
            let received = received.map_or(&[][..], |stats| &stats.received);
            let video = member.publications().iter().filter(|publication| publication.kind == MediaKind::Video);
            let source = |publication: &Publication| Source {
                publication: publication.id,
                layers: layers(publication, received),
                caps: asked.into(),
            };
            video.filter(|_| are_taken(&caps)).map(source).collect::<Vec<_>>()
        };
        self.roster.members().flat_map(of_member).collect()
    }
}

/// How much a subscriber's subscription counts beside its others.
fn weight(preference: LayerPreference, speaks: bool) -> u32 {
    let by_role = match preference.role {
        Role::Screen => SCREEN,
        Role::Pinned => PINNED,
        _ if speaks => SPEAKER,
        Role::Speaker | Role::Other => 1,
    };
    by_role * (1 + PRIORITY * u32::from(preference.priority))
}

/// A publication's layers as they arrive.
fn layers(publication: &Publication, received: &[ReceiveStreamStats]) -> Vec<Layer> {
    let layer = |rid: Option<Rid>| {
        let stream = received.iter().find(|stream| stream.publication == publication.id && stream.rid == rid);
        let rate = stream.map(|stream| stream.bitrate).unwrap_or_default();
        Layer { rid, rate, size: stream.and_then(|stream| stream.resolution) }
    };
    match publication.rids.as_slice() {
        [] => vec![layer(None)],
        rids => rids.iter().map(|rid| layer(Some(*rid))).collect(),
    }
}

/// What a subscriber's audio takes.
fn audio_rate(member: &Member, stats: &TransportStats) -> Bitrate {
    let is_audio = |mid| member.slot(mid).is_some_and(|slot| slot.kind == MediaKind::Audio);
    let rates = stats.slots.iter().filter(|slot| is_audio(&slot.mid)).map(|slot| slot.bitrate.as_bps());
    Bitrate::from_bps(rates.sum())
}
