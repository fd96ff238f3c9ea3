//! What came through one slot, and whether it is what a receiver may expect.

use crate::stamp::Stamp;
use sfu_rtc::time::{Duration, Instant};
use std::collections::BTreeMap;
use str0m::media::MediaKind;
use str0m::rtp::RtpPacket;

/// One received packet.
#[derive(Clone, Copy, Debug)]
pub struct Got {
    /// What its sender burnt in.
    pub stamp: Stamp,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// When it came.
    pub at: Instant,
    /// VP8 picture id and TL0PICIDX.
    pub picture: Option<(u16, u8)>,
}

/// All that came through one slot, by sequence number.
#[derive(Debug)]
pub struct Sink {
    kind: MediaKind,
    packets: BTreeMap<u64, Got>,
    /// Payloads without a stamp.
    pub unstamped: u64,
    /// The decoder: the next packet that it needs, and since when it waits for it.
    next: Option<u64>,
    waiting_since: Option<Instant>,
    asked_at: Option<Instant>,
}

/// Something that must not be.
pub type Fault = String;

impl Sink {
    /// Nothing came.
    pub fn new(kind: MediaKind) -> Self {
        Self { kind, packets: BTreeMap::new(), unstamped: 0, next: None, waiting_since: None, asked_at: None }
    }

    /// A packet came.
    pub fn on_packet(&mut self, now: Instant, packet: &RtpPacket) {
        let Some(stamp) = Stamp::read(&packet.payload) else {
            self.unstamped += 1;
            return;
        };
        let picture = if self.kind == MediaKind::Video { picture(&packet.payload) } else { None };
        let header = &packet.header;
        let got = Got { stamp, timestamp: header.timestamp, marker: header.marker, at: now, picture };
        self.packets.entry(*packet.seq_no).or_insert(got);
        if self.kind == MediaKind::Video {
            self.decode(now);
        }
    }

    /// Whether the decoder has waited for longer than `patience` and should ask for a keyframe; counts as asked.
    pub fn wants_keyframe(&mut self, now: Instant, patience: Duration) -> bool {
        let waits = self.waiting_since.is_some_and(|since| now - since > patience);
        let wants = waits && self.asked_at.is_none_or(|at| now - at > patience);
        if wants {
            self.asked_at = Some(now);
        }
        wants
    }

    /// All packets by sequence number.
    pub fn packets(&self) -> &BTreeMap<u64, Got> {
        &self.packets
    }

    /// Sequence numbers between the first and the last that never came.
    pub fn holes(&self) -> u64 {
        let (Some((first, _)), Some((last, _))) = (self.packets.first_key_value(), self.packets.last_key_value())
        else {
            return 0;
        };
        last - first + 1 - self.packets.len() as u64
    }

    /// Moves the decoder on: over what is there in order, or from a hole to the next keyframe.
    fn decode(&mut self, now: Instant) {
        let mut next = match self.next {
            Some(next) => next,
            None => match self.packets.first_key_value() {
                Some((first, _)) => *first,
                None => return,
            },
        };
        loop {
            while self.packets.contains_key(&next) {
                next += 1;
            }
            let ahead = self.packets.range(next..);
            let key = ahead.clone().find(|(_, got)| got.stamp.key && got.stamp.index == 0).map(|(seq, _)| *seq);
            let Some(key) = key else {
                let waits = ahead.clone().next().is_some();
                self.waiting_since = waits.then(|| self.waiting_since.unwrap_or(now));
                break;
            };
            next = key;
            self.waiting_since = None;
        }
        self.next = Some(next);
    }

    /// Checks all that came, in the order of sequence numbers. `begins_anew` tells whether the slot was given what it
    /// shows once more between two packets.
    pub fn faults(&self, begins_anew: impl Fn(&Got, &Got) -> bool) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.unstamped > 0 {
            faults.push(format!("{} payloads are not what anybody sent", self.unstamped));
        }
        for ((before_seq, before), (seq, got)) in self.packets.iter().zip(self.packets.iter().skip(1)) {
            let step = got.timestamp.wrapping_sub(before.timestamp);
            if step > u32::MAX / 2 {
                faults.push(format!("timestamp goes back at {seq}: {before:?} {got:?}"));
            }
            if *seq == before_seq + 1 {
                let fault = match self.kind {
                    MediaKind::Video => video_step(before, got, begins_anew(before, got)),
                    MediaKind::Audio => None,
                };
                faults.extend(fault.map(|what| format!("{what} at {seq}: {before:?} {got:?}")));
            }
        }
        faults
    }
}

/// What is wrong with two packets of a picture that follow one another. What begins anew may begin with a keyframe of
/// which a part was sent before.
fn video_step(before: &Got, got: &Got, begins_anew: bool) -> Option<&'static str> {
    let (a, b) = (&before.stamp, &got.stamp);
    let is_beginning = begins_anew && b.key && b.index == 0;
    let same_stream = (a.source, a.layer) == (b.source, b.layer) && !is_beginning;
    let (Some((a_picture, a_tl0)), Some((picture, tl0))) = (before.picture, got.picture) else {
        return Some("no picture id");
    };
    if same_stream && a.frame == b.frame {
        let whole = b.index == a.index + 1 && before.timestamp == got.timestamp && a_picture == picture && a_tl0 == tl0;
        return (!whole).then_some("a frame is torn");
    }
    if !same_stream && !b.key {
        return Some("a switch without a keyframe");
    }
    // A keyframe does not wait for the end of what it takes the place of: of another stream, or before a pause.
    let cut = !b.key && a.index + 1 != a.count;
    if b.index != 0 || cut {
        return Some("a frame is cut");
    }
    if a.index + 1 == a.count && !before.marker {
        return Some("a frame's end has no marker");
    }
    if same_stream && b.frame < a.frame {
        return Some("a frame comes twice");
    }
    if before.timestamp == got.timestamp {
        return Some("two frames have one timestamp");
    }
    if picture != (a_picture + 1) & 0x7fff {
        return Some("picture ids are not consecutive");
    }
    let expected = if b.temporal == 0 { a_tl0.wrapping_add(1) } else { a_tl0 };
    (tl0 != expected).then_some("TL0PICIDX is not consecutive")
}

/// Picture id and TL0PICIDX of a VP8 descriptor as the simulated cameras write it.
fn picture(payload: &[u8]) -> Option<(u16, u8)> {
    match *payload.first_chunk::<5>()? {
        [_, flags, high, low, tl0] if flags & 0xc0 == 0xc0 && high & 0x80 != 0 => {
            Some((u16::from_be_bytes([high & 0x7f, low]), tl0))
        }
        _ => None,
    }
}
