//! VP8 and VP9 by libvpx.
//!
//! Temporal layers are made by telling libvpx picture by picture what to refer to and what to keep (`VP8_EFLAG_*`), as
//! WebRTC does: the base in the last picture's buffer, the middle layer in the golden one, the top nowhere. What is above
//! the base changes no probabilities either, so that leaving it out harms nothing.
//!
//! Quantisers picture by picture: both bounds of libvpx's rate control are set to the one that is wanted, with VP9 the coarser
//! one: still parts are refined in turn (cyclic refresh), within [`REFINED`] steps.
#![allow(unsafe_code, reason = "libvpx is C")]

use super::EncodedFrame;
use super::codec::{Effort, Encoder, EncoderConfig, Quantizer};
use super::ladder::Ladder;
use super::layers::Layering;
use super::steering::{BUFFER, CYCLIC_REFRESH, DROP_BELOW, NO_BITRATE, OWN_QUANTIZERS, Steering, TICKS, kilobits};
use crate::frame::VideoFrame;
use crate::peer::VideoCodec;
use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use sfu_rtc::units::Bitrate;
use std::ffi::{c_int, c_uint};
use std::mem::MaybeUninit;
use std::ptr::null;
use vpx_sys::vp8e_enc_control_id::{
    VP8E_SET_CPUUSED, VP8E_SET_MAX_INTRA_BITRATE_PCT, VP8E_SET_STATIC_THRESHOLD, VP9E_SET_AQ_MODE,
};
use vpx_sys::vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT;
use vpx_sys::{
    VP8_EFLAG_NO_REF_ARF, VP8_EFLAG_NO_REF_GF, VP8_EFLAG_NO_REF_LAST, VP8_EFLAG_NO_UPD_ARF, VP8_EFLAG_NO_UPD_ENTROPY,
    VP8_EFLAG_NO_UPD_GF, VP8_EFLAG_NO_UPD_LAST, VPX_CODEC_OK, VPX_DL_REALTIME, VPX_EFLAG_FORCE_KF,
    VPX_ENCODER_ABI_VERSION, VPX_ERROR_RESILIENT_DEFAULT, VPX_FRAME_IS_KEY, vp8e_enc_control_id, vpx_codec_control_,
    vpx_codec_ctx_t, vpx_codec_destroy, vpx_codec_enc_cfg_t, vpx_codec_enc_config_default, vpx_codec_enc_config_set,
    vpx_codec_enc_init_ver, vpx_codec_encode, vpx_codec_get_cx_data, vpx_codec_iface_t, vpx_codec_vp8_cx,
    vpx_codec_vp9_cx, vpx_img_fmt, vpx_img_wrap, vpx_kf_mode, vpx_rational, vpx_rc_mode,
};

/// Largest keyframe in percent of a mean picture, for libvpx's own rate control.
const LARGEST_INTRA: c_int = 900;
/// Steps of the quantiser of VP9 that still parts may be finer by.
const REFINED: c_uint = 12;
/// A running encoder of VP8, or of VP9 in profile 0.
pub struct VpxEncoder {
    codec: VideoCodec,
    config: EncoderConfig,
    parameters: Box<vpx_codec_enc_cfg_t>,
    /// Initialised; destroyed once, on drop.
    context: Box<vpx_codec_ctx_t>,
    steering: Steering,
}

// SAFETY: libvpx keeps an encoder's state in its context, which has no thread affinity, and `&mut self` on every method
// that touches it keeps two threads from using it at once.
unsafe impl Send for VpxEncoder {}

impl VpxEncoder {
    /// An encoder; its first picture is a keyframe.
    ///
    /// # Errors
    /// Where the codec is not libvpx's, or it refuses the configuration.
    pub fn new(codec: VideoCodec, config: EncoderConfig) -> Result<Self> {
        VideoFrame::new(config.width, config.height)?;
        ensure!((1..=3).contains(&config.temporal_layers), "temporal layers of {} are 1 to 3", codec.name());
        let interface = interface(codec)?;
        let mut parameters = Box::new(parameters(interface, &config)?);
        if codec == VideoCodec::Vp9 && config.quantizer == Quantizer::Caller {
            parameters.rc_target_bitrate = NO_BITRATE;
        }
        let mut context = Box::new(MaybeUninit::<vpx_codec_ctx_t>::zeroed());
        let version = c_int::try_from(VPX_ENCODER_ABI_VERSION)?;
        // SAFETY: the context is ours, zeroed as libvpx's macro wants it, and stays where it is; the configuration is
        // copied.
        let code =
            unsafe { vpx_codec_enc_init_ver(context.as_mut_ptr(), interface, &raw const *parameters, 0, version) };
        ensure!(code == VPX_CODEC_OK, "libvpx refuses {config:?} ({code:?})");
        // SAFETY: zeroes are a valid context, and it has been initialised since.
        let context = unsafe { context.assume_init() };
        let steering = Steering::new(&config);
        let mut encoder = Self { codec, config, parameters, context, steering };
        encoder.initialize()?;
        Ok(encoder)
    }

