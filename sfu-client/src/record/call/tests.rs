//! What was recorded, read back by another implementation.

use super::*;
use crate::capture::{AudioSource, SAMPLE_RATE, Scene, Tone, VideoSource};
use crate::decode::{Decoder, H264Decoder, OpusDecoder};
use crate::encode::{Encoder, EncoderConfig, FRAME_SAMPLES, H264Encoder, OpusConfig, OpusEncoder};
use crate::frame::VideoFrame;
use crate::overlay::Overlay;
use crate::receive::annex_b;
use matroska_demuxer::{Frame, MatroskaFile, TrackType};
use rtp::codec::h264::H264Payloader;
use rtp::packetizer::Payloader;
use std::io::Cursor;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sfu-call-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A source of pictures as packets carry them.
struct Pictures {
    scene: Scene,
    encoder: H264Encoder,
    picture: VideoFrame,
    frame: u32,
}

impl Pictures {
    fn new(width: usize, height: usize) -> Self {
        let config = EncoderConfig { width, height, ..Default::default() };
        Self {
            scene: Scene::new(width, height, 30.0).unwrap(),
            encoder: H264Encoder::new(config).unwrap(),
            picture: VideoFrame::new(width, height).unwrap(),
            frame: 0,
        }
    }

    /// Writes the next picture, burned in with its number.
    fn write(&mut self, track: &CallTrack, timestamp: u32) {
        self.scene.draw(self.frame, &mut self.picture).unwrap();
        Overlay::new(1, self.frame, Duration::ZERO).draw(&mut self.picture);
        let coded = self.encoder.encode(&self.picture, i64::from(self.frame) * 33).unwrap().unwrap();
        self.frame += 1;
        let payloads = H264Payloader::default().payload(1_000, &Bytes::from(coded.data.to_vec())).unwrap();
        let unit = annex_b(&payloads);
        track.write_video(VideoCodec::H264, timestamp, &payloads, unit.as_deref()).unwrap();
    }
}

struct Sound {
    tone: Tone,
    encoder: OpusEncoder,
}

impl Sound {
    fn new() -> Self {
        Self { tone: Tone::new(440.0), encoder: OpusEncoder::new(&OpusConfig::default()).unwrap() }
    }

    fn write(&mut self, track: &CallTrack, timestamp: u32) {
        let mut samples = [0; FRAME_SAMPLES];
        self.tone.fill(&mut samples).unwrap();
        track.write_audio(timestamp, &self.encoder.encode(&samples).unwrap()).unwrap();
    }
}

fn streams(call: &CallRecording) -> (CallTrack, CallTrack) {
    let track = |kind| call.track(Arc::new(StreamStats::new("0".to_owned(), kind)));
    (track(MediaKind::Video), track(MediaKind::Audio))
}

struct Played {
    kinds: Vec<(TrackType, String)>,
    duration: Option<f64>,
    frames: Vec<Frame>,
    private: Vec<Vec<u8>>,
}

impl Played {
    fn of(bytes: Vec<u8>) -> Self {
        let mut file = MatroskaFile::open(Cursor::new(bytes)).unwrap();
        let kinds = file.tracks().iter().map(|track| (track.track_type(), track.codec_id().to_owned())).collect();
        let private = file.tracks().iter().map(|track| track.codec_private().unwrap_or_default().to_vec()).collect();
        let duration = file.info().duration();
        let (mut frames, mut frame) = (Vec::new(), Frame::default());
        while file.next_frame(&mut frame).unwrap_or(false) {
            frames.push(frame.clone());
        }
        Self { kinds, duration, frames, private }
    }

    fn times(&self, track: u64) -> Vec<u64> {
        self.frames.iter().filter(|frame| frame.track == track).map(|frame| frame.timestamp).collect()
    }

    /// The numbers burned into the decoded pictures of the first track, and their widths.
    fn pictures(&self) -> Vec<(u32, usize)> {
        let mut decoder = H264Decoder::new().unwrap();
        let mut seen = Vec::new();
        for frame in self.frames.iter().filter(|frame| frame.track == 1) {
            let (mut unit, mut rest) = (Vec::new(), frame.data.as_slice());
            while let Some((length, after)) = rest.split_first_chunk() {
                let (nal, after) = after.split_at(u32::from_be_bytes(*length) as usize);
                unit.extend([0, 0, 0, 1]);
                unit.extend(nal);
                rest = after;
            }
            if let Some(picture) = decoder.decode(&unit).unwrap() {
                seen.push((Overlay::read(&picture).unwrap().frame, picture.width()));
            }
        }
        seen
    }
}

