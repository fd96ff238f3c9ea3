//! Order, repair and framing of one received stream.
//!
//! A frame is handed out as soon as it and everything before it is complete; when it is shown is decided later. A gap is asked for by NACK, at once and again after each round trip; what has not come
//! within [`JitterConfig::patience`] is given up, and video waits for a keyframe from there.

use bytes::Bytes;
use sfu_rtc::ids::SeqNo;
use sfu_rtc::nack::MAX_MISSING;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::{Duration, Instant};

/// How long to wait and how much to hold.
#[derive(Clone, Debug)]
pub struct JitterConfig {
    /// Wait for a missing packet before a first NACK: real networks reorder neighbours.
    pub reorder: Duration,
    /// Time between NACKs for one packet; a round trip, once known.
    pub retry: Duration,
    /// Wait for a missing packet before it is given up.
    pub patience: Duration,
    /// Ask for missing packets.
    pub nack: bool,
    /// Frames depend on earlier ones: after a gap only a keyframe helps.
    pub video: bool,
}

impl JitterConfig {
    /// For video.
    pub fn video() -> Self {
        Self {
            reorder: Duration::from_millis(5),
            retry: Duration::from_millis(50),
            patience: Duration::from_millis(400),
            nack: true,
            video: true,
        }
    }

    /// For video of which nothing is asked for: what is missing may be late, or come back by parity, and is given up then.
    pub fn video_unasked() -> Self {
        Self { nack: false, patience: Duration::from_millis(60), ..Self::video() }
    }

    /// For sound: every packet stands alone, and a late one is worth little.
    pub fn audio() -> Self {
        Self {
            reorder: Duration::from_millis(20),
            retry: Duration::from_millis(50),
            patience: Duration::from_millis(60),
            nack: false,
            video: false,
        }
    }
}

/// Packets that are held at most: two seconds at 10 Mbit/s.
const CAPACITY: usize = 2048;
/// NACKs for one packet.
const MAX_NACKS: u32 = 10;
/// Time between two requests for a keyframe, as libwebrtc has it. A request that crosses a keyframe on its way is not
/// answered, so that a later one must follow.
const KEYFRAME_RETRY: Duration = Duration::from_millis(200);

/// All payloads of one frame, in order.
#[derive(Clone, Debug)]
pub struct ReceivedFrame {
    /// RTP timestamp.
    pub timestamp: u32,
    /// Sequence number of its first packet that is there: what was lost before it may have been of the same frame.
    pub first: u16,
    /// Payload type.
    pub payload_type: u8,
    /// Payloads.
    pub payloads: Vec<Bytes>,
    /// Sound before this one is missing: so many packets.
    pub lost_before: u64,
    /// When its last packet came.
    pub completed: Instant,
}

/// What happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JitterCounters {
    /// Packets taken.
    pub received: u64,
    /// Packets that came twice, or after they had been given up.
    pub discarded: u64,
    /// Packets that were missing and came.
    pub recovered: u64,
    /// Packets given up.
    pub lost: u64,
    /// Packets asked for (once each time).
    pub nacked: u64,
    /// Keyframes asked for.
    pub keyframe_requests: u64,
}

struct Stored {
    timestamp: u32,
    marker: bool,
    payload_type: u8,
    payload: Bytes,
    arrived: Instant,
}

struct Missing {
    since: Instant,
    next_nack: Instant,
    nacks: u32,
}

/// The buffer of one stream.
pub struct JitterBuffer {
    config: JitterConfig,
    packets: BTreeMap<u64, Stored>,
    missing: BTreeMap<u64, Missing>,
    /// Next packet to hand out.
    next: Option<u64>,
    /// Highest packet seen.
    highest: u64,
    /// Something was handed out: nothing before `next` is of use.
    started: bool,
    lost_before: u64,
    /// The frames handed out cannot be decoded before a keyframe comes.
    needs_keyframe: bool,
    keyframe_asked: Option<Instant>,
    counters: JitterCounters,
}

impl JitterBuffer {
    /// An empty buffer.
    pub fn new(config: JitterConfig) -> Self {
        Self {
            config,
            packets: BTreeMap::new(),
            missing: BTreeMap::new(),
            next: None,
            highest: 0,
            started: false,
            lost_before: 0,
            needs_keyframe: false,
            keyframe_asked: None,
            counters: JitterCounters::default(),
        }
    }

    /// What happened so far.
    pub const fn counters(&self) -> JitterCounters {
        self.counters
    }

    /// Takes a packet.
    pub fn push(&mut self, now: Instant, packet: rtp::Packet) {
        let number = self.extend(packet.header.sequence_number);
        let next = match self.next {
            None => {
                self.highest = number;
                number
            }
            // Reordered before the very first frame.
            Some(next) if !self.started => next.min(number),
            Some(next) => next,
        };
        self.next = Some(next);
        if number < next || self.packets.contains_key(&number) {
            self.counters.discarded += 1;
            return;
        }
        self.counters.received += 1;
        if self.missing.remove(&number).is_some() {
            self.counters.recovered += 1;
        }
        self.record_gap(now, number);
        let stored = Stored {
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            payload_type: packet.header.payload_type,
            payload: packet.payload,
            arrived: now,
        };
        self.packets.insert(number, stored);
        if self.packets.len() > CAPACITY {
            self.abandon_until(number);
        }
    }

    /// The next whole frame.
    pub fn pop(&mut self, now: Instant) -> Option<ReceivedFrame> {
        self.give_up(now);
        loop {
            let next = self.next?;
            // Padding between frames carries nothing.
            if self.packets.get(&next)?.payload.is_empty() {
                self.packets.remove(&next);
                self.next = Some(next + 1);
                continue;
            }
            let end = self.frame_end(next)?;
            return Some(self.take_frame(next, end));
        }
    }

