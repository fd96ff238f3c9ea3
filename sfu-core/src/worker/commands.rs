//! Commands of the control plane: rooms and publications here, transports and slots in files of their own.

use super::Worker;
use crate::command::Command;
use crate::context::Context;
use crate::ids::{PublicationId, RoomId, TransportId};
use crate::publication::{Asker, Publication, Source};
use crate::room::Router;
use crate::slab::Key;
use sfu_rtc::ids::Mid;
use sfu_rtc::media::{Direction, MediaKind};
use sfu_rtc::time::Instant;

impl Worker {
    /// Carries out an order of the control plane.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        if self.carry_out(now, command).is_none() {
            self.ignored_commands += 1;
        }
        self.at_work = None;
    }

    /// `None` where the command names something unknown, or a limit is met.
    fn carry_out(&mut self, now: Instant, command: Command) -> Option<()> {
        match command {
            Command::OpenRoom { room } => self.open_room(room),
            Command::CloseRoom { room } => self.close_room(now, room),
            Command::AddTransport { room, transport, params } => self.add_transport(now, room, transport, *params),
            Command::UpdateSections { transport, sections } => self.update_sections(now, transport, sections),
            Command::RestartIce { transport, local, remote } => self.restart_ice(transport, local, remote),
            Command::RemoveTransport { transport } => {
                let key = self.begin_work(transport)?;
                self.remove_peer(now, key)
            }
            Command::Publish { publication, transport, mid } => self.publish(publication, transport, &mid),
            Command::Unpublish { publication } => self.unpublish(now, publication),
            Command::SetMuted { publication, muted } => self.set_muted(now, publication, muted),
            Command::SetEncoderTarget { publication, target } => {
                self.change(now, publication, |publication, ctx| publication.set_target(&target, ctx))
            }
            Command::CapPublication { publication, caps } => {
                self.change(now, publication, |publication, ctx| publication.set_caps(caps, ctx))
            }
            Command::CapSubscriber { transport, caps } => {
                self.begin_work(transport)?;
                self.cap_subscriber(now, transport, caps)
            }
            Command::AssignSlot { transport, mid, source, preference } => {
                self.begin_work(transport)?;
                self.assign_slot(now, (transport, &mid), source, preference)
            }
            Command::SetPreference { transport, mid, preference } => {
                self.begin_work(transport)?;
                self.set_preference(now, (transport, &mid), preference)
            }
            Command::RequestKeyframe { publication } => self.request_keyframes(now, publication),
            Command::MarkReference { publication, frame, by } => {
                let mut is_known = false;
                let mark = |publication: &mut Publication, ctx: &mut Context<'_>| {
                    is_known = publication.mark_reference((frame, by), ctx);
                };
                self.change(now, publication, mark)?;
                is_known.then_some(())
            }
            Command::RelayTo { publication, destination } => self.relay_to(now, publication, destination),
            Command::StopRelay { publication, destination } => self.stop_relay(publication, destination),
            Command::OpenRelay { room, publication, origin, sender, kind, rids } => {
                self.open_relay(room, publication, (origin, sender), (kind, &rids))
            }
            Command::LimitSender { transport, bitrate } => self.limit_sender(transport, bitrate),
            Command::Stats { token } => {
                self.report_stats(now, token);
                Some(())
            }
        }
    }

    /// Finds a transport, and records that its room is being worked on.
    pub(super) fn begin_work(&mut self, transport: TransportId) -> Option<Key> {
        let key = *self.transports.get(&transport)?;
        self.at_work = Some(self.peers.get(key)?.router);
        Some(key)
    }

    fn open_room(&mut self, room: RoomId) -> Option<()> {
        if self.rooms.contains_key(&room) || self.rooms.len() >= self.config.max_rooms {
            return None;
        }
        let key = self.routers.insert(Router::new(room, self.config.speakers.clone()));
        self.rooms.insert(room, key);
        Some(())
    }

    fn close_room(&mut self, now: Instant, room: RoomId) -> Option<()> {
        let key = self.rooms.remove(&room)?;
        self.at_work = Some(key);
        let members = self.routers.get_mut(key).map(|router| std::mem::take(&mut router.members))?;
        for member in members {
            self.remove_peer(now, member);
        }
        let router = self.routers.get(key)?;
        let relayed: Vec<_> = router.publications.iter().map(|(_, publication)| publication.id).collect();
        for publication in relayed {
            self.unpublish(now, publication);
        }
        self.room_timers.set(key, None);
        self.routers.remove(key);
        Some(())
    }

    fn publish(&mut self, id: PublicationId, transport: TransportId, mid: &Mid) -> Option<()> {
        let key = self.begin_work(transport)?;
        let peer = self.peers.get_mut(key).filter(|peer| !peer.closing)?;
        let section = peer.section_of(mid)?;
        let media = peer.transport.sections().get(section).filter(|media| media.direction == Direction::Receive)?;
        let taken = peer.inbound.get(section).copied().flatten().is_some();
        if taken || self.publications.contains_key(&id) || peer.publications.len() >= self.config.max_publications {
            return None;
        }
        let router = self.routers.get_mut(peer.router)?;
        let publication =
            router.publications.insert(Box::new(Publication::new(id, (key, transport), media, &self.config)));
        if media.kind == MediaKind::Audio {
            router.speakers.add(id);
        }
        peer.inbound.resize(peer.inbound.len().max(section + 1), None);
        peer.inbound[section] = Some(publication);
        peer.publications.push(publication);
        self.publications.insert(id, (peer.router, publication));
        Some(())
    }

    pub(super) fn unpublish(&mut self, now: Instant, id: PublicationId) -> Option<()> {
        let (router_key, key) = self.publications.remove(&id)?;
        self.at_work = Some(router_key);
        let router = self.routers.get_mut(router_key)?;
        let mut publication = router.publications.remove(key)?;
        router.speakers.remove(now, id);
        let due = router.speakers.due();
        self.room_timers.set(router_key, (due != Instant::NEVER).then_some(due));
        match publication.source {
            Source::Relay(relay) => self.close_relay(relay),
            Source::Peer(peer) => {
                if let Some(peer) = self.peers.get_mut(peer) {
                    peer.publications.retain(|published| *published != key);
                    peer.inbound.iter_mut().filter(|inbound| **inbound == Some(key)).for_each(|at| *at = None);
                }
            }
        }
        self.return_forwarders(publication.detach_all());
        Some(())
    }

    pub(super) fn set_muted(&mut self, now: Instant, id: PublicationId, muted: bool) -> Option<()> {
        let (router_key, key) = *self.publications.get(&id)?;
        self.at_work = Some(router_key);
        let (mut ctx, routers) = self.split(now);
        let router = routers.get_mut(router_key)?;
        router.publications.get_mut(key)?.set_muted(muted, &mut ctx);
        if muted {
            router.speakers.mute(now, id);
        }
        let due = router.speakers.due();
        self.room_timers.set(router_key, (due != Instant::NEVER).then_some(due));
        Some(())
    }

    /// Changes a publication.
    fn change(
        &mut self,
        now: Instant,
        id: PublicationId,
        change: impl FnOnce(&mut Publication, &mut Context<'_>),
    ) -> Option<()> {
        let (router, key) = *self.publications.get(&id)?;
        self.at_work = Some(router);
        let (mut ctx, routers) = self.split(now);
        change(routers.get_mut(router)?.publications.get_mut(key)?, &mut ctx);
        Some(())
    }

    fn request_keyframes(&mut self, now: Instant, id: PublicationId) -> Option<()> {
        let (router, key) = *self.publications.get(&id)?;
        self.at_work = Some(router);
        let (mut ctx, routers) = self.split(now);
        let publication = routers.get_mut(router)?.publications.get_mut(key)?;
        if publication.kind == MediaKind::Video {
            for layer in 0..publication.streams().len() {
                publication.request_keyframe(layer as u8, now, Asker::Another, &mut ctx); // few, by construction
            }
        }
        Some(())
    }
}
