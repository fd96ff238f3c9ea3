//! What senders are asked to encode, room by room: a snapshot of the room goes to the planner of `sfu-core` each second,
//! and at once when somebody wants something else. Directives go to the senders for which that changes anything; those
//! that have no signalling are bounded by REMB. What tokens and rooms allow at most holds in any case: the workers see to
//! it.

mod codecs;
mod parity;
mod snapshot;

use super::room::{Room, RoomState};
use super::{Control, ControlError};
use crate::config::{Estimator, PlannerPolicy};
use codecs::Codecs;
use parity::Parity;
use sfu_core::command::{Command, EncoderTarget, EncodingTarget, MAX_LAYERS};
use sfu_core::ids::{PublicationId, TransportId};
use sfu_core::qos::room_planner::{Encoding, Planner, SourcePlan};
use sfu_proto::v1::{EncoderDirective, EncodingDirective, ParityDirective, ReferenceStructure};
use sfu_room::ParticipantId;
use sfu_rtc::ids::Rid;
use sfu_rtc::media::MediaKind;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;
use snapshot::Figures;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Each room is planned so often, with fresh figures.
const TICK: Duration = Duration::from_secs(1);
/// However many want something else, a room is planned no more often than this beside its ticks.
const PAUSE: Duration = Duration::from_millis(250);
/// A directive that is not renewed lapses: the server, or the way to it, may be gone.
const TTL: Duration = Duration::from_secs(10);
/// Two renewals may be lost.
const RENEWAL: Duration = Duration::from_secs(3);
/// A publication is not stopped before this time: those who will watch it are told of it first.
const BEGINNING: Duration = Duration::from_millis(500);
/// What a sender without signalling needs beside the video that is planned: audio, with its headers.
const BESIDE_VIDEO: Bitrate = Bitrate::from_kbps(60);
/// Its video may vary by a tenth where it is not bounded.
const LIMIT_SLACK: f64 = 1.1;

/// The plan of a room.
#[derive(Debug, Default)]
pub(super) struct Encoders {
    /// Somebody wants something else: the room stands on the agenda.
    is_due: bool,
    /// It is planned no sooner, beside its ticks.
    next: Instant,
    planner: Planner,
    plans: Vec<SourcePlan>,
    /// What arrived of each encoding when it was planned.
    arriving: HashMap<(PublicationId, Option<Rid>), Bitrate>,
    /// When each publication was planned first.
    begun: HashMap<PublicationId, Instant>,
    sent: HashMap<PublicationId, Sent>,
    /// What is to be protected of each publication whose sender can.
    parity: Parity,
    /// The codecs of those that not everybody can decode.
    codecs: Codecs,
    /// Somebody else's directive holds until then.
    by_hand: HashMap<PublicationId, Instant>,
    /// Workers were told a target of these.
    targeted: HashSet<PublicationId>,
    /// Encodings that a bitrate was asked for.
    bounded: HashSet<(PublicationId, Option<Rid>)>,
    /// Senders that are bounded by REMB.
    limits: HashMap<TransportId, Bitrate>,
}

/// The last directive for a publication.
#[derive(Debug)]
struct Sent {
    encodings: Vec<EncodingDirective>,
    parity: Vec<ParityDirective>,
    codec: String,
    at: Instant,
}

impl Sent {
    fn new(directive: &EncoderDirective, at: Instant) -> Self {
        let EncoderDirective { encodings, parity, codec, .. } = directive.clone();
        Self { encodings, parity, codec, at }
    }

    /// Whether it asked for the same.
    fn is(&self, directive: &EncoderDirective) -> bool {
        (&self.encodings, &self.parity, &self.codec) == (&directive.encodings, &directive.parity, &directive.codec)
    }
}

impl Room {
    /// Somebody wants something else: the room is planned soon.
    pub(super) fn plan_encoders_soon(&self, state: &mut RoomState) {
        if !std::mem::replace(&mut state.encoders.is_due, true) {
            let due = self.clock.now().max(state.encoders.next);
            state.encoders.next = due + PAUSE;
            self.encoder_agenda.put(due, self.id);
        }
    }
}

