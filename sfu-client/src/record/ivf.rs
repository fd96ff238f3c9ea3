//! IVF for VP8, VP9 and AV1 (little endian).
//!
//! ```text
//! file:  "DKIF" version(2) header length(2) fourcc(4) width(2) height(2) rate(4) scale(4) frames(4) 0(4)
//! frame: length(4) timestamp(8) data
//! ```

use crate::peer::VideoCodec;
use std::io::{Result, Seek, SeekFrom, Write};

/// RTP leaves it out, files begin every temporal unit with it (AV1 specification section 7.5).
const TEMPORAL_DELIMITER: [u8; 2] = [0x12, 0];
/// Where the number of frames stands.
const FRAMES_AT: u64 = 24;

#[derive(Debug)]
pub(super) struct IvfWriter<W> {
    out: W,
    /// What every frame begins with here.
    prefix: &'static [u8],
    frames: u32,
    /// Timestamps without their wrap.
    time: u64,
    last_timestamp: Option<u32>,
}

impl<W: Write + Seek> IvfWriter<W> {
    pub(super) fn new(mut out: W, codec: VideoCodec) -> Result<Self> {
        let fourcc = match codec {
            VideoCodec::H264 => b"H264",
            VideoCodec::Vp8 => b"VP80",
            VideoCodec::Vp9 => b"VP90",
            VideoCodec::Av1 => b"AV01",
        };
        out.write_all(b"DKIF\0\0\x20\0")?;
        out.write_all(fourcc)?;
        // Players take the size from the stream.
        out.write_all(&[0; 4])?;
        out.write_all(&90_000u32.to_le_bytes())?;
        out.write_all(&1u32.to_le_bytes())?;
        out.write_all(&[0; 8])?;
        let prefix: &[u8] = if codec == VideoCodec::Av1 { &TEMPORAL_DELIMITER } else { &[] };
        Ok(Self { out, prefix, frames: 0, time: 0, last_timestamp: None })
    }

    pub(super) fn write(&mut self, timestamp: u32, frame: &[u8]) -> Result<()> {
        let step = self.last_timestamp.map_or(0, |last| timestamp.wrapping_sub(last));
        self.last_timestamp = Some(timestamp);
        self.time += u64::from(step);
        self.frames += 1;
        let length = u32::try_from(self.prefix.len() + frame.len()).map_err(std::io::Error::other)?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&self.time.to_le_bytes())?;
        self.out.write_all(self.prefix)?;
        self.out.write_all(frame)
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.out.seek(SeekFrom::Start(FRAMES_AT))?;
        self.out.write_all(&self.frames.to_le_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn frames_and_their_number_are_written() {
        let mut file = Cursor::new(Vec::new());
        let mut writer = IvfWriter::new(&mut file, VideoCodec::Vp8).unwrap();
        writer.write(u32::MAX, &[1, 2]).unwrap();
        writer.write(2999, &[3]).unwrap();
        writer.finish().unwrap();
        let file = file.into_inner();
        assert_eq!(&file[..12], b"DKIF\0\0\x20\0VP80");
        assert_eq!(file[24], 2);
        assert_eq!(file[32..], [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 1, 0, 0, 0, 0xb8, 0x0b, 0, 0, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn temporal_units_begin_with_their_delimiter() {
        let mut file = Cursor::new(Vec::new());
        let mut writer = IvfWriter::new(&mut file, VideoCodec::Av1).unwrap();
        writer.write(0, &[0x32, 1, 5]).unwrap();
        writer.finish().unwrap();
        let file = file.into_inner();
        assert_eq!(file[8..12], *b"AV01");
        assert_eq!(file[32..], [5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0, 0x32, 1, 5]);
    }
}
