//! Sound from a WAV file: 16-bit PCM, any rate, any channels (mixed to mono), repeated from the start at its end.
//!
//! Layout (Microsoft RIFF): `RIFF size WAVE`, then chunks `id(4) size(4, little endian) data pad-to-even`; `fmt ` holds
//! `format(2) channels(2) rate(4) bytes/s(4) block(2) bits(2)`, `data` the samples.

use super::{AudioSource, SAMPLE_RATE};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// Largest file that is read: ten minutes of 48 kHz stereo.
const MAX_BYTES: u64 = 120 << 20;

/// A WAV file, resampled to [`SAMPLE_RATE`] when it is read.
#[derive(Debug)]
pub struct WavReader {
    samples: Vec<i16>,
    position: usize,
    repeats: bool,
}

impl WavReader {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be read, is too large, or is not 16-bit PCM.
    pub fn open(path: &Path) -> Result<Self> {
        let show = || format!("cannot play {}", path.display());
        let size = fs::metadata(path).with_context(show)?.len();
        ensure!(size <= MAX_BYTES, "{} is larger than {} MiB", path.display(), MAX_BYTES >> 20);
        Self::parse(&fs::read(path).with_context(show)?).with_context(show)
    }

    /// Ends at the file's end instead of beginning again.
    pub fn once(self) -> Self {
        Self { repeats: false, ..self }
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// Where they are not a WAV file of 16-bit PCM.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.get(..4) == Some(b"RIFF") && bytes.get(8..12) == Some(b"WAVE"), "this is not a WAV file");
        let mut rest = &bytes[12..];
        let mut format = None;
        while let Some((header, body)) = rest.split_at_checked(8) {
            let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
            match &header[..4] {
                b"fmt " => format = Some(Format::parse(body.get(..size).context("the file is cut off")?)?),
                b"data" => {
                    let format = format.context("there is no format before the samples")?;
                    // Recorders that were killed leave a size of zero or too much: take what is there.
                    let size = if size == 0 { body.len() } else { size.min(body.len()) };
                    let samples = format.to_mono_48k(&body[..size]);
                    ensure!(!samples.is_empty(), "there are no samples");
                    return Ok(Self { samples, position: 0, repeats: true });
                }
                _ => {}
            }
            rest = body.get(size + size % 2..).unwrap_or_default();
        }
        anyhow::bail!("there are no samples")
    }
}

impl AudioSource for WavReader {
    fn fill(&mut self, samples: &mut [i16]) -> Result<bool> {
        if !self.repeats && self.position == self.samples.len() {
            return Ok(false);
        }
        for sample in samples {
            if self.repeats {
                self.position %= self.samples.len();
            }
            // Silence fills the last step of a file that is played once.
            *sample = self.samples.get(self.position).copied().unwrap_or(0);
            self.position = (self.position + 1).min(self.samples.len());
        }
        Ok(true)
    }
}

#[derive(Clone, Copy)]
struct Format {
    channels: usize,
    rate: u32,
}

impl Format {
    fn parse(body: &[u8]) -> Result<Self> {
        ensure!(body.len() >= 16, "the format is cut off");
        let word = |at: usize| u16::from_le_bytes([body[at], body[at + 1]]);
        // 0xfffe is WAVE_FORMAT_EXTENSIBLE, whose 16-bit form is PCM in practice.
        ensure!(matches!(word(0), 1 | 0xfffe) && word(14) == 16, "only 16-bit PCM is played");
        let format =
            Self { channels: usize::from(word(2)), rate: u32::from_le_bytes([body[4], body[5], body[6], body[7]]) };
        ensure!((1..=8).contains(&format.channels), "{} channels are too few or too many", format.channels);
        ensure!((8_000..=192_000).contains(&format.rate), "a rate of {} Hz is not played", format.rate);
        Ok(format)
    }

    /// Mixes to mono and resamples linearly: this is test material, not mastering.
    fn to_mono_48k(self, data: &[u8]) -> Vec<i16> {
        let mono: Vec<i32> = data
            .chunks_exact(2 * self.channels)
            .map(|frame| {
                let sum: i32 = frame.chunks_exact(2).map(|s| i32::from(i16::from_le_bytes([s[0], s[1]]))).sum();
                sum / i32::try_from(self.channels).unwrap_or(1)
            })
            .collect();
        let count = mono.len() as u64 * u64::from(SAMPLE_RATE) / u64::from(self.rate);
        (0..count)
            .map(|index| {
                let position = index * u64::from(self.rate);
                let (whole, part) = (position / u64::from(SAMPLE_RATE), position % u64::from(SAMPLE_RATE));
                let whole = usize::try_from(whole).unwrap_or(usize::MAX);
                let (a, b) = (mono[whole], *mono.get(whole + 1).unwrap_or(&mono[whole]));
                let mixed = i64::from(a) + i64::from(b - a) * part.cast_signed() / i64::from(SAMPLE_RATE);
                i16::try_from(mixed).unwrap_or(0)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(channels: u16, rate: u32, samples: &[i16]) -> Vec<u8> {
        let mut out = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0".to_vec();
        out.extend(channels.to_le_bytes());
        out.extend(rate.to_le_bytes());
        out.extend([0; 6]);
        out.extend(16u16.to_le_bytes());
        out.extend(b"data");
        out.extend(u32::try_from(samples.len() * 2).unwrap().to_le_bytes());
        out.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
        out
    }

    #[test]
    fn mixes_resamples_and_repeats() {
        let mut reader = WavReader::parse(&wav(2, 24_000, &[100, 300, 400, 400])).unwrap();
        let mut samples = [0; 6];
        assert!(reader.fill(&mut samples).unwrap());
        assert_eq!(samples, [200, 300, 400, 400, 200, 300]);
    }

    #[test]
    fn a_file_that_is_played_once_ends() {
        let mut reader = WavReader::parse(&wav(1, 48_000, &[1, 2, 3])).unwrap().once();
        let mut samples = [0; 2];
        assert!(reader.fill(&mut samples).unwrap() && samples == [1, 2]);
        assert!(reader.fill(&mut samples).unwrap() && samples == [3, 0]);
        assert!(!reader.fill(&mut samples).unwrap());
    }

    #[test]
    fn bad_files_are_refused() {
        assert!(WavReader::parse(b"").is_err());
        assert!(WavReader::parse(b"RIFF....WAVE").is_err());
        assert!(WavReader::parse(&wav(0, 48_000, &[1])).is_err());
        assert!(WavReader::parse(&wav(1, 1, &[1])).is_err());
        assert!(WavReader::parse(&wav(1, 48_000, &[])).is_err());
        let whole = wav(1, 48_000, &[1, 2, 3]);
        for end in 0..whole.len() {
            let _ = WavReader::parse(&whole[..end]);
        }
    }
}
