//! Encoded frames to RTP packets.

use crate::peer::SinkFormat;
use anyhow::{Context, Result};
use bytes::Bytes;
use rtp::codec::h264::H264Payloader;
use rtp::packetizer::Payloader;

/// Largest payload: leaves room for RTP header, extensions, SRTP tag and the SFU's own additions within 1,280 bytes,
/// the smallest MTU of IPv6.
const MAX_PAYLOAD: usize = 1_120;

/// Numbers and stamps the packets of one stream.
pub struct Packetizer {
    ssrc: u32,
    payload_type: u8,
    sequence_number: u16,
    /// Random start of the timestamps (RFC 3550 section 5.1).
    timestamp_offset: u32,
    h264: H264Payloader,
}

impl Packetizer {
    /// For a stream with what was negotiated for it.
    pub fn new(ssrc: u32, format: &SinkFormat) -> Self {
        let random = crate::peer::random_u32();
        Self {
            ssrc,
            payload_type: format.payload_type,
            // The upper bit stays free, so that no wrap comes within the first packets (RFC 3711 section 3.3.1).
            sequence_number: (random & 0x7fff) as u16,
            timestamp_offset: crate::peer::random_u32(),
            h264: H264Payloader::default(),
        }
    }

    /// The packets of one H.264 picture in annex B form (RFC 6184); `timestamp` counts 90 kHz from the stream's start.
    ///
    /// # Errors
    /// Where the payloader refuses the picture.
    pub fn h264(&mut self, picture: &Bytes, timestamp: u32) -> Result<Vec<rtp::Packet>> {
        let payloads = self.h264.payload(MAX_PAYLOAD, picture).context("a picture cannot be packetized")?;
        let last = payloads.len().saturating_sub(1);
        let packets = payloads.into_iter().enumerate();
        Ok(packets.map(|(index, payload)| self.packet(payload, timestamp, index == last)).collect())
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
