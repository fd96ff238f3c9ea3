//! Video in RED (RFC 2198), where its parity goes among it (ULPFEC): taken out of it as browsers send it, and put into it for
//! them.

use super::receive::OSN_LEN;
use crate::drop_reason::DropReason;
use crate::ids::PayloadType;
use crate::media::{Direction, MediaSection, VideoRed};
use crate::rtp::RtpView;

/// RFC 2198 section 3: another block follows.
const FOLLOWED: u8 = 0x80;
const MARKER: u8 = 0x80;

/// RED as the sections of one transport have it.
#[derive(Debug, Default)]
pub(super) struct Red {
    /// Each with the first section that has it: in a bundle, a payload type means the same everywhere.
    known: Vec<(usize, VideoRed)>,
}

impl Red {
    pub(super) fn new(sections: &[MediaSection]) -> Self {
        let mut known: Vec<(usize, VideoRed)> = Vec::new();
        for (index, section) in sections.iter().enumerate() {
            let red = section.red.filter(|_| section.direction == Direction::Receive);
            known.extend(red.filter(|red| known.iter().all(|(_, other)| other != red)).map(|red| (index, red)));
        }
        Self { known }
    }

    /// The RTP packet `packet` as it would have come without RED, in place: media, a retransmission or parity, each with
    /// its own payload type. What is not in RED stays as it is. Redundant blocks, which no browser sends with video, are
    /// refused.
    pub(super) fn take_out<'p>(
        &self,
        sections: &[MediaSection],
        packet: &'p mut [u8],
    ) -> Result<&'p mut [u8], DropReason> {
        let payload_type = PayloadType(packet.get(1).ok_or(DropReason::RtpMalformed)? & !MARKER);
        let in_red = |red: &VideoRed| red.payload_type == payload_type || red.rtx == Some(payload_type);
        let Some((section, red)) = self.known.iter().find(|(_, red)| in_red(red)) else { return Ok(packet) };
        let formats = &sections.get(*section).ok_or(DropReason::UnknownStream)?.formats;
        let is_rtx = red.rtx == Some(payload_type);
        let view = RtpView::parse(packet)?;
        if view.payload().is_empty() {
            // Padding, whichever format it is given.
            let format = formats.first().ok_or(DropReason::UnknownStream)?;
            let payload_type = if is_rtx { format.rtx } else { Some(format.payload_type) };
            set_payload_type(packet, payload_type.ok_or(DropReason::UnknownStream)?);
            return Ok(packet);
        }
        let osn = if is_rtx { OSN_LEN } else { 0 };
        let block = *view.payload().get(osn).ok_or(DropReason::PayloadMalformed)?;
        let content = PayloadType(block & !FOLLOWED);
        let carried = match is_rtx {
            true => formats.iter().find(|format| format.payload_type == content).and_then(|format| format.rtx),
            false => Some(content),
        };
        let carried = carried.filter(|_| block & FOLLOWED == 0).ok_or(DropReason::PayloadMalformed)?;
        packet.copy_within(..view.header_len() + osn, 1);
        let packet = packet.get_mut(1..).ok_or(DropReason::RtpMalformed)?;
        set_payload_type(packet, carried);
        Ok(packet)
    }
}

/// Puts the RTP packet that begins at `start`, with a header of `header_len` bytes, into RED with this payload type.
pub(super) fn put_in(buf: &mut Vec<u8>, start: usize, header_len: usize, red: PayloadType) {
    let Some(packet) = buf.get_mut(start..) else { return };
    let content = packet.get(1).map_or(0, |byte| byte & !MARKER);
    set_payload_type(packet, red);
    // The last block: nothing but its format is said of it.
    buf.insert(start + header_len, content);
}

fn set_payload_type(packet: &mut [u8], payload_type: PayloadType) {
    if let Some(byte) = packet.get_mut(1) {
        *byte = *byte & MARKER | payload_type.0 & !MARKER;
    }
}