impl Control {
    /// Plans all rooms, for as long as the server runs.
    pub(crate) async fn plan_encoders(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                room = self.encoder_agenda.next(|| self.clock.now()) => {
                    let room = self.rooms_by_id.get(&room).map(|room| Arc::clone(&room));
                    room.iter().for_each(|room| room.lock().encoders.is_due = false);
                    room.into_iter().collect()
                }
                _ = ticks.tick() => self.all_rooms(),
            };
            let due: Vec<Arc<Room>> = due.into_iter().filter(|room| self.has_to_plan(room)).collect();
            if due.is_empty() {
                continue;
            }
            let answers = self.worker_stats().await;
            let transports = answers.iter().flatten().flat_map(|worker| &worker.transports);
            let figures: Figures<'_> = transports.map(|stats| (stats.transport, stats)).collect();
            due.iter().for_each(|room| self.plan_room(room, self.clock.now(), &figures));
        }
    }

    /// Whether there is anything to plan in a room.
    fn has_to_plan(&self, room: &Room) -> bool {
        let state = room.lock();
        let is_on = |id| self.plans_all() || !state.publish_caps(id).is_none();
        let has_video = state.roster.members().any(|member| {
            is_on(member.id()) && member.publications().iter().any(|publication| publication.kind == MediaKind::Video)
        });
        has_video || !state.encoders.plans.is_empty()
    }

    fn plans_all(&self) -> bool {
        self.config.qos.planner == PlannerPolicy::Gso
    }

    /// Plans a room, and tells the senders for which that changes anything.
    fn plan_room(&self, room: &Room, now: Instant, figures: &Figures<'_>) {
        let mut state = room.lock();
        let bandwidth = &self.config.bandwidth;
        let start = (bandwidth.estimator != Estimator::Fixed).then(|| Bitrate::from_kbps(bandwidth.start_kbps));
        let snapshot = match self.plans_all() {
            true => state.snapshot(figures, start),
            false => state.snapshot_of_capped(figures),
        };
        let arriving = snapshot
            .sources
            .iter()
            .flat_map(|source| source.layers.iter().map(|layer| ((source.publication, layer.rid), layer.rate)));
        state.encoders.arriving = arriving.collect();
        state.encoders.plans = state.encoders.planner.plan(now, snapshot);
        state.encoders.parity.update(now, figures);
        if self.plans_all() {
            state.choose_codecs();
        }
        state.remember(now);
        self.send_directives(&mut state, now);
        state.limit_senders(now);
        state.tell_targets();
    }

    fn send_directives(&self, state: &mut RoomState, now: Instant) {
        let plans = state.encoders.plans.iter();
        let due: Vec<(PublicationId, EncoderDirective)> =
            plans.filter_map(|plan| Some((plan.publication, state.directive(plan, now)?))).collect();
        for (publication, directive) in due {
            let sent = Sent::new(&directive, now);
            // Who has gone meanwhile needs none.
            if self.direct_encoder(state, publication, directive).is_ok() {
                state.encoders.sent.insert(publication, sent);
            }
        }
    }

    /// Asks a sender for something else than what is planned, for as long as the directive holds.
    pub(crate) fn direct_by_hand(
        &self,
        room: &Room,
        publication: PublicationId,
        directive: EncoderDirective,
    ) -> Result<EncoderDirective, ControlError> {
        let mut state = room.lock();
        Self::check_directive(&state, publication, &directive)?;
        let sent = self.direct_encoder(&state, publication, directive)?;
        let until = self.clock.now() + Duration::from_millis(u64::from(sent.ttl_ms));
        state.encoders.by_hand.insert(publication, until);
        // Afterwards the plan has to be sent, whatever was sent before.
        state.encoders.sent.insert(publication, Sent::new(&sent, self.clock.now()));
        Ok(sent)
    }
}

impl RoomState {
    /// The plan, publication by publication.
    pub(crate) fn encoder_plans(&self) -> &[SourcePlan] {
        &self.encoders.plans
    }

