//! Pictures from any file that ffmpeg reads, through a pipe, repeated from the start at its end.
//!
//! ffmpeg is asked for YUV4MPEG2 of the wanted size and rate: scaled to fill, and cut to fit.

use super::{VideoSource, Y4mReader};
use crate::frame::VideoFrame;
use anyhow::{Context, Result, ensure};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A file that ffmpeg decodes.
#[derive(Debug)]
pub struct MediaFile {
    path: PathBuf,
    width: usize,
    height: usize,
    frame_rate: f64,
    running: Running,
}

impl MediaFile {
    /// Opens a file, to be shown in this size and rate.
    ///
    /// # Errors
    /// Where the size is none that [`VideoFrame`] takes, the rate is outside 1 to 240, ffmpeg is not there, or it finds
    /// no pictures.
    pub fn open(path: &Path, width: usize, height: usize, frame_rate: f64) -> Result<Self> {
        VideoFrame::new(width, height)?;
        ensure!((1.0..=240.0).contains(&frame_rate), "the frame rate must be 1 to 240, not {frame_rate}");
        ensure!(path.is_file(), "there is no file {}", path.display());
        let running = Running::start(path, width, height, frame_rate)?;
        Ok(Self { path: path.to_owned(), width, height, frame_rate, running })
    }
}

impl VideoSource for MediaFile {
    fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn frame_rate(&self) -> f64 {
        self.frame_rate
    }

    fn draw(&mut self, _frame: u32, picture: &mut VideoFrame) -> Result<bool> {
        ensure!((picture.width(), picture.height()) == self.size(), "the picture is not of the file's size");
        if self.running.reader.read_picture(picture)? {
            return Ok(true);
        }
        self.running = Running::start(&self.path, self.width, self.height, self.frame_rate)?;
        self.running.reader.read_picture(picture)
    }
}

/// A running ffmpeg.
#[derive(Debug)]
struct Running {
    child: Child,
    reader: Y4mReader<BufReader<ChildStdout>>,
}

impl Running {
    fn start(path: &Path, width: usize, height: usize, frame_rate: f64) -> Result<Self> {
        let filter = format!(
            "scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height},fps={frame_rate}"
        );
        let mut child = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "quiet", "-i"])
            .arg(path)
            .args(["-an", "-vf", &filter, "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start ffmpeg, which reads files that are not Y4M")?;
        let output = child.stdout.take().context("ffmpeg has no output")?;
        let reader = Y4mReader::stream(BufReader::new(output));
        match reader {
            Ok(reader) => Ok(Self { child, reader }),
            Err(_) => {
                stop(&mut child);
                anyhow::bail!("ffmpeg finds no pictures in {}", path.display());
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// Ends ffmpeg, and lets the system forget it.
fn stop(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_played_is_said() {
        let error = |path: &str, width| MediaFile::open(Path::new(path), width, 90, 30.0).unwrap_err().to_string();
        assert!(error("/does/not/exist.mkv", 160).contains("/does/not/exist.mkv"));
        assert!(error("/does/not/exist.mkv", 161).contains("even"));
        // No picture in this file, whether ffmpeg is there or not.
        assert!(error(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), 160).contains("ffmpeg"));
    }
}
