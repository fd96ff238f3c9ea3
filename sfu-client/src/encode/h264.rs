//! H.264 by the bundled openh264 (BSD-2), through its C++ interface.
//!
//! The safe wrapper cannot change bitrate, frame rate or temporal layers of a running encoder, which is what a
//! publisher needs most; hence the vtable here. All unsafe code of the encoder is in this file.
//!
//! Quantisers picture by picture: with its rate control off, openh264 codes every macroblock of a picture at the
//! quantiser of the spatial layer (`iDLayerQp`), less an offset of its own for the lower temporal layers
//! (`RcCalculateCascadingQp`). `SetOption` with all parameters changes it between two pictures; as nothing else differs
//! (`WelsEncoderParamAdjust`), the encoder goes on without a keyframe.
//!
//! Long-term references: openh264 keeps two, one that was acknowledged (`ENCODER_LTR_MARKING_FEEDBACK`) and one candidate,
//! and makes no other candidate before it has been told what became of that. It makes one with the first picture after
//! `ENCODER_LTR_MARKING_PERIOD`: after a keyframe that picture itself; from the second that was acknowledged on, the
//! picture before it (`LTR_DELAY_MARK`). It does not say which: that is read from the slice header. An
//! `ENCODER_LTR_RECOVERY_REQUEST` without the number of a lost frame makes the next picture refer to the acknowledged one
//! and forgets no candidate.
#![allow(unsafe_code, reason = "openh264's encoder is a C++ vtable; the safe wrapper hides what we need")]

use super::EncodedFrame;
use super::codec::{Effort, Encoder, EncoderConfig, Quantizer};
use super::ladder::Ladder;
use super::layers::Layering;
use super::references::{LongTermReferences, References};
use super::slice_header::{self, Reference, SequenceSet, SliceHeader};
use crate::frame::VideoFrame;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use openh264_sys2::source::APILoader;
use openh264_sys2::{
    API, ECOMPLEXITY_MODE, ENCODER_LTR_MARKING_FEEDBACK, ENCODER_LTR_MARKING_PERIOD, ENCODER_LTR_RECOVERY_REQUEST,
    ENCODER_OPTION, ENCODER_OPTION_BITRATE, ENCODER_OPTION_COMPLEXITY, ENCODER_OPTION_DATAFORMAT,
    ENCODER_OPTION_MAX_BITRATE, ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, ENCODER_OPTION_TRACE_LEVEL, HIGH_COMPLEXITY,
    ISVCEncoder, ISVCEncoderVtbl, LOW_COMPLEXITY, LTR_MARKING_FAILED, LTR_MARKING_SUCCESS, LTR_RECOVERY_REQUEST,
    MEDIUM_COMPLEXITY, PRO_BASELINE, RC_BITRATE_MODE, RC_OFF_MODE, SBitrateInfo, SEncParamExt, SFrameBSInfo,
    SLTRMarkingFeedback, SLTRRecoverRequest, SM_SINGLE_SLICE, SPATIAL_LAYER_ALL, SSourcePicture, WELS_LOG_QUIET,
    cmUnknownReason, videoFormatI420, videoFrameTypeIDR, videoFrameTypeSkip,
};
use sfu_rtc::units::Bitrate;
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::{NonNull, null_mut};
use std::slice;

/// A running encoder, constrained baseline profile.
pub struct H264Encoder {
    config: EncoderConfig,
    /// Made by `WelsCreateSVCEncoder`, destroyed once, on drop.
    raw: NonNull<ISVCEncoder>,
    /// As openh264 was given them last.
    parameters: Box<SEncParamExt>,
    /// Output descriptors; boxed, they take 7 KiB.
    output: Box<SFrameBSInfo>,
    /// Where the next picture stands after its keyframe.
    position: u32,
    long_term: Option<LongTerm>,
}

/// Pictures that openh264 keeps for long.
const KEPT: usize = 2;
/// A marking period that never ends.
const NEVER: u32 = 1 << 30;

/// What is known of the pictures that are kept for long. Pictures are counted from the encoder's first.
#[derive(Debug, Default)]
struct LongTerm {
    sequence: Option<SequenceSet>,
    /// The next picture.
    next: u64,
    /// Number of the last keyframe (`idr_pic_id`).
    keyframe: u32,
    /// What stands in each place.
    kept: [u64; KEPT],
    /// The last keyframe as it is counted.
    begun: u64,
    /// The acknowledged picture, and the candidate: as they are counted, and their frame numbers.
    acknowledged: (u64, u32),
    candidate: Option<(u64, u32)>,
    /// What was acknowledged when the last picture was coded: what is told later holds for the one after the next.
    referable: u64,
    /// The next picture is to recover.
    recovers: bool,
}

