//! Matroska and WebM (RFC 9559, of EBML, RFC 8794), as a player reads it while it is written.
//!
//! ```text
//! EBML { DocType .. }
//! Segment, of unknown size {
//!     SeekHead, at first as Void
//!     Info { TimestampScale = 1 ms, Duration, at first as Void }
//!     Tracks { TrackEntry { CodecID CodecPrivate Video | Audio } .. }
//!     Cluster { Timestamp, SimpleBlock { track, time(2), flags, frame } .. } ..
//!     Cues { CuePoint .. }
//! }
//! ```
//!
//! Every cluster is written whole, so that a file that was cut off plays up to its last one. The end makes the rest:
//! the index (Cues), where to find it (SeekHead), the duration, and the segment's size.

use std::io::{Result, Seek, SeekFrom, Write};

/// A cluster ends after so much time, in milliseconds: what is lost of a file that is cut off.
const CLUSTER_TIME: u64 = 1_000;
/// Bytes after which it ends earlier.
const CLUSTER_BYTES: usize = 4 << 20;
/// Room for a SeekHead of three entries with positions of 8 bytes.
const SEEK_HEAD_BYTES: usize = 68;
/// Room for a Duration of 8 bytes.
const DURATION_BYTES: usize = 11;
/// A size that is not known yet, in 8 bytes.
const UNKNOWN_SIZE: [u8; 8] = [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
/// A decoder of Opus must have run so long before what is heard is right, in nanoseconds (RFC 7845 section 4.6).
const OPUS_PRE_ROLL: u64 = 80_000_000;

/// Element ids (RFC 9559 section 27.1).
mod id {
    pub(super) const EBML: u32 = 0x1a45_dfa3;
    pub(super) const EBML_VERSION: u32 = 0x4286;
    pub(super) const EBML_READ_VERSION: u32 = 0x42f7;
    pub(super) const EBML_MAX_ID_LENGTH: u32 = 0x42f2;
    pub(super) const EBML_MAX_SIZE_LENGTH: u32 = 0x42f3;
    pub(super) const DOC_TYPE: u32 = 0x4282;
    pub(super) const DOC_TYPE_VERSION: u32 = 0x4287;
    pub(super) const DOC_TYPE_READ_VERSION: u32 = 0x4285;
    pub(super) const VOID: u32 = 0xec;
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const SEEK_HEAD: u32 = 0x114d_9b74;
    pub(super) const SEEK: u32 = 0x4dbb;
    pub(super) const SEEK_ID: u32 = 0x53ab;
    pub(super) const SEEK_POSITION: u32 = 0x53ac;
    pub(super) const INFO: u32 = 0x1549_a966;
    pub(super) const TIMESTAMP_SCALE: u32 = 0x002a_d7b1;
    pub(super) const DURATION: u32 = 0x4489;
    pub(super) const MUXING_APP: u32 = 0x4d80;
    pub(super) const WRITING_APP: u32 = 0x5741;
    pub(super) const TRACKS: u32 = 0x1654_ae6b;
    pub(super) const TRACK_ENTRY: u32 = 0xae;
    pub(super) const TRACK_NUMBER: u32 = 0xd7;
    pub(super) const TRACK_UID: u32 = 0x73c5;
    pub(super) const TRACK_TYPE: u32 = 0x83;
    pub(super) const FLAG_LACING: u32 = 0x9c;
    pub(super) const NAME: u32 = 0x536e;
    pub(super) const CODEC_ID: u32 = 0x86;
    pub(super) const CODEC_PRIVATE: u32 = 0x63a2;
    pub(super) const SEEK_PRE_ROLL: u32 = 0x56bb;
    pub(super) const VIDEO: u32 = 0xe0;
    pub(super) const PIXEL_WIDTH: u32 = 0xb0;
    pub(super) const PIXEL_HEIGHT: u32 = 0xba;
    pub(super) const AUDIO: u32 = 0xe1;
    pub(super) const SAMPLING_FREQUENCY: u32 = 0xb5;
    pub(super) const CHANNELS: u32 = 0x9f;
    pub(super) const CLUSTER: u32 = 0x1f43_b675;
    pub(super) const TIMESTAMP: u32 = 0xe7;
    pub(super) const SIMPLE_BLOCK: u32 = 0xa3;
    pub(super) const CUES: u32 = 0x1c53_bb6b;
    pub(super) const CUE_POINT: u32 = 0xbb;
    pub(super) const CUE_TIME: u32 = 0xb3;
    pub(super) const CUE_TRACK_POSITIONS: u32 = 0xb7;
    pub(super) const CUE_TRACK: u32 = 0xf7;
    pub(super) const CUE_CLUSTER_POSITION: u32 = 0xf1;
}

/// What a track carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum TrackKind {
    /// Pictures of this codec (Matroska's CodecID) and size.
    Video { codec: &'static str, size: (u16, u16) },
    /// Opus of so many channels.
    Opus { channels: u8 },
}

/// A track as it stands in the file's head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Track {
    pub(super) kind: TrackKind,
    /// What the codec's mapping says: for H.264 its parameter sets.
    pub(super) private: Vec<u8>,
    /// For people.
    pub(super) name: String,
}

