//! Between the types of the signalling protocol and those of the core, which never meet elsewhere.

use sfu_core::command::Quality;
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
    fn qualities_and_back() {
        for quality in [Quality::Low, Quality::Medium, Quality::High] {
            assert_eq!(quality_in(quality_out(quality)), quality);
        }
    }
}
