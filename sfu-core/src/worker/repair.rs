//! Plans the repair of what each subscriber loses, some times per second while media is sent to it.

use super::Worker;
use crate::config::WorkerConfig;
use crate::forwarder::Forwarder;
use crate::peer::Peer;
use crate::repair::{AudioSnapshot, Code, RepairConfig, Snapshot, plan};
use crate::room::Router;
use crate::slab::Key;
use sfu_rtc::fec::Scheme;
use sfu_rtc::loss::GilbertLoss;
use sfu_rtc::media::MediaSection;
use sfu_rtc::path_meter::PathQuality;
use sfu_rtc::rtp::extension::ExtensionKind;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::units::Bitrate;

/// A keyframe is there so long after it was asked for, on top of the round trip.
const KEYFRAME_DELAY: Duration = Duration::from_millis(300);
/// Headers, and what retransmissions on request take.
const MEDIA_OVERHEAD: f64 = 1.05;
/// Redundant audio may take so much of the estimate where nothing queues, though video fills what there is: more of it, with
/// some who speak at once on a narrow path, would leave no room for pictures.
const AUDIO_SHARE: f64 = 0.35;
/// What allocation leaves of the estimate, as a share of the video.
const HEADROOM: f64 = 0.1;

/// What the slots of one subscriber have in common.
struct Path {
    quality: PathQuality,
    rtt: Duration,
    congested: bool,
    /// What is lost is not lost for want of room.
    has_room: bool,
    /// Bits per second: of audio to which redundancy may be added, without it ...
    audio: f64,
    /// ... of video ...
    video: f64,
    /// ... that may be sent, without end where nothing bounds it ...
    estimate: f64,
    /// ... and what that leaves of all media.
    left: f64,
}

impl Worker {
    /// Sends a subscriber the copies that are due.
    pub(super) fn send_copies(&mut self, now: Instant, key: Key) {
        while let Some(peer) = self.peers.get_mut(key)
            && let Some(copy) = peer.copies.pop(now)
        {
            let slot = peer.slots.get(usize::from(copy.section)).and_then(Option::as_ref);
            let Some((publication, index)) = slot.and_then(|slot| slot.place.carried()) else { continue };
            let router = peer.router;
            let (mut ctx, routers) = self.split(now);
            let Some(router) = routers.get_mut(router) else { return };
            if let Some(publication) = router.publications.get_mut(publication) {
                publication.resend(index, copy.seq, Some(copy), Duration::ZERO, &mut ctx);
            }
        }
    }

    /// Plans the parity of what came from a publisher, if it sends any and that is due.
    pub(super) fn plan_uplink(&mut self, now: Instant, publisher: Key, publication: Key) {
        let Self { peers, routers, config, .. } = self;
        let Some(peer) = peers.get(publisher) else { return };
        let publication = routers.get_mut(peer.router).and_then(|router| router.publications.get_mut(publication));
        let Some(parity) = publication.and_then(|publication| publication.uplink_parity.as_mut()) else { return };
        if parity.is_due(now) {
            let loss = peer.transport.figures().uplink.bursts.unwrap_or(GilbertLoss::NONE);
            parity.plan(now, (loss, peer.transport.rtt_or_default()), &config.repair);
        }
    }

    /// Plans anew for one subscriber. Without media since the last plan, the next comes when there is some again.
    pub(super) fn plan_repair(&mut self, now: Instant, key: Key) {
        let Self { peers, routers, config, .. } = self;
        let Some(peer) = peers.get_mut(key).map(Box::as_mut) else { return };
        peer.repair_due = Instant::NEVER;
        let Some(router) = routers.get_mut(peer.router) else { return };
        let path = path(now, peer, router, &config.repair);
        let Peer { slots, transport, playout_delay, audio_redundancy, .. } = peer;
        // Audio first: it takes little, and has no other repair.
        let planned = path.as_ref().filter(|_| config.repair.fixed.is_none());
        let generations = planned.map(|path| audio_redundancy.update(now, &path.audio(&config.repair)));
        let share = path.as_ref().map_or(0.0, |path| path.share(generations.unwrap_or(0), &config.repair));
        let mut slack = None;
        for (section, slot) in slots.iter().enumerate() {
            let Some((publication, index)) = slot.as_ref().and_then(|slot| slot.place.carried()) else { continue };
            let publication = router.publications.get_mut(publication);
            let Some(forwarder) = publication.and_then(|publication| publication.forwarder_mut(index)) else {
                continue;
            };
            if forwarder.takes_redundancy() || forwarder.takes_copies() {
                forwarder.set_redundancy(generations, path.as_ref().is_none_or(|path| path.video == 0.0));
                continue;
            }
            if let Some(fixed) = config.repair.fixed {
                let Some(load) = forwarder.load.as_mut().and_then(|load| load.load(now, Duration::ZERO)) else {
                    continue;
                };
                peer.repair_due = now + config.repair.interval;
                transport.protect(section, &fixed.protection(&load.classes));
                continue;
            }
            let Some(negotiated) = transport.sections().get(section) else { continue };
            let path = path.as_ref().map(|path| (path, share));
            let Some(snapshot) = snapshot(now, forwarder, path, negotiated, config) else { continue };
            peer.repair_due = now + config.repair.interval;
            let Some(snapshot) = snapshot else { continue };
            let plan = plan(&snapshot);
            forwarder.copies = plan.copies;
            slack = slack.max(Some(plan.slack));
            transport.protect(section, &plan.protection());
        }
        if let Some(slack) = slack {
            transport.set_playout_delay(playout_delay.update(now, slack));
        }
    }
}

