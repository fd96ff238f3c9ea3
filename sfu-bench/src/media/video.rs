//! Video of a steady bitrate, its frames cut into packets as libwebrtc's packetizers do.

use super::stamp::Stamp;
use fastrand::Rng;
use std::time::Duration;

/// Codecs of which we can write payload headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// VP8 (RFC 7741).
    #[default]
    Vp8,
    /// H.264 (RFC 6184), packetization mode 1.
    H264,
}

/// Largest payload, so that packets stay below 1,200 bytes with all headers.
const MAX_PAYLOAD: usize = 1_110;
/// A keyframe's size in units of the mean frame, unless it is set; encoders with even rate control keep below this.
const KEYFRAME_FACTOR: f64 = 4.0;
/// Frames deviate from the mean size by up to this share of it, as those of an encoder with even rate control do.
const VARIATION: f64 = 0.2;
/// Temporal layers of the frames of a group of four in libwebrtc's L1T3, with their sizes in units of the mean frame
/// (40, 20 and 40 % of the bitrate), and whether they depend on the base layer only.
const TEMPORAL_GROUP: [Temporal; 4] = [
    Temporal { layer: 0, size: 1.6, sync: true },
    Temporal { layer: 2, size: 0.8, sync: true },
    Temporal { layer: 1, size: 0.8, sync: true },
    Temporal { layer: 2, size: 0.8, sync: false },
];
/// RTP clock of all video codecs.
const CLOCK_RATE: f64 = 90_000.0;

/// A frame's place in the temporal layers.
#[derive(Clone, Copy, Debug)]
struct Temporal {
    layer: u8,
    size: f64,
    sync: bool,
}

/// One layer of video.
#[derive(Debug)]
pub struct VideoSource {
    codec: VideoCodec,
    source: u32,
    frame_size: usize,
    fps: f64,
    size: (u16, u16),
    frame: u32,
    sequence: u32,
    picture_id: u16,
    tl0_pic_idx: u8,
    keyframe_wanted: bool,
    /// Its size in units of the mean frame.
    keyframe_size: f64,
    /// Place of the next frame in its group, where there are temporal layers.
    in_group: Option<usize>,
    under_way: Option<Frame>,
    /// Varies the frames' sizes; `None` where all frames and packets are equal.
    variation: Option<Rng>,
}

/// A frame of which packets are being written.
#[derive(Debug)]
struct Frame {
    key: bool,
    temporal: Temporal,
    timestamp: u32,
    size: usize,
    packets: usize,
    /// So many of them, the last, are a byte longer.
    longer: usize,
    /// They come before the first packet.
    parameter_sets: bool,
    /// Of the next packet.
    index: usize,
}

impl Frame {
    /// Size of the next payload. They differ by at most a byte, the shorter ones first, as libwebrtc's
    /// `RtpPacketizer::SplitAboutEqually` has it.
    fn next_size(&mut self) -> usize {
        let longer = self.index >= self.packets - self.longer;
        self.index += 1;
        self.size / self.packets + usize::from(longer)
    }
}

/// What one packet of a frame needs beside its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketInfo {
    /// RTP timestamp.
    pub timestamp: u32,
    /// Last of its frame.
    pub marker: bool,
    /// Of a keyframe.
    pub keyframe: bool,
}

impl VideoSource {
    /// A stream of `bitrate` bits per second at `fps`, whose stamps carry `source`. The source also seeds the sizes of
    /// the frames, so that they repeat from run to run.
    pub fn new(codec: VideoCodec, source: u32, bitrate: u64, fps: f64, size: (u16, u16)) -> Self {
        Self {
            codec,
            source,
            frame_size: frame_size(bitrate, fps),
            fps,
            size,
            frame: 0,
            sequence: 0,
            picture_id: 0,
            tl0_pic_idx: 0,
            keyframe_wanted: true,
            keyframe_size: KEYFRAME_FACTOR,
            in_group: None,
            under_way: None,
            variation: Some(Rng::with_seed(source.into())),
        }
    }

