//! H.264 by the bundled openh264 (BSD-2), through its C++ interface.
//!
//! The safe wrapper cannot change bitrate, frame rate or temporal layers of a running encoder, which is what a
//! publisher needs most; hence the vtable here. All unsafe code of the encoder is in this file.
//!
//! Quantisers picture by picture: with its rate control off, openh264 codes every macroblock of a picture at the
//! quantiser of the spatial layer (`iDLayerQp`), less an offset of its own for the lower temporal layers
//! (`RcCalculateCascadingQp`). `SetOption` with all parameters changes it between two pictures; as nothing else differs
//! (`WelsEncoderParamAdjust`), the encoder goes on without a keyframe.
#![allow(unsafe_code, reason = "openh264's encoder is a C++ vtable; the safe wrapper hides what we need")]

use super::EncodedFrame;
use crate::frame::VideoFrame;
use anyhow::{Result, ensure};
use bytes::Bytes;
use openh264_sys2::source::APILoader;
use openh264_sys2::{
    API, ECOMPLEXITY_MODE, ENCODER_OPTION, ENCODER_OPTION_BITRATE, ENCODER_OPTION_COMPLEXITY,
    ENCODER_OPTION_DATAFORMAT, ENCODER_OPTION_MAX_BITRATE, ENCODER_OPTION_SVC_ENCODE_PARAM_EXT,
    ENCODER_OPTION_TRACE_LEVEL, HIGH_COMPLEXITY, ISVCEncoder, ISVCEncoderVtbl, LOW_COMPLEXITY, MEDIUM_COMPLEXITY,
    PRO_BASELINE, RC_BITRATE_MODE, RC_OFF_MODE, SBitrateInfo, SEncParamExt, SFrameBSInfo, SM_SINGLE_SLICE,
    SPATIAL_LAYER_ALL, SSourcePicture, WELS_LOG_QUIET, videoFormatI420, videoFrameTypeIDR, videoFrameTypeSkip,
};
use sfu_rtc::units::Bitrate;
use std::ffi::{c_int, c_void};
use std::ptr::{NonNull, null_mut};
use std::slice;

/// How to encode.
#[derive(Clone, Debug)]
pub struct H264Config {
    /// Width of every picture.
    pub width: usize,
    /// Height of every picture.
    pub height: usize,
    /// Frames per second that rate control reckons with.
    pub frame_rate: f64,
    /// Bitrate to keep.
    pub bitrate: Bitrate,
    /// Leave pictures out where the bitrate cannot be kept otherwise. Off by default, so that every frame number
    /// arrives and a gap means loss.
    pub skip_frames: bool,
    /// Temporal layers, 1 to 4.
    pub temporal_layers: u8,
    /// Frames from one keyframe to the next; 0: only when asked for.
    pub keyframe_interval: u32,
    /// Who chooses quantisers.
    pub quantizer: Quantizer,
    /// How much the encoder tries.
    pub effort: Effort,
}

/// Who chooses quantisers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantizer {
    /// openh264, so as to keep the bitrate.
    Codec,
    /// The caller, picture by picture: [`H264Encoder::set_quantizer`]. Bitrate and skipping are the caller's too.
    Caller,
}

/// How much an encoder tries: more modes and motion vectors, for a better picture and more time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effort {
    /// The fastest.
    Low,
    /// Between them.
    Medium,
    /// The best picture.
    High,
}

impl Default for H264Config {
    fn default() -> Self {
        Self {
            width: 640,
            height: 360,
            frame_rate: 30.0,
            bitrate: Bitrate::from_kbps(1_000),
            skip_frames: false,
            temporal_layers: 1,
            keyframe_interval: 0,
            quantizer: Quantizer::Codec,
            effort: Effort::Low,
        }
    }
}

/// A running encoder, constrained baseline profile.
pub struct H264Encoder {
    config: H264Config,
    /// Made by `WelsCreateSVCEncoder`, destroyed once, on drop.
    raw: NonNull<ISVCEncoder>,
    /// As openh264 was given them last.
    parameters: Box<SEncParamExt>,
    /// Output descriptors; boxed, they take 7 KiB.
    output: Box<SFrameBSInfo>,
}

// SAFETY: the encoder has no thread affinity (openh264 keeps its state in the object alone), and `&mut self` on every
// method that touches it keeps two threads from using it at once.
unsafe impl Send for H264Encoder {}