    /// What arrived of an encoding when it was planned last.
    pub(crate) fn arriving(&self, publication: PublicationId, rid: Option<Rid>) -> Bitrate {
        self.encoders.arriving.get(&(publication, rid)).copied().unwrap_or_default()
    }

    /// Lets the worker hold a participant to what it may publish and get.
    pub(super) fn enforce_caps(&mut self, id: ParticipantId) {
        let (publish, subscribe) = (self.publish_caps(id), self.subscribe_caps(id));
        let Some(member) = self.roster.member(id) else { return };
        let (worker, transport) = (member.worker(), member.transport());
        let video = member.publications().iter().filter(|publication| publication.kind == MediaKind::Video);
        let cap = |publication: PublicationId| Command::CapPublication { publication, caps: publish.into() };
        let mut commands: Vec<Command> =
            video.filter(|_| !publish.is_none()).map(|publication| cap(publication.id)).collect();
        if let Some(transport) = transport.filter(|_| !subscribe.is_none()) {
            commands.push(Command::CapSubscriber { transport, caps: subscribe.into() });
        }
        commands.into_iter().for_each(|command| self.roster.order(worker, command));
    }

    /// Takes up what has begun, and forgets what has ended.
    fn remember(&mut self, now: Instant) {
        let Encoders { plans, begun, sent, parity, by_hand, targeted, bounded, .. } = &mut self.encoders;
        let there: HashSet<PublicationId> = plans.iter().map(|plan| plan.publication).collect();
        for publication in &there {
            begun.entry(*publication).or_insert(now);
        }
        begun.retain(|publication, _| there.contains(publication));
        sent.retain(|publication, _| there.contains(publication));
        parity.retain(|publication| there.contains(publication));
        targeted.retain(|publication| there.contains(publication));
        bounded.retain(|(publication, _)| there.contains(publication));
        by_hand.retain(|publication, until| now < *until && there.contains(publication));
    }

    /// The directive that a plan needs now. None where its sender cannot be told, does by itself what is planned, or has
    /// been told a moment ago.
    fn directive(&self, plan: &SourcePlan, now: Instant) -> Option<EncoderDirective> {
        self.publisher(plan.publication).filter(|publisher| publisher.has_signalling())?;
        if self.encoders.by_hand.contains_key(&plan.publication) || self.encoders.has_just_begun(plan, now) {
            return None;
        }
        let directive = EncoderDirective {
            ttl_ms: u32::try_from(TTL.as_millis()).unwrap_or(u32::MAX),
            encodings: plan.encodings.iter().map(directive_of).collect(),
            parity: self.encoders.parity.directive(plan.publication),
            codec: self
                .encoders
                .codecs
                .asked(plan.publication)
                .map(|codec| codec.name().to_owned())
                .unwrap_or_default(),
            ..EncoderDirective::default()
        };
        let EncoderDirective { parity, codec, .. } = &directive;
        let is_usual = parity.is_empty() && codec.is_empty() && plan.encodings.iter().all(is_usual);
        match self.encoders.sent.get(&plan.publication) {
            None if is_usual => None,
            Some(sent) if sent.is(&directive) && (is_usual || now - sent.at < RENEWAL) => None,
            _ => Some(directive),
        }
    }

    /// Bounds by REMB what those send who have no signalling.
    fn limit_senders(&mut self, now: Instant) {
        let Self { participants, roster, encoders, .. } = self;
        let mut limits: HashMap<TransportId, Bitrate> = HashMap::new();
        let mut orders = Vec::new();
        for member in roster.members() {
            let has_signalling = participants.get(&member.id()).is_none_or(|participant| participant.has_signalling());
            let Some(transport) = member.transport().filter(|_| !has_signalling) else { continue };
            let own = encoders.plans.iter().filter(|plan| member.publication(plan.publication).is_some());
            let limit = sum_of(own.map(|plan| limit_of(plan).filter(|_| !encoders.has_just_begun(plan, now))));
            if let Some(limit) = limit.map(|limit| limit + BESIDE_VIDEO) {
                limits.insert(transport, limit);
            }
            if encoders.limits.get(&transport) != limits.get(&transport) {
                let bitrate = limits.get(&transport).copied();
                orders.push((member.worker(), Command::LimitSender { transport, bitrate }));
            }
        }
        encoders.limits = limits;
        orders.into_iter().for_each(|(worker, command)| roster.order(worker, command));
    }

