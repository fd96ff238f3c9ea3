//! Older audio beside the newest (RED, RFC 2198), as one subscriber gets it.

use super::Forwarder;
use super::rewriter::Rewritten;
use crate::layer_order::LayerIndex;
use crate::payload_map::AudioForm;
use arrayvec::ArrayVec;
use sfu_rtc::codec::red;
use sfu_rtc::media::{Codec, MediaKind};
use sfu_rtc::packet::Packet;
use sfu_rtc::time::Instant;
use sfu_rtc::transport::PayloadEdit;
use sfu_rtc::units::Bitrate;

impl Forwarder {
    /// In which form packets of audio go. The first of a source goes alone: what was before it belongs to another source, or
    /// to a time in which nothing was to be heard.
    pub(crate) fn audio_form(&self, layer: LayerIndex) -> AudioForm {
        let generations = if self.carried == Some(layer) { self.redundancy } else { self.redundancy.and(Some(0)) };
        self.formats.audio_form(generations)
    }

    /// Whether older audio may go along.
    pub(crate) fn takes_redundancy(&self) -> bool {
        self.kind == MediaKind::Audio && self.formats.red_blocks().is_some()
    }

    /// What the media that is sent takes, without redundancy.
    pub(crate) fn plain_rate(&self, now: Instant) -> Bitrate {
        let generations = self.redundancy.filter(|_| self.takes_redundancy()).unwrap_or(0);
        Bitrate::from_bps(self.sent(now).1.as_bps() / (1 + u64::from(generations)))
    }

    /// What changes in the payload: numbers in its descriptor, or the payload type of redundant audio's blocks.
    pub(super) fn edit(&self, packet: &Packet, sent: &Rewritten) -> PayloadEdit {
        match self.formats.red_blocks() {
            Some(blocks) if packet.codec == Codec::OpusRed => {
                let mut prefix = ArrayVec::new();
                let skip = red::relabel(packet.payload(), blocks, &mut prefix);
                PayloadEdit { prefix, skip }
            }
            _ => sent.edit(packet),
        }
    }
}
