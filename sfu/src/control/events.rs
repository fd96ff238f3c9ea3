//! What workers report.

use super::error::ControlError;
use super::outbox::Outgoing;
use super::participant::{Access, Participant};
use super::room::Room;
use super::{Control, translate};
use crate::worker_thread::Report;
use sfu_core::event::{CloseReason, Event};
use sfu_core::ids::TransportId;
use sfu_core::overload::Stage;
use sfu_proto::v1::server_message::Body;
use sfu_proto::v1::{LeaveReason, Overload};
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;

impl Control {
    /// Handles the reports of all workers, for as long as the server runs.
    pub(crate) async fn handle_reports(self: Arc<Self>, mut reports: Receiver<Report>) {
        while let Some(report) = reports.recv().await {
            match report {
                Report::Event { worker, event } => self.handle_event(worker, event),
                Report::RoomFailed { room } => {
                    let room = self.rooms_by_id.get(&room).map(|room| Arc::clone(&room));
                    if let Some(room) = room {
                        self.fail_room(&room);
                    }
                }
                Report::WorkerFailed { worker } => {
                    let rooms = self.all_rooms();
                    rooms.iter().filter(|room| room.lock().roster.is_on(worker)).for_each(|room| self.fail_room(room));
                }
            }
        }
    }

    fn fail_room(&self, room: &Arc<Room>) {
        tracing::error!(room = room.name, "the room is closed after a failure of its worker");
        let text = "The server had an internal failure; join again.";
        self.close_room(room, &mut room.lock(), LeaveReason::ConnectionLost, text);
    }

    fn handle_event(&self, worker: usize, event: Event) {
        match event {
            Event::Connected { transport, path, ice, dtls } => {
                self.stats.connected(worker, ice, dtls);
                self.with_participant(transport, |room, participant| {
                    participant.has_connected = true;
                    self.unconnected.leave(participant.id);
                    tracing::info!(
                        room = room.name, participant = %participant.id, remote = %path.remote,
                        protocol = ?path.protocol, ?ice, ?dtls, "media connected"
                    );
                });
            }
            Event::PathChanged { transport, path } => {
                self.with_participant(transport, |room, participant| {
                    tracing::info!(room = room.name, participant = %participant.id, remote = %path.remote, "path changed");
                });
            }
            Event::IngressLimited { transport } => self.with_participant(transport, |room, participant| {
                tracing::warn!(
                    room = room.name, participant = %participant.id, identity = &*participant.identity,
                    "sends more than limits.media_bits_per_second, media_packets_per_second or feedback_bits_per_second; the rest is dropped"
                );
                let text = "You send more than this server takes; the rest is dropped. Lower your bitrate.";
                participant.outbox.push(Outgoing::new(Body::Error(ControlError::limit(text).into())));
            }),
            Event::Closed { transport, reason } => self.media_closed(transport, reason),
            Event::ActiveSpeakers { room, speakers } => {
                let room = self.rooms_by_id.get(&room).map(|room| Arc::clone(&room));
                if let Some(room) = room {
                    let mut state = room.lock();
                    if state.roster.set_heard(worker, &speakers) {
                        state.tell_speakers();
                        room.replan(&mut state);
                    }
                }
            }
            Event::PublicationCodec { transport, publication, codec } => {
                let Some((room, _)) = self.transports.get(&transport).map(|owner| owner.clone()) else { return };
                let mut state = room.lock();
                if let Some(owner) = state.roster.set_codec(publication, codec) {
                    state.announce(owner);
                    room.tell(&mut state);
                }
            }
            Event::SlotSwitched { transport, mid, publication } => {
                tracing::debug!(?transport, %mid, ?publication, "slot switched");
            }
            Event::SlotPaused { transport, mid, publication, reason } => {
                let owner = self.transports.get(&transport).map(|owner| owner.clone());
                if let Some((room, id)) = owner {
                    room.set_pause(&mut room.lock(), id, (&mid, publication), reason);
                }
            }
            Event::SlotLimited { transport, mid, publication, limit } => {
                let owner = self.transports.get(&transport).map(|owner| owner.clone());
                if let Some((room, id)) = owner {
                    room.set_limit(&mut room.lock(), id, (&mid, publication), limit);
                }
            }
            Event::References { transport, publication, news } => {
                let owner = self.transports.get(&transport).map(|owner| owner.clone());
                if let Some((room, _)) = owner {
                    self.direct_references(&room.lock(), publication, news);
                }
            }
            Event::Shedding { stage } => self.tell_overload(worker, stage),
            Event::Stats { token, stats } => self.stats.answer(token, *stats),
        }
    }

    /// Tells the participants on a worker what it leaves out.
    fn tell_overload(&self, worker: usize, stage: Stage) {
        if stage == Stage::Nothing {
            tracing::info!(worker, "the worker keeps up again");
        } else {
            tracing::warn!(worker, ?stage, "the worker is past its limit and leaves something out");
        }
        let message = Outgoing::new(Body::Overload(Overload { stage: translate::stage(stage).into() }));
        for room in &self.all_rooms() {
            let state = room.lock();
            for participant in state.signalled_on(worker) {
                participant.outbox.push(Arc::clone(&message));
            }
        }
    }

    fn with_participant(&self, transport: TransportId, act: impl FnOnce(&Room, &mut Participant)) {
        let owner = self.transports.get(&transport).map(|owner| owner.clone());
        if let Some((room, id)) = owner
            && let Some(participant) = room.lock().participants.get_mut(&id)
        {
            act(&room, participant);
        }
    }

    /// A transport is over: WHIP and WHEP sessions end with it, the others may offer again.
    fn media_closed(&self, transport: TransportId, reason: CloseReason) {
        let Some((room, id)) = self.transports.get(&transport).map(|owner| owner.clone()) else { return };
        let mut state = room.lock();
        let Some(participant) = state.participants.get_mut(&id) else { return };
        if participant.media.as_ref().is_none_or(|media| media.transport != transport) {
            return;
        }
        tracing::info!(room = room.name, participant = %id, ?reason, "media closed");
        participant.media = None;
        let access = participant.access;
        // The worker has removed it already.
        let ended = state.roster.media_ended(id);
        self.directives.forget(&ended);
        self.transports.remove(&transport);
        if access != Access::Signal {
            let by_client = reason == CloseReason::PeerClosed;
            let reason = if by_client { LeaveReason::Client } else { LeaveReason::ConnectionLost };
            self.end_session(&room, &mut state, id, reason, "The media connection ended.");
            return;
        }
        if let Some(participant) = state.participants.get_mut(&id) {
            participant.media_lost = Some(self.clock.now());
        }
        if !ended.is_empty() {
            state.announce(id);
        }
        room.replan(&mut state);
    }
}