impl H264Encoder {
    /// An encoder; its first picture is a keyframe.
    ///
    /// # Errors
    /// Where openh264 refuses the configuration.
    pub fn new(config: H264Config) -> Result<Self> {
        VideoFrame::new(config.width, config.height)?;
        ensure!((1..=4).contains(&config.temporal_layers), "temporal layers are 1 to 4");
        let mut raw: *mut ISVCEncoder = null_mut();
        // SAFETY: the pointer is ours and is written once; a failure leaves it null and is checked.
        let code = unsafe { APILoader::new().WelsCreateSVCEncoder(&raw mut raw) };
        let raw = NonNull::new(raw).filter(|_| code == 0);
        let Some(raw) = raw else { anyhow::bail!("openh264 could not make an encoder (code {code})") };
        let mut encoder = Self { config, raw, parameters: Box::default(), output: Box::default() };
        encoder.initialize()?;
        Ok(encoder)
    }

    /// What it does now.
    pub const fn config(&self) -> &H264Config {
        &self.config
    }

    /// Encodes a picture captured at `millis`; `None` where rate control left it out.
    ///
    /// # Errors
    /// Where the picture has another size than configured, or openh264 fails.
    pub fn encode(&mut self, picture: &VideoFrame, millis: i64) -> Result<Option<EncodedFrame>> {
        let (width, height) = (c_int::try_from(self.config.width)?, c_int::try_from(self.config.height)?);
        ensure!(
            (picture.width(), picture.height()) == (self.config.width, self.config.height),
            "a picture of {}x{} came to an encoder of {width}x{height}",
            picture.width(),
            picture.height()
        );
        let (y, u, v) = picture.planes();
        let source = SSourcePicture {
            iColorFormat: videoFormatI420,
            iStride: [width, width / 2, width / 2, 0],
            pData: [y.as_ptr().cast_mut(), u.as_ptr().cast_mut(), v.as_ptr().cast_mut(), null_mut()],
            iPicWidth: width,
            iPicHeight: height,
            uiTimeStamp: millis,
            ..Default::default()
        };
        let encode = self.vtable().EncodeFrame;
        // SAFETY: the planes outlive the call, have the strides and heights given, and the encoder only reads them (it
        // copies them in its pre-processing); the output descriptor is ours.
        let code = unsafe { call(encode)?(self.raw.as_ptr(), &raw const source, &raw mut *self.output) };
        ensure!(code == 0, "openh264 failed to encode (code {code})");
        if self.output.eFrameType == videoFrameTypeSkip {
            return Ok(None);
        }
        let keyframe = self.output.eFrameType == videoFrameTypeIDR;
        let data = self.bitstream()?;
        Ok((!data.is_empty()).then_some(EncodedFrame { data, keyframe }))
    }

    /// Makes the next picture a keyframe.
    ///
    /// # Errors
    /// Where openh264 fails.
    pub fn force_keyframe(&mut self) -> Result<()> {
        let force = self.vtable().ForceIntraFrame;
        // SAFETY: the encoder is initialised.
        let code = unsafe { call(force)?(self.raw.as_ptr(), true) };
        ensure!(code == 0, "openh264 refused a keyframe (code {code})");
        Ok(())
    }

    /// Changes the bitrate of the running encoder; it settles within 0.5 to 2 s.
    ///
    /// # Errors
    /// Where openh264 refuses it.
    pub fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<()> {
        let mut info = SBitrateInfo { iLayer: SPATIAL_LAYER_ALL, iBitrate: bits(bitrate) };
        if self.config.quantizer == Quantizer::Caller {
            self.config.bitrate = bitrate;
            return Ok(());
        }
        // The maximum bounds the target, so it goes first on the way up and is harmless on the way down.
        self.set_option(ENCODER_OPTION_MAX_BITRATE, &mut info)?;
        self.set_option(ENCODER_OPTION_BITRATE, &mut info)?;
        self.config.bitrate = bitrate;
        Ok(())
    }

    /// Codes the next pictures at this quantiser, 0 (finest) to 51, where the caller chooses them. Quantisers of lower
    /// temporal layers are finer by up to 5.
    ///
    /// # Errors
    /// Where openh264 refuses it.
    pub fn set_quantizer(&mut self, quantizer: u8) -> Result<()> {
        ensure!(quantizer <= 51, "quantisers are 0 to 51");
        let mut parameters = self.parameters.clone();
        parameters.sSpatialLayers[0].iDLayerQp = c_int::from(quantizer);
        self.set_option(ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, &mut *parameters)?;
        self.parameters = parameters;
        Ok(())
    }

    /// Lets the next pictures be coded with this effort.
    ///
    /// # Errors
    /// Where openh264 refuses it.
    pub fn set_effort(&mut self, effort: Effort) -> Result<()> {
        self.set_option(ENCODER_OPTION_COMPLEXITY, &mut { complexity(effort) })?;
        // Else the next quantiser would bring the former effort back.
        self.parameters.iComplexityMode = complexity(effort);
        self.config.effort = effort;
        Ok(())
    }