/// What is known of a subscriber's path; `None` while that is nothing.
fn path(now: Instant, peer: &Peer, router: &Router, config: &RepairConfig) -> Option<Path> {
    let quality = peer.transport.path_quality()?;
    let (mut media, mut audio, mut video) = (0.0, 0.0, 0.0);
    for (publication, index) in peer.slots.iter().flatten().filter_map(|slot| slot.place.carried()) {
        let forwarder = router.publications.get(publication).and_then(|publication| publication.forwarder(index));
        let Some(forwarder) = forwarder else { continue };
        let rate = forwarder.plain_rate(now).as_bps() as f64;
        media += rate;
        audio += if forwarder.takes_redundancy() || forwarder.takes_copies() { rate } else { 0.0 };
        video += if forwarder.load.is_some() { rate } else { 0.0 };
    }
    let estimate = peer.estimate().map_or(f64::INFINITY, |estimate| estimate.as_bps() as f64);
    let left = estimate - media * MEDIA_OVERHEAD;
    let (congested, has_room) = (quality.queue > config.max_queue, quality.queue < config.max_queue / 2);
    Some(Path { quality, rtt: peer.transport.rtt_or_default(), congested, has_room, audio, video, estimate, left })
}

impl Path {
    fn audio(&self, config: &RepairConfig) -> AudioSnapshot {
        let budget = match self.has_room {
            _ if config.max_overhead == 0.0 => 0.0,
            true => self.left.max(self.estimate * AUDIO_SHARE),
            false => self.left.max(0.0),
        };
        AudioSnapshot {
            loss: self.quality.loss,
            lost_again: self.quality.lost_again,
            congested: self.congested,
            rate: Bitrate::from_bps(self.audio as u64),
            budget: Bitrate::from_bps(budget as u64),
        }
    }

    /// Bits of repair per bit of video, where audio has so many generations of redundancy.
    ///
    /// Repair takes what the estimate leaves of its path, and the headroom in any case: who is short of bandwidth is not
    /// helped by parity. What is lost without a queue is not lost for want of room. Video follows the estimate up to the
    /// last bit, so that waiting for what it leaves would be waiting for the loss to end; where repair is too much, a
    /// queue tells.
    fn share(&self, generations: u8, config: &RepairConfig) -> f64 {
        let least = if self.has_room { config.max_overhead } else { HEADROOM };
        let video = self.video.max(1.0);
        let share = (self.left / video).max(least).min(config.max_overhead);
        (share - self.audio * f64::from(generations) / video).max(0.0)
    }
}

/// How what a slot sends can be protected. Parity among the media (ULPFEC) is a gap in the numbers where it is lost: only
/// frames that say by themselves what they refer to are decoded all the same.
fn code(section: &MediaSection, forwarder: &Forwarder) -> Option<Code> {
    match section.own_parity()?.scheme {
        Scheme::ReedSolomon => Some(Code::ReedSolomon),
        Scheme::FlexFec03 => Some(Code::Xor),
        Scheme::Ulpfec { .. } => forwarder.rewriter.has_base_frames().then_some(Code::Xor),
    }
}

/// What a plan for one slot is made of, with what repair may take per bit of video: `None` where it sends no video,
/// `Some(None)` where nothing is known of the path.
fn snapshot(
    now: Instant,
    forwarder: &mut Forwarder,
    path: Option<(&Path, f64)>,
    section: &MediaSection,
    config: &WorkerConfig,
) -> Option<Option<Snapshot>> {
    let config = &config.repair;
    let code = code(section, forwarder);
    let rate = forwarder.sent(now).1.as_bps() as f64;
    let rtt = path.map_or(Duration::ZERO, |(path, _)| path.rtt);
    let load = forwarder.load.as_mut()?.load(now, rtt + KEYFRAME_DELAY)?;
    let takes_delay = section.extensions.id(ExtensionKind::PlayoutDelay).is_some();
    Some(path.map(|(path, share)| Snapshot {
        loss: path.quality.loss,
        lost_again: path.quality.lost_again,
        congested: path.congested,
        rtt,
        jitter: path.quality.jitter,
        slack: config.slack,
        max_slack: if takes_delay { config.max_playout_delay } else { Duration::ZERO },
        nack: forwarder.formats.nack,
        code,
        span: section.own_parity().map_or(u16::MAX, |parity| parity.scheme.span(1)),
        frame_interval: load.frame_interval,
        packet_size: load.packet_size,
        budget: Bitrate::from_bps((rate * share) as u64),
        classes: load.classes,
        target: config.target,
    }))
}
