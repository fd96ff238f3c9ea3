//! Codecs, header extensions and interceptors.

use anyhow::{Context, Result};
use interceptor::{NackResponderBuilder, ReceiverReportBuilder, SenderReportBuilder, Slot, TwccReceiverBuilder};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use webrtc::peer_connection::{MediaEngine, PeerConnection, Registry};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};

/// Loudness of a packet's sound (RFC 6464).
pub const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
/// What a frame refers to (AV1 RTP payload specification, appendix A).
pub const DEPENDENCY_DESCRIPTOR: &str =
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
/// Section that a packet belongs to (RFC 8843).
const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// Encoding that a packet, or one that it repeats, belongs to (RFC 8852).
const RIDS: [&str; 2] =
    ["urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"];
/// Number that congestion-control feedback refers to (draft-holmer-rmcat-transport-wide-cc-extensions-01).
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

impl MediaKind {
    /// Ticks per second of its timestamps, with the codecs that we know.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Audio => 48_000,
            Self::Video => 90_000,
        }
    }
}

impl From<MediaKind> for RtpCodecKind {
    fn from(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Audio => Self::Audio,
            MediaKind::Video => Self::Video,
        }
    }
}

/// Video codecs that can be received. H.264 is always encoded and decoded too, VP8 and VP9 with the feature `vpx`,
/// AV1 with the feature `aom`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VideoCodec {
    /// H.264, constrained baseline.
    H264,
    /// VP8.
    Vp8,
    /// VP9, profile 0.
    Vp9,
    /// AV1, main profile.
    Av1,
}

impl VideoCodec {
    /// All, best supported first: the order of the offer.
    pub const ALL: [Self; 4] = [Self::H264, Self::Vp8, Self::Vp9, Self::Av1];

    /// From a MIME type such as `video/VP8`.
    pub fn from_mime(mime: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.mime().eq_ignore_ascii_case(mime))
    }

    /// From a name such as `vp8`, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// Whether it is encoded and decoded here, not only received.
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::H264 => true,
            Self::Vp8 | Self::Vp9 => cfg!(feature = "vpx"),
            Self::Av1 => cfg!(feature = "aom"),
        }
    }

    /// Whether it can be used here.
    ///
    /// # Errors
    /// Where it was not built in, with what would do so.
    pub fn require(self) -> Result<()> {
        if self.is_built_in() { Ok(()) } else { Err(self.not_built_in()) }
    }

    /// Says what would build it in.
    pub(crate) fn not_built_in(self) -> anyhow::Error {
        anyhow::anyhow!("{} was not built in: build with {}", self.name(), self.build_option())
    }

    /// What builds it in, and what that needs of Debian.
    pub(crate) const fn build_option(self) -> &'static str {
        match self {
            Self::H264 => "--features media",
            Self::Vp8 | Self::Vp9 => "--features vpx (needs libvpx-dev)",
            Self::Av1 => "--features aom (needs libaom-dev and libclang-dev)",
        }
    }

    /// Its name as in SDP.
    pub fn name(self) -> &'static str {
        self.mime().trim_start_matches("video/")
    }

    const fn mime(self) -> &'static str {
        match self {
            Self::H264 => "video/H264",
            Self::Vp8 => "video/VP8",
            Self::Vp9 => "video/VP9",
            Self::Av1 => "video/AV1",
        }
    }

    const fn fmtp(self) -> &'static str {
        match self {
            Self::H264 => "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            Self::Vp9 => "profile-id=0",
            Self::Vp8 | Self::Av1 => "",
        }
    }

    /// Payload type in our offers; the retransmission's is the next one.
    pub(super) const fn payload_type(self) -> u8 {
        match self {
            Self::H264 => 102,
            Self::Vp8 => 96,
            Self::Vp9 => 98,
            Self::Av1 => 104,
        }
    }
}

/// Payload type of Opus in our offers.
const OPUS_PAYLOAD_TYPE: u8 = 111;
/// Payload type of Opus with redundancy (RFC 2198) in our offers; browsers use the same.
const RED_PAYLOAD_TYPE: u8 = 63;
/// MIME type of redundant audio data.
pub(super) const RED_MIME: &str = "audio/red";

/// Payload type of parity in our offers, as Chromium has it.
const FLEXFEC_PAYLOAD_TYPE: u8 = 49;

/// Payload type of our own parity in our offers.
pub(super) const RS_FEC_PAYLOAD_TYPE: u8 = 50;
/// What our own parity is called on the wire (`docs/fec-payload-format.md` section 7), and in the crate, which knows parity
/// by this beginning of its name.
const RS_FEC_NAMES: (&str, &str) = (" rs-fec/90000", " flexfec-rs/90000");
const RS_FEC_MIME: &str = "video/flexfec-rs";

/// A description of ours as it goes out.
pub(super) fn to_wire(sdp: &str) -> String {
    sdp.replace(RS_FEC_NAMES.1, RS_FEC_NAMES.0)
}

/// A description of the far side as the crate reads it.
pub(super) fn from_wire(sdp: &str) -> String {
    sdp.replace(RS_FEC_NAMES.0, RS_FEC_NAMES.1)
}

