//! H.264 to pictures by openh264.

use super::Decoder;
use crate::frame::VideoFrame;
use anyhow::{Context, Result};
use openh264::OpenH264API;
use openh264::decoder::{Decoder as OpenH264Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

/// A running decoder.
pub struct H264Decoder {
    decoder: OpenH264Decoder,
}

impl H264Decoder {
    /// A decoder.
    ///
    /// # Errors
    /// Where openh264 cannot make one.
    pub fn new() -> Result<Self> {
        // A flush after each picture would hand out half a picture; real-time streams have no reordering anyway.
        let config = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let decoder = OpenH264Decoder::with_api_config(OpenH264API::from_source(), config)
            .context("openh264 could not make a decoder")?;
        Ok(Self { decoder })
    }
}

impl Decoder for H264Decoder {
    fn decode(&mut self, access_unit: &[u8]) -> Result<Option<VideoFrame>> {
        let Some(picture) = self.decoder.decode(access_unit).context("openh264 could not decode a picture")? else {
            return Ok(None);
        };
        let (width, height) = picture.dimensions();
        let (y, u, v) = picture.strides();
        VideoFrame::from_strided(width, height, [(picture.y(), y), (picture.u(), u), (picture.v(), v)]).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Scene, VideoSource};
    use crate::encode::{Encoder, EncoderConfig, H264Encoder};
    use crate::overlay::Overlay;
    use sfu_rtc::units::Bitrate;
    use std::time::Duration;

    #[test]
    fn what_is_encoded_is_decoded_with_its_overlay() {
        let bitrate = Bitrate::from_kbps(400);
        let config = EncoderConfig { width: 320, height: 180, bitrate, ..Default::default() };
        let mut encoder = H264Encoder::new(config).unwrap();
        let mut decoder = H264Decoder::new().unwrap();
        let mut scene = Scene::new(320, 180, 30.0).unwrap();
        let mut picture = VideoFrame::new(320, 180).unwrap();
        for frame in 0..90 {
            scene.draw(frame, &mut picture).unwrap();
            let overlay = Overlay::new(9, frame, Duration::from_millis(u64::from(frame) * 33));
            overlay.draw(&mut picture);
            let encoded = encoder.encode(&picture, i64::from(frame) * 33).unwrap().unwrap();
            let decoded = decoder.decode(&encoded.data).unwrap().unwrap();
            assert_eq!(Overlay::read(&decoded), Some(overlay));
            let psnr = decoded.luma_psnr(&picture).unwrap();
            assert!(psnr > 28.0, "frame {frame} has {psnr:.1} dB");
        }
    }

    #[test]
    fn a_low_bitrate_leaves_the_overlay_readable() {
        let bitrate = Bitrate::from_kbps(60);
        let config = EncoderConfig { width: 320, height: 180, bitrate, ..Default::default() };
        let mut encoder = H264Encoder::new(config).unwrap();
        let mut decoder = H264Decoder::new().unwrap();
        let mut scene = Scene::new(320, 180, 30.0).unwrap();
        let mut picture = VideoFrame::new(320, 180).unwrap();
        for frame in 0..90 {
            scene.draw(frame, &mut picture).unwrap();
            let overlay = Overlay::new(9, frame, Duration::from_millis(1_795_219_200_000 + u64::from(frame) * 33));
            overlay.draw(&mut picture);
            let encoded = encoder.encode(&picture, i64::from(frame) * 33).unwrap().unwrap();
            assert_eq!(Overlay::read(&decoder.decode(&encoded.data).unwrap().unwrap()), Some(overlay));
        }
    }

    #[test]
    fn garbage_is_an_error_or_nothing() {
        let mut decoder = H264Decoder::new().unwrap();
        for seed in 0..200u32 {
            let bytes: Vec<u8> = [0, 0, 0, 1, 0x65]
                .into_iter()
                .chain((0..200u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 97) >> 13) as u8))
                .collect();
            let _ = decoder.decode(&bytes);
        }
        let _ = decoder.decode(&[]);
    }
}
