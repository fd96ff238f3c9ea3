//! What a directive for video comes to: each encoding obeys its own.

use crate::peer::VideoCodec;
use crate::send::{EncodingSettings, RunningEncoding, VideoControl, VideoSettings};
use sfu_proto::v1::{DirectiveOutcome, EncoderDirective, EncodingDirective, ReferenceStructure};
use sfu_rtc::units::Bitrate;

/// What the user asked for of one encoding: what holds without a directive, and where one says nothing.
#[derive(Clone, Copy)]
pub(super) struct EncodingBase {
    encoding: EncodingSettings,
    codec: VideoCodec,
    temporal_layers: u8,
    long_term: bool,
}

impl EncodingBase {
    /// Of each encoding of `settings`.
    pub(super) fn all(settings: &VideoSettings) -> Vec<Self> {
        let VideoSettings { codec, temporal_layers, long_term, .. } = *settings;
        let encodings = settings.encodings().into_iter();
        encodings.map(|encoding| Self { encoding, codec, temporal_layers, long_term }).collect()
    }

    /// Lets the encoder run as the user asked for.
    pub(super) fn restore(&self, control: &VideoControl) {
        let own = EncodingDirective { active: true, ..Default::default() };
        self.carry_out(&own, control);
        control.set_codec(self.codec);
    }

    /// Lets the encoder run as `wanted` says, and as the user asked for where it says nothing; false where it cannot make
    /// the layers.
    fn carry_out(&self, wanted: &EncodingDirective, control: &VideoControl) -> bool {
        control.set_active(wanted.active);
        control.set_long_term(match wanted.references() {
            ReferenceStructure::Unspecified => self.long_term,
            ReferenceStructure::Previous => false,
            ReferenceStructure::LongTerm => true,
        });
        control.set_bitrate(self.bitrate(wanted));
        let scale = wanted.scale_resolution_down_by;
        control.set_scale(if scale > 0.0 { scale } else { self.encoding.scale });
        control.set_max_frame_rate(Some(wanted.max_framerate).filter(|rate| *rate > 0.0));
        let has_layers = match temporal_layers(&wanted.scalability_mode) {
            _ if wanted.scalability_mode.is_empty() => control.set_temporal_layers(self.temporal_layers),
            Some(layers) => control.set_temporal_layers(layers),
            None => false,
        };
        // With layers, or another codec, there are no references to keep.
        has_layers && (wanted.references() != ReferenceStructure::LongTerm || control.keeps_references())
    }

    /// Never above the user's.
    fn bitrate(&self, wanted: &EncodingDirective) -> Bitrate {
        let bitrate = Bitrate::from_bps(wanted.max_bitrate_bps);
        if bitrate > Bitrate::ZERO { bitrate.min(self.encoding.bitrate) } else { self.encoding.bitrate }
    }

    /// What holds of what was carried out.
    fn applied(&self, wanted: &EncodingDirective, control: &VideoControl) -> EncodingDirective {
        EncodingDirective {
            rid: wanted.rid.clone(),
            active: wanted.active,
            max_bitrate_bps: self.bitrate(wanted).as_bps(),
            max_framerate: wanted.max_framerate,
            scale_resolution_down_by: match control.is_short_of_time() {
                true => control.scale(),
                false => wanted.scale_resolution_down_by,
            },
            scalability_mode: format!("L1T{}", control.temporal_layers()),
            references: match control.keeps_references() {
                true => ReferenceStructure::LongTerm.into(),
                false => ReferenceStructure::Previous.into(),
            },
        }
    }
}

/// Of a mode without spatial layers, such as L1T3.
fn temporal_layers(scalability_mode: &str) -> Option<u8> {
    scalability_mode.strip_prefix("L1T")?.parse().ok()
}

/// What became of a directive.
pub(super) struct Obeyed {
    pub(super) outcome: DirectiveOutcome,
    /// Why not all of it was carried out.
    pub(super) detail: &'static str,
    /// What holds, of each encoding that it names.
    pub(super) applied: Vec<EncodingDirective>,
}

impl Obeyed {
    pub(super) const fn unsupported(detail: &'static str) -> Self {
        Self { outcome: DirectiveOutcome::Unsupported, detail, applied: Vec::new() }
    }

    pub(super) fn clamp(&mut self, detail: &'static str) {
        (self.outcome, self.detail) = (DirectiveOutcome::Clamped, detail);
    }
}

/// Carries a directive out as far as the encodings can: active, bitrate (never above the user's), frame rate, size, temporal
/// layers, and a codec that both sides have. Encodings that it does not name stay as they are.
pub(super) fn apply(directive: &EncoderDirective, running: &[RunningEncoding], bases: &[EncodingBase]) -> Obeyed {
    let mut obeyed = Obeyed { outcome: DirectiveOutcome::Applied, detail: "", applied: Vec::new() };
    let is_known = |wanted: &EncodingDirective| running.iter().any(|known| known.rid == wanted.rid);
    if directive.encodings.is_empty() || !directive.encodings.iter().all(is_known) {
        return Obeyed::unsupported("it names other encodings than are sent");
    }
    for wanted in &directive.encodings {
        for (running, base) in running.iter().zip(bases).filter(|(running, _)| running.rid == wanted.rid) {
            if Bitrate::from_bps(wanted.max_bitrate_bps) > base.encoding.bitrate {
                obeyed.clamp("the bitrate stays at the user's bound");
            }
            if !base.carry_out(wanted, &running.control) {
                obeyed.clamp("the layers or references stay as they are");
            }
            if running.control.is_short_of_time() {
                obeyed.clamp("this machine cannot code more");
            }
        }
    }
    let codec = VideoCodec::from_name(&directive.codec);
    let has_codec = |running: &RunningEncoding| codec.is_some_and(|codec| running.control.set_codec(codec));
    if !directive.codec.is_empty() && !running.iter().all(has_codec) {
        obeyed.clamp("the codec stays as it is");
    }
    let named = |rid: &str| running.iter().zip(bases).find(|(running, _)| running.rid == rid);
    let applied = |wanted: &EncodingDirective| {
        let (running, base) = named(&wanted.rid)?;
        Some(base.applied(wanted, &running.control))
    };
    obeyed.applied = directive.encodings.iter().filter_map(applied).collect();
    obeyed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_read_from_modes() {
        let modes = ["L1T1", "L1T3", "L1T9", "L3T3", "S2T1", "L1T", ""];
        assert_eq!(modes.map(temporal_layers), [Some(1), Some(3), Some(9), None, None, None, None]);
    }
}