    fn initialize(&mut self) -> Result<()> {
        // Before anything else: initialisation writes warnings to the standard error otherwise.
        self.set_option(ENCODER_OPTION_TRACE_LEVEL, &mut { WELS_LOG_QUIET })?;
        let mut parameters = Box::<SEncParamExt>::default();
        let defaults = self.vtable().GetDefaultParams;
        // SAFETY: the structure is ours and fully written by the call.
        let code = unsafe { call(defaults)?(self.raw.as_ptr(), &raw mut *parameters) };
        ensure!(code == 0, "openh264 has no default parameters (code {code})");
        self.fill_parameters(&mut parameters)?;
        let initialize = self.vtable().InitializeExt;
        // SAFETY: the structure is initialised and is copied by the call.
        let code = unsafe { call(initialize)?(self.raw.as_ptr(), &raw const *parameters) };
        ensure!(code == 0, "openh264 refuses {:?} (code {code})", self.config);
        self.parameters = parameters;
        self.set_option(ENCODER_OPTION_DATAFORMAT, &mut { videoFormatI420 })
    }

    fn fill_parameters(&self, parameters: &mut SEncParamExt) -> Result<()> {
        let (width, height) = (c_int::try_from(self.config.width)?, c_int::try_from(self.config.height)?);
        let bitrate = bits(self.config.bitrate);
        parameters.iPicWidth = width;
        parameters.iPicHeight = height;
        parameters.iRCMode = match self.config.quantizer {
            Quantizer::Codec => RC_BITRATE_MODE,
            Quantizer::Caller => RC_OFF_MODE,
        };
        parameters.iTargetBitrate = bitrate;
        parameters.iMaxBitrate = bitrate;
        parameters.fMaxFrameRate = self.config.frame_rate as f32;
        parameters.bEnableFrameSkip = self.config.skip_frames;
        parameters.iTemporalLayerNum = c_int::from(self.config.temporal_layers);
        parameters.iSpatialLayerNum = 1;
        parameters.uiIntraPeriod = self.config.keyframe_interval;
        parameters.iComplexityMode = complexity(self.config.effort);
        // One thread: a call has several streams per machine, and slices per thread cost bits.
        parameters.iMultipleThreadIdc = 1;
        // Scene changes become large intra pictures, bursts that a call does not want; a keyframe comes when asked for.
        parameters.bEnableSceneChangeDetect = false;
        // openh264 skips what it takes for background unless the quantiser falls by 3 or more from one picture to the
        // next. The caller lets it fall step by step, and a still background would stay as coarse as its keyframe.
        parameters.bEnableBackgroundDetection = self.config.quantizer == Quantizer::Codec;
        let layer = &mut parameters.sSpatialLayers[0];
        layer.iVideoWidth = width;
        layer.iVideoHeight = height;
        layer.fFrameRate = self.config.frame_rate as f32;
        layer.iSpatialBitrate = bitrate;
        layer.iMaxSpatialBitrate = bitrate;
        layer.uiProfileIdc = PRO_BASELINE;
        layer.sSliceArgument.uiSliceMode = SM_SINGLE_SLICE;
        Ok(())
    }

    fn set_option<T>(&mut self, option: ENCODER_OPTION, value: &mut T) -> Result<()> {
        let set = self.vtable().SetOption;
        // SAFETY: private, and every caller passes the type that the option's documentation names; it is copied.
        let code = unsafe { call(set)?(self.raw.as_ptr(), option, std::ptr::from_mut(value).cast::<c_void>()) };
        ensure!(code == 0, "openh264 refuses option {option} (code {code})");
        Ok(())
    }

    /// Copies the NAL units of the last picture together.
    fn bitstream(&self) -> Result<Bytes> {
        let mut data = Vec::with_capacity(usize::try_from(self.output.iFrameSizeInBytes).unwrap_or(0));
        let layers = usize::try_from(self.output.iLayerNum)?;
        for layer in self.output.sLayerInfo.iter().take(layers) {
            let count = usize::try_from(layer.iNalCount)?;
            if count == 0 || layer.pNalLengthInByte.is_null() || layer.pBsBuf.is_null() {
                continue;
            }
            // SAFETY: openh264 keeps `iNalCount` lengths there until the next call on the encoder.
            let lengths = unsafe { slice::from_raw_parts(layer.pNalLengthInByte, count) };
            let total = lengths.iter().map(|length| usize::try_from(*length).unwrap_or(0)).sum();
            // SAFETY: the NAL units stand one after another in this buffer until the next call on the encoder.
            data.extend_from_slice(unsafe { slice::from_raw_parts(layer.pBsBuf, total) });
        }
        Ok(Bytes::from(data))
    }

    fn vtable(&self) -> &ISVCEncoderVtbl {
        // SAFETY: the object was made by openh264 and begins, as a C++ object does, with its vtable's address.
        unsafe { &**self.raw.as_ptr() }
    }
}

