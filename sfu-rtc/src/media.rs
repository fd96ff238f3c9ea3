//! Media as it was negotiated: what `sdp` hands to `transport`.

use crate::fec::Scheme;
use crate::ids::{Mid, PayloadType, Rid, Ssrc};
use crate::rtp::extension::ExtensionMap;
use crate::time::Duration;
use std::sync::Arc;

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MediaKind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

/// A codec that we know how to forward.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Codec {
    /// Opus (RFC 7587).
    Opus,
    /// Opus in redundant audio data (RFC 2198).
    OpusRed,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// H.264 (RFC 6184).
    H264,
    /// H.265 (RFC 7798).
    H265,
    /// AV1 (AOM RTP payload specification).
    Av1,
}

impl Codec {
    /// Audio or video.
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::Opus | Self::OpusRed => MediaKind::Audio,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::H265 | Self::Av1 => MediaKind::Video,
        }
    }

    /// Encoding name in a=rtpmap.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::OpusRed => "red",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Av1 => "AV1",
        }
    }
}

/// One payload type with what it means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PayloadFormat {
    /// Payload type on this transport.
    pub payload_type: PayloadType,
    /// Its codec.
    pub codec: Codec,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Format parameters (a=fmtp), as offered; tells H.264 and VP9 profiles apart.
    pub fmtp: String,
    /// Payload type of its retransmissions (RFC 4588).
    pub rtx: Option<PayloadType>,
}

/// Which way media flows on a section, seen from us.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// The peer publishes on it.
    Receive,
    /// A slot: we send on it.
    Send,
    /// Neither.
    Inactive,
}

/// A stream's source with that of its retransmissions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SsrcPair {
    /// Media.
    pub media: Ssrc,
    /// Retransmissions.
    pub rtx: Option<Ssrc>,
}

/// Parity of a section's media, mostly beside it on a source of its own (see [`crate::fec`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FecStream {
    /// Its source; that of the media for ULPFEC.
    pub ssrc: Ssrc,
    /// Its payload type; that of RED for ULPFEC.
    pub payload_type: PayloadType,
    /// Its code.
    pub scheme: Scheme,
}

/// Video in RED (RFC 2198), and its parity (ULPFEC, RFC 5109) in it too, with numbers among the media: as browsers send it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VideoRed {
    /// Payload type of RED.
    pub payload_type: PayloadType,
    /// Payload type of its retransmissions.
    pub rtx: Option<PayloadType>,
    /// Payload type of the parity inside RED.
    pub parity: PayloadType,
}

/// A source that the peer announced.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RemoteSource {
    /// Its numbers.
    pub ssrcs: SsrcPair,
    /// The simulcast layer that it carries, where the peer tells layers apart by source (`a=ssrc-group:SIM`) and not in
    /// its packets.
    pub rid: Option<Rid>,
}

/// One negotiated media section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaSection {
    /// Its a=mid.
    pub mid: Mid,
    /// Audio or video.
    pub kind: MediaKind,
    /// Which way media flows.
    pub direction: Direction,
    /// Payload types, in the order of preference. All who hold the section share them: a peer's format parameters are as
    /// long as its offer.
    pub formats: Arc<Vec<PayloadFormat>>,
    /// Header extensions with their ids.
    pub extensions: ExtensionMap,
    /// Simulcast layers that the peer sends, lowest first (a=simulcast, or names of ours for those of
    /// `a=ssrc-group:SIM`); empty without simulcast.
    pub rids: Vec<Rid>,
    /// Sources that the peer announced by a=ssrc; empty where it relies on MID and RID.
    pub remote_ssrcs: Vec<RemoteSource>,
    /// Our source, for [`Direction::Send`].
    pub local_ssrcs: Option<SsrcPair>,
    /// Our parity beside it; `None` where the peer takes none so.
    pub local_fec: Option<FecStream>,
    /// The peer's parity beside what it sends on [`Direction::Receive`].
    pub remote_fec: Option<FecStream>,
    /// Where who sends on the section may send video in RED, with parity among it.
    pub red: Option<VideoRed>,
    /// How long the sender of retransmissions keeps packets (`rtx-time`).
    pub rtx_time: Duration,
    /// Whether the peer takes NACK and retransmissions on this section.
    pub nack: bool,
    /// Whether the peer follows what its receiver allows it to send (`a=rtcp-fb` goog-remb).
    pub remb: bool,
    /// RTCP of reduced size was negotiated (`a=rtcp-rsize`, RFC 5506).
    pub reduced_rtcp: bool,
}

impl MediaSection {
    /// Our parity, beside the media or else among it.
    pub fn own_parity(&self) -> Option<FecStream> {
        let media = self.local_ssrcs?.media;
        let among = |red: VideoRed| FecStream {
            ssrc: media,
            payload_type: red.payload_type,
            scheme: Scheme::Ulpfec { payload_type: red.parity },
        };
        self.local_fec.or_else(|| self.red.map(among))
    }

    /// The format with this payload type.
    pub fn format(&self, payload_type: PayloadType) -> Option<&PayloadFormat> {
        self.formats.iter().find(|format| format.payload_type == payload_type)
    }

    /// The format of which this payload type carries the retransmissions.
    pub(crate) fn format_of_rtx(&self, payload_type: PayloadType) -> Option<&PayloadFormat> {
        self.formats.iter().find(|format| format.rtx == Some(payload_type))
    }
}