    /// Whether the frame that begins with this packet is all there.
    pub fn is_whole(&self, first: u16) -> bool {
        self.frame_end(self.extend(first)).is_some()
    }

    /// Goes on with the frame that begins with this packet, if something is missing before it, which is then lost.
    pub fn skip_to(&mut self, first: u16) {
        let number = self.extend(first);
        if self.next.is_some_and(|next| number > next) && self.packets.contains_key(&number) {
            self.abandon_until(number);
        }
    }

    /// Sequence numbers to ask for now, ascending.
    pub fn nacks(&mut self, now: Instant) -> Vec<u16> {
        if !self.config.nack {
            return Vec::new();
        }
        let mut due = Vec::new();
        for (number, missing) in &mut self.missing {
            if missing.next_nack <= now && missing.nacks < MAX_NACKS {
                missing.nacks += 1;
                missing.next_nack = now + self.config.retry;
                due.push(*number as u16);
            }
        }
        self.counters.nacked += due.len() as u64;
        due
    }

    /// The decoder cannot go on: ask for a keyframe.
    pub fn decoder_needs_keyframe(&mut self) {
        self.needs_keyframe = true;
    }

    /// The decoder can go on.
    pub fn decoder_has_keyframe(&mut self) {
        self.needs_keyframe = false;
        self.keyframe_asked = None;
    }

    /// Whether to ask for a keyframe now; asks again while none has come.
    pub fn ask_keyframe(&mut self, now: Instant) -> bool {
        let due = self.needs_keyframe && self.keyframe_asked.is_none_or(|asked| now >= asked + KEYFRAME_RETRY);
        if due {
            self.keyframe_asked = Some(now);
            self.counters.keyframe_requests += 1;
        }
        due
    }

    /// When to call again, if nothing arrives before.
    pub fn deadline(&self) -> Option<Instant> {
        let patience = self.missing.values().next().map(|missing| missing.since + self.config.patience);
        let nack = self.missing.values().filter(|m| self.config.nack && m.nacks < MAX_NACKS).map(|m| m.next_nack).min();
        let keyframe = if self.needs_keyframe { self.keyframe_asked.map(|asked| asked + KEYFRAME_RETRY) } else { None };
        [patience, nack, keyframe].into_iter().flatten().min()
    }

    /// The first number lies a whole circle above zero, so that older ones have room.
    fn extend(&self, wire: u16) -> u64 {
        if self.next.is_none() { 1 << 16 | u64::from(wire) } else { SeqNo(self.highest).extend(wire).0 }
    }

    fn record_gap(&mut self, now: Instant, number: u64) {
        if number > self.highest + MAX_MISSING as u64 {
            self.abandon_until(number);
            let lost = number - self.highest - 1;
            self.counters.lost += lost;
            self.lost_before += lost;
        } else {
            for gap in self.highest + 1..number {
                let next_nack = now + self.config.reorder;
                self.missing.insert(gap, Missing { since: now, next_nack, nacks: 0 });
            }
        }
        self.highest = self.highest.max(number);
    }

    /// The last packet of the frame that begins at `start`, if all of it is there.
    fn frame_end(&self, start: u64) -> Option<u64> {
        let timestamp = self.packets.get(&start)?.timestamp;
        let mut end = start;
        for (number, packet) in self.packets.range(start..) {
            if *number > end + 1 {
                return None;
            }
            if packet.timestamp != timestamp {
                return Some(end);
            }
            end = *number;
            // Each packet of sound is a frame; its marker means the start of a talk spurt.
            if packet.marker || !self.config.video {
                return Some(end);
            }
        }
        None
    }

    fn take_frame(&mut self, start: u64, end: u64) -> ReceivedFrame {
        let mut frame = ReceivedFrame {
            timestamp: 0,
            first: start as u16,
            payload_type: 0,
            payloads: Vec::new(),
            lost_before: std::mem::take(&mut self.lost_before),
            completed: Instant::now(),
        };
        for number in start..=end {
            let Some(packet) = self.packets.remove(&number) else { continue };
            if frame.payloads.is_empty() {
                frame.timestamp = packet.timestamp;
                frame.payload_type = packet.payload_type;
                frame.completed = packet.arrived;
            }
            frame.completed = frame.completed.max(packet.arrived);
            if !packet.payload.is_empty() {
                frame.payloads.push(packet.payload);
            }
        }
        self.next = Some(end + 1);
        self.started = true;
        frame
    }

    /// Gives up what has been missing for too long.
    fn give_up(&mut self, now: Instant) {
        let Some((last, _)) = self.missing.iter().rev().find(|(_, m)| now >= m.since + self.config.patience) else {
            return;
        };
        let after = self.packets.range((Excluded(*last), Unbounded)).next().map(|(number, _)| *number);
        if let Some(after) = after {
            self.abandon_until(after);
        }
    }

    /// Goes on at `number`; what is missing before it is lost. Frames that are whole before it are lost with it: they
    /// depend on what is missing.
    fn abandon_until(&mut self, number: u64) {
        let kept = self.missing.split_off(&number);
        let lost = std::mem::replace(&mut self.missing, kept).len() as u64;
        self.counters.lost += lost;
        self.lost_before += lost;
        if self.config.video {
            self.packets = self.packets.split_off(&number);
            self.needs_keyframe = true;
        } else if let Some((first, _)) = self.packets.first_key_value() {
            // Sound before the gap is still good.
            self.next = Some((*first).min(number));
            return;
        }
        self.next = Some(number);
    }
}

#[cfg(test)]
mod tests;