/// Writes one file.
#[derive(Debug)]
pub(super) struct MatroskaWriter<W> {
    out: W,
    /// Bytes written.
    position: u64,
    /// Where the segment's size stands; its content begins 8 bytes later.
    segment_size_at: u64,
    duration_at: u64,
    info_at: u64,
    tracks_at: u64,
    /// Content of the cluster at hand, and its time.
    cluster: Vec<u8>,
    cluster_time: u64,
    /// Which tracks are video.
    video: Vec<bool>,
    /// Time, track and cluster of each place to begin at.
    cues: Vec<(u64, usize, u64)>,
    /// End of the last block.
    end: u64,
}

impl<W: Write + Seek> MatroskaWriter<W> {
    /// Writes the head.
    pub(super) fn new(out: W, tracks: &[Track]) -> Result<Self> {
        let mut writer = Self {
            out,
            position: 0,
            segment_size_at: 0,
            duration_at: 0,
            info_at: 0,
            tracks_at: 0,
            cluster: Vec::new(),
            cluster_time: 0,
            video: tracks.iter().map(|track| matches!(track.kind, TrackKind::Video { .. })).collect(),
            cues: Vec::new(),
            end: 0,
        };
        let mut head = ebml_head(is_webm(tracks));
        push_id(&mut head, id::SEGMENT);
        writer.segment_size_at = head.len() as u64;
        head.extend(UNKNOWN_SIZE);
        head.extend(void(SEEK_HEAD_BYTES));
        writer.info_at = head.len() as u64;
        let mut info = Vec::new();
        uint(&mut info, id::TIMESTAMP_SCALE, 1_000_000);
        element(&mut info, id::MUXING_APP, b"sfu-client");
        element(&mut info, id::WRITING_APP, b"sfu-client");
        info.extend(void(DURATION_BYTES));
        element(&mut head, id::INFO, &info);
        writer.duration_at = (head.len() - DURATION_BYTES) as u64;
        writer.tracks_at = head.len() as u64;
        let mut entries = Vec::new();
        for (index, track) in tracks.iter().enumerate() {
            element(&mut entries, id::TRACK_ENTRY, &track_entry(index, track));
        }
        element(&mut head, id::TRACKS, &entries);
        writer.put(&head)?;
        writer.out.flush()?;
        Ok(writer)
    }

    /// Writes a frame of the track with this index, at `time` milliseconds. Frames of one track are in order; those of
    /// different tracks nearly so.
    pub(super) fn write(&mut self, track: usize, time: u64, keyframe: bool, frame: &[u8]) -> Result<()> {
        let is_video = self.video.get(track).copied().unwrap_or(false);
        let begins = keyframe && is_video;
        let age = time.saturating_sub(self.cluster_time);
        let is_far = self.cluster_time.saturating_sub(time) > 30_000;
        // A player that seeks begins at a cluster: so a picture to begin at begins one.
        if self.cluster.is_empty()
            || age >= CLUSTER_TIME
            || is_far
            || self.cluster.len() >= CLUSTER_BYTES
            || begins && age > 0
        {
            self.flush_cluster()?;
            self.cluster_time = time;
            uint(&mut self.cluster, id::TIMESTAMP, time);
            if begins || !self.video.contains(&true) {
                self.cues.push((time, track, self.position));
            }
        }
        let offset = (time as i64 - self.cluster_time as i64) as i16;
        let mut block = Vec::with_capacity(frame.len() + 5);
        // A track's number, written as a size is.
        match track as u16 + 1 {
            number @ ..0x7f => block.push(0x80 | number as u8),
            number => block.extend((0x4000 | number).to_be_bytes()),
        }
        block.extend(offset.to_be_bytes());
        block.push(if keyframe { 0x80 } else { 0 });
        block.extend(frame);
        element(&mut self.cluster, id::SIMPLE_BLOCK, &block);
        self.end = self.end.max(time);
        Ok(())
    }

