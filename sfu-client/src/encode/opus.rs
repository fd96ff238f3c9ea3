//! Sound to Opus (RFC 6716) by unsafe-libopus, libopus translated to Rust.
#![allow(unsafe_code, reason = "the crate keeps libopus's C interface")]

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use std::ptr::NonNull;
use unsafe_libopus::{
    OPUS_APPLICATION_VOIP, OPUS_SET_BITRATE_REQUEST, OPUS_SET_DTX_REQUEST, OPUS_SET_INBAND_FEC_REQUEST,
    OPUS_SET_PACKET_LOSS_PERC_REQUEST, OpusEncoder as RawEncoder, opus_encode, opus_encoder_create, opus_encoder_ctl,
    opus_encoder_destroy,
};

use crate::capture::SAMPLE_RATE;

/// Samples in one packet: 20 ms, what every endpoint uses by default (RFC 7587).
pub const FRAME_SAMPLES: usize = SAMPLE_RATE as usize / 50;

/// Largest packet of one Opus frame (RFC 6716 section 3.4: 1275 bytes) with its TOC byte; a packet of 60 ms may hold three.
const MAX_PACKET: usize = 3 * 1276;

/// Sound in one packet: the longer, the fewer bits are headers, and the later it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PacketTime {
    /// 20 ms.
    #[default]
    Ms20,
    /// 40 ms.
    Ms40,
    /// 60 ms, for paths where headers would take more than the voice.
    Ms60,
}

impl PacketTime {
    /// The longest that is no longer than this, and at least 20 ms.
    pub const fn up_to_millis(millis: u32) -> Self {
        match millis {
            0..40 => Self::Ms20,
            40..60 => Self::Ms40,
            60.. => Self::Ms60,
        }
    }

    /// In milliseconds.
    pub const fn millis(self) -> u32 {
        match self {
            Self::Ms20 => 20,
            Self::Ms40 => 40,
            Self::Ms60 => 60,
        }
    }

    /// In samples.
    pub const fn samples(self) -> usize {
        FRAME_SAMPLES * self.millis() as usize / 20
    }
}

/// How to encode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpusConfig {
    /// Bits per second.
    pub bitrate: u32,
    /// In-band forward error correction: each packet carries the one before it once more, at a lower bitrate.
    pub fec: bool,
    /// Share of packets that get lost, in percent, as the encoder is to expect: the more, the more of the bitrate goes
    /// into FEC. With 0 it writes none.
    pub expected_loss: u8,
    /// Discontinuous transmission.
    pub dtx: bool,
    /// Sound in one packet. What fills it decides, so that another one needs no other encoder.
    pub packet_time: PacketTime,
}

impl Default for OpusConfig {
    fn default() -> Self {
        Self { bitrate: 32_000, fec: true, expected_loss: 5, dtx: false, packet_time: PacketTime::Ms20 }
    }
}

/// A running encoder, mono.
pub struct OpusEncoder {
    /// Made by `opus_encoder_create`, destroyed once, on drop.
    raw: NonNull<RawEncoder>,
}

// SAFETY: libopus keeps its state in the object alone, and every method takes `&mut self`.
unsafe impl Send for OpusEncoder {}

impl OpusEncoder {
    /// An encoder.
    ///
    /// # Errors
    /// Where libopus refuses the configuration.
    pub fn new(config: &OpusConfig) -> Result<Self> {
        let mut code = 0;
        // SAFETY: the error code is ours; a null result is checked.
        let raw = unsafe { opus_encoder_create(SAMPLE_RATE.cast_signed(), 1, OPUS_APPLICATION_VOIP, &raw mut code) };
        let raw = NonNull::new(raw).with_context(|| format!("libopus could not make an encoder (code {code})"))?;
        let mut encoder = Self { raw };
        encoder.configure(config)?;
        Ok(encoder)
    }

    /// Goes on with another configuration.
    ///
    /// # Errors
    /// Where libopus refuses it.
    pub fn configure(&mut self, config: &OpusConfig) -> Result<()> {
        self.set(OPUS_SET_BITRATE_REQUEST, i32::try_from(config.bitrate)?)?;
        self.set(OPUS_SET_INBAND_FEC_REQUEST, i32::from(config.fec))?;
        let loss = if config.fec { config.expected_loss.min(100) } else { 0 };
        self.set(OPUS_SET_PACKET_LOSS_PERC_REQUEST, i32::from(loss))?;
        self.set(OPUS_SET_DTX_REQUEST, i32::from(config.dtx))
    }

    /// Encodes [`FRAME_SAMPLES`] samples, or two or three times as many, into one packet.
    ///
    /// # Errors
    /// Where the number of samples is another, or libopus fails.
    pub fn encode(&mut self, samples: &[i16]) -> Result<Bytes> {
        let is_whole = [PacketTime::Ms20, PacketTime::Ms40, PacketTime::Ms60].map(PacketTime::samples);
        ensure!(is_whole.contains(&samples.len()), "an Opus packet takes {is_whole:?} samples, not {}", samples.len());
        let mut packet = vec![0; MAX_PACKET];
        let (count, room) = (i32::try_from(samples.len())?, i32::try_from(packet.len())?);
        // SAFETY: both buffers have the lengths given and outlive the call.
        let length = unsafe { opus_encode(self.raw.as_ptr(), samples.as_ptr(), count, packet.as_mut_ptr(), room) };
        ensure!(length > 0, "libopus failed to encode (code {length})");
        packet.truncate(usize::try_from(length)?);
        Ok(Bytes::from(packet))
    }

    fn set(&mut self, request: i32, value: i32) -> Result<()> {
        // SAFETY: every request used here takes one `i32`, and the encoder is valid.
        let code = unsafe { opus_encoder_ctl!(self.raw.as_ptr(), request, value) };
        ensure!(code == 0, "libopus refuses {value} for request {request} (code {code})");
        Ok(())
    }
}

impl Drop for OpusEncoder {
    fn drop(&mut self) {
        // SAFETY: made by `opus_encoder_create` and not used after.
        unsafe { opus_encoder_destroy(self.raw.as_ptr()) }
    }
}
