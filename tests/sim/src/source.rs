//! What a simulated participant sends: a camera with simulcast (VP8) and a microphone (Opus).

use crate::rng::Rng;
use crate::stamp::Stamp;
use sfu_rtc::time::{Duration, Instant};

/// One RTP payload with what its header says.
#[derive(Clone, Debug)]
pub struct Payload {
    /// Simulcast layer.
    pub layer: usize,
    /// Sequence number in its stream.
    pub seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// Audio level in negative decibel, for sound.
    pub level: Option<i8>,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// A camera.
#[derive(Debug)]
pub struct Camera {
    source: u32,
    layers: Vec<Layer>,
    frame_time: Duration,
    next: Instant,
    rng: Rng,
}

#[derive(Debug)]
struct Layer {
    size: (u16, u16),
    packets: u8,
    seq: u64,
    timestamp: u32,
    picture_id: u16,
    tl0: u8,
    frame: u32,
    temporal_step: usize,
    temporal_layers: bool,
    key_wanted: bool,
}

/// Temporal layers of the frames of a group of four.
const TEMPORAL_PATTERN: [u8; 4] = [0, 2, 1, 2];
/// Bytes of a payload before its stamp. Small, so that a conference is cheap; the sizes do not matter to what is
/// checked.
const FILL: usize = 40;

impl Camera {
    /// A camera with so many simulcast layers, lowest first.
    pub fn new(source: u32, layers: usize, start: Instant, mut rng: Rng) -> Self {
        let temporal_layers = rng.chance(0.5);
        let layers = (0..layers)
            .map(|layer| Layer {
                size: (160 << layer, 90 << layer),
                packets: 1 + layer as u8,
                seq: first_seq(&mut rng),
                timestamp: rng.bits() as u32,
                picture_id: rng.bits() as u16 & 0x7fff,
                tl0: rng.bits() as u8,
                frame: 0,
                temporal_step: 0,
                temporal_layers,
                key_wanted: true,
            })
            .collect();
        Self { source, layers, frame_time: Duration::from_millis(rng.between(50, 80)), next: start, rng }
    }

    /// When the next frame is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Begins now.
    pub fn start(&mut self, now: Instant) {
        self.next = self.next.max(now);
    }

    /// Time between two frames.
    pub fn frame_time(&self) -> Duration {
        self.frame_time
    }

    /// Makes the layer's next frame a keyframe.
    pub fn request_keyframe(&mut self, layer: usize) {
        if let Some(layer) = self.layers.get_mut(layer) {
            layer.key_wanted = true;
        }
    }

    /// The frames that are due, of all layers.
    pub fn capture(&mut self, now: Instant) -> Vec<Payload> {
        let mut payloads = Vec::new();
        while self.next <= now {
            for index in 0..self.layers.len() {
                let extra = u8::from(self.rng.chance(0.2));
                self.layers[index].encode(self.source, index, extra, self.next, self.frame_time, &mut payloads);
            }
            self.next += self.frame_time;
        }
        payloads
    }
}

impl Layer {
    fn encode(&mut self, source: u32, layer: usize, extra: u8, at: Instant, every: Duration, out: &mut Vec<Payload>) {
        let key = std::mem::take(&mut self.key_wanted);
        if key || !self.temporal_layers {
            self.temporal_step = 0;
        }
        let temporal = TEMPORAL_PATTERN[self.temporal_step % TEMPORAL_PATTERN.len()];
        self.temporal_step += 1;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        if temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        let count = self.packets + extra + u8::from(key);
        for index in 0..count {
            let mut bytes = self.descriptor(index == 0, temporal);
            bytes.extend_from_slice(&vp8_header(index == 0, key, self.size));
            bytes.resize(FILL, 0xa5);
            let captured_ms = at.as_millis();
            let frame = self.frame;
            Stamp { source, layer: layer as u8, temporal, key, frame, index, count, captured_ms }.write(&mut bytes);
            let marker = index + 1 == count;
            out.push(Payload { layer, seq: self.seq, timestamp: self.timestamp, marker, level: None, bytes });
            self.seq += 1;
        }
        self.frame += 1;
        self.timestamp = self.timestamp.wrapping_add((every.as_micros() * 90 / 1_000) as u32);
    }

    /// RFC 7741 section 4.2, with picture id, TL0PICIDX and temporal layer.
    fn descriptor(&self, start: bool, temporal: u8) -> Vec<u8> {
        let [high, low] = self.picture_id.to_be_bytes();
        vec![0x80 | (u8::from(start) << 4), 0xe0, 0x80 | high, low, self.tl0, (temporal << 6) | 0x20]
    }
}

/// Near the wrap, so that it happens in most conferences, but not so near that it may happen before anything has
/// arrived: SRTP could not follow.
fn first_seq(rng: &mut Rng) -> u64 {
    65_535 - rng.between(100, 500)
}

/// RFC 7741 section 4.3: frame tag and, for keyframes, start code and size.
fn vp8_header(start: bool, key: bool, (width, height): (u16, u16)) -> Vec<u8> {
    match (start, key) {
        (false, _) => vec![0; 3],
        (true, false) => vec![0x11, 0, 0],
        (true, true) => {
            let (w, h) = (width.to_le_bytes(), height.to_le_bytes());
            vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, w[0], w[1], h[0], h[1]]
        }
    }
}

/// A microphone: 50 packets per second.
#[derive(Debug)]
pub struct Microphone {
    source: u32,
    seq: u64,
    timestamp: u32,
    frame: u32,
    next: Instant,
    /// Whether its owner speaks.
    pub speaking: bool,
}

/// Opus frames of 20 ms.
pub const AUDIO_FRAME: Duration = Duration::from_millis(20);

impl Microphone {
    /// A microphone that begins at `start`.
    pub fn new(source: u32, start: Instant, mut rng: Rng) -> Self {
        Self { source, seq: first_seq(&mut rng), timestamp: rng.bits() as u32, frame: 0, next: start, speaking: false }
    }

    /// Begins now.
    pub fn start(&mut self, now: Instant) {
        self.next = self.next.max(now);
    }

    /// When the next packet is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// The packets that are due.
    pub fn capture(&mut self, now: Instant) -> Vec<Payload> {
        let mut payloads = Vec::new();
        while self.next <= now {
            let (frame, captured_ms) = (self.frame, self.next.as_millis());
            // TOC of a 20 ms SILK frame in mono (RFC 6716 section 3.1).
            let mut bytes = vec![0x08; FILL];
            let stamp =
                Stamp { source: self.source, layer: 0, temporal: 0, key: true, frame, index: 0, count: 1, captured_ms };
            stamp.write(&mut bytes);
            let level = Some(if self.speaking { -15 } else { -80 });
            payloads.push(Payload { layer: 0, seq: self.seq, timestamp: self.timestamp, marker: false, level, bytes });
            self.seq += 1;
            self.frame += 1;
            self.timestamp = self.timestamp.wrapping_add(960);
            self.next += AUDIO_FRAME;
        }
        payloads
    }
}
