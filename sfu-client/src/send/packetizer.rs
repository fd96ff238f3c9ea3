//! Encoded frames to RTP packets.

use super::descriptor::{MAX_LEN, Numbers};
use crate::encode::{EncodedFrame, Layering};
use crate::peer::{DEPENDENCY_DESCRIPTOR, SinkFormat, VideoCodec};
use anyhow::{Context, Result};
use bytes::Bytes;
use rtp::codec::av1::Av1Payloader;
use rtp::codec::h264::H264Payloader;
use rtp::packetizer::Payloader;
use sfu_rtc::rtp::extension::dependency_descriptor::FrameDescription;

/// Largest payload: leaves room for RTP header, extensions, SRTP tag and the SFU's own additions within 1,280 bytes,
/// the smallest MTU of IPv6.
const MAX_PAYLOAD: usize = 1_120;

/// Numbers and stamps the packets of one stream.
pub struct Packetizer {
    ssrc: u32,
    payload_type: u8,
    video: Vec<(VideoCodec, u8)>,
    sequence_number: u16,
    /// Random start of the timestamps (RFC 3550 section 5.1).
    timestamp_offset: u32,
    h264: H264Payloader,
    numbers: Numbers,
    /// Id of the dependency descriptor, where it is negotiated; number of the next picture.
    descriptor: Option<u8>,
    next: u16,
}

impl Packetizer {
    /// For a stream with what was negotiated for it.
    pub fn new(ssrc: u32, format: &SinkFormat) -> Self {
        let random = crate::peer::random_u32();
        Self {
            ssrc,
            payload_type: format.payload_type,
            video: format.video.clone(),
            // The upper bit stays free, so that no wrap comes within the first packets (RFC 3711 section 3.3.1).
            sequence_number: (random & 0x7fff) as u16,
            timestamp_offset: crate::peer::random_u32(),
            h264: H264Payloader::default(),
            numbers: Numbers::new(crate::peer::random_u32()),
            descriptor: format.extension(DEPENDENCY_DESCRIPTOR),
            next: 0,
        }
    }

    /// The packets of one picture; `timestamp` counts 90 kHz from the stream's start, `size` is the picture's.
    ///
    /// # Errors
    /// Where the far side does not take the codec, or the picture cannot be packetized.
    pub fn picture(
        &mut self,
        codec: VideoCodec,
        frame: &EncodedFrame,
        size: (usize, usize),
        timestamp: u32,
    ) -> Result<Vec<rtp::Packet>> {
        let format = self.video.iter().find(|(known, _)| *known == codec);
        (_, self.payload_type) = *format.with_context(|| format!("the server does not take {}", codec.name()))?;
        let payloads = match codec {
            // RFC 6184.
            VideoCodec::H264 => {
                self.h264.payload(MAX_PAYLOAD, &frame.data).context("a picture cannot be packetized")?
            }
            VideoCodec::Vp8 | VideoCodec::Vp9 => self.described(codec, frame, size),
            // AV1 RTP payload specification section 5.
            VideoCodec::Av1 => {
                Av1Payloader {}.payload(MAX_PAYLOAD, &frame.data).context("a picture cannot be packetized")?
            }
        };
        let last = payloads.len().saturating_sub(1);
        let described = self.description(codec, frame, size);
        let mut packets = Vec::with_capacity(payloads.len());
        for (index, payload) in payloads.into_iter().enumerate() {
            let mut packet = self.packet(payload, timestamp, index == last);
            if let Some((id, frame)) = described
                && let Ok(value) = frame.to_bytes(index == 0, index == last)
            {
                packet.header.set_extension(id, value.into()).context("cannot write the dependency descriptor")?;
            }
            packets.push(packet);
        }
        Ok(packets)
    }

    /// What the dependency descriptor says of the next picture: of AV1, and of H.264 without layers, whose payloads do not
    /// say it. The others are numbered too.
    fn description(
        &mut self,
        codec: VideoCodec,
        frame: &EncodedFrame,
        (width, height): (usize, usize),
    ) -> Option<(u8, FrameDescription)> {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let size = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
        let reference = frame.references.refers;
        let Layering { layers, layer: temporal, .. } = frame.layering;
        let is_described = codec == VideoCodec::Av1 || codec == VideoCodec::H264 && layers == 1;
        let description = FrameDescription { number, reference, size, layers, temporal };
        self.descriptor.filter(|_| is_described).map(|id| (id, description))
    }