impl Drop for H264Encoder {
    fn drop(&mut self) {
        let uninitialize = self.vtable().Uninitialize;
        // SAFETY: the object is valid and not used after; both calls allow an encoder that was never initialised.
        unsafe {
            if let Some(uninitialize) = uninitialize {
                uninitialize(self.raw.as_ptr());
            }
            APILoader::new().WelsDestroySVCEncoder(self.raw.as_ptr());
        }
    }
}

/// A vtable entry that openh264 always fills.
fn call<F>(entry: Option<F>) -> Result<F> {
    entry.ok_or_else(|| anyhow::anyhow!("openh264's vtable has a gap"))
}

const fn complexity(effort: Effort) -> ECOMPLEXITY_MODE {
    match effort {
        Effort::Low => LOW_COMPLEXITY,
        Effort::Medium => MEDIUM_COMPLEXITY,
        Effort::High => HIGH_COMPLEXITY,
    }
}

fn bits(bitrate: Bitrate) -> c_int {
    c_int::try_from(bitrate.as_bps()).unwrap_or(c_int::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Scene, VideoSource};

    fn encode_seconds(encoder: &mut H264Encoder, from: u32, frames: u32) -> (usize, usize) {
        let mut scene = Scene::new(320, 180, 30.0).unwrap();
        let mut picture = VideoFrame::new(320, 180).unwrap();
        let (mut bytes, mut keyframes) = (0, 0);
        for frame in from..from + frames {
            scene.draw(frame, &mut picture).unwrap();
            if let Some(encoded) = encoder.encode(&picture, i64::from(frame) * 33).unwrap() {
                bytes += encoded.data.len();
                keyframes += usize::from(encoded.keyframe);
            }
        }
        (bytes, keyframes)
    }

    fn config(kbps: u64) -> H264Config {
        H264Config { width: 320, height: 180, bitrate: Bitrate::from_kbps(kbps), ..Default::default() }
    }

    #[test]
    fn keyframes_come_first_and_when_asked_for() {
        let mut encoder = H264Encoder::new(config(300)).unwrap();
        assert_eq!(encode_seconds(&mut encoder, 0, 60).1, 1);
        encoder.force_keyframe().unwrap();
        assert_eq!(encode_seconds(&mut encoder, 60, 1).1, 1);
    }

    #[test]
    fn the_bitrate_follows_at_run_time() {
        let mut encoder = H264Encoder::new(config(600)).unwrap();
        encode_seconds(&mut encoder, 0, 60);
        let (high, _) = encode_seconds(&mut encoder, 60, 60);
        encoder.set_bitrate(Bitrate::from_kbps(200)).unwrap();
        encode_seconds(&mut encoder, 120, 60);
        let (low, _) = encode_seconds(&mut encoder, 180, 60);
        // Two seconds at 200 kbit/s are 50,000 bytes.
        assert!((35_000..65_000).contains(&low), "{low} bytes after");
        assert!(high > 75_000, "{high} bytes before");
    }

    #[test]
    fn the_caller_chooses_quantisers_and_effort_without_new_keyframes() {
        let mut encoder = H264Encoder::new(H264Config { quantizer: Quantizer::Caller, ..config(300) }).unwrap();
        encode_seconds(&mut encoder, 0, 30);
        let mut sizes = Vec::new();
        for (pass, quantizer) in [16, 22, 28, 34].into_iter().enumerate() {
            encoder.set_quantizer(quantizer).unwrap();
            let (bytes, keyframes) = encode_seconds(&mut encoder, 30 + 30 * pass as u32, 30);
            assert_eq!(keyframes, 0);
            sizes.push(bytes);
        }
        assert!(sizes.is_sorted_by(|finer, coarser| finer > coarser) && sizes[0] > 3 * sizes[2], "{sizes:?}");
        for effort in [Effort::High, Effort::Medium, Effort::Low] {
            encoder.set_effort(effort).unwrap();
            encoder.set_quantizer(36).unwrap();
            let (bytes, keyframes) = encode_seconds(&mut encoder, 150, 30);
            assert_eq!(keyframes, 0);
            assert!(bytes < sizes[1], "{bytes} of {sizes:?}");
        }
        assert!(encoder.set_quantizer(52).is_err());
    }

    #[test]
    fn other_sizes_and_settings_are_refused() {
        assert!(H264Encoder::new(H264Config { width: 321, ..config(300) }).is_err());
        assert!(H264Encoder::new(H264Config { temporal_layers: 9, ..config(300) }).is_err());
        let mut encoder = H264Encoder::new(config(300)).unwrap();
        assert!(encoder.encode(&VideoFrame::new(64, 64).unwrap(), 0).is_err());
    }
}
