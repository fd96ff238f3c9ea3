//! Opus (RFC 6716) to sound by unsafe-libopus.
//!
//! Where SILK has a part in the sound, the library cannot conceal a loss: version 0.2.0 makes 32767 of every sample
//! (`silk/PLC.rs` and `silk/CNG.rs` clamp to `0x8000`, which C takes for -32768 and this translation for +32768) and
//! goes on predicting from that. So it sees no such loss, nor the empty frames that it would take for one.
#![allow(unsafe_code, reason = "the crate keeps libopus's C interface")]

use super::concealment::Concealment;
use crate::capture::SAMPLE_RATE;
use anyhow::{Context, Result, ensure};
use std::ops::Range;
use std::ptr::{NonNull, null, null_mut};
use unsafe_libopus::{
    OpusDecoder as RawDecoder, opus_decode, opus_decoder_create, opus_decoder_destroy, opus_packet_get_nb_channels,
    opus_packet_get_nb_samples, opus_packet_get_samples_per_frame, opus_packet_parse,
};

/// Longest packet: 120 ms (RFC 6716 section 2.1.4).
const MAX_SAMPLES: usize = SAMPLE_RATE as usize * 120 / 1000;
/// Frames in one packet: 120 ms of 2.5 ms each.
const MAX_FRAMES: usize = 48;
/// Samples of the longest SILK frame; a longer Opus frame holds several.
const SILK_FRAME: usize = SAMPLE_RATE as usize / 50;
/// First byte of packets of CELT alone, the lowest (RFC 6716 section 3.1).
const CELT_ONLY: u8 = 0x80;

/// A running decoder, mono.
pub struct OpusDecoder {
    /// Made by `opus_decoder_create`, destroyed once, on drop.
    raw: NonNull<RawDecoder>,
    samples: Vec<i16>,
    concealment: Concealment,
    /// SILK may have had a part in the last frame.
    silk: bool,
}

// SAFETY: libopus keeps its state in the object alone, and every method takes `&mut self`.
unsafe impl Send for OpusDecoder {}

impl OpusDecoder {
    /// A decoder.
    ///
    /// # Errors
    /// Where libopus cannot make one.
    pub fn new() -> Result<Self> {
        let mut code = 0;
        // SAFETY: the error code is ours; a null result is checked.
        let raw = unsafe { opus_decoder_create(SAMPLE_RATE.cast_signed(), 1, &raw mut code) };
        let raw = NonNull::new(raw).with_context(|| format!("libopus could not make a decoder (code {code})"))?;
        Ok(Self { raw, samples: vec![0; MAX_SAMPLES], concealment: Concealment::new(), silk: false })
    }

    /// Decodes one packet.
    ///
    /// # Errors
    /// Where the packet is damaged.
    pub fn decode(&mut self, packet: &[u8]) -> Result<&[i16]> {
        let mut end = 0;
        for frame in frames(packet)? {
            end += self.decode_frame(&frame, end)?;
        }
        Ok(&self.samples[..end])
    }

    /// Samples before `packet` that it carries once more, coded at a lower bitrate (in-band FEC, RFC 6716 section 2.1.7).
    ///
    /// Only where the whole frame is there, of every channel: for what lacks, libopus would conceal. A frame of more
    /// than 20 ms may carry a part, so that none counts.
    pub fn fec(&self, packet: &[u8]) -> Option<usize> {
        let toc = *packet.first()?;
        // SAFETY: both read the first byte alone, which is there.
        let (samples, channels) = unsafe {
            let samples = opus_packet_get_samples_per_frame(packet.as_ptr(), SAMPLE_RATE.cast_signed());
            (usize::try_from(samples).ok()?, opus_packet_get_nb_channels(packet.as_ptr()))
        };
        if !self.silk || toc >= CELT_ONLY || samples > SILK_FRAME {
            return None;
        }
        // A SILK frame begins with a bit for voice and one for FEC, of each channel (RFC 6716 section 4.2.3).
        let flags = if channels == 2 { 0b0101_0000 } else { 0b0100_0000 };
        let first = *frames(packet).ok()?.first()?.get(1)?;
        (first & flags == flags).then_some(samples)
    }

    /// Decodes what [`Self::fec`] has found in `packet`; the packet itself is still to be decoded after it.
    ///
    /// # Errors
    /// Where there is none, or it is damaged.
    pub fn decode_fec(&mut self, packet: &[u8]) -> Result<&[i16]> {
        let samples = self.fec(packet).context("the packet carries no sound but its own")?;
        let count = self.run(packet.as_ptr(), packet.len(), 0..samples, true)?;
        self.concealment.accept(&mut self.samples[..count]);
        Ok(&self.samples[..count])
    }

