//! Between the types of the signalling protocol and those of the core, which never meet elsewhere.

use sfu_core::command::{LayerPreference, Quality, Tile};
use sfu_core::event::{LayerLimit, PauseReason};
use sfu_core::overload::Stage;
use sfu_proto::v1::{self, MediaKind as ProtoKind};
use sfu_room::Source;
use sfu_rtc::media::MediaKind;

pub(crate) fn kind(kind: MediaKind) -> ProtoKind {
    match kind {
        MediaKind::Audio => ProtoKind::Audio,
        MediaKind::Video => ProtoKind::Video,
    }
}

/// What a message asks for; nothing asked means the best.
pub(crate) fn quality_in(quality: v1::Quality) -> Quality {
    match quality {
        v1::Quality::Low => Quality::Low,
        v1::Quality::Medium => Quality::Medium,
        v1::Quality::High | v1::Quality::Unspecified => Quality::High,
    }
}

/// How a client wants a slot.
pub(crate) fn preference_in(subscribe: &v1::Subscribe) -> LayerPreference {
    let quality = quality_in(subscribe.quality());
    let preference = LayerPreference { quality, paused: subscribe.paused, ..LayerPreference::default() };
    let Some(tile) = &subscribe.tile else { return preference };
    let pixels = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
    let size = Tile { width: pixels(tile.width), height: pixels(tile.height) };
    let tile_size = match tile {
        _ if tile.hidden => Some(Tile::default()),
        _ if tile.width == 0 || tile.height == 0 => None,
        _ => Some(size),
    };
    LayerPreference { tile: tile_size, priority: u8::try_from(tile.priority).unwrap_or(u8::MAX), ..preference }
}

pub(crate) fn pause_reason(reason: Option<PauseReason>) -> v1::PauseReason {
    match reason {
        None => v1::PauseReason::Unspecified,
        Some(PauseReason::Codec) => v1::PauseReason::Codec,
        Some(PauseReason::NotVisible) => v1::PauseReason::NotVisible,
        Some(PauseReason::Bandwidth) => v1::PauseReason::Bandwidth,
        Some(PauseReason::NoLayer) => v1::PauseReason::NoLayer,
    }
}

pub(crate) fn layer_limit(limit: LayerLimit) -> v1::LayerLimit {
    match limit {
        LayerLimit::Best => v1::LayerLimit::Unspecified,
        LayerLimit::Wanted => v1::LayerLimit::Wanted,
        LayerLimit::Bandwidth => v1::LayerLimit::Bandwidth,
        LayerLimit::Sender => v1::LayerLimit::Sender,
        LayerLimit::Cap => v1::LayerLimit::Cap,
        LayerLimit::Overload => v1::LayerLimit::Overload,
    }
}

/// What a worker leaves out.
pub(crate) fn stage(stage: Stage) -> v1::overload::Stage {
    match stage {
        Stage::Nothing => v1::overload::Stage::Unspecified,
        Stage::Repair => v1::overload::Stage::Repair,
        Stage::UpperLayers => v1::overload::Stage::UpperLayers,
        Stage::Video => v1::overload::Stage::Video,
        Stage::SpeakersVideo => v1::overload::Stage::SpeakersVideo,
    }
}

pub(crate) fn quality_out(quality: Quality) -> v1::Quality {
    match quality {
        Quality::Low => v1::Quality::Low,
        Quality::Medium => v1::Quality::Medium,
        Quality::High => v1::Quality::High,
    }
}

/// The source that a client names; a client that names none publishes from camera and microphone.
pub(crate) fn source_in(source: v1::Source, kind: MediaKind) -> Source {
    match (source, kind) {
        (v1::Source::Microphone, _) | (v1::Source::Unspecified, MediaKind::Audio) => Source::Microphone,
        (v1::Source::Camera, _) | (v1::Source::Unspecified, MediaKind::Video) => Source::Camera,
        (v1::Source::Screen, _) => Source::Screen,
        (v1::Source::ScreenAudio, _) => Source::ScreenAudio,
    }
}

pub(crate) fn source_out(source: Source) -> v1::Source {
    match source {
        Source::Microphone => v1::Source::Microphone,
        Source::Camera => v1::Source::Camera,
        Source::Screen => v1::Source::Screen,
        Source::ScreenAudio => v1::Source::ScreenAudio,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_that_says_nothing_limits_nothing() {
        let preference = |tile| preference_in(&v1::Subscribe { tile, ..v1::Subscribe::default() });
        assert_eq!(preference(None), LayerPreference::default());
        assert_eq!(preference(Some(v1::Tile::default())), LayerPreference::default());
        let hidden = preference(Some(v1::Tile { hidden: true, width: 640, height: 360, priority: 0 }));
        assert_eq!(hidden.tile, Some(Tile::default()));
        let huge = preference(Some(v1::Tile { hidden: false, width: 640, height: u32::MAX, priority: 1_000 }));
        assert_eq!((huge.tile, huge.priority), (Some(Tile { width: 640, height: u16::MAX }), u8::MAX));
    }

    #[test]
    fn qualities_and_back() {
        for quality in [Quality::Low, Quality::Medium, Quality::High] {
            assert_eq!(quality_in(quality_out(quality)), quality);
        }
    }
}
