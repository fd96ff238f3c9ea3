//! What an encoder keeps and refers to, and that decoders which lost something go on from it.

use super::*;
use crate::capture::{Scene, VideoSource};
use crate::decode::{Decoder, H264Decoder};
use crate::encode::{EncodedFrame, Encoder, EncoderConfig, H264Encoder, Quantizer};
use crate::frame::VideoFrame;

const SIZE: (usize, usize) = (320, 180);

/// An encoder, and a decoder that gets everything.
struct Stream {
    encoder: H264Encoder,
    whole: H264Decoder,
    scene: Scene,
    source: VideoFrame,
    next: u32,
}

impl Stream {
    fn new() -> Self {
        let config = EncoderConfig {
            width: SIZE.0,
            height: SIZE.1,
            quantizer: Quantizer::Caller,
            long_term: true,
            ..Default::default()
        };
        Self {
            encoder: H264Encoder::new(config).unwrap(),
            whole: H264Decoder::new().unwrap(),
            scene: Scene::new(SIZE.0, SIZE.1, 30.0).unwrap(),
            source: VideoFrame::new(SIZE.0, SIZE.1).unwrap(),
            next: 0,
        }
    }

    /// The next picture, and what it is decoded to where nothing was lost.
    fn next(&mut self) -> (EncodedFrame, VideoFrame) {
        self.scene.draw(self.next, &mut self.source).unwrap();
        // As rate control does.
        self.encoder.set_quantizer(24 + (self.next % 5) as u8).unwrap();
        let encoded = self.encoder.encode(&self.source, i64::from(self.next) * 33).unwrap().unwrap();
        let decoded = self.whole.decode(&encoded.data).unwrap().unwrap();
        self.next += 1;
        (encoded, decoded)
    }

    fn long_term(&mut self) -> &mut dyn LongTermReferences {
        self.encoder.long_term().unwrap()
    }
}

#[test]
fn a_picture_refers_to_the_acknowledged_one_however_many_are_between() {
    let mut stream = Stream::new();
    let (first, _) = stream.next();
    assert_eq!((first.keyframe, first.references), (true, References::default()));
    let (mut acknowledged, mut candidate) = (0, None::<u32>);
    for number in 1..400 {
        match number % 40 {
            7 => stream.long_term().mark().unwrap(),
            15 | 25 | 31 => stream.long_term().recover().unwrap(),
            // Every third is told to be lost.
            20 => {
                let held = number % 120 > 40;
                stream.long_term().settle(held).unwrap();
                acknowledged = candidate.take().filter(|_| held).unwrap_or(acknowledged);
            }
            _ => {}
        }
        let (encoded, _) = stream.next();
        let References { refers, marks, recovers } = encoded.references;
        assert!(!encoded.keyframe);
        if let Some(back) = marks {
            assert!(candidate.is_none() && back <= 1, "picture {number} marks the one {back} before it");
            candidate = Some(number - u32::from(back));
        }
        // What was acknowledged holds from the picture after the next.
        let is_recovery = matches!(number % 40, 15 | 25 | 31);
        assert_eq!(recovers, is_recovery, "{number}");
        assert_eq!(number - u32::from(refers), if is_recovery { acknowledged } else { number - 1 }, "{number}");
        assert_eq!(candidate.is_some(), (7..20).contains(&(number % 40)) || number % 40 == 20 && candidate.is_some());
    }
}

