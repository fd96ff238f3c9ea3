//! What we are willing to negotiate, and which of the offered formats and header extensions are taken by that.

use super::fmtp::{h264_mode, h264_profile, parameter};
use super::offer::{OfferedDirection, OfferedFormat, OfferedMedia};
use crate::fec::Scheme;
use crate::media::{Codec, Direction, MediaKind, PayloadFormat, VideoRed};
use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::time::Duration;

/// What an answer may contain: what we are willing to negotiate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaPolicy {
    /// Codecs that are accepted. Their order in an answer is that of the offer: the sender knows best what it
    /// encodes well, and a page chooses by `setCodecPreferences`.
    pub codecs: Vec<Codec>,
    /// Whether Opus in redundant audio data is accepted.
    pub audio_red: bool,
    /// Whether the peer may publish. Without, what it wants to send is answered as inactive.
    pub publish: bool,
    /// Whether the peer may subscribe. Without, its slots are answered as inactive.
    pub subscribe: bool,
    /// Whether the peer reports on every packet that we send (transport-cc). It costs each subscriber up to 20 packets
    /// per second, so it is asked for only where an estimator reads it.
    pub slot_feedback: bool,
    /// Whether video may be protected by parity: what we send where the peer takes it (Reed-Solomon or FlexFEC-03), and what
    /// the peer sends where it offers that (either).
    pub parity: bool,
    /// Whether the peer may send video in RED, with parity in it (ULPFEC), where it offers that.
    pub publishers_ulpfec: bool,
    /// Whether we may, where the peer takes that and no other parity.
    pub subscribers_ulpfec: bool,
    /// How long we keep packets for retransmission, as `rtx-time` tells the peer. Chromium gives up on a frame
    /// after three times this.
    pub rtx_time: Duration,
    /// Most media sections in an offer.
    pub max_sections: usize,
    /// Most simulcast layers per section; further ones are declined.
    pub max_rids: usize,
}

impl Default for MediaPolicy {
    fn default() -> Self {
        use Codec::{Av1, H264, H265, Opus, OpusRed, Vp8, Vp9};
        Self {
            codecs: vec![Opus, OpusRed, Vp8, Vp9, H264, H265, Av1],
            audio_red: true,
            publish: true,
            subscribe: true,
            slot_feedback: true,
            parity: false,
            publishers_ulpfec: false,
            subscribers_ulpfec: false,
            // Measured with Chromium: a freeze of 0.84 s after unrepairable loss instead of 3.3 s.
            rtx_time: Duration::from_millis(200),
            // A gallery of 49 with audio, and room to grow.
            max_sections: 128,
            max_rids: 4,
        }
    }
}

impl MediaPolicy {
    /// Whether `codec` is accepted.
    pub fn accepts(&self, codec: Codec) -> bool {
        self.codecs.contains(&codec) && (codec != Codec::OpusRed || self.audio_red)
    }
}

/// Feedback messages that we understand or send.
pub(super) const FEEDBACK: [&str; 5] = ["nack", "nack pli", "ccm fir", "transport-cc", "goog-remb"];

/// A format that is taken, with the feedback that is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Accepted {
    pub(super) format: PayloadFormat,
    pub(super) feedback: Vec<&'static str>,
    pub(super) channels: u8,
}

impl Accepted {
    /// The peer does not report on every packet.
    pub(super) fn without_transport_cc(&mut self) {
        self.feedback.retain(|feedback| *feedback != "transport-cc");
    }
}

/// The formats of an offered section that the policy accepts, in the order of the offer.
pub(super) fn formats(media: &OfferedMedia, policy: &MediaPolicy) -> Vec<Accepted> {
    let mut accepted: Vec<Accepted> = Vec::new();
    for offered in &media.formats {
        let Some(codec) = codec(offered).filter(|&codec| policy.accepts(codec)) else { continue };
        let rtx = media.formats.iter().find(|other| is_rtx_of(other, offered)).map(|other| other.payload_type);
        let format = PayloadFormat {
            payload_type: offered.payload_type,
            codec,
            clock_rate: offered.clock_rate,
            fmtp: offered.fmtp.clone(),
            rtx,
        };
        let feedback = FEEDBACK.into_iter().filter(|feedback| offered.has_feedback(feedback)).collect();
        // RFC 7587 section 7: always two, also where the peer leaves them out.
        let channels = if codec.kind() == MediaKind::Audio { 2 } else { offered.channels };
        accepted.push(Accepted { format, feedback, channels });
    }
    // Redundancy without the format that it carries twice means nothing.
    let opus: Vec<_> =
        accepted.iter().filter(|a| a.format.codec == Codec::Opus).map(|a| a.format.payload_type).collect();
    accepted.retain(|a| {
        let primary = || a.format.fmtp.split('/').next().and_then(|pt| pt.trim().parse().ok());
        a.format.codec != Codec::OpusRed || primary().is_some_and(|pt| opus.iter().any(|opus| opus.0 == pt))
    });
    accepted
}

