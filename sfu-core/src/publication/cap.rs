//! What a publication may bring in at most, whatever its sender was asked for: bits and frames each by a token bucket,
//! and the size of the picture. What is over is left out as whole layers, the highest first, or else as whole frames up
//! to the next keyframe, so that the rest can be decoded.

use super::{Asker, Publication};
use crate::command::VideoCaps;
use crate::context::Context;
use crate::forwarder::vp8_picture;
use crate::layer_order::{LayerIndex, MAX_LAYERS};
use crate::relay::Skipped;
use arrayvec::ArrayVec;
use sfu_rtc::packet::{Packet, PacketData};
use sfu_rtc::time::{Duration, Instant, Spacing};
use sfu_rtc::units::{Bitrate, DataSize};

/// Encoders miss their rate by a twentieth.
const TOLERANCE: f64 = 1.05;
/// So much time's worth may come at once: a keyframe.
const BURST: Duration = Duration::from_millis(500);
/// What nothing depends on goes first, with this much left to spare; a keyframe after a cut waits for as much.
const SPARE: Duration = Duration::from_millis(250);
/// A frame that has begun may go on to this, however large it is.
const LIMIT: Duration = Duration::from_millis(1_000);
/// For so long an upper layer is left out that found no room.
const LEFT_OUT: Duration = Duration::from_secs(10);
/// A frame that is older than the newest by no more than this, in units of the 90 kHz clock, comes late; else the sender
/// has begun anew.
const LATE: u32 = 10 * 90_000;

/// Bounds, and what has come in against them.
#[derive(Debug)]
pub(super) struct Cap {
    caps: VideoCaps,
    bits: Spacing,
    layers: ArrayVec<CappedLayer, MAX_LAYERS>,
}

#[derive(Default, Debug)]
struct CappedLayer {
    frames: Spacing,
    /// It is left out until then.
    until: Instant,
    /// Timestamp of the newest frame, and whether it comes in.
    newest: Option<(u32, bool)>,
    /// Something was left out that others depend on: nothing comes in before a keyframe.
    broken: bool,
}

/// What stands beside a layer of which a packet came.
struct Beside {
    /// The highest layer above it that is alive.
    above: Option<usize>,
    /// Whether there is one below.
    below: bool,
}

impl Cap {
    fn new(caps: VideoCaps, layers: usize) -> Self {
        let layers = (0..layers).map(|_| CappedLayer::default()).take(MAX_LAYERS).collect();
        Self { caps, bits: Spacing::default(), layers }
    }

    /// Whether a packet of a picture of this size comes in; counts it if so.
    fn admit(
        &mut self,
        now: Instant,
        layer: usize,
        packet: &PacketData,
        size: Option<(u16, u16)>,
        beside: &Beside,
    ) -> bool {
        let admitted = match self.layers[layer].newest {
            _ if !self.caps.admits(size) || now < self.layers[layer].until => {
                self.layers[layer].broken = true;
                false
            }
            // Another packet of the same frame, or of an earlier one that comes late.
            Some((newest, admitted)) if newest.wrapping_sub(packet.timestamp) <= LATE => {
                let admitted = if packet.timestamp == newest { admitted } else { !self.layers[layer].broken };
                let fits = self.has_room(now, LIMIT);
                self.layers[layer].broken |= admitted && !fits;
                admitted && fits
            }
            _ => {
                let admitted = self.admit_frame(now, layer, packet, beside);
                self.layers[layer].newest = Some((packet.timestamp, admitted));
                admitted
            }
        };
        if admitted && let Some(rate) = self.caps.bitrate {
            let rate = (rate * TOLERANCE).max(Bitrate::from_bps(1));
            self.bits.count(now, rate.time_for(DataSize::from_bytes(packet.payload().len() as u64)));
        }
        admitted
    }

    fn admit_frame(&mut self, now: Instant, layer: usize, packet: &PacketData, beside: &Beside) -> bool {
        let (keyframe, discardable) = (packet.frame.keyframe, packet.frame.discardable);
        let frame_time =
            self.caps.framerate.map(|fps| Duration::from_secs(1).div_f64(f64::from(fps.max(1)) * TOLERANCE));
        let paid = self.layers[layer].frames.next(now, Duration::ZERO);
        let in_time = frame_time.is_none() || paid <= now + if discardable { Duration::ZERO } else { BURST };
        if self.layers[layer].broken && !(keyframe && in_time && self.has_room(now, SPARE)) {
            return false;
        }
        let fits = self.has_room(now, if discardable { SPARE } else { BURST });
        match beside.above.filter(|_| !fits && in_time) {
            Some(above) => self.layers[above].until = now + LEFT_OUT,
            None if fits && in_time => {}
            None => {
                if !fits && beside.below {
                    self.layers[layer].until = now + LEFT_OUT;
                }
                self.layers[layer].broken |= !discardable;
                return false;
            }
        }
        self.layers[layer].broken = false;
        if let Some(frame_time) = frame_time {
            self.layers[layer].frames.count(now, frame_time);
        }
        true
    }

