//! YUV4MPEG2: a header line, then `FRAME\n` and the three planes for each picture.

use crate::frame::VideoFrame;
use std::io::{Result, Write};

#[derive(Debug)]
pub(super) struct Y4mWriter<W> {
    out: W,
    size: (usize, usize),
}

impl<W: Write> Y4mWriter<W> {
    pub(super) fn new(mut out: W, size: (usize, usize), frame_rate: f64) -> Result<Self> {
        let (numerator, denominator) =
            if frame_rate.fract() == 0.0 { (frame_rate, 1) } else { (frame_rate * 1000.0, 1000) };
        writeln!(out, "YUV4MPEG2 W{} H{} F{numerator:.0}:{denominator} Ip A1:1 C420jpeg", size.0, size.1)?;
        Ok(Self { out, size })
    }

    pub(super) const fn size(&self) -> (usize, usize) {
        self.size
    }

    pub(super) fn write(&mut self, picture: &VideoFrame) -> Result<()> {
        self.out.write_all(b"FRAME\n")?;
        self.out.write_all(picture.data())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Scene, VideoSource, Y4mReader};
    use std::io::Cursor;

    #[test]
    fn what_is_written_is_read() {
        let mut scene = Scene::new(32, 16, 25.0).unwrap();
        let mut written = Vec::new();
        let mut picture = VideoFrame::new(32, 16).unwrap();
        let mut writer = Y4mWriter::new(&mut written, (32, 16), 25.0).unwrap();
        for frame in 0..3 {
            scene.draw(frame, &mut picture).unwrap();
            writer.write(&picture).unwrap();
        }
        writer.finish().unwrap();
        let mut reader = Y4mReader::new(Cursor::new(written)).unwrap();
        assert_eq!((reader.size(), reader.frame_rate()), ((32, 16), 25.0));
        let mut read = VideoFrame::new(32, 16).unwrap();
        for frame in 0..3 {
            scene.draw(frame, &mut picture).unwrap();
            assert!(reader.draw(frame, &mut read).unwrap());
            assert_eq!(read, picture);
        }
    }
}
