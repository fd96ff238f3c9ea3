//! What is encoded is decoded, with layers left out too.

use super::{Effort, EncodedFrame, Encoder, EncoderConfig, Quantizer, open_encoder};
#[cfg(feature = "aom")]
use crate::capture::SceneKind;
use crate::capture::{Scene, VideoSource};
use crate::decode::open_decoder;
use crate::frame::VideoFrame;
use crate::overlay::Overlay;
use crate::peer::VideoCodec;
use sfu_rtc::units::Bitrate;
use std::time::Duration;

/// Those that were built in.
fn codecs() -> impl Iterator<Item = VideoCodec> {
    [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::Av1].into_iter().filter(|codec| codec.is_built_in())
}

fn config(kbps: u64) -> EncoderConfig {
    EncoderConfig { width: 320, height: 180, bitrate: Bitrate::from_kbps(kbps), ..Default::default() }
}

/// Pictures with their number in the overlay, and what comes of them.
fn encode(encoder: &mut dyn Encoder, from: u32, count: u32) -> Vec<(VideoFrame, EncodedFrame)> {
    let mut scene = Scene::new(320, 180, 30.0).unwrap();
    let mut picture = VideoFrame::new(320, 180).unwrap();
    let pictures = (from..from + count).map(|number| {
        scene.draw(number, &mut picture).unwrap();
        Overlay::new(9, number, Duration::from_millis(u64::from(number) * 33)).draw(&mut picture);
        let encoded = encoder.encode(&picture, i64::from(number) * 33).unwrap().expect("no picture is left out");
        (picture.clone(), encoded)
    });
    pictures.collect()
}

fn bytes(pictures: &[(VideoFrame, EncodedFrame)]) -> usize {
    pictures.iter().map(|(_, encoded)| encoded.data.len()).sum()
}

fn keyframes(pictures: &[(VideoFrame, EncodedFrame)]) -> usize {
    pictures.iter().filter(|(_, encoded)| encoded.keyframe).count()
}

#[test]
fn pictures_come_back_and_keyframes_when_asked_for() {
    for codec in codecs() {
        let mut encoder = open_encoder(codec, config(400)).unwrap();
        let mut decoder = open_decoder(codec).unwrap();
        let mut pictures = encode(&mut *encoder, 0, 60);
        encoder.force_keyframe().unwrap();
        pictures.extend(encode(&mut *encoder, 60, 30));
        for (number, (picture, encoded)) in pictures.iter().enumerate() {
            assert_eq!(encoded.keyframe, [0, 60].contains(&number), "{codec:?} {number}");
            let decoded = decoder.decode(&encoded.data).unwrap().unwrap();
            assert_eq!(Overlay::read(&decoded).map(|overlay| overlay.frame), Some(number as u32));
            assert!(decoded.luma_psnr(picture).unwrap() > 28.0, "{codec:?} {number}");
        }
    }
}

#[test]
fn upper_layers_can_be_left_out() {
    for codec in codecs() {
        for layers in 2..=3u8 {
            let mut encoder = open_encoder(codec, EncoderConfig { temporal_layers: layers, ..config(400) }).unwrap();
            let mut pictures = encode(&mut *encoder, 0, 45);
            encoder.force_keyframe().unwrap();
            pictures.extend(encode(&mut *encoder, 45, 45));
            for most in 0..layers {
                let mut decoder = open_decoder(codec).unwrap();
                let kept = pictures.iter().filter(|(_, encoded)| encoded.layering.layer <= most);
                let mut count = 0;
                for (picture, encoded) in kept {
                    assert_eq!(encoded.layering.layers, layers);
                    let decoded = decoder.decode(&encoded.data).unwrap().unwrap();
                    let psnr = decoded.luma_psnr(picture).unwrap();
                    assert!(psnr > 27.0, "{codec:?} of {layers} layers up to {most}: {psnr:.1} dB at {count}");
                    count += 1;
                }
                assert_eq!(count, 2 * 45usize.div_ceil(1 << (layers - 1 - most)), "{codec:?} {layers} {most}");
            }
        }
    }
}

#[test]
fn the_caller_chooses_quantisers_and_effort_without_new_keyframes() {
    for codec in codecs() {
        let mut encoder = open_encoder(codec, EncoderConfig { quantizer: Quantizer::Caller, ..config(300) }).unwrap();
        encode(&mut *encoder, 0, 30);
        let mut sizes = Vec::new();
        for (pass, quantizer) in [10, 20, 30, 45].into_iter().enumerate() {
            encoder.set_quantizer(quantizer).unwrap();
            let pictures = encode(&mut *encoder, 30 + 30 * pass as u32, 30);
            assert_eq!(keyframes(&pictures), 0);
            sizes.push(bytes(&pictures));
        }
        assert!(sizes.is_sorted_by(|finer, coarser| finer > coarser) && sizes[0] > 2 * sizes[2], "{sizes:?}");
        for effort in [Effort::High, Effort::Medium, Effort::Low] {
            encoder.set_effort(effort).unwrap();
            assert_eq!(keyframes(&encode(&mut *encoder, 150, 30)), 0);
        }
        assert!(encoder.set_quantizer(64).is_err());
    }
}

#[cfg(feature = "aom")]
#[test]
fn text_takes_few_bits_where_the_encoder_is_told_that_it_is_a_screen() {
    let mut scene = Scene::of(SceneKind::Pages, 640, 360, 15.0).unwrap();
    let mut page = VideoFrame::new(640, 360).unwrap();
    scene.draw(0, &mut page).unwrap();
    let [screen, camera] = [true, false].map(|screen| {
        let config = EncoderConfig { width: 640, height: 360, quantizer: Quantizer::Caller, screen, ..config(300) };
        let mut encoder = open_encoder(VideoCodec::Av1, config).unwrap();
        encoder.set_quantizer(encoder.ladder().nearest(32.0)).unwrap();
        let encoded = encoder.encode(&page, 0).unwrap().unwrap();
        let decoded = open_decoder(VideoCodec::Av1).unwrap().decode(&encoded.data).unwrap().unwrap();
        (encoded.data.len(), decoded.luma_psnr(&page).unwrap())
    });
    assert!(screen.0 * 2 < camera.0 && screen.1 > camera.1, "bytes and PSNR: {screen:?}, of a camera {camera:?}");
}

#[test]
fn the_bitrate_follows_at_run_time() {
    for codec in codecs() {
        let mut encoder = open_encoder(codec, config(600)).unwrap();
        encode(&mut *encoder, 0, 60);
        let high = bytes(&encode(&mut *encoder, 60, 60));
        encoder.set_bitrate(Bitrate::from_kbps(200)).unwrap();
        encode(&mut *encoder, 120, 60);
        let low = bytes(&encode(&mut *encoder, 180, 60));
        assert!(low < high / 2, "{codec:?}: {high} bytes before, {low} after");
    }
}

#[test]
fn other_sizes_and_settings_are_refused() {
    for codec in codecs() {
        assert!(open_encoder(codec, EncoderConfig { width: 321, ..config(300) }).is_err());
        assert!(open_encoder(codec, EncoderConfig { temporal_layers: 4, ..config(300) }).is_err());
        let mut encoder = open_encoder(codec, config(300)).unwrap();
        assert!(encoder.encode(&VideoFrame::new(64, 64).unwrap(), 0).is_err());
    }
}