/// Name of our own parity in a=rtpmap (`docs/fec-payload-format.md` section 7).
pub(super) const REED_SOLOMON: &str = "rs-fec";
/// Name of Chromium's.
pub(super) const FLEXFEC: &str = "flexfec-03";

/// Names of what browsers send video and its parity in.
pub(super) const RED: &str = "red";
pub(super) const ULPFEC: &str = "ulpfec";

/// The format of parity on a source of its own, on a section of which media flows in `direction`: our own, else FlexFEC-03.
pub(super) fn parity(media: &OfferedMedia, direction: Direction) -> Option<(&OfferedFormat, Scheme)> {
    let own = named(media, REED_SOLOMON).map(|format| (format, Scheme::ReedSolomon));
    let any = own.or_else(|| Some((named(media, FLEXFEC)?, Scheme::FlexFec03)));
    any.filter(|_| match direction {
        Direction::Send => true,
        Direction::Receive => media.parity.is_some(),
        Direction::Inactive => false,
    })
}

/// RED with parity in it, where the peer offers both and the policy allows it to who sends.
pub(super) fn red(media: &OfferedMedia, direction: Direction, policy: &MediaPolicy) -> Option<VideoRed> {
    let red = named(media, RED).filter(|_| match direction {
        Direction::Receive => policy.publishers_ulpfec,
        Direction::Send => policy.subscribers_ulpfec,
        Direction::Inactive => false,
    })?;
    let rtx = media.formats.iter().find(|other| is_rtx_of(other, red)).map(|rtx| rtx.payload_type);
    Some(VideoRed { payload_type: red.payload_type, rtx, parity: named(media, ULPFEC)?.payload_type })
}

/// The offered format for video of this name.
fn named<'a>(media: &'a OfferedMedia, name: &str) -> Option<&'a OfferedFormat> {
    media.formats.iter().find(|format| format.name.eq_ignore_ascii_case(name) && format.clock_rate == 90_000)
}

fn is_rtx_of(rtx: &OfferedFormat, media: &OfferedFormat) -> bool {
    rtx.name.eq_ignore_ascii_case("rtx")
        && rtx.clock_rate == media.clock_rate
        && parameter(&rtx.fmtp, "apt").and_then(|apt| apt.parse().ok()) == Some(media.payload_type.0)
}

/// The codec of an offered format in the profile that we forward: the one that every receiver decodes.
fn codec(offered: &OfferedFormat) -> Option<Codec> {
    let is = |codec: Codec| offered.name.eq_ignore_ascii_case(codec.name());
    let default_is = |name, value| parameter(&offered.fmtp, name).unwrap_or(value) == value;
    match offered.clock_rate {
        48_000 if is(Codec::Opus) => Some(Codec::Opus),
        48_000 if is(Codec::OpusRed) => Some(Codec::OpusRed),
        90_000 if is(Codec::Vp8) => Some(Codec::Vp8),
        90_000 if is(Codec::Vp9) => default_is("profile-id", "0").then_some(Codec::Vp9),
        90_000 if is(Codec::H264) => h264(&offered.fmtp).then_some(Codec::H264),
        90_000 if is(Codec::H265) => {
            (default_is("profile-id", "1") && default_is("tx-mode", "SRST")).then_some(Codec::H265)
        }
        90_000 if is(Codec::Av1) => default_is("profile", "0").then_some(Codec::Av1),
        _ => None,
    }
}

/// H.264 in packetization mode 0 (a packet is a NAL unit) or 1 (it may be a fragment), and a 4:2:0 profile of eight bits:
/// Baseline, Main or High.
fn h264(fmtp: &str) -> bool {
    const PROFILES: [u8; 3] = [66, 77, 100];
    h264_mode(fmtp).is_some() && h264_profile(fmtp).is_some_and(|[idc, _]| PROFILES.contains(&idc))
}

/// The header extensions that are taken on a section of which media flows in `direction`.
pub(super) fn extensions(media: &OfferedMedia, accepted: &[Accepted], direction: Direction) -> ExtensionMap {
    let transport_cc = accepted.iter().any(|a| a.feedback.contains(&"transport-cc"))
        && media.extensions.iter().any(|e| e.kind == ExtensionKind::TransportCc && fits(e.direction, direction));
    let mut map = ExtensionMap::default();
    for offered in media.extensions.iter().filter(|offered| fits(offered.direction, direction)) {
        let wanted = match offered.kind {
            ExtensionKind::TransportCc => transport_cc,
            // Only a receiver that estimates by itself needs it, as we do.
            ExtensionKind::AbsSendTime => !transport_cc || direction == Direction::Receive,
            // A slot carries one stream without layers of its own.
            ExtensionKind::Rid | ExtensionKind::RepairedRid | ExtensionKind::VideoLayersAllocation => {
                direction != Direction::Send
            }
            _ => true,
        };
        if wanted {
            map.set(offered.kind, offered.id);
        }
    }
    map
}

/// Whether an extension that the peer uses in the direction `offered` can be used on a section.
fn fits(offered: OfferedDirection, direction: Direction) -> bool {
    match direction {
        Direction::Receive => offered.sends(),
        Direction::Send => offered.receives(),
        Direction::Inactive => true,
    }
}