    /// A frame in pieces of about the same size, each behind its descriptor.
    fn described(&mut self, codec: VideoCodec, frame: &EncodedFrame, (width, height): (usize, usize)) -> Vec<Bytes> {
        self.numbers.advance(frame.layering);
        let size = u16::try_from(width).ok().zip(u16::try_from(height).ok());
        let count = frame.data.len().div_ceil(MAX_PAYLOAD - MAX_LEN).max(1);
        let length = frame.data.len().div_ceil(count).max(1);
        let pieces = frame.data.chunks(length);
        let last = pieces.len().saturating_sub(1);
        let describe = |(index, piece): (usize, &[u8])| {
            let descriptor = match codec {
                VideoCodec::Vp9 => self.numbers.vp9(frame, size, index == 0, index == last),
                _ => self.numbers.vp8(frame.layering, index == 0),
            };
            Bytes::from([&descriptor, piece].concat())
        };
        pieces.enumerate().map(describe).collect()
    }

    /// The RTP timestamp at the stream's start.
    pub const fn first_timestamp(&self) -> u32 {
        self.timestamp_offset
    }

    /// One packet of sound; `timestamp` counts samples from the stream's start.
    pub fn sound(&mut self, payload: Bytes, timestamp: u32) -> rtp::Packet {
        self.packet(payload, timestamp, false)
    }

    /// One packet of sound in RED, of `payload_type`.
    pub fn redundant_sound(&mut self, payload: Bytes, timestamp: u32, payload_type: u8) -> rtp::Packet {
        let mut packet = self.packet(payload, timestamp, false);
        packet.header.payload_type = payload_type;
        packet
    }

    fn packet(&mut self, payload: Bytes, timestamp: u32, marker: bool) -> rtp::Packet {
        let header = rtp::Header {
            version: 2,
            marker,
            payload_type: self.payload_type,
            sequence_number: self.sequence_number,
            timestamp: timestamp.wrapping_add(self.timestamp_offset),
            ssrc: self.ssrc,
            ..Default::default()
        };
        self.sequence_number = self.sequence_number.wrapping_add(1);
        rtp::Packet { header, payload }
    }
}

#[cfg(all(test, feature = "aom"))]
mod tests {
    use super::*;
    use crate::capture::{Scene, VideoSource};
    use crate::encode::{EncoderConfig, open_encoder};
    use crate::frame::VideoFrame;
    use sfu_rtc::codec::{av1, frame_facts};
    use sfu_rtc::media::Codec;
    use sfu_rtc::rtp::extension::dependency_descriptor::DependencyStructure;

    /// What the server reads of AV1 is what the encoder made.
    #[test]
    fn the_codec_av1_is_described() {
        let extensions = vec![(DEPENDENCY_DESCRIPTOR.to_owned(), 5)];
        let format = SinkFormat::video(VideoCodec::Av1, 104, extensions);
        for layers in 1..=3 {
            let config = EncoderConfig { temporal_layers: layers, ..Default::default() };
            let mut encoder = open_encoder(VideoCodec::Av1, config).unwrap();
            let (mut packetizer, mut structure) = (Packetizer::new(7, &format), DependencyStructure::default());
            let mut scene = Scene::new(640, 360, 30.0).unwrap();
            let mut picture = VideoFrame::new(640, 360).unwrap();
            for number in 0..20u32 {
                if number == 10 {
                    encoder.force_keyframe().unwrap();
                }
                scene.draw(number, &mut picture).unwrap();
                let frame = encoder.encode(&picture, i64::from(number) * 33).unwrap().unwrap();
                let packets = packetizer.picture(VideoCodec::Av1, &frame, (640, 360), number * 3_000).unwrap();
                let last = packets.len() - 1;
                for (at, packet) in packets.iter().enumerate() {
                    let read = structure.parse(&packet.header.get_extension(5).unwrap()).unwrap();
                    let facts = frame_facts(Codec::Av1, &packet.payload, at == last, Some(&read)).unwrap();
                    assert_eq!((facts.start_of_frame, facts.end_of_frame), (at == 0, at == last));
                    assert_eq!((facts.keyframe, facts.temporal), (number % 10 == 0, frame.layering.layer));
                    assert_eq!(facts.discardable, frame.layering.is_discardable);
                    assert_eq!(packet.header.marker, at == last);
                    // The payload says the same.
                    let plain = frame_facts(Codec::Av1, &packet.payload, at == last, None).unwrap();
                    assert_eq!(plain.keyframe, at == 0 && frame.keyframe);
                    assert!(at > 0 || plain.temporal == facts.temporal);
                }
                let payloads: Vec<_> = packets.into_iter().map(|packet| packet.payload).collect();
                let unit = av1::temporal_unit(&payloads).unwrap();
                assert_eq!([&[0x12, 0], &unit[..]].concat(), frame.data);
            }
        }
    }
}
