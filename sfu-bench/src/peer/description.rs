//! The peer's offer, and what it needs of the server's answer (RFC 8866, RFC 8829).

use crate::endpoint::EndpointParams;
use crate::media::VideoCodec;
use anyhow::{Context, Result, bail};
use sfu_rtc::dtls::{DtlsRole, Fingerprint};
use sfu_rtc::ice::{Candidate, CandidateProtocol, IceCredentials};
use sfu_rtc::ids::Ssrc;
use sfu_rtc::net::{NetworkPath, Protocol};
use sfu_rtc::rtp::extension::ExtensionKind;
use sfu_rtc::sdp::{Offer as Description, Setup};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Payload type of Opus.
pub const OPUS: u8 = 111;
/// Payload type of Opus with older audio in front (RFC 2198).
pub const RED: u8 = 63;
/// Payload type of video.
pub const VIDEO: u8 = 96;
/// Payload type of retransmitted video.
pub const VIDEO_RTX: u8 = 97;
/// Payload type of parity (FlexFEC-03).
pub const FEC: u8 = 49;
/// Payload type of our own parity, beside video that it sends.
pub const RS_FEC: u8 = 50;
/// Ids of the header extensions that the peer offers.
pub const EXTENSIONS: [(ExtensionKind, u8); 7] = [
    (ExtensionKind::Mid, 1),
    (ExtensionKind::TransportCc, 2),
    (ExtensionKind::AudioLevel, 3),
    (ExtensionKind::Rid, 4),
    (ExtensionKind::RepairedRid, 5),
    (ExtensionKind::PlayoutDelay, 6),
    (ExtensionKind::DependencyDescriptor, 7),
];

/// Source of the retransmissions of `media`. Media sources are counted from 1 on, and never come near.
pub fn rtx_of(media: Ssrc) -> Ssrc {
    Ssrc(media.0 | 1 << 31)
}

/// Source of the parity of `media`.
pub fn parity_of(media: Ssrc) -> Ssrc {
    Ssrc(media.0 | 1 << 30)
}

/// What a peer offers.
#[derive(Clone, Debug)]
pub struct OfferPlan {
    /// Our credentials.
    pub ice: IceCredentials,
    /// Our certificate's.
    pub fingerprint: Fingerprint,
    /// Codec of all video.
    pub codec: VideoCodec,
    /// Source of the sound that it sends.
    pub audio: Option<Ssrc>,
    /// Sources of the video that it sends; more than one is simulcast, lowest first.
    pub video: Vec<Ssrc>,
    /// Slots for sound.
    pub audio_slots: usize,
    /// Slots for video.
    pub video_slots: usize,
    /// Whether it takes redundant sound for what it receives, as browsers do.
    pub red: bool,
    /// Whether it takes parity for what it receives, as Chromium does, and can send parity beside video in one layer, as our
    /// own client does.
    pub flexfec: bool,
}

/// Names of simulcast layers, lowest first.
pub const RIDS: [&str; 3] = ["q", "h", "f"];

impl OfferPlan {
    /// The section that carries the sent sound.
    pub fn audio_mid(&self) -> Option<usize> {
        self.audio.map(|_| 0)
    }

    /// The section that carries the sent video.
    pub fn video_mid(&self) -> Option<usize> {
        (!self.video.is_empty()).then(|| usize::from(self.audio.is_some()))
    }

    /// As SDP.
    pub fn to_sdp(&self) -> String {
        let sending = usize::from(self.audio.is_some()) + usize::from(!self.video.is_empty());
        let total = sending + self.audio_slots + self.video_slots;
        let mids: Vec<String> = (0..total).map(|mid| mid.to_string()).collect();
        let mut sdp =
            format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n", mids.join(" "));
        let mut mids = mids.iter();
        let mut section = |sdp: &mut String, is_audio, direction: &str, own: &str| {
            let mid = mids.next().expect("as many mids as sections were made");
            self.section(sdp, mid, is_audio, direction, own);
        };
        if let Some(ssrc) = self.audio {
            section(&mut sdp, true, "sendonly", &format!("a=ssrc:{} cname:bench\r\n", ssrc.0));
        }
        if !self.video.is_empty() {
            section(&mut sdp, false, "sendonly", &self.video_sources());
        }
        for _ in 0..self.audio_slots {
            section(&mut sdp, true, "recvonly", "");
        }
        for _ in 0..self.video_slots {
            section(&mut sdp, false, "recvonly", "");
        }
        sdp
    }

