//! What tokens and rooms allow of video at most.

use super::ControlError;
use serde::{Deserialize, Serialize};
use sfu_rtc::units::Bitrate;

/// The lowest bound of a bitrate: audio, and a picture now and then.
const LEAST_BITRATE: u64 = 30_000;

/// The most that may be sent of video; what is not said is not bounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct VideoCaps {
    /// Bits per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bitrate_bps: Option<u64>,
    /// Frames per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fps: Option<u8>,
    /// Lines: the shorter side of the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) height: Option<u16>,
}

impl VideoCaps {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Where both bound something, the lower one holds.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            bitrate_bps: lower(self.bitrate_bps, other.bitrate_bps),
            fps: lower(self.fps, other.fps),
            height: lower(self.height, other.height),
        }
    }
}

impl From<VideoCaps> for sfu_core::command::VideoCaps {
    fn from(caps: VideoCaps) -> Self {
        Self { bitrate: caps.bitrate_bps.map(Bitrate::from_bps), framerate: caps.fps, height: caps.height }
    }
}

fn lower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

/// Refuses bounds below which nothing could be sent.
pub(super) fn check_caps(caps: [VideoCaps; 2]) -> Result<(), ControlError> {
    for VideoCaps { bitrate_bps, fps, height } in caps {
        if bitrate_bps.is_some_and(|bitrate| bitrate < LEAST_BITRATE) || fps == Some(0) || height == Some(0) {
            let text = format!(
                "Bounds of video (publish_video, subscribe_video) are at least {LEAST_BITRATE} bps, one frame per second and one line."
            );
            return Err(ControlError::bad_message(text));
        }
    }
    Ok(())
}
