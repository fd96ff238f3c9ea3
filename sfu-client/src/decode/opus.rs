//! Opus (RFC 6716) to sound by unsafe-libopus.
#![allow(unsafe_code, reason = "the crate keeps libopus's C interface")]

use crate::capture::SAMPLE_RATE;
use anyhow::{Context, Result, ensure};
use std::ptr::{NonNull, null};
use unsafe_libopus::{OpusDecoder as RawDecoder, opus_decode, opus_decoder_create, opus_decoder_destroy};

/// Longest packet: 120 ms (RFC 6716 section 2.1.4).
const MAX_SAMPLES: usize = SAMPLE_RATE as usize * 120 / 1000;

/// A running decoder, mono.
pub struct OpusDecoder {
    /// Made by `opus_decoder_create`, destroyed once, on drop.
    raw: NonNull<RawDecoder>,
    samples: Vec<i16>,
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
        Ok(Self { raw, samples: vec![0; MAX_SAMPLES] })
    }

    /// Decodes one packet.
    ///
    /// # Errors
    /// Where the packet is damaged.
    pub fn decode(&mut self, packet: &[u8]) -> Result<&[i16]> {
        ensure!(!packet.is_empty(), "an Opus packet has at least one byte");
        self.run(packet.as_ptr(), packet.len(), MAX_SAMPLES)
    }

    /// Conceals `samples` samples whose packet was lost.
    ///
    /// # Errors
    /// Where libopus fails.
    pub fn conceal(&mut self, samples: usize) -> Result<&[i16]> {
        self.run(null(), 0, samples.min(MAX_SAMPLES))
    }

    fn run(&mut self, packet: *const u8, length: usize, samples: usize) -> Result<&[i16]> {
        let (length, room) = (i32::try_from(length)?, i32::try_from(samples)?);
        // SAFETY: `packet` has `length` bytes (or is null, which asks for concealment), `samples` is within the buffer.
        let count = unsafe { opus_decode(self.raw.as_ptr(), packet, length, self.samples.as_mut_ptr(), room, 0) };
        ensure!(count >= 0, "libopus could not decode a packet (code {count})");
        Ok(&self.samples[..usize::try_from(count)?])
    }
}

impl Drop for OpusDecoder {
    fn drop(&mut self) {
        // SAFETY: made by `opus_decoder_create` and not used after.
        unsafe { opus_decoder_destroy(self.raw.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{AudioSource, Tone};
    use crate::encode::{FRAME_SAMPLES, OpusConfig, OpusEncoder};

    #[test]
    fn a_tone_comes_through() {
        let mut tone = Tone::new(440.0);
        let mut encoder = OpusEncoder::new(&OpusConfig::default()).unwrap();
        let mut decoder = OpusDecoder::new().unwrap();
        let mut samples = [0; FRAME_SAMPLES];
        let mut crossings = 0;
        for packet in 0..30 {
            tone.fill(&mut samples).unwrap();
            let decoded = decoder.decode(&encoder.encode(&samples).unwrap()).unwrap();
            assert_eq!(decoded.len(), FRAME_SAMPLES);
            if packet >= 10 {
                crossings += decoded.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
            }
        }
        // 20 packets are 0.4 s: 176 periods of 440 Hz.
        assert!((170..=182).contains(&crossings), "{crossings} periods");
        assert_eq!(decoder.conceal(FRAME_SAMPLES).unwrap().len(), FRAME_SAMPLES);
    }

    #[test]
    fn garbage_is_an_error_or_sound() {
        let mut decoder = OpusDecoder::new().unwrap();
        assert!(decoder.decode(&[]).is_err());
        for seed in 0..500u32 {
            let bytes: Vec<u8> =
                (0..60).map(|i: u32| (i.wrapping_mul(747_796_405).wrapping_add(seed * 31) >> 11) as u8).collect();
            let _ = decoder.decode(&bytes);
        }
    }
}