    fn initialize(&mut self) -> Result<()> {
        self.set_effort(self.config.effort)?;
        self.control(VP8E_SET_STATIC_THRESHOLD, 1)?;
        self.control(VP8E_SET_MAX_INTRA_BITRATE_PCT, LARGEST_INTRA)?;
        if self.codec == VideoCodec::Vp9 {
            self.control(VP9E_SET_AQ_MODE, CYCLIC_REFRESH)?;
        }
        Ok(())
    }

    /// Whether a picture's quantiser is the coarsest in it, and still parts are refined in turn.
    fn refines(&self) -> bool {
        self.codec == VideoCodec::Vp9 && self.config.quantizer == Quantizer::Caller
    }

    /// Private, and only for those whose argument is an integer.
    fn control(&mut self, control: vp8e_enc_control_id, value: c_int) -> Result<()> {
        // SAFETY: the context is initialised, and the control reads one integer.
        let code = unsafe { vpx_codec_control_(&raw mut *self.context, control as c_int, value) };
        ensure!(code == VPX_CODEC_OK, "libvpx refuses {control:?} of {value} ({code:?})");
        Ok(())
    }

    fn configure(&mut self) -> Result<()> {
        // SAFETY: the context is initialised; the configuration is copied.
        let code = unsafe { vpx_codec_enc_config_set(&raw mut *self.context, &raw const *self.parameters) };
        ensure!(code == VPX_CODEC_OK, "libvpx refuses a change ({code:?})");
        Ok(())
    }

    /// The frame that the last call made, and whether it is a keyframe.
    fn output(&mut self) -> Option<(Bytes, bool)> {
        let mut iterator = null();
        loop {
            // SAFETY: the context is initialised; what it hands out lives until the next call on it.
            let packet = unsafe { vpx_codec_get_cx_data(&raw mut *self.context, &raw mut iterator).as_ref() }?;
            if packet.kind != VPX_CODEC_CX_FRAME_PKT {
                continue;
            }
            // SAFETY: packets of this kind have this member.
            let frame = unsafe { packet.data.frame };
            // SAFETY: libvpx keeps `sz` bytes there until the next call on the context.
            let data = unsafe { std::slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz as usize) };
            return Some((Bytes::copy_from_slice(data), frame.flags & VPX_FRAME_IS_KEY != 0));
        }
    }
}

impl Encoder for VpxEncoder {
    fn encode(&mut self, picture: &VideoFrame, millis: i64) -> Result<Option<EncodedFrame>> {
        let (width, height) = (self.config.width, self.config.height);
        let order = self.steering.next(picture, millis)?;
        let flags = if order.keyframe { VPX_EFLAG_FORCE_KF } else { flags(self.codec, order.layering) };
        let (time, duration) = (order.time, order.duration);
        let mut wrapped = MaybeUninit::uninit();
        let (wide, high) = (c_uint::try_from(width)?, c_uint::try_from(height)?);
        let data = picture.data().as_ptr().cast_mut();
        // SAFETY: the picture is planar 4:2:0 without padding, which is what an alignment of 1 says; it outlives the
        // call to encode, which only reads it.
        let image = unsafe { vpx_img_wrap(wrapped.as_mut_ptr(), vpx_img_fmt::VPX_IMG_FMT_I420, wide, high, 1, data) };
        ensure!(!image.is_null(), "libvpx cannot take a picture of {width}x{height}");
        // SAFETY: the context is initialised and the image is a valid one.
        let code = unsafe {
            vpx_codec_encode(&raw mut *self.context, image, time, duration, flags.into(), VPX_DL_REALTIME.into())
        };
        ensure!(code == VPX_CODEC_OK, "libvpx failed to encode ({code:?})");
        Ok(self.output().and_then(|output| self.steering.coded(&order, output)))
    }

    fn force_keyframe(&mut self) -> Result<()> {
        self.steering.force_keyframe();
        Ok(())
    }

    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<()> {
        self.config.bitrate = bitrate;
        if self.refines() {
            return Ok(());
        }
        self.parameters.rc_target_bitrate = kilobits(bitrate);
        self.configure()
    }

    fn set_quantizer(&mut self, quantizer: u8) -> Result<()> {
        ensure!(quantizer <= self.ladder().coarsest(), "there is no quantiser {quantizer}");
        let quantizer = c_uint::from(quantizer);
        let finest = if self.refines() { quantizer.saturating_sub(REFINED) } else { quantizer };
        if (self.parameters.rc_min_quantizer, self.parameters.rc_max_quantizer) == (finest, quantizer) {
            return Ok(());
        }
        (self.parameters.rc_min_quantizer, self.parameters.rc_max_quantizer) = (finest, quantizer);
        self.configure()
    }