// SAFETY: the encoder has no thread affinity (openh264 keeps its state in the object alone), and `&mut self` on every
// method that touches it keeps two threads from using it at once.
unsafe impl Send for H264Encoder {}

impl H264Encoder {
    /// An encoder; its first picture is a keyframe.
    ///
    /// # Errors
    /// Where openh264 refuses the configuration.
    pub fn new(config: EncoderConfig) -> Result<Self> {
        VideoFrame::new(config.width, config.height)?;
        ensure!((1..=4).contains(&config.temporal_layers), "temporal layers are 1 to 4");
        let mut raw: *mut ISVCEncoder = null_mut();
        // SAFETY: the pointer is ours and is written once; a failure leaves it null and is checked.
        let code = unsafe { APILoader::new().WelsCreateSVCEncoder(&raw mut raw) };
        let raw = NonNull::new(raw).filter(|_| code == 0);
        let Some(raw) = raw else { anyhow::bail!("openh264 could not make an encoder (code {code})") };
        let mut encoder =
            Self { config, raw, parameters: Box::default(), output: Box::default(), position: 0, long_term: None };
        let keeps = encoder.config.long_term && encoder.config.temporal_layers == 1;
        encoder.long_term = keeps.then(LongTerm::default);
        encoder.initialize()?;
        Ok(encoder)
    }

