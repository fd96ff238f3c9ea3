//! AV1 to pictures by libaom.
#![allow(unsafe_code, reason = "libaom is C")]

use super::{Decoder, planes};
use crate::frame::{MAX_SIDE, VideoFrame};
use anyhow::{Result, ensure};
use aom_sys::aom_codec_err_t::AOM_CODEC_OK;
use aom_sys::aom_img_fmt::AOM_IMG_FMT_I420;
use aom_sys::{
    AOM_DECODER_ABI_VERSION, aom_codec_av1_dx, aom_codec_ctx_t, aom_codec_dec_cfg_t, aom_codec_dec_init_ver,
    aom_codec_decode, aom_codec_destroy, aom_codec_get_frame, aom_image_t,
};
use sfu_rtc::codec::av1;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};

/// A running decoder of AV1, main profile.
pub struct AomDecoder {
    /// Initialised; destroyed once, on drop.
    context: Box<aom_codec_ctx_t>,
}

// SAFETY: libaom keeps a decoder's state in its context, which has no thread affinity, and `&mut self` on every method
// that touches it keeps two threads from using it at once.
unsafe impl Send for AomDecoder {}

impl AomDecoder {
    /// A decoder.
    ///
    /// # Errors
    /// Where libaom cannot make one.
    pub fn new() -> Result<Self> {
        let mut context = Box::new(MaybeUninit::<aom_codec_ctx_t>::zeroed());
        let version = c_int::try_from(AOM_DECODER_ABI_VERSION)?;
        // Pictures of 8 bits, one byte a sample.
        let config = aom_codec_dec_cfg_t { threads: 1, w: 0, h: 0, allow_lowbitdepth: 1 };
        // SAFETY: the context is ours, zeroed as libaom's macro wants it, and stays where it is; the configuration is
        // copied. libaom refuses a version that is not its own.
        let code =
            unsafe { aom_codec_dec_init_ver(context.as_mut_ptr(), aom_codec_av1_dx(), &raw const config, 0, version) };
        ensure!(code == AOM_CODEC_OK, "libaom could not make a decoder ({code})");
        // SAFETY: zeroes are a valid context, and it has been initialised since.
        Ok(Self { context: unsafe { context.assume_init() } })
    }
}

impl Decoder for AomDecoder {
    fn decode(&mut self, unit: &[u8]) -> Result<Option<VideoFrame>> {
        // Nothing would be a flush.
        ensure!(!unit.is_empty(), "an empty frame");
        check_size(unit)?;
        // SAFETY: the context is initialised, and the data are only read during the call.
        let code = unsafe { aom_codec_decode(&raw mut *self.context, unit.as_ptr(), unit.len(), null_mut()) };
        ensure!(code == AOM_CODEC_OK, "libaom could not decode a picture ({code})");
        let (mut iterator, mut picture) = (null(), None);
        // SAFETY: the context is initialised; what it hands out lives until the next call on it.
        while let Some(image) = unsafe { aom_codec_get_frame(&raw mut *self.context, &raw mut iterator).as_ref() } {
            picture = Some(copy(image)?);
        }
        Ok(picture)
    }
}

impl Drop for AomDecoder {
    fn drop(&mut self) {
        // SAFETY: the context is initialised and not used after.
        unsafe { aom_codec_destroy(&raw mut *self.context) };
    }
}

/// What is too large is not worth its memory. No picture is larger than its sequence header says.
fn check_size(unit: &[u8]) -> Result<()> {
    for header in av1::sequence_headers(unit) {
        let (width, height) = av1::resolution(header.content).unwrap_or_default();
        let is_small = usize::from(width) <= MAX_SIDE && usize::from(height) <= MAX_SIDE;
        ensure!(is_small, "a picture of {width}x{height} is too large");
    }
    Ok(())
}

fn copy(image: &aom_image_t) -> Result<VideoFrame> {
    let is_plain = image.fmt == AOM_IMG_FMT_I420 && image.monochrome == 0;
    ensure!(is_plain, "pictures of format {} cannot be shown", image.fmt);
    // SAFETY: an image of this format is what is asked for, and lives until the next call on the decoder.
    unsafe { planes::copy((image.d_w, image.d_h), image.planes, image.stride) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Scene, VideoSource};
    use crate::encode::{EncoderConfig, open_encoder};
    use crate::peer::VideoCodec;

    /// A temporal delimiter and a sequence header: no operating point but the whole, sides of 16 bits, 4:2:0.
    fn sequence(width: u16, height: u16) -> Vec<u8> {
        let bits = format!("000 0 0 0 0 00000 {:012b} 00101 1111 1111 {:016b} {:016b}", 0, width - 1, height - 1);
        // Frame ids, superblocks, filter and edge; the tools; screen content and vectors; super-resolution, CDEF,
        // restoration; depth, monochrome, colour, range, place of samples, planes' quantisers; film grain, the end.
        let bits = bits + "0 0 0 0" + "0 0 0 0 0" + "1 1" + "0 0 0" + "0 0 0 0 00 0" + "0 1";
        let bits: Vec<_> = bits.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
        let content =
            bits.chunks(8).map(|bits| bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | bit << (7 - at)));
        let content: Vec<_> = content.collect();
        [&[0x12, 0, 0x0a, content.len() as u8], &content[..]].concat()
    }

    fn noise(seed: u32, count: u32) -> impl Iterator<Item = u8> {
        (0..count).map(move |i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 97_003) >> 13) as u8)
    }

    #[test]
    fn garbage_is_an_error_or_nothing() {
        let mut decoder = AomDecoder::new().unwrap();
        for seed in 0..500 {
            let _ = decoder.decode(&noise(seed, 200).collect::<Vec<_>>());
            // A whole frame, keyframe or not, behind the header of 64x64.
            let frame = [0x32, 0xc8, 1, if seed % 2 == 0 { 0x10 } else { 0x30 }];
            let unit = sequence(64, 64).into_iter().chain(frame).chain(noise(seed, 199));
            let _ = decoder.decode(&unit.collect::<Vec<_>>());
        }
        assert!(decoder.decode(&[]).is_err());
    }

    #[test]
    fn damaged_pictures_do_no_harm() {
        let config = EncoderConfig { width: 320, height: 180, keyframe_interval: 10, ..Default::default() };
        let mut encoder = open_encoder(VideoCodec::Av1, config).unwrap();
        let mut scene = Scene::new(320, 180, 30.0).unwrap();
        let mut picture = VideoFrame::new(320, 180).unwrap();
        let mut decoder = AomDecoder::new().unwrap();
        for number in 0..200 {
            scene.draw(number, &mut picture).unwrap();
            let whole = encoder.encode(&picture, i64::from(number) * 33).unwrap().unwrap();
            let mut unit = whole.data.to_vec();
            for (at, byte) in noise(number, 3).enumerate() {
                let place = (usize::from(byte) * 31 + at * 977) % unit.len();
                unit[place] ^= byte | 1;
            }
            let _ = decoder.decode(&unit);
            let _ = decoder.decode(&whole.data[..whole.data.len() / 2]);
            // A keyframe helps, whatever came before.
            if whole.keyframe {
                let decoded = decoder.decode(&whole.data).unwrap().unwrap();
                assert!(decoded.luma_psnr(&picture).unwrap() > 25.0);
            }
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let mut decoder = AomDecoder::new().unwrap();
        let mut refusal = |width, height| decoder.decode(&sequence(width, height)).unwrap_err().to_string();
        assert!(!refusal(3_840, 3_840).contains("too large"));
        let error = refusal(64, 65_535);
        assert!(error.contains("a picture of 64x65535 is too large"), "{error}");
    }
}
