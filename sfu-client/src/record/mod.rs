//! Received media to files: decoded as Y4M and WAV; as it came: `.h264`, IVF and Ogg, a file for each stream, or one
//! Matroska file for the call.

mod call;
mod coded;
mod ivf;
mod matroska;
mod ogg;
mod png;
mod timeline;
mod wav;
mod y4m;

use crate::frame::VideoFrame;
use crate::peer::VideoCodec;
use crate::receive::without_descriptors;
use crate::subscriber::{Media, Tap};
use anyhow::{Context, Result};
use bytes::Bytes;
pub use call::{CallRecording, CallTrack};
use ivf::IvfWriter;
use ogg::OggWriter;
pub use png::write_png;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use wav::WavWriter;
use y4m::Y4mWriter;

/// What to record.
#[derive(Clone, Debug)]
pub struct RecordSettings {
    /// Folder for the files, one per stream.
    pub folder: PathBuf,
    /// As it came, not decoded.
    pub coded: bool,
    /// Frames per second that a Y4M file states: it has no time stamps.
    pub frame_rate: f64,
}

impl RecordSettings {
    /// Makes the folder.
    ///
    /// # Errors
    /// Where that is not possible.
    pub fn prepare(&self) -> Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{name}.{extension}"))
    }
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(BufWriter::new(file))
}

/// Where a stream goes beside files of its own.
#[derive(Default)]
pub struct Outlets {
    /// The file of the call.
    pub call: Option<CallTrack>,
    /// The program that embeds this one.
    pub tap: Option<Tap>,
}

/// Takes what comes of one video stream.
#[derive(Default)]
pub struct VideoRecorder {
    files: Option<VideoFiles>,
    outlets: Outlets,
}

impl VideoRecorder {
    /// Records into `settings.folder`, in files called `name`, and hands everything to `outlets`.
    pub fn new(settings: Option<RecordSettings>, name: &str, outlets: Outlets) -> Self {
        Self { files: settings.map(|settings| VideoFiles::new(settings, name)), outlets }
    }

    /// Writes a coded frame: `unit` is an H.264 picture in annex B form; the other codecs come as payloads.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write_coded(
        &mut self,
        codec: VideoCodec,
        timestamp: u32,
        payloads: &[Bytes],
        unit: Option<&[u8]>,
    ) -> Result<()> {
        if let Some(call) = &self.outlets.call {
            call.write_video(codec, timestamp, payloads, unit)?;
        }
        self.files.as_mut().map_or(Ok(()), |files| files.write_coded(codec, timestamp, payloads, unit))
    }

    /// Writes a decoded picture, unless the stream is recorded as it came.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write_picture(&mut self, picture: &VideoFrame) -> Result<()> {
        if let Some(tap) = &self.outlets.tap {
            tap.take(|| Media::Picture(picture.clone()));
        }
        self.files.as_mut().map_or(Ok(()), |files| files.write_picture(picture))
    }

    /// Completes the stream's own files.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn finish(self) -> Result<()> {
        self.files.map_or(Ok(()), VideoFiles::finish)
    }
}

/// The files of one video stream. They are made when there is something to write.
#[derive(Debug)]
struct VideoFiles {
    settings: RecordSettings,
    name: String,
    pictures: Option<Y4mWriter<BufWriter<File>>>,
    units: Option<BufWriter<File>>,
    ivf: Option<(VideoCodec, IvfWriter<BufWriter<File>>)>,
    /// Files so far: a change of size or codec begins another.
    files: u32,
}

impl VideoFiles {
    fn new(settings: RecordSettings, name: &str) -> Self {
        Self { settings, name: name.to_owned(), pictures: None, units: None, ivf: None, files: 0 }
    }

    fn write_coded(
        &mut self,
        codec: VideoCodec,
        timestamp: u32,
        payloads: &[Bytes],
        unit: Option<&[u8]>,
    ) -> Result<()> {
        if codec == VideoCodec::H264 {
            return self.write_unit(unit);
        }
        let Some(frame) = without_descriptors(codec, payloads) else { return Ok(()) };
        if self.ivf.as_ref().is_none_or(|(before, _)| *before != codec) {
            self.finish_ivf()?;
            let path = self.next_path("ivf");
            self.ivf = Some((codec, IvfWriter::new(create(&path)?, codec)?));
        }
        let Some((_, writer)) = &mut self.ivf else { return Ok(()) };
        writer.write(timestamp, &frame).context("cannot write a recording")
    }

