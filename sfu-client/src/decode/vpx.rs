//! VP8 and VP9 to pictures by libvpx.
#![allow(unsafe_code, reason = "libvpx is C")]

use super::{Decoder, planes};
use crate::frame::{MAX_SIDE, VideoFrame};
use crate::peer::VideoCodec;
use anyhow::{Result, bail, ensure};
use std::ffi::{c_int, c_uint};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use vpx_sys::{
    VPX_CODEC_OK, VPX_DECODER_ABI_VERSION, vpx_codec_ctx_t, vpx_codec_dec_init_ver, vpx_codec_decode,
    vpx_codec_destroy, vpx_codec_get_frame, vpx_codec_iface_t, vpx_codec_peek_stream_info, vpx_codec_stream_info_t,
    vpx_codec_vp8_dx, vpx_codec_vp9_dx, vpx_image_t, vpx_img_fmt,
};

/// A running decoder of VP8, or of VP9 in profile 0.
pub struct VpxDecoder {
    interface: *mut vpx_codec_iface_t,
    /// Initialised; destroyed once, on drop.
    context: Box<vpx_codec_ctx_t>,
}

// SAFETY: libvpx keeps a decoder's state in its context, which has no thread affinity; the interface is a constant; and
// `&mut self` on every method that touches them keeps two threads from using them at once.
unsafe impl Send for VpxDecoder {}

impl VpxDecoder {
    /// A decoder.
    ///
    /// # Errors
    /// Where the codec is not libvpx's, or it cannot make one.
    pub fn new(codec: VideoCodec) -> Result<Self> {
        // SAFETY: both only return the address of a static.
        let interface = match codec {
            VideoCodec::Vp8 => unsafe { vpx_codec_vp8_dx() },
            VideoCodec::Vp9 => unsafe { vpx_codec_vp9_dx() },
            VideoCodec::H264 | VideoCodec::Av1 => bail!("libvpx has no {}", codec.name()),
        };
        let mut context = Box::new(MaybeUninit::<vpx_codec_ctx_t>::zeroed());
        let version = c_int::try_from(VPX_DECODER_ABI_VERSION)?;
        // SAFETY: the context is ours, zeroed as libvpx's macro wants it, and stays where it is; no configuration is one
        // thread.
        let code = unsafe { vpx_codec_dec_init_ver(context.as_mut_ptr(), interface, null(), 0, version) };
        ensure!(code == VPX_CODEC_OK, "libvpx could not make a decoder ({code:?})");
        // SAFETY: zeroes are a valid context, and it has been initialised since.
        Ok(Self { interface, context: unsafe { context.assume_init() } })
    }

    /// What a keyframe says of its size; what is too large is not worth its memory.
    fn check_size(&self, frame: &[u8], length: c_uint) -> Result<()> {
        let size = c_uint::try_from(size_of::<vpx_codec_stream_info_t>())?;
        let mut info = vpx_codec_stream_info_t { sz: size, w: 0, h: 0, is_kf: 0 };
        // SAFETY: the frame has this length, and the structure says its own size.
        let code = unsafe { vpx_codec_peek_stream_info(self.interface, frame.as_ptr(), length, &raw mut info) };
        let is_small = info.w as usize <= MAX_SIDE && info.h as usize <= MAX_SIDE;
        ensure!(code != VPX_CODEC_OK || is_small, "a picture of {}x{} is too large", info.w, info.h);
        Ok(())
    }
}

impl Decoder for VpxDecoder {
    fn decode(&mut self, unit: &[u8]) -> Result<Option<VideoFrame>> {
        // Nothing would be a flush.
        ensure!(!unit.is_empty(), "an empty frame");
        let length = c_uint::try_from(unit.len())?;
        self.check_size(unit, length)?;
        // SAFETY: the context is initialised, and the data are only read during the call.
        let code = unsafe { vpx_codec_decode(&raw mut *self.context, unit.as_ptr(), length, null_mut(), 0) };
        ensure!(code == VPX_CODEC_OK, "libvpx could not decode a picture ({code:?})");
        let (mut iterator, mut picture) = (null(), None);
        // SAFETY: the context is initialised; what it hands out lives until the next call on it.
        while let Some(image) = unsafe { vpx_codec_get_frame(&raw mut *self.context, &raw mut iterator).as_ref() } {
            picture = Some(copy(image)?);
        }
        Ok(picture)
    }
}

impl Drop for VpxDecoder {
    fn drop(&mut self) {
        // SAFETY: the context is initialised and not used after.
        unsafe { vpx_codec_destroy(&raw mut *self.context) };
    }
}

fn copy(image: &vpx_image_t) -> Result<VideoFrame> {
    ensure!(image.fmt == vpx_img_fmt::VPX_IMG_FMT_I420, "pictures of format {:?} cannot be shown", image.fmt);
    let ([y, u, v, _], [y_stride, u_stride, v_stride, _]) = (image.planes, image.stride);
    // SAFETY: an image of this format is what is asked for, and lives until the next call on the decoder.
    unsafe { planes::copy((image.d_w, image.d_h), [y, u, v], [y_stride, u_stride, v_stride]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_an_error_or_nothing() {
        for codec in [VideoCodec::Vp8, VideoCodec::Vp9] {
            let mut decoder = VpxDecoder::new(codec).unwrap();
            for seed in 0..500u32 {
                let noise = (0..200u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 97) >> 13) as u8);
                let bytes: Vec<u8> = match codec {
                    // A keyframe of 64x64.
                    VideoCodec::Vp8 => [0x10, 2, 0, 0x9d, 1, 0x2a, 64, 0, 64, 0].into_iter().chain(noise).collect(),
                    _ => [0x82, 0x49, 0x83, 0x42].into_iter().chain(noise).collect(),
                };
                let _ = decoder.decode(&bytes);
            }
            assert!(decoder.decode(&[]).is_err());
        }
        assert!(VpxDecoder::new(VideoCodec::H264).is_err());
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let mut decoder = VpxDecoder::new(VideoCodec::Vp8).unwrap();
        let error = decoder.decode(&[0x10, 2, 0, 0x9d, 1, 0x2a, 0xff, 0x3f, 0xff, 0x3f, 0, 0]).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    }
}
