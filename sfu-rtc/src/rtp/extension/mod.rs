//! Header extensions (RFC 8285): which we know, which id each has on a transport, and the values that we read or write.
//! Values that only travel on from publisher to subscriber stay bytes, see [`CarriedExtensions`].
//!
//! [`CarriedExtensions`]: crate::packet::CarriedExtensions

pub mod dependency_descriptor;

use crate::ids::{Mid, Rid};
use crate::time::{Duration, Instant};

/// A header extension that we understand or carry on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ExtensionKind {
    /// Identification of the media section (RFC 8843).
    Mid,
    /// Identification of the stream (RFC 8852).
    Rid,
    /// Identification of the stream that a retransmission repairs (RFC 8852).
    RepairedRid,
    /// Client-to-mixer audio level (RFC 6464).
    AudioLevel,
    /// Absolute send time.
    AbsSendTime,
    /// Transport-wide sequence number.
    TransportCc,
    /// Coordination of video orientation (3GPP TS 26.114).
    VideoOrientation,
    /// Limits of the playout delay.
    PlayoutDelay,
    /// Absolute capture time.
    AbsCaptureTime,
    /// Dependency descriptor (AV1 RTP payload specification, appendix A).
    DependencyDescriptor,
    /// Video layers allocation.
    VideoLayersAllocation,
}

impl ExtensionKind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::AudioLevel,
        Self::AbsSendTime,
        Self::TransportCc,
        Self::VideoOrientation,
        Self::PlayoutDelay,
        Self::AbsCaptureTime,
        Self::DependencyDescriptor,
        Self::VideoLayersAllocation,
    ];

    /// URI in a=extmap.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            Self::VideoOrientation => "urn:3gpp:video-orientation",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            Self::AbsCaptureTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
            Self::VideoLayersAllocation => "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
        }
    }

    /// The kind with this URI.
    pub(crate) fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

/// Ids of the header extensions on one transport or section: 1 to 14 fit the one-byte header, up to 255 the two-byte one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ExtensionMap {
    ids: [Option<u8>; ExtensionKind::ALL.len()],
}

impl ExtensionMap {
    /// Gives `kind` the id `id`. Ids 0 and 15 are reserved (RFC 8285) and refused.
    pub fn set(&mut self, kind: ExtensionKind, id: u8) -> bool {
        let allowed = id != 0 && id != 15;
        if allowed {
            self.ids[kind as usize] = Some(id);
        }
        allowed
    }

    /// Id of `kind`.
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        self.ids[kind as usize]
    }

    /// Kind of `id`.
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        ExtensionKind::ALL.into_iter().find(|&kind| self.id(kind) == Some(id))
    }

    /// All kinds that have an id.
    pub fn iter(&self) -> impl Iterator<Item = (ExtensionKind, u8)> + '_ {
        ExtensionKind::ALL.into_iter().filter_map(|kind| Some((kind, self.id(kind)?)))
    }
}

/// A media section's identification (RFC 8843 section 15): the text alone (RFC 7941). Some senders end it with zero
/// bytes.
pub fn parse_mid(value: &[u8]) -> Option<Mid> {
    Mid::from_bytes(until_zero(value))
}

/// A stream's identification, its own or that of the stream that it repairs (RFC 8852 section 3).
pub fn parse_rid(value: &[u8]) -> Option<Rid> {
    Rid::from_bytes(until_zero(value))
}

fn until_zero(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    &value[..end]
}

/// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 2): the first two bytes;
/// the second version of the extension puts a request behind them.
pub fn parse_transport_cc(value: &[u8]) -> Option<u16> {
    value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// Bits of a second's fraction in an absolute send time.
pub(crate) const SEND_TIME_FRACTION: u32 = 18;

/// Absolute send time: 24 bits in units of 1/2^18 s.
pub(crate) fn parse_abs_send_time(value: &[u8]) -> Option<u32> {
    <[u8; 3]>::try_from(value).ok().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
}

/// Absolute send time of a packet that leaves at `at`; it wraps every 64 s.
pub(crate) fn abs_send_time(at: Instant) -> [u8; 3] {
    let units = (u128::from(at.as_nanos()) << SEND_TIME_FRACTION) / 1_000_000_000;
    let [_, a, b, c] = (units as u32).to_be_bytes(); // what is cut off are whole turns of 64 s
    [a, b, c]
}

/// Most that a limit of the playout delay can say.
pub const MAX_PLAYOUT_DELAY: Duration = Duration::from_millis(10 * 0xfff);

/// Limits of the playout delay: the least and the most, in 12 bits each, in units of 10 ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlayoutDelay {
    /// Media is kept so long before it is played.
    pub min: Duration,
    /// And no longer than this.
    pub max: Duration,
}

impl PlayoutDelay {
    /// Reads the extension's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let [a, b, c] = <[u8; 3]>::try_from(value).ok()?.map(u64::from);
        let of = |units: u64| Duration::from_millis(10 * units);
        Some(Self { min: of(a << 4 | b >> 4), max: of((b & 0xf) << 8 | c) })
    }

    /// The extension's value. What is between two units is rounded up.
    pub fn to_bytes(self) -> [u8; 3] {
        let units = |delay: Duration| delay.min(MAX_PLAYOUT_DELAY).as_millis().div_ceil(10);
        let [_, bytes @ ..] = ((units(self.min) << 12 | units(self.max)) as u32).to_be_bytes(); // 24 bits
        bytes
    }
}

#[cfg(test)]
mod tests;