    /// Lets workers know what senders are asked for, and what they could send: again each time, since the room may have
    /// spread.
    fn tell_targets(&mut self) {
        let Self { roster, encoders, .. } = self;
        let Encoders { plans, by_hand, targeted, bounded, .. } = encoders;
        let workers: Vec<usize> = roster.workers().map(|(worker, _)| worker).collect();
        for plan in plans.iter().filter(|plan| !by_hand.contains_key(&plan.publication)) {
            let publication = plan.publication;
            let targets = plan.encodings.iter().map(|encoding| target_of(publication, encoding, bounded));
            let is_bounded = |target: &EncodingTarget| target.bitrate.is_some() || target.attainable > Bitrate::ZERO;
            let target = EncoderTarget { layers: targets.filter(is_bounded).take(MAX_LAYERS).collect() };
            let was_told = match target.layers.is_empty() {
                true => targeted.remove(&publication),
                false => !targeted.insert(publication),
            };
            if was_told || !target.layers.is_empty() {
                let command = || Command::SetEncoderTarget { publication, target: Box::new(target.clone()) };
                workers.iter().for_each(|worker| roster.order(*worker, command()));
            }
        }
    }
}

impl Encoders {
    /// Whether a publication is to stop that has just begun.
    fn has_just_begun(&self, plan: &SourcePlan, now: Instant) -> bool {
        let stops = plan.encodings.iter().all(|encoding| !encoding.active);
        stops && self.begun.get(&plan.publication).is_some_and(|begun| now - *begun < BEGINNING)
    }
}

/// What the sender of an encoding is to be taken to send, and could send. One that is no longer `bounded` becomes what it
/// was.
fn target_of(
    publication: PublicationId,
    encoding: &Encoding,
    bounded: &mut HashSet<(PublicationId, Option<Rid>)>,
) -> EncodingTarget {
    let Encoding { rid, active, full, .. } = *encoding;
    if encoding.bitrate.is_some() {
        bounded.insert((publication, rid));
    }
    let lifted = || (active && bounded.remove(&(publication, rid))).then_some(full);
    let attainable = if encoding.withheld() > Bitrate::ZERO { full } else { Bitrate::ZERO };
    EncodingTarget { rid, bitrate: encoding.bitrate.or_else(lifted), attainable }
}

/// What a publication takes up to its highest layer that is wanted; `None` where nothing bounds that. A sender leaves out
/// its upper layers, and until all have been seen nobody knows which those are.
fn limit_of(plan: &SourcePlan) -> Option<Bitrate> {
    let wanted = plan.encodings.iter().rposition(|encoding| encoding.active).map_or(0, |highest| highest + 1);
    let are_known = wanted == 0 || plan.encodings.iter().all(|encoding| encoding.size.is_some());
    let leaves_out = wanted < plan.encodings.len() && are_known;
    let is_bounded = leaves_out || plan.encodings.iter().any(|encoding| encoding.bitrate.is_some());
    let takes = |encoding: &Encoding| encoding.bitrate.unwrap_or(encoding.full * LIMIT_SLACK);
    is_bounded.then(|| plan.encodings[..wanted].iter().map(takes).fold(Bitrate::ZERO, |sum, rate| sum + rate))
}

/// `None` where there is none, or one of them is.
fn sum_of(mut limits: impl Iterator<Item = Option<Bitrate>>) -> Option<Bitrate> {
    let first = limits.next()??;
    limits.try_fold(first, |sum, limit| Some(sum + limit?))
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
        references: ReferenceStructure::Unspecified.into(),
    }
}

#[cfg(test)]
mod tests;
