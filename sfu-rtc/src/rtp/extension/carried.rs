//! Finds the extensions that travel from publisher to subscriber.

use super::{ExtensionKind, ExtensionMap};
use crate::packet::CarriedExtensions;
use crate::rtp::RtpView;

/// The extensions of `view` to carry on; `ids` are those of the transport that it came on.
pub fn carried(view: &RtpView<'_>, ids: &ExtensionMap) -> CarriedExtensions {
    let mut carried = CarriedExtensions::default();
    for (id, value) in view.extensions() {
        match ids.kind(id) {
            Some(ExtensionKind::AudioLevel) => carried.audio_level = value.first().copied(),
            Some(ExtensionKind::VideoOrientation) => carried.video_orientation = value.first().copied(),
            Some(ExtensionKind::PlayoutDelay) => carried.playout_delay = value.first_chunk().copied(),
            Some(ExtensionKind::AbsCaptureTime) if matches!(value.len(), 8 | 16) => {
                carried.abs_capture_time = place(view, id);
            }
            Some(ExtensionKind::DependencyDescriptor) => carried.dependency_descriptor = place(view, id),
            _ => {}
        }
    }
    carried
}

/// Where in the packet an extension stands: (start, length).
fn place(view: &RtpView<'_>, id: u8) -> Option<(u16, u16)> {
    let range = view.extension_range(id)?;
    Some((u16::try_from(range.start).ok()?, u16::try_from(range.len()).ok()?))
}
