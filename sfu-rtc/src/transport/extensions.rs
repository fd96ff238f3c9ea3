//! Header extensions of arriving packets: their ids are the peer's, their values go to whom they concern.

use super::demux::StreamHints;
use crate::media::MediaSection;
use crate::packet::CarriedExtensions;
use crate::rtp::RtpView;
use crate::rtp::extension::{ExtensionKind, sdes, transport_cc};

/// Kind by id. A bundled transport uses one id for one kind in all its sections (RFC 8843 section 9.1).
#[derive(Debug)]
pub(super) struct ExtensionIds([Option<ExtensionKind>; 256]);

/// What the header extensions of one packet say.
#[derive(Default, Debug)]
pub(super) struct InboundExtensions {
    pub(super) hints: StreamHints,
    pub(super) transport_seq: Option<u16>,
    pub(super) carried: CarriedExtensions,
}

impl ExtensionIds {
    pub(super) fn new(sections: &[MediaSection]) -> Self {
        let mut kinds = [None; 256];
        for (kind, id) in sections.iter().flat_map(|section| section.extensions.iter()) {
            kinds[usize::from(id)] = Some(kind);
        }
        Self(kinds)
    }

    /// Reads all that we know. A value of the wrong length counts as absent.
    pub(super) fn read(&self, view: &RtpView<'_>) -> InboundExtensions {
        let mut read = InboundExtensions::default();
        for (id, value) in view.extensions() {
            let Some(kind) = self.0[usize::from(id)] else { continue };
            let carried = &mut read.carried;
            match kind {
                ExtensionKind::Mid => read.hints.mid = sdes::mid(value),
                ExtensionKind::Rid => read.hints.rid = sdes::rid(value),
                ExtensionKind::RepairedRid => read.hints.repaired_rid = sdes::rid(value),
                ExtensionKind::TransportCc => read.transport_seq = transport_cc::parse(value),
                ExtensionKind::AudioLevel => carried.audio_level = value.first().copied(),
                ExtensionKind::VideoOrientation => carried.video_orientation = value.first().copied(),
                ExtensionKind::PlayoutDelay => carried.playout_delay = value.first_chunk().copied(),
                ExtensionKind::AbsCaptureTime if matches!(value.len(), 8 | 16) => {
                    carried.abs_capture_time = place(view, id);
                }
                ExtensionKind::DependencyDescriptor => carried.dependency_descriptor = place(view, id),
                ExtensionKind::AbsCaptureTime | ExtensionKind::AbsSendTime | ExtensionKind::VideoLayersAllocation => {}
            }
        }
        read
    }
}

/// Where in the packet the value of `id` stands: (start, length).
fn place(view: &RtpView<'_>, id: u8) -> Option<(u16, u16)> {
    let range = view.extension_range(id)?;
    Some((u16::try_from(range.start).ok()?, u16::try_from(range.len()).ok()?))
}