    /// Makes all frames, and all packets of a frame, of equal size: what no encoder does, and what is easiest to send.
    pub fn even(mut self) -> Self {
        self.variation = None;
        self
    }

    /// Makes the frames those of three temporal layers; of VP8 only.
    pub fn with_temporal_layers(mut self) -> Self {
        self.in_group = Some(0);
        self
    }

    /// Makes keyframes so many times the mean frame.
    pub fn with_keyframes_of(mut self, size: f64) -> Self {
        self.keyframe_size = size;
        self
    }

    /// The next frames make up this bitrate.
    pub fn set_bitrate(&mut self, bitrate: u64) {
        self.frame_size = frame_size(bitrate, self.fps);
    }

    /// The next frame is a keyframe.
    pub fn request_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// So many frames pass without being sent.
    pub fn skip(&mut self, frames: u32) {
        self.frame = self.frame.wrapping_add(frames);
    }

    /// Time from frame to frame.
    pub fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.fps)
    }

    /// Begins the next frame; how many packets it has, of which [`Self::next_packet`] writes one after the other.
    pub fn begin_frame(&mut self) -> usize {
        let key = std::mem::take(&mut self.keyframe_wanted);
        let temporal = self.next_temporal(key);
        let mean = if key { self.keyframe_size } else { temporal.size } * self.frame_size as f64;
        let factor = self.variation.as_mut().map_or(1.0, |rng| 1.0 + VARIATION * (2.0 * rng.f64() - 1.0));
        let size = (mean * factor) as usize;
        let packets = size.div_ceil(MAX_PAYLOAD).max(1);
        let longer = if self.variation.is_some() { size % packets } else { 0 };
        let parameter_sets = key && self.codec == VideoCodec::H264;
        let timestamp = (f64::from(self.frame) * CLOCK_RATE / self.fps) as u64 as u32;
        self.under_way = Some(Frame { key, temporal, timestamp, size, packets, longer, parameter_sets, index: 0 });
        packets + usize::from(parameter_sets)
    }

    fn next_temporal(&mut self, key: bool) -> Temporal {
        let temporal = match &mut self.in_group {
            None => Temporal { size: 1.0, ..TEMPORAL_GROUP[0] },
            Some(place) => {
                let at = if key { 0 } else { *place };
                *place = (at + 1) % TEMPORAL_GROUP.len();
                TEMPORAL_GROUP[at]
            }
        };
        if temporal.layer == 0 {
            self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
        }
        temporal
    }

    /// Writes the next packet of the frame under way, stamped with `now`, into `payload`; `None` where all have been
    /// written.
    pub fn next_packet(&mut self, now: Duration, payload: &mut Vec<u8>) -> Option<PacketInfo> {
        let frame = self.under_way.as_mut()?;
        payload.clear();
        let timestamp = frame.timestamp;
        if std::mem::take(&mut frame.parameter_sets) {
            h264_parameter_sets(self.next_stamp(now), payload);
            return Some(PacketInfo { timestamp, marker: false, keyframe: true });
        }
        let (key, temporal) = (frame.key, frame.temporal);
        let (first, last) = (frame.index == 0, frame.index + 1 == frame.packets);
        let size = frame.next_size();
        match self.codec {
            VideoCodec::Vp8 => self.vp8_header((key, first), temporal, payload),
            VideoCodec::H264 => h264_header(key, first, last, payload),
        }
        self.next_stamp(now).write(payload);
        let filled = payload.len();
        payload.resize(filled.max(size), 0xaa);
        if last {
            self.under_way = None;
            self.frame = self.frame.wrapping_add(1);
            self.picture_id = (self.picture_id + 1) & 0x7fff;
        }
        Some(PacketInfo { timestamp, marker: last, keyframe: key })
    }

    fn next_stamp(&mut self, now: Duration) -> Stamp {
        let stamp = Stamp { source: self.source, sequence: self.sequence, sent: now };
        self.sequence = self.sequence.wrapping_add(1);
        stamp
    }

    /// Descriptor with 15-bit picture id, TL0PICIDX and TID (RFC 7741 section 4.2), then the frame header
    /// (RFC 6386 section 9.1) in the first packet.
    fn vp8_header(&self, (key, first): (bool, bool), temporal: Temporal, out: &mut Vec<u8>) {
        const EXTENDED: u8 = 0x80;
        const NON_REFERENCE: u8 = 0x20;
        const START: u8 = 0x10;
        const LAYER_SYNC: u8 = 0x20;
        const PICTURE_ID_TL0_TID: u8 = 0xe0;
        let [id_high, id_low] = (self.picture_id | 0x8000).to_be_bytes();
        let non_reference = if temporal.layer == 2 { NON_REFERENCE } else { 0 };
        let layer = temporal.layer << 6 | if temporal.layer > 0 && temporal.sync { LAYER_SYNC } else { 0 };
        out.push(EXTENDED | non_reference | if first { START } else { 0 });
        out.extend([PICTURE_ID_TL0_TID, id_high, id_low, self.tl0_pic_idx, layer]);
        if !first {
            return;
        }
        let inter = u8::from(!key);
        out.extend([0x10 | inter, 0, 0]);
        if key {
            out.extend([0x9d, 0x01, 0x2a]);
            out.extend(self.size.0.to_le_bytes());
            out.extend(self.size.1.to_le_bytes());
        }
    }
}

