//! AV1 by libaom, for real time.
//!
//! Temporal layers are made by telling libaom picture by picture which buffers to refer to and to fill, as WebRTC does: the
//! base in the first, the middle layer in the second, the top nowhere. What a picture refers to is also what it takes its
//! probabilities from, so that leaving out what is above the base harms nothing.
//!
//! Quantisers picture by picture: what is wanted is the coarsest that libaom's rate control may take, and it is told of so low
//! a bitrate that it does. Finer ones stay allowed, since still parts are refined in turn (cyclic refresh): what they take is
//! learned with the rest, and with one quantiser for the whole picture half a decibel is lost.
#![allow(unsafe_code, reason = "libaom is C")]

use super::EncodedFrame;
use super::codec::{Effort, Encoder, EncoderConfig, Quantizer};
use super::ladder::Ladder;
use super::layers::Layering;
use super::steering::{BUFFER, CYCLIC_REFRESH, DROP_BELOW, NO_BITRATE, OWN_QUANTIZERS, Steering, TICKS, kilobits};
use crate::frame::VideoFrame;
use anyhow::{Result, ensure};
use aom_sys::aom_codec_cx_pkt_kind::AOM_CODEC_CX_FRAME_PKT;
use aom_sys::aom_codec_err_t::AOM_CODEC_OK;
use aom_sys::aom_img_fmt::AOM_IMG_FMT_I420;
use aom_sys::aom_kf_mode::AOM_KF_DISABLED;
use aom_sys::aom_rc_mode::AOM_CBR;
use aom_sys::aome_enc_control_id::{
    AOME_SET_CPUUSED, AOME_SET_MAX_INTRA_BITRATE_PCT, AV1E_SET_AQ_MODE, AV1E_SET_COEFF_COST_UPD_FREQ,
    AV1E_SET_DELTAQ_MODE, AV1E_SET_ENABLE_GLOBAL_MOTION, AV1E_SET_ENABLE_OBMC, AV1E_SET_ENABLE_ORDER_HINT,
    AV1E_SET_ENABLE_PALETTE, AV1E_SET_ENABLE_TPL_MODEL, AV1E_SET_ENABLE_WARPED_MOTION, AV1E_SET_MODE_COST_UPD_FREQ,
    AV1E_SET_MV_COST_UPD_FREQ, AV1E_SET_SVC_LAYER_ID, AV1E_SET_SVC_PARAMS, AV1E_SET_SVC_REF_FRAME_CONFIG,
    AV1E_SET_TUNE_CONTENT,
};
use aom_sys::{
    AOM_EFLAG_FORCE_KF, AOM_ENCODER_ABI_VERSION, AOM_FRAME_IS_KEY, AOM_USAGE_REALTIME, aom_codec_av1_cx,
    aom_codec_control, aom_codec_ctx_t, aom_codec_destroy, aom_codec_enc_cfg_t, aom_codec_enc_config_default,
    aom_codec_enc_config_set, aom_codec_enc_init_ver, aom_codec_encode, aom_codec_get_cx_data, aom_img_wrap,
    aom_rational, aom_svc_layer_id, aom_svc_params, aom_svc_ref_frame_config,
};
use bytes::Bytes;
use sfu_rtc::units::Bitrate;
use std::ffi::{c_int, c_long, c_uint};
use std::mem::MaybeUninit;
use std::ptr::null;

/// Largest keyframe in percent of a mean picture, for libaom's own rate control.
const LARGEST_INTRA: c_int = 900;
/// Steps of the quantiser that still parts may be finer by.
const REFINED: c_uint = 12;
/// What stays as WebRTC has it: tools that take more time than they are worth there, and order hints, which only
/// compound prediction needs.
const TOOLS: [(c_uint, c_int); 9] = [
    (AV1E_SET_DELTAQ_MODE, 0),
    (AV1E_SET_ENABLE_TPL_MODEL, 0),
    (AV1E_SET_ENABLE_ORDER_HINT, 0),
    (AV1E_SET_ENABLE_OBMC, 0),
    (AV1E_SET_ENABLE_GLOBAL_MOTION, 0),
    (AV1E_SET_ENABLE_WARPED_MOTION, 0),
    (AV1E_SET_COEFF_COST_UPD_FREQ, 3),
    (AV1E_SET_MODE_COST_UPD_FREQ, 3),
    (AV1E_SET_MV_COST_UPD_FREQ, 3),
];
/// Share of the bitrate up to each layer in percent, by number of layers: as WebRTC has it. For libaom's own rate control.
const LAYER_SHARES: [[u32; 3]; 3] = [[100, 0, 0], [60, 100, 0], [50, 70, 100]];

