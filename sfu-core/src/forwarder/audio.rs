//! Older audio beside the newest, as one subscriber gets it: along with it (RED, RFC 2198), or, to who does not take that,
//! the packet itself once more behind the next. Firefox neither takes RED nor asks for lost audio.

use super::Forwarder;
use super::rewriter::Rewritten;
use crate::layer_order::LayerIndex;
use crate::payload_map::AudioForm;
use crate::repair::PendingCopy;
use arrayvec::ArrayVec;
use sfu_rtc::codec::red;
use sfu_rtc::media::{Codec, MediaKind};
use sfu_rtc::packet::Packet;
use sfu_rtc::time::Instant;
use sfu_rtc::transport::{PayloadEdit, RtpOut};
use sfu_rtc::units::Bitrate;

/// Of what is sent twice nobody tells whether the first was lost. Where nothing else is sent, so many go for one that is
/// sent once, by which the path is known.
const COPIES_PER_SAMPLE: u64 = 7;
/// Payloads up to this are nothing but an Opus frame's header: silence, which needs no copy.
const EMPTY: usize = 2;

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

    /// Whether packets of audio may be sent once more, since older audio cannot go along.
    pub(crate) fn takes_copies(&self) -> bool {
        self.kind == MediaKind::Audio && self.formats.red_blocks().is_none()
    }

    /// How many generations of older audio go along with a packet, or follow it; `None` where that is not known.
    pub(crate) fn redundancy(&self) -> Option<u8> {
        self.redundancy.filter(|_| self.kind == MediaKind::Audio)
    }

    /// So many generations of older audio are worth it; by its packets alone the path is known, if `is_alone`.
    pub(crate) fn set_redundancy(&mut self, generations: Option<u8>, is_alone: bool) {
        self.redundancy = if self.takes_copies() { generations.map(|wanted| wanted.min(1)) } else { generations };
        self.is_sampled = is_alone;
    }

    /// The copy that is to follow a packet.
    pub(crate) fn copy_of(&self, packet: &Packet, out: &RtpOut) -> Option<PendingCopy> {
        let is_wanted = self.takes_copies() && self.redundancy.is_some_and(|copies| copies > 0);
        let is_sample = self.is_sampled && out.seq.0.is_multiple_of(COPIES_PER_SAMPLE + 1);
        let is_copied = is_wanted && !is_sample && packet.payload().len() > EMPTY;
        is_copied.then(|| PendingCopy { section: self.section, seq: out.seq.wire(), times: 1, sent: 1 })
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