    /// What it does now.
    pub const fn config(&self) -> &EncoderConfig {
        &self.config
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
        if self.long_term.is_some() {
            parameters.bEnableLongTermReference = true;
            parameters.iLTRRefNum = KEPT as c_int;
            parameters.iLtrMarkPeriod = NEVER;
            // And one for the picture before. Automatic would become 1 when parameters change.
            parameters.iNumRefFrame = KEPT as c_int + 1;
        }
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

    /// Codes a picture, whose planes are those of a [`VideoFrame`]; what came of it.
    fn encode_source(&mut self, source: &SSourcePicture) -> Result<c_int> {
        let encode = self.vtable().EncodeFrame;
        // SAFETY: the planes outlive the call, have the strides and heights given, and the encoder only reads them (it
        // copies them in its pre-processing); the output descriptor is ours.
        Ok(unsafe { call(encode)?(self.raw.as_ptr(), &raw const *source, &raw mut *self.output) })
    }

    /// A candidate is made with the first picture of so many, where none waits to be told of.
    fn set_mark_period(&mut self, pictures: u32) -> Result<()> {
        // Else the next quantiser would bring the former period back.
        self.parameters.iLtrMarkPeriod = pictures;
        self.set_option(ENCODER_LTR_MARKING_PERIOD, &mut { pictures })
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

impl Encoder for H264Encoder {
    fn encode(&mut self, picture: &VideoFrame, millis: i64) -> Result<Option<EncodedFrame>> {
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
        let mut code = self.encode_source(&source)?;
        if code == cmUnknownReason && self.long_term.is_some() {
            // What it was to refer to is gone; it has prepared for a keyframe instead (`ENC_RETURN_CORRECTED`).
            code = self.encode_source(&source)?;
        }
        ensure!(code == 0, "openh264 failed to encode (code {code})");
        if self.output.eFrameType == videoFrameTypeSkip {
            return Ok(None);
        }
        let keyframe = self.output.eFrameType == videoFrameTypeIDR;
        let data = self.bitstream()?;
        let position = if keyframe { 0 } else { self.position };
        self.position = position.wrapping_add(1);
        let layering = Layering::at(self.config.temporal_layers, position);
        if data.is_empty() {
            return Ok(None);
        }
        let mut references = References::of(layering);
        if let Some(long_term) = &mut self.long_term {
            references = long_term.read(&data)?;
            if references.marks.is_some() {
                self.set_mark_period(NEVER)?;
            }
        }
        Ok(Some(EncodedFrame { data, keyframe, layering, references }))
    }

    fn force_keyframe(&mut self) -> Result<()> {
        let force = self.vtable().ForceIntraFrame;
        // SAFETY: the encoder is initialised.
        let code = unsafe { call(force)?(self.raw.as_ptr(), true) };
        ensure!(code == 0, "openh264 refused a keyframe (code {code})");
        Ok(())
    }

    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<()> {
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

    fn set_quantizer(&mut self, quantizer: u8) -> Result<()> {
        ensure!(quantizer <= 51, "quantisers are 0 to 51");
        let mut parameters = self.parameters.clone();
        parameters.sSpatialLayers[0].iDLayerQp = c_int::from(quantizer);
        self.set_option(ENCODER_OPTION_SVC_ENCODE_PARAM_EXT, &mut *parameters)?;
        self.parameters = parameters;
        Ok(())
    }

    fn set_effort(&mut self, effort: Effort) -> Result<()> {
        self.set_option(ENCODER_OPTION_COMPLEXITY, &mut { complexity(effort) })?;
        // Else the next quantiser would bring the former effort back.
        self.parameters.iComplexityMode = complexity(effort);
        self.config.effort = effort;
        Ok(())
    }

    fn ladder(&self) -> Ladder {
        Ladder::H264
    }

    fn long_term(&mut self) -> Option<&mut dyn LongTermReferences> {
        self.long_term.is_some().then_some(self as &mut dyn LongTermReferences)
    }

    fn next_layer(&self) -> u8 {
        Layering::at(self.config.temporal_layers, self.position).layer
    }
}

impl LongTermReferences for H264Encoder {
    fn mark(&mut self) -> Result<()> {
        self.set_mark_period(0)
    }

    fn settle(&mut self, held: bool) -> Result<()> {
        let Some(long_term) = &mut self.long_term else { return Ok(()) };
        let Some(candidate) = long_term.candidate.take() else { return Ok(()) };
        if held {
            long_term.acknowledged = candidate;
        }
        let mut feedback = SLTRMarkingFeedback {
            uiFeedbackType: (if held { LTR_MARKING_SUCCESS } else { LTR_MARKING_FAILED }) as c_uint,
            uiIDRPicId: long_term.keyframe,
            iLTRFrameNum: candidate.1 as c_int,
            iLayerId: 0,
        };
        self.set_option(ENCODER_LTR_MARKING_FEEDBACK, &mut feedback)
    }

    fn recover(&mut self) -> Result<()> {
        let Some(long_term) = &mut self.long_term else { return Ok(()) };
        long_term.recovers = true;
        if long_term.next <= long_term.begun + 1 {
            // The picture after a keyframe refers to that; openh264 counts it among those kept for long only afterwards.
            return Ok(());
        }
        let mut request = SLTRRecoverRequest {
            uiFeedbackType: LTR_RECOVERY_REQUEST as c_uint,
            uiIDRPicId: long_term.keyframe,
            iLastCorrectFrameNum: long_term.acknowledged.1 as c_int,
            // None that was lost is named: else candidates after it would go.
            iCurrentFrameNum: -1,
            iLayerId: 0,
        };
        self.set_option(ENCODER_LTR_RECOVERY_REQUEST, &mut request)
    }
}

impl LongTerm {
    /// What the next picture says of its references.
    fn read(&mut self, picture: &[u8]) -> Result<References> {
        let SliceHeader { frame_num, idr_pic_id, reference, marking } =
            slice_header::read(picture, &mut self.sequence)?;
        let number = self.next;
        self.next += 1;
        let recovers = std::mem::take(&mut self.recovers) && idr_pic_id.is_none();
        // What is told of a candidate holds from the next picture on.
        let acknowledged = std::mem::replace(&mut self.referable, self.acknowledged.0);
        if let Some(keyframe) = idr_pic_id {
            (self.keyframe, self.begun) = (keyframe, number);
            (self.acknowledged, self.candidate) = ((number, frame_num), None);
            self.referable = number;
            self.kept = [number; KEPT];
        }
        let referred = match reference {
            Reference::None => number,
            Reference::Short(back) => number.saturating_sub(back.into()),
            Reference::Long(place) => {
                *self.kept.get(place as usize).context("openh264 refers to an unknown picture")?
            }
        };
        let marks = match marking {
            Some(marking) => {
                let kept = self.kept.get_mut(marking.place as usize).context("openh264 keeps too many pictures")?;
                *kept = number.saturating_sub(marking.back.into());
                let mask = self.sequence.map_or(u32::MAX, |sequence| sequence.frame_num_mask());
                self.candidate = Some((*kept, frame_num.wrapping_sub(marking.back) & mask));
                Some(u16::try_from(marking.back)?)
            }
            None => None,
        };
        let refers = u16::try_from(number - referred).unwrap_or(u16::MAX);
        Ok(References { refers, marks, recovers: recovers && referred == acknowledged })
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

    fn config(kbps: u64) -> EncoderConfig {
        EncoderConfig { width: 320, height: 180, bitrate: Bitrate::from_kbps(kbps), ..Default::default() }
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
        let mut encoder = H264Encoder::new(EncoderConfig { quantizer: Quantizer::Caller, ..config(300) }).unwrap();
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
        assert!(H264Encoder::new(EncoderConfig { width: 321, ..config(300) }).is_err());
        assert!(H264Encoder::new(EncoderConfig { temporal_layers: 9, ..config(300) }).is_err());
        let mut encoder = H264Encoder::new(config(300)).unwrap();
        assert!(encoder.encode(&VideoFrame::new(64, 64).unwrap(), 0).is_err());
    }
}