    fn set_effort(&mut self, effort: Effort) -> Result<()> {
        self.config.effort = effort;
        self.control(VP8E_SET_CPUUSED, speed(self.codec, effort))
    }

    fn ladder(&self) -> Ladder {
        if self.codec == VideoCodec::Vp9 { Ladder::Vp9 } else { Ladder::Vp8 }
    }

    fn next_layer(&self) -> u8 {
        self.steering.next_layer()
    }
}

impl Drop for VpxEncoder {
    fn drop(&mut self) {
        // SAFETY: the context is initialised and not used after.
        unsafe { vpx_codec_destroy(&raw mut *self.context) };
    }
}

fn interface(codec: VideoCodec) -> Result<*mut vpx_codec_iface_t> {
    // SAFETY: both only return the address of a static.
    match codec {
        VideoCodec::Vp8 => Ok(unsafe { vpx_codec_vp8_cx() }),
        VideoCodec::Vp9 => Ok(unsafe { vpx_codec_vp9_cx() }),
        VideoCodec::H264 | VideoCodec::Av1 => bail!("libvpx has no {}", codec.name()),
    }
}

fn parameters(interface: *mut vpx_codec_iface_t, config: &EncoderConfig) -> Result<vpx_codec_enc_cfg_t> {
    let mut parameters = MaybeUninit::<vpx_codec_enc_cfg_t>::zeroed();
    // SAFETY: the structure is ours and fully written by the call.
    let code = unsafe { vpx_codec_enc_config_default(interface, parameters.as_mut_ptr(), 0) };
    ensure!(code == VPX_CODEC_OK, "libvpx has no default configuration ({code:?})");
    // SAFETY: the call has written it.
    let mut parameters = unsafe { parameters.assume_init() };
    parameters.g_w = c_uint::try_from(config.width)?;
    parameters.g_h = c_uint::try_from(config.height)?;
    parameters.g_timebase = vpx_rational { num: 1, den: TICKS };
    // One thread: a call has several streams per machine.
    parameters.g_threads = 1;
    parameters.g_lag_in_frames = 0;
    // With layers a picture that is left out must not be what the next one takes its vectors and probabilities from.
    parameters.g_error_resilient = if config.temporal_layers > 1 { VPX_ERROR_RESILIENT_DEFAULT } else { 0 };
    parameters.kf_mode = vpx_kf_mode::VPX_KF_DISABLED;
    parameters.rc_end_usage = vpx_rc_mode::VPX_CBR;
    parameters.rc_target_bitrate = kilobits(config.bitrate);
    parameters.rc_resize_allowed = 0;
    let may_drop = config.skip_frames && config.quantizer == Quantizer::Codec;
    parameters.rc_dropframe_thresh = if may_drop { DROP_BELOW } else { 0 };
    (parameters.rc_min_quantizer, parameters.rc_max_quantizer) = OWN_QUANTIZERS;
    (parameters.rc_undershoot_pct, parameters.rc_overshoot_pct) = (100, 15);
    (parameters.rc_buf_sz, parameters.rc_buf_initial_sz, parameters.rc_buf_optimal_sz) = BUFFER;
    Ok(parameters)
}

/// What a picture refers to and leaves behind. Alone, VP8 chooses by itself; VP9 refers to the picture before, as its
/// payload descriptor says.
const fn flags(codec: VideoCodec, layering: Layering) -> c_uint {
    const ONLY_LAST: c_uint = VP8_EFLAG_NO_REF_GF | VP8_EFLAG_NO_REF_ARF | VP8_EFLAG_NO_UPD_GF | VP8_EFLAG_NO_UPD_ARF;
    const UPPER: c_uint = VP8_EFLAG_NO_UPD_LAST | VP8_EFLAG_NO_UPD_ENTROPY;
    match (layering.layers, layering.layer, layering.is_sync) {
        (0..=1, ..) if matches!(codec, VideoCodec::Vp8) => 0,
        (_, 0, _) => ONLY_LAST,
        // The middle layer goes into the golden buffer.
        (3, 1, _) => (ONLY_LAST & !VP8_EFLAG_NO_UPD_GF) | UPPER,
        (_, _, true) => ONLY_LAST | UPPER,
        // And is what the picture after it refers to.
        (_, _, false) => (ONLY_LAST & !VP8_EFLAG_NO_REF_GF) | VP8_EFLAG_NO_REF_LAST | UPPER,
    }
}

/// libvpx's `cpu_used`: negative of VP8, so that it does not adapt to the clock.
const fn speed(codec: VideoCodec, effort: Effort) -> c_int {
    match (codec, effort) {
        (VideoCodec::Vp9, Effort::Low) => 8,
        (VideoCodec::Vp9, Effort::Medium) => 7,
        (VideoCodec::Vp9, Effort::High) => 5,
        (_, Effort::Low) => -10,
        (_, Effort::Medium) => -6,
        (_, Effort::High) => -4,
    }
}
