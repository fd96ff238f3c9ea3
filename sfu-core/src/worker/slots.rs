//! Slots: made with their section, filled and emptied by order.

use super::Worker;
use crate::command::{LayerPreference, VideoCaps};
use crate::context::Context;
use crate::forwarder::Forwarder;
use crate::ids::{PublicationId, TransportId};
use crate::peer::{Place, Slot};
use crate::publication::Publication;
use crate::slab::Key;
use sfu_rtc::ids::{Mid, SeqNo};
use sfu_rtc::media::{Direction, MediaSection, SsrcPair};
use sfu_rtc::time::Instant;

impl Worker {
    /// Updates the slots after the transport's media sections changed.
    pub(super) fn update_slots(&mut self, now: Instant, key: Key) {
        let Some(peer) = self.peers.get(key) else { return };
        let sections = peer.transport.sections().to_vec();
        let wanted = |index: usize| sections.get(index).filter(|section| section.direction == Direction::Send);
        for index in 0..peer.slots.len().max(sections.len()) {
            self.fit_slot(now, key, index, wanted(index));
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.inbound.resize(sections.len().max(peer.inbound.len()), None);
        let inbound: Vec<_> = peer.inbound.iter().copied().zip(&sections).collect();
        let router = peer.router;
        let (mut ctx, routers) = self.split(now);
        let Some(router) = routers.get_mut(router) else { return };
        for (publication, section) in inbound {
            if let Some(publication) = publication.and_then(|key| router.publications.get_mut(key)) {
                publication.update_formats(&section.formats, &mut ctx);
            }
        }
    }

    /// Updates the slot of one section. It lives as long as its source, idle while the section is inactive: under one
    /// key a source's numbers must go on where they were (RFC 3711 section 9.1).
    fn fit_slot(&mut self, now: Instant, key: Key, index: usize, section: Option<&MediaSection>) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let wanted = section.and_then(|section| Some((section, section.local_ssrcs?)));
        let current = peer.slots.get_mut(index).and_then(Option::as_mut);
        let Some((section, ssrcs)) = wanted else {
            if current.is_some() {
                self.empty_slot(now, key, index);
            }
            return;
        };
        if let Some(slot) = current.filter(|slot| slot.ssrc == ssrcs.media) {
            slot.mid = section.mid;
            self.refresh_slot(now, key, index, section, ssrcs);
            return;
        }
        // The forwarder of a source that is over goes with its slot.
        self.take_forwarder(now, key, index);
        let Ok(number) = u16::try_from(index) else { return };
        // The first number in the lower half, as RFC 3711 section 3.3.1 wants it for the rollover counter.
        let first = SeqNo(self.random.next() & 0x7fff);
        let mut forwarder = Forwarder::new((key, number), section.kind, ssrcs, first, &self.config);
        let Some(peer) = self.peers.get_mut(key) else { return };
        forwarder.caps = peer.caps;
        if peer.slots.len() <= index {
            peer.slots.resize_with(index + 1, || None);
        }
        let place = Place::Idle(Box::new(forwarder));
        peer.slots[index] = Some(Slot { mid: section.mid, ssrc: ssrcs.media, place });
    }