    /// Whether no more than `ahead` is left to be paid.
    fn has_room(&self, now: Instant, ahead: Duration) -> bool {
        self.caps.bitrate.is_none() || self.bits.next(now, ahead) == now
    }
}

impl Publication {
    /// Bounds what comes in.
    pub(crate) fn set_caps(&mut self, caps: VideoCaps, ctx: &mut Context<'_>) {
        match &mut self.cap {
            _ if caps == VideoCaps::default() => self.cap = None,
            Some(cap) => cap.caps = caps,
            None => self.cap = Some(Box::new(Cap::new(caps, self.streams.len()))),
        }
        self.check_liveness(ctx);
    }

    /// Whether a layer is left out since it is over what may come in.
    pub(super) fn is_over_cap(&self, layer: usize, now: Instant) -> bool {
        let Some(cap) = &self.cap else { return false };
        !cap.caps.admits(self.streams[layer].resolution()) || now < cap.layers[layer].until
    }

    /// Whether a packet that has come may go on.
    pub(super) fn is_within_cap(&mut self, layer: LayerIndex, packet: &PacketData, ctx: &mut Context<'_>) -> bool {
        let index = usize::from(layer);
        let ranks = self.order.ranks();
        let is_alive = |other: &LayerIndex| self.is_alive(*other) && !self.is_over_cap(usize::from(*other), ctx.now);
        let others = || (0..self.streams.len() as LayerIndex).filter(is_alive);
        let above = others().filter(|other| ranks.of(*other) > ranks.of(layer)).max_by_key(|other| ranks.of(*other));
        let below = others().any(|other| ranks.of(other) < ranks.of(layer));
        let (beside, size) = (Beside { above: above.map(usize::from), below }, self.streams[index].resolution());
        let Some(cap) = &mut self.cap else { return true };
        if cap.admit(ctx.now, index, packet, size, &beside) {
            return true;
        }
        let awaits_keyframe = cap.layers[index].broken && !beside.below && cap.has_room(ctx.now, SPARE);
        let admits = !self.is_over_cap(index, ctx.now);
        let is_watched = || {
            self.forwarders.iter().any(|forwarder| forwarder.is_interested(layer))
                || self.relays.iter().any(|relay| relay.wants(layer))
        };
        if awaits_keyframe && admits && is_watched() {
            self.request_keyframe(layer, ctx.now, Asker::All, ctx);
        }
        false
    }

