//! WAV: `RIFF size WAVE`, `fmt ` (PCM, mono, 48 kHz, 16 bits), `data size` and the samples.

use crate::capture::SAMPLE_RATE;
use std::io::{Result, Seek, SeekFrom, Write};

/// Bytes before the samples.
const HEADER: u32 = 44;

#[derive(Debug)]
pub(super) struct WavWriter<W> {
    out: W,
    bytes: u32,
}

impl<W: Write + Seek> WavWriter<W> {
    pub(super) fn new(mut out: W) -> Result<Self> {
        out.write_all(&header(0))?;
        Ok(Self { out, bytes: 0 })
    }

    /// What lies beyond 4 GiB, the end of the format (12 hours), is left out.
    pub(super) fn write(&mut self, samples: &[i16]) -> Result<()> {
        for sample in samples {
            if self.bytes < u32::MAX - HEADER - 2 {
                self.out.write_all(&sample.to_le_bytes())?;
                self.bytes += 2;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header(self.bytes))?;
        self.out.flush()
    }
}

fn header(bytes: u32) -> Vec<u8> {
    let mut header = b"RIFF".to_vec();
    header.extend((bytes + HEADER - 8).to_le_bytes());
    header.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    header.extend(SAMPLE_RATE.to_le_bytes());
    header.extend((SAMPLE_RATE * 2).to_le_bytes());
    header.extend(b"\x02\0\x10\0data");
    header.extend(bytes.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{AudioSource, WavReader};
    use std::io::Cursor;

    #[test]
    fn what_is_written_is_read() {
        let mut file = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut file).unwrap();
        writer.write(&[1, -2, 3]).unwrap();
        writer.write(&[i16::MIN]).unwrap();
        writer.finish().unwrap();
        let mut samples = [0; 4];
        WavReader::parse(file.get_ref()).unwrap().fill(&mut samples).unwrap();
        assert_eq!(samples, [1, -2, 3, i16::MIN]);
    }
}