/// A running encoder of AV1, main profile.
pub struct AomEncoder {
    config: EncoderConfig,
    parameters: Box<aom_codec_enc_cfg_t>,
    /// Initialised; destroyed once, on drop.
    context: Box<aom_codec_ctx_t>,
    steering: Steering,
}

// SAFETY: libaom keeps an encoder's state in its context, which has no thread affinity, and `&mut self` on every method
// that touches it keeps two threads from using it at once.
unsafe impl Send for AomEncoder {}

impl AomEncoder {
    /// An encoder; its first picture is a keyframe.
    ///
    /// # Errors
    /// Where libaom refuses the configuration.
    pub fn new(config: EncoderConfig) -> Result<Self> {
        VideoFrame::new(config.width, config.height)?;
        ensure!((1..=3).contains(&config.temporal_layers), "temporal layers of AV1 are 1 to 3");
        let parameters = Box::new(parameters(&config)?);
        let mut context = Box::new(MaybeUninit::<aom_codec_ctx_t>::zeroed());
        let version = c_int::try_from(AOM_ENCODER_ABI_VERSION)?;
        // SAFETY: the context is ours, zeroed as libaom's macro wants it, and stays where it is, as does the configuration.
        // libaom refuses a version that is not its own.
        let code = unsafe {
            aom_codec_enc_init_ver(context.as_mut_ptr(), aom_codec_av1_cx(), &raw const *parameters, 0, version)
        };
        ensure!(code == AOM_CODEC_OK, "libaom refuses {config:?} ({code})");
        // SAFETY: zeroes are a valid context, and it has been initialised since.
        let context = unsafe { context.assume_init() };
        let steering = Steering::new(&config);
        let mut encoder = Self { config, parameters, context, steering };
        encoder.initialize()?;
        Ok(encoder)
    }

    fn initialize(&mut self) -> Result<()> {
        self.set_effort(self.config.effort)?;
        for (control, value) in TOOLS {
            self.control(control, value)?;
        }
        // A page of text is a few colours: with palettes it takes a fifth of the bits.
        self.control(AV1E_SET_TUNE_CONTENT, c_int::from(self.config.screen))?;
        self.control(AV1E_SET_ENABLE_PALETTE, c_int::from(self.config.screen))?;
        self.control(AOME_SET_MAX_INTRA_BITRATE_PCT, LARGEST_INTRA)?;
        self.control(AV1E_SET_AQ_MODE, CYCLIC_REFRESH)?;
        self.configure_layers()
    }

    /// Private, and only for those whose argument is an integer.
    fn control(&mut self, control: c_uint, value: c_int) -> Result<()> {
        // SAFETY: the context is initialised, and the control reads one integer.
        let code = unsafe { aom_codec_control(&raw mut *self.context, control as c_int, value) };
        ensure!(code == AOM_CODEC_OK, "libaom refuses {value} for control {control} ({code})");
        Ok(())
    }

    /// Private, and only for those whose argument is a pointer to a `T`.
    fn control_by<T>(&mut self, control: c_uint, value: &mut T) -> Result<()> {
        // SAFETY: the context is initialised, and the control reads one such structure during the call.
        let code = unsafe { aom_codec_control(&raw mut *self.context, control as c_int, &raw mut *value) };
        ensure!(code == AOM_CODEC_OK, "libaom refuses control {control} ({code})");
        Ok(())
    }

    fn configure(&mut self) -> Result<()> {
        // SAFETY: the context is initialised; the configuration is copied.
        let code = unsafe { aom_codec_enc_config_set(&raw mut *self.context, &raw const *self.parameters) };
        ensure!(code == AOM_CODEC_OK, "libaom refuses a change ({code})");
        self.configure_layers()
    }

