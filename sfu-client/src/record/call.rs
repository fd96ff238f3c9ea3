//! A whole call in one file: every stream a track, as received, in step.
//!
//! What comes in the first [`START`] is held, so that the head can name all tracks and the clocks are known. A stream
//! that comes later, or changes its codec, ends the file and begins the next, `name-2.mkv`: a head cannot be changed.
//! Frames are held for [`REORDER`] to be written by their time.

use super::coded::{self, Beginning};
use super::matroska::{MatroskaWriter, Track, TrackKind};
use super::timeline::{Origin, StreamTime};
use crate::peer::{MediaKind, ReportWatch, VideoCodec};
use crate::stats::StreamStats;
use anyhow::{Context, Result};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// From the first frame until the head is written; the server reports clocks every second.
const START: Duration = Duration::from_millis(1_500);
/// Bytes after which it is written earlier.
const START_BYTES: usize = 32 << 20;
/// Frames are written by their time within so many milliseconds.
const REORDER: u64 = 500;

/// A call that is recorded; clones are the same recording.
#[derive(Clone)]
pub struct CallRecording(Arc<Mutex<Inner>>);

/// One stream of it.
pub struct CallTrack {
    call: CallRecording,
    index: usize,
}

struct Inner {
    path: PathBuf,
    reports: ReportWatch,
    begun: Instant,
    origin: Origin,
    streams: Vec<Stream>,
    /// Until the head is written.
    held: Vec<Held>,
    held_bytes: usize,
    part: Option<Part>,
    parts: u32,
}

struct Stream {
    stats: Arc<StreamStats>,
    time: StreamTime,
    format: Option<Format>,
    /// No picture is of use before one to begin at.
    waits_for_keyframe: bool,
    /// Its track in the part at hand.
    track: Option<usize>,
    /// When its last frame is shown, in milliseconds.
    last: Option<u64>,
}

#[derive(Clone, PartialEq, Eq)]
struct Format {
    kind: TrackKind,
    private: Vec<u8>,
}

impl Format {
    fn codec(&self) -> &'static str {
        match self.kind {
            TrackKind::Video { codec, .. } => codec,
            TrackKind::Opus { .. } => "A_OPUS",
        }
    }
}

struct Held {
    stream: usize,
    timestamp: u32,
    arrival: Duration,
    keyframe: bool,
    data: Vec<u8>,
}

/// A file being written.
struct Part {
    writer: MatroskaWriter<BufWriter<File>>,
    /// The call's time at its beginning, in nanoseconds.
    start: i64,
    /// By time and order of arrival.
    queue: BTreeMap<(u64, u64), Queued>,
    queued: u64,
}

struct Queued {
    track: usize,
    keyframe: bool,
    data: Vec<u8>,
}

impl CallRecording {
    /// Records to `path`; `reports` are those of the peer that receives.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn create(path: &Path, reports: ReportWatch) -> Result<Self> {
        // Tells now whether it can be written; a call without media leaves it empty, and it goes at the end.
        File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(Arc::new(Mutex::new(Inner {
            path: path.to_owned(),
            reports,
            begun: Instant::now(),
            origin: Origin::default(),
            streams: Vec::new(),
            held: Vec::new(),
            held_bytes: 0,
            part: None,
            parts: 0,
        }))))
    }

    /// A stream whose frames will come.
    pub fn track(&self, stats: Arc<StreamStats>) -> CallTrack {
        let mut inner = self.lock();
        inner.streams.push(Stream {
            waits_for_keyframe: stats.kind() == MediaKind::Video,
            time: StreamTime::new(stats.kind().clock_rate()),
            stats,
            format: None,
            track: None,
            last: None,
        });
        CallTrack { call: self.clone(), index: inner.streams.len() - 1 }
    }

    /// Completes the file at hand; says how many there are.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(&self) -> Result<u32> {
        self.lock().finish()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A file that lacks a frame is better than none.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallTrack {
    /// Writes a picture; `unit` is it in annex B form, where it is H.264.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_video(
        &self,
        codec: VideoCodec,
        timestamp: u32,
        payloads: &[Bytes],
        unit: Option<&[u8]>,
    ) -> Result<()> {
        let Some(picture) = coded::picture(codec, payloads, unit) else { return Ok(()) };
        let codec_id = coded::codec_id(codec);
        let format = picture
            .begins
            .map(|Beginning { size, private }| Format { kind: TrackKind::Video { codec: codec_id, size }, private });
        self.write(timestamp, picture.data, format.is_some(), format)
    }

    /// Writes a packet of Opus.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_audio(&self, timestamp: u32, packet: &[u8]) -> Result<()> {
        let (channels, private) = coded::opus_head(packet);
        let format = Format { kind: TrackKind::Opus { channels }, private };
        self.write(timestamp, packet.to_vec(), true, Some(format))
    }

    fn write(&self, timestamp: u32, data: Vec<u8>, keyframe: bool, format: Option<Format>) -> Result<()> {
        let mut inner = self.call.lock();
        let arrival = inner.begun.elapsed();
        let held = Held { stream: self.index, timestamp, arrival, keyframe, data };
        inner.take(held, format).context("cannot write a recording")
    }
}