/// What can be negotiated, parity for video and names of encodings only where they are wanted.
pub(super) fn engine(fec: bool, simulcast: bool) -> Result<MediaEngine> {
    let mut media = MediaEngine::default();
    for codec in VideoCodec::ALL {
        for parameters in video_parameters(codec) {
            media.register_codec(parameters, RtpCodecKind::Video).context("cannot register a codec")?;
        }
    }
    if fec {
        for parameters in [rs_fec_parameters(), flexfec_parameters()] {
            media.register_codec(parameters, RtpCodecKind::Video).context("cannot register parity")?;
        }
    }
    for parameters in audio_parameters() {
        media.register_codec(parameters, RtpCodecKind::Audio).context("cannot register Opus")?;
    }
    let extensions = [
        (MID, RtpCodecKind::Audio),
        (MID, RtpCodecKind::Video),
        (TRANSPORT_CC, RtpCodecKind::Audio),
        (TRANSPORT_CC, RtpCodecKind::Video),
        (AUDIO_LEVEL, RtpCodecKind::Audio),
        (DEPENDENCY_DESCRIPTOR, RtpCodecKind::Video),
    ];
    let rids = RIDS.into_iter().filter(|_| simulcast).map(|uri| (uri, RtpCodecKind::Video));
    for (uri, kind) in extensions.into_iter().chain(rids) {
        media
            .register_header_extension(RTCRtpHeaderExtensionCapability { uri: uri.to_owned() }, kind, None)
            .context("cannot register a header extension")?;
    }
    Ok(media)
}

/// The interceptors in use. Loss is repaired by our own jitter buffer, not by the NACK generator: that one counts a
/// packet repaired by RTX as still missing and asks for it again every 100 ms.
pub(super) fn interceptors(registry: Registry, media: &mut MediaEngine) -> Result<Registry> {
    for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
        media.register_feedback(feedback("transport-cc", ""), kind);
    }
    Ok(registry
        .with(Slot::NackResponder, NackResponderBuilder::new().build())
        .with(Slot::TwccReceiver, TwccReceiverBuilder::new().build())
        .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build())
        .with(Slot::SenderReport, SenderReportBuilder::new().build()))
}

/// A codec and its retransmission format.
pub(super) fn video_parameters(codec: VideoCodec) -> [RTCRtpCodecParameters; 2] {
    let feedback = [("ccm", "fir"), ("nack", ""), ("nack", "pli"), ("transport-cc", "")];
    let parameters = |mime: &str, fmtp: String, payload_type, feedback| RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: mime.to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: fmtp,
            rtcp_feedback: feedback,
        },
        payload_type,
    };
    let payload_type = codec.payload_type();
    let feedback = feedback.map(|(typ, parameter)| self::feedback(typ, parameter)).to_vec();
    [
        parameters(codec.mime(), codec.fmtp().to_owned(), payload_type, feedback),
        parameters("video/rtx", format!("apt={payload_type}"), payload_type + 1, Vec::new()),
    ]
}

/// FlexFEC-03. The window is 10 s as Chromium's: we hold 256 packets, whatever time they take.
fn flexfec_parameters() -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: "video/flexfec-03".to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: "repair-window=10000000".to_owned(),
            rtcp_feedback: vec![feedback("transport-cc", "")],
        },
        payload_type: FLEXFEC_PAYLOAD_TYPE,
    }
}

/// Our own parity.
pub(super) fn rs_fec_parameters() -> RTCRtpCodecParameters {
    let flexfec = flexfec_parameters();
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec { mime_type: RS_FEC_MIME.to_owned(), sdp_fmtp_line: String::new(), ..flexfec.rtp_codec },
        payload_type: RS_FEC_PAYLOAD_TYPE,
    }
}

/// Opus, and Opus with redundancy.
pub(super) fn audio_parameters() -> [RTCRtpCodecParameters; 2] {
    let parameters = |mime: &str, fmtp: String, payload_type| RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: mime.to_owned(),
            clock_rate: 48_000,
            channels: 2,
            sdp_fmtp_line: fmtp,
            rtcp_feedback: vec![feedback("transport-cc", "")],
        },
        payload_type,
    };
    [
        parameters("audio/opus", "minptime=10;useinbandfec=1".to_owned(), OPUS_PAYLOAD_TYPE),
        // Of what its blocks are (RFC 2198 section 5).
        parameters(RED_MIME, format!("{OPUS_PAYLOAD_TYPE}/{OPUS_PAYLOAD_TYPE}"), RED_PAYLOAD_TYPE),
    ]
}

fn feedback(typ: &str, parameter: &str) -> RTCPFeedback {
    RTCPFeedback { typ: typ.to_owned(), parameter: parameter.to_owned() }
}

pub(super) async fn add_receiver(connection: &dyn PeerConnection, kind: MediaKind) -> Result<()> {
    let init = RTCRtpTransceiverInit { direction: RTCRtpTransceiverDirection::Recvonly, ..Default::default() };
    connection.add_transceiver_from_kind(kind.into(), Some(init)).await.context("cannot add a receiving section")?;
    Ok(())
}