    /// Whether concealment has come to its end: what it makes is silence or background noise.
    pub fn is_silent(&self) -> bool {
        self.concealment.is_silent()
    }

    /// Conceals `samples` samples whose packet was lost.
    ///
    /// # Errors
    /// Where libopus fails.
    pub fn conceal(&mut self, samples: usize) -> Result<&[i16]> {
        let samples = samples.min(MAX_SAMPLES);
        self.conceal_frame(0, samples)?;
        Ok(&self.samples[..samples])
    }

    /// Decodes a packet of one frame to `start` of the buffer; the number of samples.
    fn decode_frame(&mut self, packet: &[u8], start: usize) -> Result<usize> {
        // The second byte is the first of the frame. Without one, the encoder had nothing to send (DTX).
        if packet.len() <= 2 {
            // SAFETY: the packet has its first byte, the only one that is read.
            let count = unsafe { opus_packet_get_samples_per_frame(packet.as_ptr(), SAMPLE_RATE.cast_signed()) };
            return self.conceal_frame(start, usize::try_from(count)?);
        }
        // After an error nobody knows what libopus remembers.
        let was_silk = std::mem::replace(&mut self.silk, true);
        let count = self.run(packet.as_ptr(), packet.len(), start..MAX_SAMPLES, false)?;
        self.silk = packet[0] < CELT_ONLY;
        // libopus bridges this change by concealment of SILK, unless the encoder sent it what to bridge it with.
        if was_silk && !self.silk {
            self.concealment.begin();
        }
        self.concealment.accept(&mut self.samples[start..start + count]);
        Ok(count)
    }

    fn conceal_frame(&mut self, start: usize, count: usize) -> Result<usize> {
        let place = start..start + count;
        if self.silk {
            self.concealment.conceal(&mut self.samples[place]);
        } else {
            self.run(null(), 0, place.clone(), false)?;
            self.concealment.accept(&mut self.samples[place]);
        }
        Ok(count)
    }

    /// Has libopus write to `place` of the buffer what is in `packet`, or with `fec` what was before it; the number of
    /// samples.
    fn run(&mut self, packet: *const u8, length: usize, place: Range<usize>, fec: bool) -> Result<usize> {
        let samples = &mut self.samples[place];
        let (length, room) = (i32::try_from(length)?, i32::try_from(samples.len())?);
        // SAFETY: `packet` has `length` bytes (or is null, which asks for concealment), `samples` has `room` samples.
        let count =
            unsafe { opus_decode(self.raw.as_ptr(), packet, length, samples.as_mut_ptr(), room, i32::from(fec)) };
        ensure!(count >= 0, "libopus could not decode a packet (code {count})");
        Ok(usize::try_from(count)?)
    }
}

/// Samples that `packet` lasts; `None` where it is no Opus packet.
pub fn duration(packet: &[u8]) -> Option<usize> {
    let length = i32::try_from(packet.len()).ok()?;
    // SAFETY: `packet` has `length` bytes.
    let samples = unsafe { opus_packet_get_nb_samples(packet.as_ptr(), length, SAMPLE_RATE.cast_signed()) };
    usize::try_from(samples).ok().filter(|samples| *samples > 0)
}

/// The frames of `packet`, each as a packet of its own.
fn frames(packet: &[u8]) -> Result<Vec<Vec<u8>>> {
    let (mut toc, mut starts, mut sizes) = (0, [null(); MAX_FRAMES], [0; MAX_FRAMES]);
    let length = i32::try_from(packet.len())?;
    // SAFETY: `packet` has `length` bytes, and libopus finds at most `MAX_FRAMES` frames.
    let count = unsafe {
        opus_packet_parse(packet.as_ptr(), length, &raw mut toc, starts.as_mut_ptr(), sizes.as_mut_ptr(), null_mut())
    };
    ensure!(count > 0, "an Opus packet is damaged (code {count})");
    let frames = starts.iter().zip(&sizes).take(usize::try_from(count)?);
    frames
        .map(|(start, size)| {
            // SAFETY: libopus has checked that each frame lies within the packet.
            let frame = unsafe { std::slice::from_raw_parts(*start, usize::try_from(*size)?) };
            // The last two bits are the number of frames: one.
            Ok([&[toc & !3], frame].concat())
        })
        .collect()
}

impl Drop for OpusDecoder {
    fn drop(&mut self) {
        // SAFETY: made by `opus_decoder_create` and not used after.
        unsafe { opus_decoder_destroy(self.raw.as_ptr()) }
    }
}

#[cfg(test)]
mod tests;