    /// Renegotiates a slot whose SSRC stays.
    fn refresh_slot(&mut self, now: Instant, key: Key, index: usize, section: &MediaSection, ssrcs: SsrcPair) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(Some(slot)) = peer.slots.get_mut(index) else { return };
        match &mut slot.place {
            Place::Idle(forwarder) => forwarder.set_sources(ssrcs),
            Place::Carrying { publication, index } => {
                let (router, key, index) = (peer.router, *publication, *index);
                let (mut ctx, routers) = self.split(now);
                let publication = routers.get_mut(router).and_then(|router| router.publications.get_mut(key));
                if let Some(publication) = publication {
                    publication.update_slot(index, section, ssrcs, &mut ctx);
                }
            }
            Place::Moving => {}
        }
    }

    /// Bounds what a subscriber gets.
    pub(super) fn cap_subscriber(&mut self, now: Instant, transport: TransportId, caps: VideoCaps) -> Option<()> {
        let key = *self.transports.get(&transport)?;
        let peer = self.peers.get_mut(key)?;
        peer.caps = caps;
        peer.share.changed();
        let router = peer.router;
        let mut carried = Vec::new();
        for slot in peer.slots.iter_mut().flatten() {
            match &mut slot.place {
                Place::Idle(forwarder) => forwarder.caps = caps,
                place => carried.extend(place.carried()),
            }
        }
        let (mut ctx, routers) = self.split(now);
        let router = routers.get_mut(router)?;
        for (publication, index) in carried {
            if let Some(publication) = router.publications.get_mut(publication) {
                publication.cap_forwarder(index, caps, &mut ctx);
            }
        }
        self.wake(key);
        Some(())
    }

    /// The slot carries nothing from now on. `None` where there is none.
    fn empty_slot(&mut self, now: Instant, key: Key, index: usize) -> Option<()> {
        let forwarder = self.take_forwarder(now, key, index)?;
        self.put_forwarder(key, index, Place::Idle(forwarder));
        Some(())
    }

    /// Takes the forwarder out of a slot; the caller puts it back or removes the slot.
    fn take_forwarder(&mut self, now: Instant, key: Key, section: usize) -> Option<Box<Forwarder>> {
        let peer = self.peers.get_mut(key)?;
        let router = peer.router;
        let slot = peer.slots.get_mut(section)?.as_mut()?;
        let (publication, index) = match std::mem::replace(&mut slot.place, Place::Moving) {
            Place::Idle(forwarder) => return Some(forwarder),
            Place::Carrying { publication, index } => (publication, index),
            Place::Moving => return None,
        };
        let (mut ctx, routers) = self.split(now);
        let publication = routers.get_mut(router)?.publications.get_mut(publication)?;
        publication.detach(index, &mut ctx).map(Box::new)
    }

    fn put_forwarder(&mut self, key: Key, section: usize, place: Place) {
        let slot = self.peers.get_mut(key).and_then(|peer| peer.slots.get_mut(section));
        if let Some(Some(slot)) = slot {
            slot.place = place;
        }
    }

    /// Removes all slots of a peer that leaves.
    pub(super) fn remove_slots(&mut self, now: Instant, key: Key) {
        let slots = self.peers.get(key).map_or(0, |peer| peer.slots.len());
        for section in 0..slots {
            self.take_forwarder(now, key, section);
        }
        if let Some(peer) = self.peers.get_mut(key) {
            peer.slots.clear();
        }
    }

    /// Puts forwarders of a publication that ended back into their slots.
    pub(super) fn return_forwarders(&mut self, forwarders: Vec<Forwarder>) {
        for forwarder in forwarders {
            let (key, section) = (forwarder.subscriber, usize::from(forwarder.section));
            self.put_forwarder(key, section, Place::Idle(Box::new(forwarder)));
        }
    }

    /// Fills a slot with a publication of the same room and kind, or empties it. `None` where something is unknown.
    pub(super) fn assign_slot(
        &mut self,
        now: Instant,
        (transport, mid): (TransportId, &Mid),
        source: Option<PublicationId>,
        preference: LayerPreference,
    ) -> Option<()> {
        let (key, section) = self.find_slot(transport, mid)?;
        let Some(source) = source else {
            return self.empty_slot(now, key, section);
        };
        let (router, publication) = *self.publications.get(&source)?;
        let peer = self.peers.get(key)?;
        let carried = peer.slots.get(section)?.as_ref().map(|slot| &slot.place);
        if matches!(carried, Some(Place::Carrying { publication: now, .. }) if *now == publication) {
            return self.set_preference(now, (transport, mid), preference);
        }
        let media = peer.transport.sections().get(section)?.clone();
        let kind = self.routers.get(router)?.publications.get(publication)?.kind;
        if peer.router != router || media.kind != kind || media.direction != Direction::Send {
            return None;
        }
        let mut forwarder = self.take_forwarder(now, key, section)?;
        forwarder.preference = preference;
        // The slot has to know its place before the first packet goes out.
        let index = self.routers.get(router)?.publications.get(publication)?.next_index();
        self.put_forwarder(key, section, Place::Carrying { publication, index });
        let (mut ctx, routers) = self.split(now);
        let publication = routers.get_mut(router)?.publications.get_mut(publication)?;
        publication.attach(*forwarder, &media, &mut ctx);
        Some(())
    }

    /// Changes what a slot may carry.
    pub(super) fn set_preference(
        &mut self,
        now: Instant,
        (transport, mid): (TransportId, &Mid),
        preference: LayerPreference,
    ) -> Option<()> {
        let (key, section) = self.find_slot(transport, mid)?;
        let peer = self.peers.get_mut(key)?;
        let router = peer.router;
        let (publication, index) = match &mut peer.slots.get_mut(section)?.as_mut()?.place {
            Place::Idle(forwarder) => {
                forwarder.preference = preference;
                return Some(());
            }
            Place::Carrying { publication, index } => (*publication, *index),
            Place::Moving => return None,
        };
        let (mut ctx, routers) = self.split(now);
        let publication = routers.get_mut(router)?.publications.get_mut(publication)?;
        publication.forwarder_mut(index)?.preference = preference;
        publication.retarget(index as usize, &mut ctx);
        ctx.share_anew(key);
        Some(())
    }

    /// A subscriber's connection is up: what it waits for may come now.
    pub(super) fn begin_slots(&mut self, now: Instant, key: Key) {
        self.for_slots(now, key, Publication::begin);
    }

    /// A subscriber will soon be connected.
    pub(super) fn prepare_slots(&mut self, now: Instant, key: Key) {
        self.for_slots(now, key, Publication::prepare);
    }

    fn for_slots(&mut self, now: Instant, key: Key, each: impl Fn(&mut Publication, usize, &mut Context<'_>)) {
        let Some(peer) = self.peers.get(key) else { return };
        let router = peer.router;
        let places: Vec<_> = peer.slots.iter().flatten().filter_map(|slot| slot.place.carried()).collect();
        let (mut ctx, routers) = self.split(now);
        let Some(router) = routers.get_mut(router) else { return };
        for (publication, index) in places {
            if let Some(publication) = router.publications.get_mut(publication) {
                each(publication, index as usize, &mut ctx);
            }
        }
    }

    fn find_slot(&self, transport: TransportId, mid: &Mid) -> Option<(Key, usize)> {
        let key = *self.transports.get(&transport)?;
        let section = self.peers.get(key)?.section_of(mid)?;
        Some((key, section))
    }
}