    fn write_unit(&mut self, unit: Option<&[u8]>) -> Result<()> {
        let (true, Some(unit)) = (self.settings.coded, unit) else { return Ok(()) };
        if self.units.is_none() {
            self.units = Some(create(&self.next_path("h264"))?);
        }
        let Some(units) = &mut self.units else { return Ok(()) };
        units.write_all(unit).context("cannot write a recording")
    }

    fn write_picture(&mut self, picture: &VideoFrame) -> Result<()> {
        if self.settings.coded {
            return Ok(());
        }
        let size = (picture.width(), picture.height());
        if self.pictures.as_ref().is_none_or(|writer| writer.size() != size) {
            self.finish_pictures()?;
            let path = self.next_path("y4m");
            self.pictures = Some(Y4mWriter::new(create(&path)?, size, self.settings.frame_rate)?);
        }
        let Some(writer) = &mut self.pictures else { return Ok(()) };
        writer.write(picture).context("cannot write a recording")
    }

    fn finish(mut self) -> Result<()> {
        self.finish_pictures()?;
        self.finish_ivf()?;
        self.units.map_or(Ok(()), |mut units| units.flush()).context("cannot write a recording")
    }

    fn finish_pictures(&mut self) -> Result<()> {
        self.pictures.take().map_or(Ok(()), Y4mWriter::finish).context("cannot write a recording")
    }

    fn finish_ivf(&mut self) -> Result<()> {
        self.ivf.take().map_or(Ok(()), |(_, writer)| writer.finish()).context("cannot write a recording")
    }

    fn next_path(&mut self, extension: &str) -> PathBuf {
        self.files += 1;
        let part = if self.files == 1 { String::new() } else { format!("-{}", self.files) };
        self.settings.path(&format!("{}{part}", self.name), extension)
    }
}

/// Takes what comes of one audio stream.
#[derive(Default)]
pub struct AudioRecorder {
    file: Option<AudioFile>,
    outlets: Outlets,
}

#[derive(Debug)]
enum AudioFile {
    /// Decoded.
    Wav(WavWriter<BufWriter<File>>),
    /// As it came.
    Ogg(OggWriter<BufWriter<File>>),
}

impl AudioRecorder {
    /// Records into `settings.folder`, in a file called `name`, and hands everything to `outlets`.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn new(settings: Option<&RecordSettings>, name: &str, outlets: Outlets) -> Result<Self> {
        let file = settings.map(|settings| AudioFile::new(settings, name)).transpose()?;
        Ok(Self { file, outlets })
    }

    /// Writes a coded packet, where the stream is recorded as it came.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write_coded(&mut self, timestamp: u32, packet: &[u8]) -> Result<()> {
        if let Some(call) = &self.outlets.call {
            call.write_audio(timestamp, packet)?;
        }
        match &mut self.file {
            Some(AudioFile::Ogg(writer)) => writer.write(timestamp, packet).context("cannot write a recording"),
            _ => Ok(()),
        }
    }

    /// Writes decoded sound, unless the stream is recorded as it came.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_sound(&mut self, samples: &[i16]) -> Result<()> {
        if let Some(tap) = &self.outlets.tap {
            tap.take(|| Media::Sound(samples.to_vec()));
        }
        match &mut self.file {
            Some(AudioFile::Wav(writer)) => writer.write(samples).context("cannot write a recording"),
            _ => Ok(()),
        }
    }

    /// Completes the stream's own file.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(self) -> Result<()> {
        match self.file {
            Some(AudioFile::Wav(writer)) => writer.finish(),
            Some(AudioFile::Ogg(writer)) => writer.finish(),
            None => Ok(()),
        }
        .context("cannot write a recording")
    }
}

impl AudioFile {
    fn new(settings: &RecordSettings, name: &str) -> Result<Self> {
        let writing = "cannot write a recording";
        Ok(if settings.coded {
            Self::Ogg(OggWriter::new(create(&settings.path(name, "ogg"))?).context(writing)?)
        } else {
            Self::Wav(WavWriter::new(create(&settings.path(name, "wav"))?).context(writing)?)
        })
    }
}