impl Inner {
    fn take(&mut self, frame: Held, format: Option<Format>) -> Result<()> {
        let stream = &mut self.streams[frame.stream];
        if let Some(format) = format {
            let is_same = stream.format.as_ref().is_some_and(|before| before.codec() == format.codec());
            if !is_same {
                stream.track = None;
            }
            if !is_same || stream.track.is_none() {
                stream.format = Some(format);
            }
            stream.waits_for_keyframe = false;
        } else if stream.waits_for_keyframe {
            stream.stats.wish_keyframe();
            return Ok(());
        }
        if self.part.is_some() && self.streams[frame.stream].track.is_none() {
            self.end_part()?;
            self.streams[frame.stream].waits_for_keyframe = false;
        }
        if self.part.is_some() {
            return self.write(frame);
        }
        let since_first = self.held.first().map_or(Duration::ZERO, |first| frame.arrival - first.arrival);
        self.held_bytes += frame.data.len();
        self.held.push(frame);
        if since_first >= START || self.held_bytes > START_BYTES {
            self.begin_part()?;
        }
        Ok(())
    }

    /// Writes the head, and what was held.
    fn begin_part(&mut self) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        let mut tracks = Vec::new();
        for (index, stream) in self.streams.iter_mut().enumerate() {
            stream.track = None;
            let comes = held.iter().any(|frame| frame.stream == index);
            let Some(Format { kind, private }) = stream.format.clone().filter(|_| comes) else { continue };
            stream.track = Some(tracks.len());
            tracks.push(Track { kind, private, name: stream.stats.label() });
        }
        self.parts += 1;
        let path = part_path(&self.path, self.parts);
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let writer = MatroskaWriter::new(BufWriter::new(file), &tracks)?;
        let times: Vec<i64> = held.iter().map(|frame| self.time(frame)).collect();
        let start = times.iter().copied().min().unwrap_or_default();
        self.part = Some(Part { writer, start, queue: BTreeMap::new(), queued: 0 });
        for (frame, time) in held.into_iter().zip(times) {
            self.queue(frame, time)?;
        }
        Ok(())
    }

    fn end_part(&mut self) -> Result<()> {
        for stream in &mut self.streams {
            stream.track = None;
            stream.last = None;
            if stream.stats.kind() == MediaKind::Video {
                stream.waits_for_keyframe = true;
                stream.stats.wish_keyframe();
            }
        }
        let Some(mut part) = self.part.take() else { return Ok(()) };
        part.write_before(u64::MAX)?;
        Ok(part.writer.finish()?)
    }

    fn finish(&mut self) -> Result<u32> {
        if !self.held.is_empty() {
            self.begin_part()?;
        }
        self.end_part().context("cannot write a recording")?;
        if self.parts == 0 {
            // Empty; whether it can be removed is of no consequence.
            let _ = fs::remove_file(&self.path);
        }
        Ok(self.parts)
    }

    fn write(&mut self, frame: Held) -> Result<()> {
        let time = self.time(&frame);
        self.queue(frame, time)
    }

    fn time(&mut self, frame: &Held) -> i64 {
        let stream = &mut self.streams[frame.stream];
        let clock = stream.stats.ssrc().and_then(|ssrc| self.reports.clock(ssrc));
        stream.time.at(&mut self.origin, frame.timestamp, frame.arrival, clock)
    }

    fn queue(&mut self, frame: Held, time: i64) -> Result<()> {
        let stream = &mut self.streams[frame.stream];
        let (Some(part), Some(track)) = (&mut self.part, stream.track) else { return Ok(()) };
        let time = u64::try_from((time - part.start) / 1_000_000).unwrap_or(0);
        // No two frames of a track at once, and none before the last: a clock that was corrected would make some.
        let time = stream.last.map_or(time, |last| time.max(last + 1));
        stream.last = Some(time);
        part.queued += 1;
        part.queue.insert((time, part.queued), Queued { track, keyframe: frame.keyframe, data: frame.data });
        let newest = part.queue.last_key_value().map_or(0, |((time, _), _)| *time);
        part.write_before(newest.saturating_sub(REORDER))
    }
}

impl Part {
    fn write_before(&mut self, end: u64) -> Result<()> {
        while let Some(first) = self.queue.first_entry().filter(|first| first.key().0 < end) {
            let ((time, _), Queued { track, keyframe, data }) = first.remove_entry();
            self.writer.write(track, time, keyframe, &data)?;
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Whatever ended the session: the file is whole.
        if let Err(error) = self.finish() {
            tracing::warn!(%error, "a recording was not completed");
        }
    }
}

/// The first is called as the user said, the others have a number before the extension.
fn part_path(path: &Path, part: u32) -> PathBuf {
    if part == 1 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{part}{extension}"))
}

#[cfg(test)]
mod tests;