#[test]
fn pictures_and_sound_come_back_at_their_times_over_a_new_size_and_a_pause() {
    let folder = Folder::new("whole");
    let path = folder.0.join("call.mkv");
    let call = CallRecording::create(&path, ReportWatch::default()).unwrap();
    let (video, audio) = streams(&call);
    let (mut large, mut small, mut sound) = (Pictures::new(320, 180), Pictures::new(160, 90), Sound::new());
    // A picture before which no decoder could begin.
    let slice = [Bytes::from_static(&[0x41, 0x9a, 1])];
    video.write_video(VideoCodec::H264, 0, &slice, annex_b(&slice).as_deref()).unwrap();
    for n in 0..10 {
        large.write(&video, 5_000 + n * 3_000);
        sound.write(&audio, n * 960);
    }
    // Half a second later, smaller.
    for n in 0..10 {
        small.write(&video, 5_000 + 27_000 + 45_000 + n * 3_000);
    }
    assert_eq!(call.finish().unwrap(), 1);
    let played = Played::of(fs::read(&path).unwrap());
    let kind = |kind, codec: &str| (kind, codec.to_owned());
    assert_eq!(played.kinds, [kind(TrackType::Video, "V_MPEG4/ISO/AVC"), kind(TrackType::Audio, "A_OPUS")]);
    assert_eq!(played.private[0][..1], [1]);
    assert_eq!(&played.private[1][..8], b"OpusHead");
    let pictures: Vec<_> = (0..10).map(|n| (n, 320)).chain((0..10).map(|n| (n, 160))).collect();
    assert_eq!(played.pictures(), pictures);
    let times = played.times(1);
    assert_eq!(times.len(), 20);
    let millis = |from: usize, to: usize| (times[to] - times[from]) as i64;
    assert!((millis(0, 9) - 300).abs() <= 1 && (millis(9, 10) - 500).abs() <= 1, "{times:?}");
    assert!(played.times(2).windows(2).all(|pair| (19..=21).contains(&(pair[1] - pair[0]))));
    assert_eq!(played.duration, times.last().map(|time| *time as f64));
    let sound = played.frames.iter().filter(|frame| frame.track == 2);
    let mut decoder = OpusDecoder::new().unwrap();
    for frame in sound {
        assert_eq!(decoder.decode(&frame.data).unwrap().len(), SAMPLE_RATE as usize / 50);
    }
}

#[test]
fn what_is_cut_off_still_plays() {
    let folder = Folder::new("cut");
    let path = folder.0.join("call.mkv");
    let call = CallRecording::create(&path, ReportWatch::default()).unwrap();
    let (video, _) = streams(&call);
    let mut pictures = Pictures::new(160, 90);
    for n in 0..120 {
        pictures.write(&video, n * 3_000);
    }
    call.finish().unwrap();
    let whole = fs::read(&path).unwrap();
    assert_eq!(Played::of(whole.clone()).frames.len(), 120);
    // As on the disk when the power goes: neither index nor sizes, and half a cluster.
    let cluster = [0x1f, 0x43, 0xb6, 0x75];
    let clusters: Vec<usize> = (0..whole.len() - 4).filter(|at| whole[*at..*at + 4] == cluster).collect();
    assert!(clusters.len() >= 4, "{clusters:?}");
    let mut cut = whole[..clusters[3] + 40].to_vec();
    let segment = cut.windows(4).position(|window| window == [0x18, 0x53, 0x80, 0x67]).unwrap();
    cut[segment + 4..segment + 12].copy_from_slice(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    cut[segment + 12..segment + 12 + 68].fill(0);
    cut[segment + 12..segment + 14].copy_from_slice(&[0xec, 0x80 | 66]);
    assert!(Played::of(cut).frames.len() >= 90);
}

#[test]
fn a_stream_that_comes_later_begins_another_file() {
    let folder = Folder::new("later");
    let path = folder.0.join("call.mkv");
    let call = CallRecording::create(&path, ReportWatch::default()).unwrap();
    let (video, audio) = streams(&call);
    let mut sound = Sound::new();
    sound.write(&audio, 0);
    std::thread::sleep(START);
    sound.write(&audio, 72_000);
    // VP8, 320x240.
    let keyframe =
        [Bytes::from_static(&[0x90, 0xe0, 0x92, 0x34, 7, 0, 0x50, 0x42, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xf0, 0])];
    video.write_video(VideoCodec::Vp8, 0, &keyframe, None).unwrap();
    sound.write(&audio, 72_960);
    drop((call, video, audio));
    let first = Played::of(fs::read(&path).unwrap());
    assert_eq!((first.kinds.len(), first.frames.len()), (1, 2));
    let second = fs::read(folder.0.join("call-2.mkv")).unwrap();
    assert!(second.windows(4).any(|window| window == b"webm"));
    let second = Played::of(second);
    assert_eq!(second.kinds[0], (TrackType::Video, "V_VP8".to_owned()));
    assert_eq!(second.frames.len(), 2);
    // Which is first is up to how busy the machine is: no report has said how their clocks lie.
    let picture = second.frames.iter().find(|frame| frame.track == 1).unwrap();
    assert_eq!(picture.data, keyframe[0][6..]);
}

#[test]
fn a_call_without_media_leaves_no_file_and_a_folder_that_is_not_there_is_told() {
    let folder = Folder::new("empty");
    let path = folder.0.join("call.mkv");
    assert_eq!(CallRecording::create(&path, ReportWatch::default()).unwrap().finish().unwrap(), 0);
    assert!(!path.exists());
    let error = CallRecording::create(&folder.0.join("no/call.mkv"), ReportWatch::default()).err().unwrap();
    assert!(error.to_string().contains("call.mkv"));
}