    /// Layers have rate controls of their own, with their own bounds.
    fn configure_layers(&mut self) -> Result<()> {
        let layers = self.config.temporal_layers;
        if layers == 1 {
            return Ok(());
        }
        let mut parameters = aom_svc_params {
            number_spatial_layers: 1,
            number_temporal_layers: c_int::from(layers),
            max_quantizers: [c_int::try_from(self.parameters.rc_max_quantizer)?; 32],
            min_quantizers: [c_int::try_from(self.parameters.rc_min_quantizer)?; 32],
            scaling_factor_num: [1; 4],
            scaling_factor_den: [1; 4],
            layer_target_bitrate: [0; 32],
            framerate_factor: [1; 8],
        };
        for (layer, share) in LAYER_SHARES[usize::from(layers) - 1].into_iter().enumerate().take(layers.into()) {
            parameters.layer_target_bitrate[layer] =
                c_int::try_from(u64::from(self.parameters.rc_target_bitrate) * u64::from(share) / 100)?.max(1);
            // Of so many pictures one is of this layer or below.
            parameters.framerate_factor[layer] = 1 << (usize::from(layers) - 1 - layer);
        }
        self.control_by(AV1E_SET_SVC_PARAMS, &mut parameters)
    }

    /// Says of the next picture what it refers to and leaves behind.
    fn place(&mut self, layering: Layering) -> Result<()> {
        if layering.layers == 1 {
            return Ok(());
        }
        let mut id = aom_svc_layer_id { spatial_layer_id: 0, temporal_layer_id: c_int::from(layering.layer) };
        self.control_by(AV1E_SET_SVC_LAYER_ID, &mut id)?;
        self.control_by(AV1E_SET_SVC_REF_FRAME_CONFIG, &mut buffers(layering))
    }

    /// The temporal unit that the last call made, and whether it is a keyframe.
    fn output(&mut self) -> Option<(Bytes, bool)> {
        let mut iterator = null();
        loop {
            // SAFETY: the context is initialised; what it hands out lives until the next call on it.
            let packet = unsafe { aom_codec_get_cx_data(&raw mut *self.context, &raw mut iterator).as_ref() }?;
            if packet.kind != AOM_CODEC_CX_FRAME_PKT {
                continue;
            }
            // SAFETY: packets of this kind have this member.
            let frame = unsafe { packet.data.frame };
            // SAFETY: libaom keeps `sz` bytes there until the next call on the context.
            let data = unsafe { std::slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz) };
            return Some((Bytes::copy_from_slice(data), frame.flags & AOM_FRAME_IS_KEY != 0));
        }
    }
}

impl Encoder for AomEncoder {
    fn encode(&mut self, picture: &VideoFrame, millis: i64) -> Result<Option<EncodedFrame>> {
        let (width, height) = (self.config.width, self.config.height);
        let order = self.steering.next(picture, millis)?;
        let flags = if order.keyframe { AOM_EFLAG_FORCE_KF } else { 0 };
        self.place(order.layering)?;
        let mut wrapped = MaybeUninit::uninit();
        let (wide, high) = (c_uint::try_from(width)?, c_uint::try_from(height)?);
        let data = picture.data().as_ptr().cast_mut();
        // SAFETY: the picture is planar 4:2:0 without padding, which is what an alignment of 1 says; it outlives the
        // call to encode, which only reads it.
        let image = unsafe { aom_img_wrap(wrapped.as_mut_ptr(), AOM_IMG_FMT_I420, wide, high, 1, data) };
        ensure!(!image.is_null(), "libaom cannot take a picture of {width}x{height}");
        // SAFETY: the context is initialised and the image is a valid one.
        let code = unsafe {
            aom_codec_encode(&raw mut *self.context, image, order.time, order.duration, c_long::from(flags as c_int))
        };
        ensure!(code == AOM_CODEC_OK, "libaom failed to encode ({code})");
        Ok(self.output().and_then(|output| self.steering.coded(&order, output)))
    }