#[test]
fn who_has_the_acknowledged_picture_recovers_to_the_last_bit() {
    for lost in [1, 2, 5, 40] {
        let mut stream = Stream::new();
        let mut decoder = H264Decoder::new().unwrap();
        let decode = |decoder: &mut H264Decoder, frame: &EncodedFrame| decoder.decode(&frame.data);
        for round in 0..8 {
            for number in 0..30 {
                match number {
                    10 => stream.long_term().mark().unwrap(),
                    20 => stream.long_term().settle(true).unwrap(),
                    _ => {}
                }
                let (encoded, whole) = stream.next();
                let picture = decode(&mut decoder, &encoded).unwrap().unwrap();
                assert_eq!(picture.luma_psnr(&whole), Some(f64::INFINITY), "{round} {number}");
            }
            for _ in 0..lost {
                stream.next();
            }
            stream.long_term().recover().unwrap();
            for number in 0..20 {
                let (encoded, whole) = stream.next();
                assert_eq!((encoded.references.recovers, encoded.keyframe), (number == 0, false));
                let picture =
                    decode(&mut decoder, &encoded).unwrap_or_else(|e| panic!("{lost} {round} {number}: {e:#}"));
                let picture = picture.unwrap();
                let (as_sent, as_drawn) =
                    (picture.luma_psnr(&whole).unwrap(), picture.luma_psnr(&stream.source).unwrap());
                assert!(as_sent.is_infinite() && as_drawn > 30.0, "{lost} {round} {number}: {as_sent} {as_drawn}");
            }
        }
    }
}

#[test]
fn what_is_asked_right_behind_a_keyframe_is_done() {
    let mut stream = Stream::new();
    stream.next();
    for round in 0..4 {
        stream.long_term().recover().unwrap();
        let (encoded, _) = stream.next();
        assert_eq!((encoded.keyframe, encoded.references.refers, encoded.references.recovers), (false, 1, true));
        for number in 0..20 {
            match number {
                5 => stream.long_term().mark().unwrap(),
                // Of a keyframe's predecessors nothing is left.
                12 => stream.encoder.force_keyframe().unwrap(),
                13 => stream.long_term().settle(round % 2 == 0).unwrap(),
                _ => {}
            }
            stream.next();
        }
        stream.encoder.force_keyframe().unwrap();
        assert!(stream.next().0.keyframe);
    }
}

/// Pictures that ffmpeg, whose decoder browsers have, makes of a stream; `None` where it is not there.
fn decoded_by_ffmpeg(stream: &[u8]) -> Option<Vec<VideoFrame>> {
    let folder = std::env::temp_dir().join(format!("sfu-references-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (input, output) = (folder.join("in.h264"), folder.join("out.yuv"));
    std::fs::write(&input, stream).unwrap();
    let run = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-threads", "1", "-f", "h264", "-i"])
        .arg(&input)
        .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p"])
        .arg(&output)
        .status();
    let pictures = run.ok().map(|status| {
        assert!(status.success());
        let (width, height) = SIZE;
        let picture = |bytes: &[u8]| {
            let (y, chroma) = bytes.split_at(width * height);
            let (u, v) = chroma.split_at(chroma.len() / 2);
            VideoFrame::from_strided(width, height, [(y, width), (u, width / 2), (v, width / 2)]).unwrap()
        };
        std::fs::read(&output).unwrap().chunks_exact(width * height * 3 / 2).map(picture).collect()
    });
    std::fs::remove_dir_all(&folder).unwrap();
    pictures
}

#[test]
fn another_decoder_recovers_too() {
    let mut stream = Stream::new();
    let (mut bytes, mut last) = (Vec::new(), Vec::new());
    for number in 0..100_u32 {
        match number {
            5 | 35 => stream.long_term().mark().unwrap(),
            20 | 50 => stream.long_term().settle(true).unwrap(),
            80 => stream.long_term().recover().unwrap(),
            _ => {}
        }
        let (encoded, whole) = stream.next();
        if !(60..80).contains(&number) {
            bytes.extend_from_slice(&encoded.data);
        }
        if number >= 80 {
            last.push(whole);
        }
    }
    let Some(pictures) = decoded_by_ffmpeg(&bytes) else { return };
    let worst = |pictures: &[VideoFrame]| {
        let each = pictures.iter().zip(&last).map(|(picture, whole)| picture.luma_psnr(whole).unwrap());
        each.fold(f64::INFINITY, f64::min)
    };
    assert!(pictures.len() >= last.len() + 60, "{} pictures", pictures.len());
    assert_eq!(worst(&pictures[pictures.len() - last.len()..]), f64::INFINITY, "to the last bit");
}
