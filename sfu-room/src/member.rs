//! A participant, with what it publishes and its slots.

use crate::Order;
use crate::slots::{self, Candidates, SlotView, Subscription};
use sfu_core::command::{Command, LayerPreference, Role};
use sfu_core::event::{LayerLimit, PauseReason};
use sfu_core::ids::{PublicationId, TransportId};
use sfu_rtc::ids::{Mid, Rid};
use sfu_rtc::media::{Codec, Direction, MediaKind, MediaSection};
use std::fmt;
use std::sync::Arc;

/// One session of a participant. Ordered by time of joining.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ParticipantId(pub u64);

/// Its name in signalling.
impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p_{:x}", self.0)
    }
}

/// What a publication shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A screen or window.
    Screen,
    /// The audio of a screen or window.
    ScreenAudio,
}

/// Something that a participant publishes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// Its number, unique in the process.
    pub id: PublicationId,
    /// The section that carries it.
    pub mid: Mid,
    /// Audio or video.
    pub kind: MediaKind,
    /// What it shows.
    pub source: Source,
    /// The publisher's own name for it.
    pub label: String,
    /// Nothing of it is forwarded.
    pub muted: bool,
    /// As seen in its packets.
    pub codec: Option<Codec>,
    /// Simulcast layers (RFC 8853).
    pub rids: Vec<Rid>,
}

/// A receive section of a subscriber.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The section.
    pub mid: Mid,
    /// Audio or video.
    pub kind: MediaKind,
    /// Number among the slots of its kind.
    pub ordinal: usize,
    /// What the subscriber wants in it.
    pub subscription: Subscription,
    /// How it is shown, and in which quality.
    pub requested: LayerPreference,
    /// What it carries.
    pub current: Option<PublicationId>,
    /// Why nothing of it is sent, as its worker says.
    pub pause: Option<PauseReason>,
    /// Why no better layer of it is sent, as its worker says.
    pub limit: LayerLimit,
}

impl Slot {
    fn view(&self) -> SlotView<'_> {
        let Self { kind, ordinal, ref subscription, current, .. } = *self;
        SlotView { kind, ordinal, subscription, current }
    }

    /// What the subscriber wants of what the slot carries, and what that is to it.
    pub fn preference(&self, candidates: &Candidates) -> LayerPreference {
        let role = match &self.subscription {
            _ if self.current.is_some_and(|current| candidates.is_screen(current)) => Role::Screen,
            Subscription::Publication(_) => Role::Pinned,
            Subscription::Auto | Subscription::Nothing | Subscription::Identity(_) => Role::Other,
        };
        LayerPreference { role, ..self.requested }
    }
}

/// A participant of a room.
#[derive(Debug)]
pub struct Member {
    pub(crate) id: ParticipantId,
    pub(crate) identity: Arc<str>,
    pub(crate) worker: usize,
    pub(crate) subscribes: bool,
    pub(crate) transport: Option<TransportId>,
    pub(crate) publications: Vec<Publication>,
    pub(crate) slots: Vec<Slot>,
    /// What may go into them, as it has been told.
    pub(crate) candidates: Arc<Candidates>,
}

impl Member {
    /// Its number.
    pub fn id(&self) -> ParticipantId {
        self.id
    }

    /// Number of the worker that has its transport.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Its media transport, while it has one.
    pub fn transport(&self) -> Option<TransportId> {
        self.transport
    }

    /// What it publishes.
    pub fn publications(&self) -> &[Publication] {
        &self.publications
    }

    /// Its publication of this number.
    pub fn publication(&self, id: PublicationId) -> Option<&Publication> {
        self.publications.iter().find(|publication| publication.id == id)
    }

    /// What it receives in.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Its slot in this section.
    pub fn slot(&self, mid: &Mid) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.mid == *mid)
    }

    /// The publications that may go into its slots, as it has been told of them.
    pub fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// Plans its slots anew, with orders for its worker. Whether anything changed.
    pub(crate) fn fill(&mut self, orders: &mut Vec<Order>) -> bool {
        let Some(transport) = self.transport.filter(|_| self.subscribes) else { return false };
        let views: Vec<SlotView<'_>> = self.slots.iter().map(Slot::view).collect();
        let planned = slots::plan(self.id, &views, &self.candidates);
        let mut changed = false;
        for (slot, source) in self.slots.iter_mut().zip(planned) {
            if slot.current == source {
                continue;
            }
            changed = true;
            (slot.current, slot.pause, slot.limit) = (source, None, LayerLimit::Best);
            let (mid, preference) = (slot.mid, slot.preference(&self.candidates));
            orders.push((self.worker, Command::AssignSlot { transport, mid, source, preference }));
        }
        changed
    }

    /// Takes over the slots of newly negotiated sections. Those that were there before stay as they are, new ones get
    /// the subscription `new`.
    pub(crate) fn set_sections(&mut self, sections: &[MediaSection], new: &Subscription) {
        let mut slots: Vec<Slot> = Vec::new();
        for section in sections.iter().filter(|section| section.direction == Direction::Send) {
            let ordinal = slots.iter().filter(|slot| slot.kind == section.kind).count();
            let slot = match self.slots.iter().find(|slot| slot.mid == section.mid && slot.kind == section.kind) {
                Some(known) => Slot { ordinal, ..known.clone() },
                None => Slot {
                    mid: section.mid,
                    kind: section.kind,
                    ordinal,
                    subscription: new.clone(),
                    requested: LayerPreference::default(),
                    current: None,
                    pause: None,
                    limit: LayerLimit::Best,
                },
            };
            slots.push(slot);
        }
        self.slots = slots;
    }
}