    fn force_keyframe(&mut self) -> Result<()> {
        self.steering.force_keyframe();
        Ok(())
    }

    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<()> {
        self.config.bitrate = bitrate;
        if self.config.quantizer == Quantizer::Caller {
            return Ok(());
        }
        self.parameters.rc_target_bitrate = kilobits(bitrate);
        self.configure()
    }

    fn set_quantizer(&mut self, quantizer: u8) -> Result<()> {
        ensure!(quantizer <= self.ladder().coarsest(), "there is no quantiser {quantizer}");
        let quantizer = c_uint::from(quantizer);
        if self.parameters.rc_max_quantizer == quantizer {
            return Ok(());
        }
        // 0 would be without loss.
        self.parameters.rc_min_quantizer = quantizer.saturating_sub(REFINED).max(1).min(quantizer);
        self.parameters.rc_max_quantizer = quantizer;
        self.configure()
    }

    fn set_effort(&mut self, effort: Effort) -> Result<()> {
        self.config.effort = effort;
        self.control(AOME_SET_CPUUSED, speed(effort))
    }

    fn ladder(&self) -> Ladder {
        Ladder::Av1
    }

    fn next_layer(&self) -> u8 {
        self.steering.next_layer()
    }
}

impl Drop for AomEncoder {
    fn drop(&mut self) {
        // SAFETY: the context is initialised and not used after.
        unsafe { aom_codec_destroy(&raw mut *self.context) };
    }
}

fn parameters(config: &EncoderConfig) -> Result<aom_codec_enc_cfg_t> {
    let mut parameters = MaybeUninit::<aom_codec_enc_cfg_t>::zeroed();
    // SAFETY: the structure is ours and fully written by the call.
    let code = unsafe { aom_codec_enc_config_default(aom_codec_av1_cx(), parameters.as_mut_ptr(), AOM_USAGE_REALTIME) };
    ensure!(code == AOM_CODEC_OK, "libaom has no default configuration ({code})");
    // SAFETY: the call has written it.
    let mut parameters = unsafe { parameters.assume_init() };
    parameters.g_w = c_uint::try_from(config.width)?;
    parameters.g_h = c_uint::try_from(config.height)?;
    parameters.g_timebase = aom_rational { num: 1, den: TICKS };
    // One thread: a call has several streams per machine.
    parameters.g_threads = 1;
    parameters.g_lag_in_frames = 0;
    parameters.kf_mode = AOM_KF_DISABLED;
    parameters.rc_end_usage = AOM_CBR;
    parameters.rc_target_bitrate =
        if config.quantizer == Quantizer::Codec { kilobits(config.bitrate) } else { NO_BITRATE };
    let may_drop = config.skip_frames && config.quantizer == Quantizer::Codec;
    parameters.rc_dropframe_thresh = if may_drop { DROP_BELOW } else { 0 };
    (parameters.rc_min_quantizer, parameters.rc_max_quantizer) = OWN_QUANTIZERS;
    // As WebRTC has them.
    (parameters.rc_undershoot_pct, parameters.rc_overshoot_pct) = (50, 50);
    (parameters.rc_buf_sz, parameters.rc_buf_initial_sz, parameters.rc_buf_optimal_sz) = BUFFER;
    Ok(parameters)
}

/// What a picture refers to and leaves behind: of the seven names of references the first, of the eight buffers two.
fn buffers(layering: Layering) -> aom_svc_ref_frame_config {
    const BASE: usize = 0;
    const MIDDLE: usize = 1;
    let mut config = aom_svc_ref_frame_config { reference: [0; 7], ref_idx: [0; 7], refresh: [0; 8] };
    let from = if layering.layer == 0 || layering.is_sync { BASE } else { MIDDLE };
    config.reference[0] = 1;
    config.ref_idx[0] = from as c_int;
    match (layering.layers, layering.layer) {
        (_, 0) => config.refresh[BASE] = 1,
        (3, 1) => config.refresh[MIDDLE] = 1,
        _ => {}
    }
    config
}

/// libaom's `cpu_used`.
const fn speed(effort: Effort) -> c_int {
    match effort {
        Effort::Low => 10,
        Effort::Medium => 9,
        Effort::High => 8,
    }
}