    fn video_sources(&self) -> String {
        if let [ssrc] = self.video[..] {
            let (media, rtx) = (ssrc.0, rtx_of(ssrc).0);
            let parity = parity_of(ssrc).0;
            let parity = match self.flexfec {
                true => format!("a=ssrc-group:FEC-FR {media} {parity}\r\na=ssrc:{parity} cname:bench\r\n"),
                false => String::new(),
            };
            return parity
                + &format!(
                    "a=ssrc-group:FID {media} {rtx}\r\na=ssrc:{media} cname:bench\r\na=ssrc:{rtx} cname:bench\r\n"
                );
        }
        let rids = &RIDS[..self.video.len().min(RIDS.len())];
        let lines: String = rids.iter().map(|rid| format!("a=rid:{rid} send\r\n")).collect();
        format!("{lines}a=simulcast:send {}\r\n", rids.join(";"))
    }

    fn section(&self, sdp: &mut String, mid: &str, is_audio: bool, direction: &str, own: &str) {
        let (kind, formats, fec) = match (is_audio, self.flexfec, direction) {
            (true, _, "recvonly") if self.red => ("audio", "111 63", RED_LINES),
            (true, ..) => ("audio", "111", ""),
            (false, true, "recvonly") => ("video", "96 97 49", FEC_LINES),
            (false, true, _) if self.video.len() == 1 => ("video", "96 97 50", RS_FEC_LINES),
            (false, ..) => ("video", "96 97", ""),
        };
        let codec = match (is_audio, self.codec) {
            (true, _) => "a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n".to_owned(),
            (false, VideoCodec::Vp8) => video_lines("VP8", ""),
            (false, VideoCodec::H264) => video_lines(
                "H264",
                "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n",
            ),
        };
        let extensions: String =
            EXTENSIONS.iter().map(|(kind, id)| format!("a=extmap:{id} {}\r\n", kind.uri())).collect();
        // Writing to a String cannot fail.
        let _ = write!(
            sdp,
            "m={kind} 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na={direction}\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{}\r\na=setup:actpass\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
             {extensions}{codec}{fec}{own}",
            self.ice.ufrag, self.ice.pwd, self.fingerprint
        );
    }
}

const FEC_LINES: &str =
    "a=rtpmap:49 flexfec-03/90000\r\na=rtcp-fb:49 transport-cc\r\na=fmtp:49 repair-window=10000000\r\n";

const RED_LINES: &str = "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n";

const RS_FEC_LINES: &str = "a=rtpmap:50 rs-fec/90000\r\na=rtcp-fb:50 transport-cc\r\n";

fn video_lines(name: &str, fmtp: &str) -> String {
    format!(
        "a=rtpmap:96 {name}/90000\r\n{fmtp}a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 ccm fir\r\n\
         a=rtcp-fb:96 transport-cc\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
    )
}

/// What the server answered.
#[derive(Clone, Debug)]
pub struct ServerAnswer {
    /// How to connect.
    pub params: EndpointParams,
    /// Sources of retransmissions that the server announced, each with the source that it repairs.
    pub repairs: Vec<(Ssrc, Ssrc)>,
    /// Whether the server takes parity beside what is sent.
    pub takes_parity: bool,
    /// Sources of parity, each with the source that it protects.
    pub parity: Vec<(Ssrc, Ssrc)>,
    /// Id of the transport-wide sequence number that the server agreed to.
    pub transport_cc: Option<u8>,
    /// Id of the limits of the playout delay, the same.
    pub playout_delay: Option<u8>,
}

