//! One peer on a worker: its transport, what it publishes, and the slots in which it gets media.

use crate::claims::Claim;
use crate::command::VideoCaps;
use crate::forwarder::Forwarder;
use crate::ids::{RoomId, TransportId};
use crate::qos::{Allocation, AllocationHistory};
use crate::repair::{AudioRedundancy, Copies, PlayoutHold, RepairConfig, first_slack};
use crate::schedule::DirtyList;
use crate::slab::Key;
use sfu_rtc::ids::{Mid, Ssrc};
use sfu_rtc::net::NetworkPath;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::transport::Transport;
use sfu_rtc::units::Bitrate;

/// One peer: its transport, what it publishes, and its slots.
#[derive(Debug)]
pub(crate) struct Peer {
    /// In which lists of peers with something to do it is.
    pub(crate) dirty: Dirty,
    /// Over: it goes once its goodbye has left.
    pub(crate) closing: bool,
    /// When reports are due; [`Instant::NEVER`] while there is nothing to report.
    pub(crate) report_due: Instant,
    /// When its repair is planned anew; [`Instant::NEVER`] while no media is sent to it, or none is planned.
    pub(crate) repair_due: Instant,
    /// What is to be sent to it once more.
    pub(crate) copies: Copies,
    /// How long it is asked to keep video.
    pub(crate) playout_delay: PlayoutHold,
    /// How much older audio goes along with its audio.
    pub(crate) audio_redundancy: AudioRedundancy,
    pub(crate) transport: Transport,
    /// Where it says that it can be reached.
    pub(crate) claim: Claim,
    /// Its room's router.
    pub(crate) router: Key,
    pub(crate) id: TransportId,
    pub(crate) room: RoomId,
    /// By section: the publication that it carries.
    pub(crate) inbound: Vec<Option<Key>>,
    /// All its publications.
    pub(crate) publications: Vec<Key>,
    /// By section: the slot that it is.
    pub(crate) slots: Vec<Option<Slot>>,
    /// Paths that lead to it, the newest last.
    pub(crate) paths: Vec<NetworkPath>,
    /// Names under which its checks arrive.
    pub(crate) ufrags: Vec<String>,
    pub(crate) received: FeedbackCounters,
    /// How its bandwidth is shared out.
    pub(crate) share: Share,
    /// With which estimate it began, until another has been learned.
    pub(crate) began: Option<Bitrate>,
    /// The most that it may get.
    pub(crate) caps: VideoCaps,
}

impl Peer {
    /// What may be sent to it: what its path is estimated to carry, and what it may get. `None` where neither bounds it.
    pub(crate) fn estimate(&self) -> Option<Bitrate> {
        self.transport.estimate().into_iter().chain(self.caps.bitrate).min()
    }

    /// Video is sent whose repair is planned: the first of it asks for time for repair, where the path is a long one. Only
    /// what a receiver is asked before it shows anything costs it no change of speed.
    pub(crate) fn begin_playout(&mut self, now: Instant, config: &RepairConfig) {
        if self.playout_delay.has_begun() {
            return;
        }
        let Some(rtt) = self.transport.rtt() else { return };
        if let Some(delay) = self.playout_delay.begin(now, first_slack(rtt, config.slack, config.max_playout_delay)) {
            self.transport.set_playout_delay(delay);
        }
    }

    /// It has something to do or to send.
    pub(crate) fn schedule(&mut self, key: Key, list: &mut DirtyList) {
        if !std::mem::replace(&mut self.dirty.normal, true) {
            list.push(self.router, key);
        }
    }

    /// It has audio to send.
    pub(crate) fn schedule_urgent(&mut self, key: Key, list: &mut DirtyList) {
        if !std::mem::replace(&mut self.dirty.urgent, true) {
            list.push_urgent(key);
        }
    }

    /// The slot that sends with `ssrc`.
    pub(crate) fn slot_of(&self, ssrc: Ssrc) -> Option<&Slot> {
        self.slots.iter().flatten().find(|slot| slot.ssrc == ssrc)
    }

    /// Index of the section with this mid.
    pub(crate) fn section_of(&self, mid: &Mid) -> Option<usize> {
        self.transport.sections().iter().position(|section| section.mid == *mid)
    }

    /// Reports will be due at `at`, or before.
    pub(crate) fn report_by(&mut self, at: Instant) {
        self.report_due = self.report_due.min(at);
    }
}

/// In which lists of the [`DirtyList`] a peer waits.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Dirty {
    pub(crate) urgent: bool,
    pub(crate) normal: bool,
}

/// Least time between two allocations for one subscriber, where what it gets has to change ...
const SHARE_INTERVAL: Duration = Duration::from_millis(10);
/// ... and where the estimate has changed, but still covers it.
const REVIEW_INTERVAL: Duration = Duration::from_millis(100);

/// How one subscriber's bandwidth was shared out last.
#[derive(Default, Debug)]
pub(crate) struct Share {
    pub(crate) history: AllocationHistory,
    pub(crate) allocation: Allocation,
    /// By which estimate, and when.
    estimate: Option<Bitrate>,
    at: Instant,
    /// Slots, or what could be sent in them, have changed since.
    changed: bool,
}

impl Share {
    /// It has to be shared out anew.
    pub(crate) fn changed(&mut self) {
        self.changed = true;
    }

    /// When that is to be done, with this estimate; [`Instant::NEVER`] where nothing has changed.
    pub(crate) fn due(&self, estimate: Option<Bitrate>) -> Instant {
        let exceeded = estimate.is_some_and(|estimate| estimate < self.allocation.granted);
        match estimate == self.estimate {
            _ if self.changed => self.at + SHARE_INTERVAL,
            true => self.allocation.review.unwrap_or(Instant::NEVER),
            false if exceeded || estimate.is_none() || self.estimate.is_none() => self.at + SHARE_INTERVAL,
            false => self.at + REVIEW_INTERVAL,
        }
    }

    /// It was done.
    pub(crate) fn done(&mut self, now: Instant, estimate: Option<Bitrate>, allocation: Allocation) {
        (self.at, self.estimate, self.allocation, self.changed) = (now, estimate, allocation, false);
    }
}

/// What a peer asked for.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct FeedbackCounters {
    pub(crate) nacks: u64,
    pub(crate) keyframe_requests: u64,
}

/// A section on which we send.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) mid: Mid,
    pub(crate) ssrc: Ssrc,
    pub(crate) place: Place,
}

/// Where a slot's forwarder is.
#[derive(Debug)]
pub(crate) enum Place {
    /// Nothing is carried.
    Idle(Box<Forwarder>),
    /// Among the forwarders of a publication.
    Carrying {
        /// Which.
        publication: Key,
        /// Where.
        index: u32,
    },
    /// It is on its way from one place to another, within one command.
    Moving,
}

impl Place {
    /// Publication and index of a forwarder that works.
    pub(crate) fn carried(&self) -> Option<(Key, u32)> {
        match self {
            Self::Carrying { publication, index } => Some((*publication, *index)),
            Self::Idle(_) | Self::Moving => None,
        }
    }
}