/// Bytes of the mean frame.
fn frame_size(bitrate: u64, fps: f64) -> usize {
    ((bitrate as f64 / 8.0 / fps) as usize).max(60)
}

/// The packet before a keyframe (RFC 6184 section 5.7.1): the stamp as supplemental information, then the parameter
/// sets of a constrained baseline stream.
fn h264_parameter_sets(stamp: Stamp, out: &mut Vec<u8>) {
    const STAP_A: u8 = 24;
    const SEI: u8 = 6;
    const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x50, 0x1e, 0xd0, 0x0f, 0x08, 0x84, 0x6a];
    const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
    out.extend([0x60 | STAP_A, 0, 1 + Stamp::LEN as u8, SEI]);
    stamp.write(out);
    for unit in [SPS, PPS] {
        out.extend([0, unit.len() as u8]);
        out.extend(unit);
    }
}

/// A frame in fragmentation units (RFC 6184 section 5.8) of an IDR or a non-IDR slice.
fn h264_header(key: bool, first: bool, last: bool, out: &mut Vec<u8>) {
    const FU_A: u8 = 28;
    const NRI: u8 = 0x60;
    let slice = if key { 5 } else { 1 };
    if first && last {
        out.push(NRI | slice);
    } else {
        let bounds = if first { 0x80 } else { 0 } | if last { 0x40 } else { 0 };
        out.extend([NRI | FU_A, bounds | slice]);
    }
    if first {
        // first_mb_in_slice = 0 (H.264 section 7.3.3): the slice begins a picture.
        out.push(0x88);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_rtc::codec::frame_facts;
    use sfu_rtc::media::Codec;

    fn frame(source: &mut VideoSource) -> Vec<(PacketInfo, Vec<u8>)> {
        let (count, mut payload) = (source.begin_frame(), Vec::new());
        let next = || source.next_packet(Duration::from_secs(1), &mut payload).map(|info| (info, payload.clone()));
        let packets: Vec<_> = std::iter::from_fn(next).collect();
        assert_eq!(packets.len(), count);
        packets
    }

    #[test]
    fn a_forwarder_sees_frames_and_keyframes() {
        for (ours, theirs) in [(VideoCodec::Vp8, Codec::Vp8), (VideoCodec::H264, Codec::H264)] {
            let mut source = VideoSource::new(ours, 1, 1_500_000, 30.0, (1280, 720));
            for key in [true, false, false] {
                let packets = frame(&mut source);
                let facts: Vec<_> =
                    packets.iter().map(|(info, p)| frame_facts(theirs, p, info.marker, None).unwrap()).collect();
                assert!(facts.iter().all(|f| f.keyframe == key) || ours == VideoCodec::Vp8 && facts[0].keyframe == key);
                assert!(facts[0].start_of_frame && facts.last().unwrap().end_of_frame);
                assert!(packets.iter().all(|(_, p)| Stamp::find(p).is_some_and(|s| s.source == 1)));
            }
            source.request_keyframe();
            assert!(frame_facts(theirs, &frame(&mut source)[0].1, false, None).unwrap().keyframe);
        }
    }

    fn sizes(packets: &[(PacketInfo, Vec<u8>)]) -> Vec<usize> {
        packets.iter().map(|(_, payload)| payload.len()).collect()
    }

    #[test]
    fn frames_vary_around_the_bitrate_and_their_packets_by_a_byte() {
        let mut source = VideoSource::new(VideoCodec::Vp8, 1, 1_500_000, 30.0, (1280, 720));
        frame(&mut source);
        let frames: Vec<_> = (0..1_000).map(|_| sizes(&frame(&mut source))).collect();
        for sizes in &frames {
            assert!(sizes.is_sorted() && sizes[sizes.len() - 1] - sizes[0] <= 1, "{sizes:?}");
            assert!((4_999..=7_500).contains(&sizes.iter().sum::<usize>()), "{sizes:?}");
        }
        assert!(frames.iter().any(|sizes| sizes[0] != sizes[sizes.len() - 1]));
        let bytes: usize = frames.iter().flatten().sum();
        assert!((bytes as f64 * 8.0 * 30.0 / 1_000.0 / 1_500_000.0 - 1.0).abs() < 0.01);
        let mut again = VideoSource::new(VideoCodec::Vp8, 1, 1_500_000, 30.0, (1280, 720));
        frame(&mut again);
        assert!(frames.iter().all(|sizes| *sizes == self::sizes(&frame(&mut again))), "the same source repeats");
    }

    #[test]
    fn even_frames_are_of_equal_packets_and_make_up_the_bitrate() {
        let mut source = VideoSource::new(VideoCodec::Vp8, 1, 1_500_000, 30.0, (1280, 720)).even();
        frame(&mut source);
        let first = sizes(&frame(&mut source));
        assert_eq!(first, [first[0]; 6]);
        assert_eq!(first, sizes(&frame(&mut source)));
        assert!((first.iter().sum::<usize>() as f64 * 8.0 * 30.0 / 1_500_000.0 - 1.0).abs() < 0.01);
    }

    #[test]
    fn temporal_layers_come_in_groups_of_four_and_make_up_the_bitrate() {
        let mut source = VideoSource::new(VideoCodec::Vp8, 1, 1_500_000, 30.0, (1280, 720)).with_temporal_layers();
        let layers = |source: &mut VideoSource, frames: usize| -> Vec<_> {
            let facts =
                |(info, payload): &(PacketInfo, Vec<u8>)| frame_facts(Codec::Vp8, payload, info.marker, None).unwrap();
            (0..frames).map(|_| facts(&frame(source)[0])).map(|f| (f.temporal, f.tl0_pic_idx.unwrap())).collect()
        };
        assert_eq!(layers(&mut source, 6), [(0, 1), (2, 1), (1, 1), (2, 1), (0, 2), (2, 2)]);
        source.request_keyframe();
        assert_eq!(layers(&mut source, 2), [(0, 3), (2, 3)], "a keyframe begins a group");
        source.set_bitrate(750_000);
        layers(&mut source, 2);
        let bytes: usize = (0..1_000).flat_map(|_| sizes(&frame(&mut source))).sum();
        assert!((bytes as f64 * 8.0 * 30.0 / 1_000.0 / 750_000.0 - 1.0).abs() < 0.01);
    }
}