    /// Forgets a packet that has come, but for its number.
    pub(super) fn leave_out(&mut self, layer: LayerIndex, packet: &Packet, ctx: &mut Context<'_>) {
        let (seq, picture) = (packet.seq, vp8_picture(packet));
        self.streams[usize::from(layer)].history.remove(seq);
        self.skip(Skipped { layer, seq, left_out: true, picture }, ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sfu_rtc::packet::PacketPool;

    const ALONE: Beside = Beside { above: None, below: false };

    /// A packet of 1,000 bytes.
    fn packet(frame: u32, set: impl Fn(&mut PacketData)) -> Packet {
        let packet = PacketPool::new(1).take(|data| {
            data.timestamp = frame * 3_000;
            set(data);
            data.set_bytes(&[0; 1_000], 0..1_000)
        });
        packet.unwrap()
    }

    /// Frames of one layer every `1 / fps`, each of so many packets of 1,000 bytes.
    struct Sender {
        now: Instant,
        frame: u32,
        fps: u32,
        /// What came in: when, and bytes.
        admitted: Vec<(Instant, u64, u32)>,
    }

    impl Sender {
        fn new(fps: u32) -> Self {
            Self { now: Instant::from_millis(1_000), frame: 0, fps, admitted: Vec::new() }
        }

        fn frame(&mut self, cap: &mut Cap, packets: usize, set: impl Fn(&mut PacketData)) -> bool {
            let mut whole = true;
            for _ in 0..packets {
                let packet = packet(self.frame, &set);
                let admitted = cap.admit(self.now, 0, &packet, None, &ALONE);
                if admitted {
                    self.admitted.push((self.now, 1_000, self.frame));
                }
                whole &= admitted;
            }
            self.frame += 1;
            self.now += Duration::from_secs(1) / self.fps;
            whole
        }

        /// kbit/s over the time after the first second.
        fn kbps(&self) -> f64 {
            let late = self.admitted.iter().filter(|(at, _, _)| *at >= Instant::from_millis(2_000));
            let bits = late.map(|(_, bytes, _)| bytes * 8).sum::<u64>() as f64;
            bits / (self.now - Instant::from_millis(2_000)).as_secs_f64() / 1_000.0
        }

        fn frames_per_second(&self) -> f64 {
            let mut frames: Vec<u32> = self.admitted.iter().map(|(_, _, frame)| *frame).collect();
            frames.dedup();
            frames.len() as f64 / (self.now - Instant::from_millis(1_000)).as_secs_f64()
        }
    }

    fn cap(kbps: Option<u64>, framerate: Option<u8>, height: Option<u16>) -> Cap {
        Cap::new(VideoCaps { bitrate: kbps.map(Bitrate::from_kbps), framerate, height }, 1)
    }

    #[test]
    fn a_sender_within_its_cap_passes_whole() {
        let (mut cap, mut sender) = (cap(Some(400), Some(15), None), Sender::new(15));
        for n in 0..150 {
            // 360 kbit/s, with a keyframe of 12 kB.
            assert!(sender.frame(&mut cap, if n == 0 { 12 } else { 3 }, |data| data.frame.keyframe = n == 0), "{n}");
        }
    }

    #[test]
    fn what_nothing_depends_on_goes_first() {
        let (mut cap, mut sender) = (cap(None, Some(15), None), Sender::new(30));
        // L1T3: every other frame is discardable.
        let admitted: Vec<bool> =
            (0..60).map(|n| sender.frame(&mut cap, 1, |data| data.frame.discardable = n % 2 == 1)).collect();
        assert!(admitted.iter().step_by(2).all(|admitted| *admitted), "the others pass");
        assert!((14.0..=15.8).contains(&sender.frames_per_second()), "{}", sender.frames_per_second());
    }

    #[test]
    fn after_a_frame_is_left_out_nothing_comes_before_a_keyframe() {
        let (mut cap, mut sender) = (cap(Some(400), None, None), Sender::new(30));
        let first = (0..).find(|n| !sender.frame(&mut cap, 6, |data| data.frame.keyframe = *n == 0)).unwrap();
        assert!((5..30).contains(&first), "{first}");
        assert!((0..60).all(|_| !sender.frame(&mut cap, 1, |_| {})), "though there is room again");
        assert!(sender.frame(&mut cap, 6, |data| data.frame.keyframe = true));
    }

    #[test]
    fn a_sender_that_begins_anew_is_not_taken_to_be_late() {
        let (mut cap, mut sender) = (cap(Some(400), None, None), Sender::new(30));
        sender.frame = 1_000_000;
        while sender.frame(&mut cap, 6, |data| data.frame.keyframe = true) {}
        sender.now += Duration::from_secs(2);
        sender.frame = 0;
        assert!(!sender.frame(&mut cap, 1, |_| {}), "what was left out is missing");
        assert!(sender.frame(&mut cap, 6, |data| data.frame.keyframe = true));
    }

    #[test]
    fn a_picture_that_is_too_large_does_not_come_in() {
        let mut cap = cap(None, None, Some(360));
        let at = |n: u32| packet(n, |data| data.frame.keyframe = n.is_multiple_of(2));
        let mut admit = |n: u32, size| cap.admit(Instant::from_millis(u64::from(n) * 33), 0, &at(n), size, &ALONE);
        assert!(admit(0, Some((640, 360))) && admit(1, Some((360, 640))));
        assert!(!admit(2, Some((1_280, 720))) && !admit(3, Some((1_280, 720))));
        assert!(!admit(5, Some((640, 360))) && admit(6, Some((640, 360))), "from a keyframe on");
    }

    #[test]
    fn upper_layers_go_before_lower_ones() {
        let mut cap = Cap::new(VideoCaps { bitrate: Some(Bitrate::from_kbps(400)), ..VideoCaps::default() }, 2);
        let mut came = [0, 0];
        for n in 0..150_u32 {
            let now = Instant::from_millis(1_000 + u64::from(n) * 33);
            // 240 and 1,200 kbit/s.
            for (layer, packets) in [(0, 1), (1, 5)] {
                let open = now >= cap.layers[1].until;
                let beside = Beside { above: (layer == 0 && open).then_some(1), below: layer == 1 };
                let one = packet(n, |data| data.frame.keyframe = n == 0);
                came[layer] += (0..packets).filter(|_| cap.admit(now, layer, &one, None, &beside)).count();
            }
        }
        assert_eq!(came[0], 150, "the lower one is whole");
        assert!(came[1] < 100, "{came:?}");
    }

    proptest! {
        /// Whatever is sent, and however it is marked, no more than the cap and 5 % comes in.
        #[test]
        fn no_sender_passes_its_cap(
            frames in prop::collection::vec((1_usize..60, any::<bool>(), any::<bool>()), 300),
            kbps in 100_u64..3_000,
        ) {
            let (mut cap, mut sender) = (cap(Some(kbps), None, None), Sender::new(30));
            for (packets, keyframe, discardable) in frames {
                sender.frame(&mut cap, packets, |data| {
                    (data.frame.keyframe, data.frame.discardable) = (keyframe, discardable);
                });
            }
            let burst = kbps as f64 * LIMIT.as_secs_f64() / (sender.now - Instant::from_millis(2_000)).as_secs_f64();
            prop_assert!(sender.kbps() <= kbps as f64 * 1.05 + burst + 1.0, "{} of {}", sender.kbps(), kbps);
        }
    }
}
