//! What senders are asked to encode, room by room: a snapshot of the room goes to the planner of `sfu-core` each second
//! and soon after somebody wants something else, and directives go to the senders for which that changes anything.

use super::Control;
use super::auth::VideoCaps;
use super::room::{Room, RoomState};
use crate::config::PlannerPolicy;
use sfu_core::command::{Command, LayerPreference, Quality};
use sfu_core::event::{ReceiveStreamStats, TransportStats};
use sfu_core::ids::{PublicationId, TransportId};
use sfu_core::qos::room_plan::{Caps, Encoding, Layer, Planner, Snapshot, Source, SourcePlan, Subscriber, Wish};
use sfu_proto::v1::{EncoderDirective, EncodingDirective};
use sfu_room::{Member, ParticipantId, Publication, Slot, Subscription};
use sfu_rtc::ids::Rid;
use sfu_rtc::media::MediaKind;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;
use std::collections::HashMap;
use std::sync::Arc;

/// Where somebody wants something else, the room is planned at the next of these. However many do, a room is planned no
/// more often.
const STEP: Duration = Duration::from_millis(250);
/// Each room is planned at every so many steps, with fresh figures.
const STEPS: u32 = 4;
/// A directive that is not renewed lapses: the server, or the way to it, may be gone.
const TTL: Duration = Duration::from_secs(10);
/// Two renewals may be lost.
const RENEWAL: Duration = Duration::from_secs(3);

/// What a bit of a screen, of what somebody pinned, and of one who speaks is worth, beside one of others.
const SCREEN: u32 = 8;
const PINNED: u32 = 4;
const SPEAKER: u32 = 3;

/// The plan of a room.
#[derive(Debug, Default)]
pub(super) struct Encoders {
    /// Somebody wants something else.
    pub(super) is_due: bool,
    planner: Planner,
    plans: Vec<SourcePlan>,
    sent: HashMap<PublicationId, Sent>,
}

/// The last directive for a publication.
#[derive(Debug)]
struct Sent {
    encodings: Vec<EncodingDirective>,
    at: Instant,
}

/// The workers' figures of all transports.
type Figures<'a> = HashMap<TransportId, &'a TransportStats>;

impl Control {
    /// Plans all rooms, for as long as the server runs.
    pub(crate) async fn plan_encoders(self: Arc<Self>) {
        let mut interval = tokio::time::interval(STEP);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for step in (0..STEPS).cycle() {
            interval.tick().await;
            let rooms = self.all_rooms();
            let due: Vec<Arc<Room>> = rooms.into_iter().filter(|room| self.is_plan_due(room, step == 0)).collect();
            if due.is_empty() {
                continue;
            }
            let answers = self.worker_stats().await;
            let transports = answers.iter().flatten().flat_map(|worker| &worker.transports);
            let figures: Figures<'_> = transports.map(|stats| (stats.transport, stats)).collect();
            due.iter().for_each(|room| self.plan_room(room, &figures));
        }
    }

    /// Whether a room is to be planned in this step; `all` are that have video.
    fn is_plan_due(&self, room: &Room, all: bool) -> bool {
        let mut state = room.lock();
        let is_due = std::mem::take(&mut state.encoders.is_due) || all;
        let has_video = |member: &Member| member.publications().iter().any(|p| p.kind == MediaKind::Video);
        let is_on = |member: &Member| self.plans_all() || !state.caps_of(member.id()).is_none();
        is_due && state.roster.members().any(|member| has_video(member) && is_on(member))
    }

    fn plans_all(&self) -> bool {
        self.config.qos.planner == PlannerPolicy::Gso
    }

    /// Plans a room, and tells the senders for which that changes anything.
    fn plan_room(&self, room: &Room, figures: &Figures<'_>) {
        let now = self.clock.now();
        let mut state = room.lock();
        let snapshot = if self.plans_all() { state.snapshot(figures) } else { state.snapshot_of_capped(figures) };
        let plans = state.encoders.planner.plan(now, snapshot);
        state.encoders.sent.retain(|publication, _| plans.iter().any(|plan| plan.publication == *publication));
        let due: Vec<(PublicationId, EncoderDirective)> =
            plans.iter().filter_map(|plan| Some((plan.publication, state.directive(plan, now)?))).collect();
        state.encoders.plans = plans;
        for (publication, directive) in due {
            let sent = Sent { encodings: directive.encodings.clone(), at: now };
            // Who has gone meanwhile needs none.
            if self.direct_encoder(&state, publication, directive).is_ok() {
                state.encoders.sent.insert(publication, sent);
            }
        }
    }
}

impl RoomState {
    /// The plan, publication by publication.
    pub(crate) fn plans(&self) -> &[SourcePlan] {
        &self.encoders.plans
    }

    /// What a participant may publish at most.
    fn caps_of(&self, id: ParticipantId) -> VideoCaps {
        let own = self.participants.get(&id).map(|participant| participant.grants.video).unwrap_or_default();
        own.and(self.options.video)
    }

    /// Lets the worker hold a participant to what it may publish.
    pub(super) fn cap_publications(&mut self, id: ParticipantId) {
        let Some(cap) = self.caps_of(id).bitrate_bps.map(Bitrate::from_bps) else { return };
        let Some(member) = self.roster.member(id) else { return };
        let worker = member.worker();
        let video = member.publications().iter().filter(|publication| publication.kind == MediaKind::Video);
        let caps: Vec<Command> =
            video.map(|publication| Command::CapBitrate { publication: publication.id, cap: Some(cap) }).collect();
        caps.into_iter().for_each(|command| self.roster.order(worker, command));
    }