/// Reads an answer.
///
/// # Errors
/// Where it is no SDP, or names no UDP candidate.
pub fn read_answer(sdp: &str, local_ice: IceCredentials) -> Result<ServerAnswer> {
    let answer = Description::parse(sdp).context("the server's answer is not usable SDP")?;
    let candidates = sdp.lines().filter_map(|line| line.strip_prefix("a="));
    let server = candidates
        .filter_map(|value| value.trim().parse::<Candidate>().ok())
        .filter(|candidate| candidate.protocol == CandidateProtocol::Udp)
        .max_by_key(|candidate| (reach(candidate.address), candidate.priority));
    let Some(server) = server else { bail!("the server's answer names no UDP candidate") };
    let path =
        NetworkPath { remote: server.address, local: IpAddr::V4(Ipv4Addr::UNSPECIFIED), protocol: Protocol::Udp };
    let sources = answer.media.iter().flat_map(|media| &media.ssrcs);
    let repairs = sources.filter_map(|source| Some((source.ssrcs.rtx?, source.ssrcs.media))).collect();
    let groups = sdp.lines().filter_map(|line| line.trim().strip_prefix("a=ssrc-group:FEC-FR "));
    let parity = groups.filter_map(|group| {
        let (media, fec) = group.split_once(' ')?;
        Some((Ssrc(fec.parse().ok()?), Ssrc(media.parse().ok()?)))
    });
    let parity = parity.collect();
    let takes_parity = sdp.contains(" rs-fec/90000");
    let extensions = answer.media.iter().flat_map(|media| &media.extensions);
    let id = |kind| extensions.clone().find(|extension| extension.kind == kind).map(|extension| extension.id);
    let (transport_cc, playout_delay) = (id(ExtensionKind::TransportCc), id(ExtensionKind::PlayoutDelay));
    let dtls_role = if answer.setup == Setup::Active { DtlsRole::Server } else { DtlsRole::Client };
    let (remote_ice, fingerprints) = (answer.ice, answer.fingerprints);
    let params = EndpointParams { local_ice, remote_ice, fingerprints, dtls_role, path };
    Ok(ServerAnswer { params, repairs, takes_parity, parity, transport_cc, playout_delay })
}

/// Loopback first: load goes to servers on this machine or in namespaces of ours.
fn reach(address: SocketAddr) -> u8 {
    match address.ip() {
        ip if ip.is_loopback() && ip.is_ipv4() => 2,
        ip if ip.is_ipv4() => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_rtc::dtls::DtlsCertificate;

    fn plan() -> OfferPlan {
        OfferPlan {
            ice: IceCredentials::from_entropy('b', &[7; sfu_rtc::ice::ICE_ENTROPY]),
            fingerprint: DtlsCertificate::generate().fingerprint().clone(),
            codec: VideoCodec::Vp8,
            audio: Some(Ssrc(1)),
            video: vec![Ssrc(2), Ssrc(3), Ssrc(4)],
            audio_slots: 2,
            video_slots: 3,
            flexfec: false,
            red: true,
        }
    }

    #[test]
    fn the_offer_is_one_that_a_server_reads() {
        let plan = plan();
        let offer = Description::parse(&plan.to_sdp()).unwrap();
        assert_eq!(offer.media.len(), 7);
        assert_eq!(offer.media[1].rids.len(), 3);
        assert_eq!((plan.audio_mid(), plan.video_mid()), (Some(0), Some(1)));
        assert_eq!(offer.ice, plan.ice);
        let single = OfferPlan { video: vec![Ssrc(2)], audio: None, ..plan };
        let offer = Description::parse(&single.to_sdp()).unwrap();
        let pair = offer.media[0].ssrcs[0].ssrcs;
        assert_eq!((pair.media, pair.rtx), (Ssrc(2), Some(rtx_of(Ssrc(2)))));
    }

    #[test]
    fn an_answer_without_a_way_to_the_server_is_refused() {
        let sdp = plan().to_sdp();
        let error = read_answer(&sdp, plan().ice).unwrap_err();
        assert!(error.to_string().contains("candidate"), "{error}");
        let with = format!("{sdp}a=candidate:1 1 udp 2130706431 127.0.0.1 7881 typ host\r\n");
        let answer = read_answer(&with, plan().ice).unwrap();
        assert_eq!(answer.params.path.remote, SocketAddr::from(([127, 0, 0, 1], 7881)));
        assert_eq!(answer.transport_cc, Some(2));
    }
}