    /// Completes the file.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush_cluster()?;
        let cues_at = self.position;
        let mut cues = Vec::new();
        for (time, track, cluster_at) in &self.cues {
            let mut positions = Vec::new();
            uint(&mut positions, id::CUE_TRACK, *track as u64 + 1);
            uint(&mut positions, id::CUE_CLUSTER_POSITION, self.in_segment(*cluster_at));
            let mut point = Vec::new();
            uint(&mut point, id::CUE_TIME, *time);
            element(&mut point, id::CUE_TRACK_POSITIONS, &positions);
            element(&mut cues, id::CUE_POINT, &point);
        }
        let mut out = Vec::new();
        element(&mut out, id::CUES, &cues);
        self.put(&out)?;
        let end = self.position;
        self.put_at(self.segment_size_at, &(1 << 56 | self.in_segment(end)).to_be_bytes())?;
        let mut seek_head = Vec::new();
        for (known, at) in [(id::INFO, self.info_at), (id::TRACKS, self.tracks_at), (id::CUES, cues_at)] {
            let mut seek = Vec::new();
            element(&mut seek, id::SEEK_ID, &known.to_be_bytes());
            element(&mut seek, id::SEEK_POSITION, &self.in_segment(at).to_be_bytes());
            element(&mut seek_head, id::SEEK, &seek);
        }
        let mut out = Vec::new();
        element(&mut out, id::SEEK_HEAD, &seek_head);
        self.put_at(self.segment_size_at + 8, &out)?;
        let mut out = Vec::new();
        element(&mut out, id::DURATION, &(self.end as f64).to_be_bytes());
        self.put_at(self.duration_at, &out)?;
        self.out.seek(SeekFrom::Start(end))?;
        self.out.flush()
    }

    fn in_segment(&self, at: u64) -> u64 {
        at - self.segment_size_at - 8
    }

    fn flush_cluster(&mut self) -> Result<()> {
        if self.cluster.is_empty() {
            return Ok(());
        }
        let mut out = Vec::with_capacity(self.cluster.len() + 12);
        element(&mut out, id::CLUSTER, &self.cluster);
        self.cluster.clear();
        self.put(&out)?;
        self.out.flush()
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.position += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn put_at(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        self.out.seek(SeekFrom::Start(at))?;
        self.out.write_all(bytes)
    }
}

/// WebM has no H.264.
pub(super) fn is_webm(tracks: &[Track]) -> bool {
    let fits = |track: &Track| match track.kind {
        TrackKind::Video { codec, .. } => matches!(codec, "V_VP8" | "V_VP9" | "V_AV1"),
        TrackKind::Opus { .. } => true,
    };
    tracks.iter().all(fits)
}

fn ebml_head(webm: bool) -> Vec<u8> {
    let mut content = Vec::new();
    uint(&mut content, id::EBML_VERSION, 1);
    uint(&mut content, id::EBML_READ_VERSION, 1);
    uint(&mut content, id::EBML_MAX_ID_LENGTH, 4);
    uint(&mut content, id::EBML_MAX_SIZE_LENGTH, 8);
    element(&mut content, id::DOC_TYPE, if webm { b"webm" } else { b"matroska" });
    uint(&mut content, id::DOC_TYPE_VERSION, 4);
    uint(&mut content, id::DOC_TYPE_READ_VERSION, 2);
    let mut head = Vec::new();
    element(&mut head, id::EBML, &content);
    head
}

fn track_entry(index: usize, track: &Track) -> Vec<u8> {
    let mut entry = Vec::new();
    let number = index as u64 + 1;
    uint(&mut entry, id::TRACK_NUMBER, number);
    uint(&mut entry, id::TRACK_UID, number);
    uint(&mut entry, id::FLAG_LACING, 0);
    if !track.name.is_empty() {
        element(&mut entry, id::NAME, track.name.as_bytes());
    }
    if !track.private.is_empty() {
        element(&mut entry, id::CODEC_PRIVATE, &track.private);
    }
    let mut details = Vec::new();
    match track.kind {
        TrackKind::Video { codec, size: (width, height) } => {
            uint(&mut entry, id::TRACK_TYPE, 1);
            element(&mut entry, id::CODEC_ID, codec.as_bytes());
            uint(&mut details, id::PIXEL_WIDTH, width.into());
            uint(&mut details, id::PIXEL_HEIGHT, height.into());
            element(&mut entry, id::VIDEO, &details);
        }
        TrackKind::Opus { channels } => {
            uint(&mut entry, id::TRACK_TYPE, 2);
            element(&mut entry, id::CODEC_ID, b"A_OPUS");
            uint(&mut entry, id::SEEK_PRE_ROLL, OPUS_PRE_ROLL);
            element(&mut details, id::SAMPLING_FREQUENCY, &48_000f64.to_be_bytes());
            uint(&mut details, id::CHANNELS, channels.into());
            element(&mut entry, id::AUDIO, &details);
        }
    }
    entry
}

/// An id has as many bytes as its value: its length stands in its upper bits.
fn push_id(out: &mut Vec<u8>, id: u32) {
    let bytes = id.to_be_bytes();
    out.extend(&bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]);
}

/// An element with its size, in 1, 4 or 8 bytes (RFC 8794 section 4).
fn element(out: &mut Vec<u8>, id: u32, content: &[u8]) {
    push_id(out, id);
    let size = content.len() as u64;
    match size {
        0..0x7f => out.push(0x80 | size as u8),
        0x7f..0x0fff_ffff => out.extend((0x1000_0000 | size as u32).to_be_bytes()),
        _ => out.extend((1 << 56 | size).to_be_bytes()),
    }
    out.extend(content);
}

fn uint(out: &mut Vec<u8>, id: u32, value: u64) {
    let bytes = value.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(7);
    element(out, id, &bytes[zeros..]);
}

/// So many bytes, up to 128, that mean nothing.
fn void(bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    element(&mut out, id::VOID, &vec![0; bytes - 2]);
    out
}