    /// The directive that a plan needs now. None where its sender cannot be told, does by itself what is planned, or has
    /// been told a moment ago.
    fn directive(&self, plan: &SourcePlan, now: Instant) -> Option<EncoderDirective> {
        self.publisher(plan.publication).filter(|publisher| publisher.is_told())?;
        let encodings: Vec<EncodingDirective> = plan.encodings.iter().map(directive_of).collect();
        let is_usual = plan.encodings.iter().all(is_usual);
        match self.encoders.sent.get(&plan.publication) {
            None if is_usual => return None,
            Some(sent) if sent.encodings == encodings && (is_usual || now - sent.at < RENEWAL) => return None,
            _ => {}
        }
        let ttl_ms = u32::try_from(TTL.as_millis()).unwrap_or(u32::MAX);
        Some(EncoderDirective { ttl_ms, encodings, ..EncoderDirective::default() })
    }

    /// Everybody as they are.
    fn snapshot(&self, figures: &Figures<'_>) -> Snapshot {
        let (sources, weights) = self.sources(figures, |_| true);
        let places: HashMap<PublicationId, usize> =
            sources.iter().enumerate().map(|(place, source)| (source.publication, place)).collect();
        let subscribers = self.roster.members().filter_map(|member| {
            let transport = member.transport()?;
            let wish = |slot: &Slot| {
                let source = *places.get(&slot.current.filter(|_| slot.pause != Some(PauseReason::Codec))?)?;
                let preference = slot.preference(member.candidates());
                Some(Wish { source, preference, weight: weight(preference, speaks[source]) })
            };
            let wishes = member.slots().iter().filter_map(wish).collect();
            let stats = figures.get(&transport);
            let estimate = stats.and_then(|stats| stats.downlink_estimate);
            let audio = stats.map(|stats| audio_rate(member, stats)).unwrap_or_default();
            Some(Subscriber { transport, estimate, audio, wishes })
        });
        Snapshot { subscribers: subscribers.collect(), sources }
    }

    /// Only those who may not send what they like, and somebody for each quality of all of them.
    fn snapshot_of_capped(&self, figures: &Figures<'_>) -> Snapshot {
        let (sources, _) = self.sources(figures, |caps| !caps.is_none());
        let all = |quality| {
            let preference = LayerPreference { quality, ..LayerPreference::default() };
            let wish = |source| Wish { source, preference, weight: 1 };
            let wishes = (0..sources.len()).map(wish).collect();
            Subscriber { transport: TransportId(0), estimate: None, audio: Bitrate::ZERO, wishes }
        };
        Snapshot { subscribers: [Quality::Low, Quality::Medium, Quality::High].map(all).into(), sources }
    }

    /// All video of those whose caps `are_taken`, and what each is worth.
    fn sources(&self, figures: &Figures<'_>, are_taken: impl Fn(&VideoCaps) -> bool) -> (Vec<Source>, Vec<u32>) {
        let mut all = (Vec::new(), Vec::new());
        for member in self.roster.members() {
            let caps = self.caps_of(member.id());
            if !are_taken(&caps) {
                continue;
            }
            let caps =
                Caps { bitrate: caps.bitrate_bps.map(Bitrate::from_bps), framerate: caps.fps, height: caps.height };
            let speaks = self.roster.speakers().iter().any(|(id, _)| *id == member.id());
            let received = member.transport().and_then(|transport| figures.get(&transport));
            let received = received.map_or(&[][..], |stats| &stats.received);
            for publication in member.publications().iter().filter(|p| p.kind == MediaKind::Video) {
                let is_screen = publication.source == sfu_room::Source::Screen;
                let layers = layers(publication, received);
                all.0.push(Source { publication: publication.id, layers, caps });
                all.1.push(if is_screen {
                    SCREEN
                } else if speaks {
                    SPEAKER
                } else {
                    1
                });
            }
        }
        all
    }
}

/// A publication's layers as they arrive.
fn layers(publication: &Publication, received: &[ReceiveStreamStats]) -> Vec<Layer> {
    let layer = |rid: Option<Rid>| {
        let stream = received.iter().find(|stream| stream.publication == publication.id && stream.rid == rid);
        let rate = stream.map(|stream| stream.bitrate).unwrap_or_default();
        // Which side is the shorter one, a phone decides as it is turned.
        let height = stream.and_then(|stream| stream.resolution).map(|(width, height)| width.min(height));
        Layer { rid, rate, height }
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

/// Whether a sender does this by itself.
fn is_usual(encoding: &Encoding) -> bool {
    let Encoding { active, bitrate, framerate, scale, .. } = *encoding;
    active && bitrate.is_none() && framerate.is_none() && scale.is_none()
}

fn directive_of(encoding: &Encoding) -> EncodingDirective {
    EncodingDirective {
        rid: encoding.rid.map(|rid| rid.to_string()).unwrap_or_default(),
        active: encoding.active,
        max_bitrate_bps: encoding.bitrate.map_or(0, Bitrate::as_bps),
        max_framerate: encoding.framerate.map_or(0.0, f32::from),
        scale_resolution_down_by: encoding.scale.unwrap_or(0.0),
        scalability_mode: String::new(),
    }
}
