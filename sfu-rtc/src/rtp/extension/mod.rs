//! Header extensions (RFC 8285): which we know, and which id each has on a transport.

pub mod abs_capture_time;
pub mod abs_send_time;
pub mod audio_level;
pub mod dependency_descriptor;
pub mod playout_delay;
pub mod sdes;
pub mod transport_cc;
pub mod video_layers_allocation;
pub mod video_orientation;

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
    pub fn from_uri(uri: &str) -> Option<Self> {
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

#[cfg(test)]
mod tests;
