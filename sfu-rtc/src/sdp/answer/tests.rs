//! Answers to what browsers and programs really offer, and to any text.

use super::*;
use crate::ice::{Candidate, CandidateProtocol, IceCredentials};
use crate::ids::{PayloadType, Rid};
use crate::media::Codec;
use crate::sdp::Fault;
use crate::sdp::lines::Description;
use proptest::prelude::*;

/// Of a certificate, by SHA-256.
const HASH: &str = "0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F:20:21:22:23:24:25:26:27:28:29";

macro_rules! fixtures {
    ($($name:literal),+ $(,)?) => {
        /// Offers of Chromium 156, Firefox 153 ESR, str0m and webrtc-rs as they were made; those of OBS and FFmpeg
        /// are in the shape that these programs write. A number tells the steps of one session.
        const FIXTURES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../fixtures/", $name, ".sdp")))),+];
    };
}

fixtures![
    "chromium-av1",
    "chromium-data-0",
    "chromium-data-1",
    "chromium-inactive-0",
    "chromium-inactive-1",
    "chromium-inactive-2",
    "chromium-paused-layers",
    "chromium-restart-0",
    "chromium-restart-1",
    "chromium-screen",
    "chromium-sendrecv-red",
    "chromium-simulcast",
    "chromium-stopped-0",
    "chromium-stopped-1",
    "chromium-stopped-2",
    "chromium-stopped-3",
    "chromium-vp9-svc",
    "chromium-whep",
    "ffmpeg",
    "firefox-av1",
    "firefox-data-0",
    "firefox-data-1",
    "firefox-inactive-0",
    "firefox-inactive-1",
    "firefox-inactive-2",
    "firefox-paused-layers",
    "firefox-restart-0",
    "firefox-restart-1",
    "firefox-screen",
    "firefox-sendrecv-red",
    "firefox-simulcast",
    "firefox-stopped-0",
    "firefox-stopped-1",
    "firefox-stopped-2",
    "firefox-stopped-3",
    "firefox-vp9-svc",
    "firefox-whep",
    "obs",
    "str0m",
    "webrtc-rs",
];

fn fixture(name: &str) -> &'static str {
    FIXTURES.iter().find(|(known, _)| *known == name).expect("a fixture of this name").1
}

/// Our side of one session, over several offers.
struct Session {
    policy: MediaPolicy,
    previous: Vec<MediaSection>,
    dtls_role: Option<DtlsRole>,
    version: u64,
    next_ssrc: u32,
}

impl Session {
    fn new() -> Self {
        Self::with(MediaPolicy::default())
    }

    fn with(policy: MediaPolicy) -> Self {
        Self { policy, previous: Vec::new(), dtls_role: None, version: 0, next_ssrc: 0 }
    }

    fn answer(&mut self, text: &str) -> Result<(Offer, Answer), SdpError> {
        let offer = Offer::parse(text)?;
        self.version += 1;
        let candidate = |protocol| Candidate::host(protocol, "192.0.2.1:7881".parse().unwrap(), 1);
        let params = AnswerParams {
            ice: &IceCredentials { ufrag: "ours".into(), pwd: "0123456789012345678901".into() },
            fingerprint: &format!("sha-256 {HASH}").parse().unwrap(),
            candidates: &[candidate(CandidateProtocol::Udp), candidate(CandidateProtocol::TcpPassive)],
            policy: &self.policy,
            session: u64::MAX,
            version: self.version,
            previous: &self.previous,
            dtls_role: self.dtls_role,
            cname: "cname",
            streams: &|mid| format!("slot{mid}"),
        };
        let answer = answer(&offer, &params, &mut || {
            self.next_ssrc += 1;
            Ssrc(self.next_ssrc)
        })?;
        check_agreement(text, &offer, &answer);
        self.previous.clone_from(&answer.sections);
        self.dtls_role = Some(answer.dtls_role);
        Ok((offer, answer))
    }

    /// Answers a fixture, which must succeed.
    fn fixture(&mut self, name: &str) -> (Offer, Answer) {
        self.answer(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

fn setup_of(role: DtlsRole) -> &'static str {
    match role {
        DtlsRole::Client => "active",
        DtlsRole::Server => "passive",
    }
}

/// What must hold between any offer and its answer.
fn check_agreement(text: &str, offer: &Offer, answer: &Answer) {
    let offered = Description::parse(text).expect("it was parsed before");
    let answered = Description::parse(&answer.sdp).expect("an answer can be parsed");
    assert_eq!(answered.media.len(), offered.media.len());
    let mut bundled = Vec::new();
    for (theirs, ours) in offered.media.iter().zip(&answered.media) {
        assert_eq!((ours.media, ours.proto), (theirs.media, theirs.proto));
        assert_eq!(ours.attribute("mid").map(|a| a.value), theirs.attribute("mid").map(|a| a.value));
        assert!(ours.formats.iter().all(|format| theirs.formats.contains(format)), "only offered payload types");
        let extension = |line: &&str| line.split(['/', ' ']).next().unwrap_or("").to_owned();
        let ids: Vec<_> = theirs.all("extmap").map(|line| extension(&line.value)).collect();
        assert!(ours.all("extmap").all(|line| ids.contains(&extension(&line.value))), "only offered ids");
        if ours.port != 0 {
            assert!(theirs.port != 0 || theirs.attribute("bundle-only").is_some());
            assert_eq!(ours.attribute("setup").map(|a| a.value), Some(setup_of(answer.dtls_role)));
            bundled.extend(ours.attribute("mid").map(|a| a.value));
        }
    }
    let group = answered.session.iter().find(|line| line.name == "group").map(|line| line.value.to_owned());
    let expected = (offer.grouped && !bundled.is_empty()).then(|| format!("BUNDLE {}", bundled.join(" ")));
    assert_eq!(group, expected);
    let media = offer.media.iter().filter(|media| kind(media).is_some()).filter_map(|media| media.mid);
    assert!(answer.sections.iter().map(|section| section.mid).eq(media));
    let mut ssrcs: Vec<_> = answer.sections.iter().filter_map(|section| section.local_ssrcs).collect();
    ssrcs.sort_by_key(|pair| pair.media);
    assert!(ssrcs.windows(2).all(|pair| pair[0].media != pair[1].media), "each source once");
    if !bundled.is_empty() {
        let again = Offer::parse(&answer.sdp).expect("an answer reads as an offer");
        assert_eq!(again.setup, if answer.dtls_role == DtlsRole::Client { Setup::Active } else { Setup::Passive });
    }
}

fn codecs(section: &MediaSection) -> Vec<Codec> {
    section.formats.iter().map(|format| format.codec).collect()
}

fn rids(section: &MediaSection) -> Vec<&str> {
    section.rids.iter().map(Rid::as_str).collect()
}

#[test]
fn feedback_on_slots_is_asked_for_only_where_it_is_read() {
    let mut session = Session::with(MediaPolicy { slot_feedback: false, ..Default::default() });
    let (_, answer) = session.fixture("chromium-simulcast");
    let cc = |direction| {
        let section = answer.sections.iter().rfind(|section| section.direction == direction).unwrap();
        section.extensions.id(ExtensionKind::TransportCc).is_some()
    };
    assert_eq!((cc(Direction::Receive), cc(Direction::Send)), (true, false));
}

#[test]
fn every_fixture_is_answered() {
    // Data channels alone are nothing that we have.
    for (name, _) in FIXTURES.iter().filter(|(name, _)| !name.ends_with("data-0")) {
        Session::new().fixture(name);
    }
}

#[test]
fn simulcast_and_slots_of_both_browsers() {
    for name in ["chromium-simulcast", "firefox-simulcast"] {
        let (offer, answer) = Session::new().fixture(name);
        let directions: Vec<_> = answer.sections.iter().map(|section| section.direction).collect();
        use Direction::{Receive, Send};
        assert_eq!(directions, [Receive, Receive, Send, Send, Send], "{name}");
        let [audio, video, slot, _, video_slot] = answer.sections.as_slice() else { panic!("five sections") };
        assert_eq!(rids(video), ["q", "h", "f"]);
        assert_eq!(video.formats[0].codec, Codec::Vp8);
        assert!(video.formats.iter().all(|format| format.rtx.is_some()) && video.nack);
        assert!(video.local_ssrcs.is_none() && audio.rids.is_empty());
        assert!(video.extensions.id(ExtensionKind::Rid).is_some());
        assert!(video.extensions.id(ExtensionKind::DependencyDescriptor).is_some());
        assert!(video.extensions.id(ExtensionKind::AbsSendTime).is_some() && video.remb, "we estimate, too");
        assert!(audio.extensions.id(ExtensionKind::AudioLevel).is_some());
        assert!(slot.local_ssrcs.unwrap().rtx.is_none(), "audio has no retransmission");
        assert!(video_slot.local_ssrcs.unwrap().rtx.is_some());
        for kind in [ExtensionKind::Rid, ExtensionKind::RepairedRid, ExtensionKind::VideoLayersAllocation] {
            assert_eq!(video_slot.extensions.id(kind), None);
        }
        assert_eq!(video_slot.extensions.id(ExtensionKind::AbsSendTime), None, "transport-cc takes its place");
        assert!(video_slot.extensions.id(ExtensionKind::TransportCc).is_some());
        assert!(video_slot.extensions.id(ExtensionKind::PlayoutDelay).is_some());
        assert_eq!(offer.media[0].stream, offer.media[1].stream, "audio and video of one camera");
        assert!(offer.media[0].stream.is_some());
        assert!(answer.sdp.contains("a=simulcast:recv q;h;f\r\n") && answer.sdp.contains("a=rid:h recv\r\n"));
        assert!(answer.sdp.contains("rtx-time=200"));
        assert_eq!(answer.sdp.matches("typ host").count(), 2, "candidates stand once");
    }
}

#[test]
fn firefox_limits_directions_of_extensions() {
    let (_, answer) = Session::new().fixture("firefox-simulcast");
    let video = &answer.sections[1];
    assert_eq!(video.extensions.id(ExtensionKind::PlayoutDelay), None, "offered as recvonly on what it sends");
    let line = "a=extmap:9/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n";
    assert_eq!(answer.sdp.matches(line).count(), 1);
    assert_eq!(video.remote_ssrcs.len(), 3);
    assert!(video.remote_ssrcs.iter().all(|source| source.ssrcs.rtx.is_some() && source.rid.is_none()));
}

#[test]
fn codecs_that_are_forwarded_keep_the_order_of_the_offer() {
    use Codec::{Av1, H264, Opus, OpusRed, Vp8, Vp9};
    let (_, answer) = Session::new().fixture("chromium-vp9-svc");
    assert_eq!(codecs(&answer.sections[0]), [Opus, OpusRed]);
    assert_eq!(codecs(&answer.sections[1]), [Vp9, Vp8, H264, H264, H264, H264, H264, H264, Av1]);
    assert!(!answer.sdp.contains("ulpfec") && !answer.sdp.contains("red/90000"));
    let (_, answer) = Session::new().fixture("chromium-av1");
    assert_eq!(codecs(&answer.sections[1])[0], Av1);
    let (_, answer) = Session::new().fixture("chromium-sendrecv-red");
    assert_eq!(codecs(&answer.sections[0]), [OpusRed, Opus]);
}

#[test]
fn what_the_policy_does_not_allow_is_left_out() {
    let mut session = Session::with(MediaPolicy { audio_red: false, codecs: vec![Codec::Opus], ..Default::default() });
    let (_, answer) = session.fixture("chromium-sendrecv-red");
    assert_eq!(codecs(&answer.sections[0]), [Codec::Opus]);
    assert_eq!(answer.sections[1].direction, Direction::Inactive);
    assert!(answer.sdp.contains("m=video 0 "), "a section without a codec in common is rejected");

    let mut viewer = Session::with(MediaPolicy { publish: false, ..Default::default() });
    let (_, answer) = viewer.fixture("chromium-sendrecv-red");
    assert!(answer.sections.iter().all(|section| section.direction == Direction::Send));
    let (_, answer) = viewer.fixture("chromium-av1");
    assert!(answer.sections.iter().all(|section| section.direction == Direction::Inactive));

    let mut publisher = Session::with(MediaPolicy { subscribe: false, max_rids: 2, ..Default::default() });
    let (_, answer) = publisher.fixture("chromium-simulcast");
    assert_eq!(answer.sections[4].direction, Direction::Inactive);
    assert_eq!(rids(&answer.sections[1]), ["q", "h"]);
    publisher.policy.max_sections = 4;
    let error = publisher.answer(fixture("chromium-simulcast")).unwrap_err();
    assert_eq!(error.to_string(), "more than 4 media sections that are not stopped (line 359)");
}

#[test]
fn paused_layers_stay_layers() {
    let (_, answer) = Session::new().fixture("chromium-paused-layers");
    assert_eq!(rids(&answer.sections[1]), ["q", "h", "f"]);
    assert!(answer.sdp.contains("a=simulcast:recv q;~h;~f\r\n"));
}

#[test]
fn inactive_sections_keep_sources_and_layers() {
    let mut session = Session::new();
    let (_, first) = session.fixture("chromium-inactive-0");
    let (_, second) = session.fixture("chromium-inactive-1");
    let (_, third) = session.fixture("chromium-inactive-2");
    assert_eq!(second.sections[1].direction, Direction::Inactive);
    assert_eq!(second.sections[2].direction, Direction::Inactive);
    assert!(second.sdp.contains("a=simulcast:recv q;h;f"));
    assert_eq!(first.sections[2].local_ssrcs, third.sections[2].local_ssrcs);
    assert!(third.sdp.starts_with("v=0\r\no=- 9223372036854775807 3 IN IP4"), "{}", third.sdp);
}

#[test]
fn stopped_sections_are_rejected_and_reused() {
    for browser in ["chromium", "firefox"] {
        let mut session = Session::new();
        let (_, first) = session.fixture(&format!("{browser}-stopped-0"));
        let (_, stopped) = session.fixture(&format!("{browser}-stopped-1"));
        assert!(stopped.sdp.contains("m=video 0 "), "{browser}");
        let (offer, reused) = session.fixture(&format!("{browser}-stopped-2"));
        assert_eq!(offer.media.len(), 4);
        assert_eq!(reused.sections.iter().filter(|s| s.direction == Direction::Send).count(), 3);
        let sources = |answer: &Answer, mid: &str| {
            let section = answer.sections.iter().find(|section| section.mid.as_str() == mid);
            section.and_then(|section| section.local_ssrcs)
        };
        assert_eq!(sources(&reused, "3"), sources(&first, "3"));
        // The first section of the bundle goes: another one takes the transport over.
        let (_, last) = session.fixture(&format!("{browser}-stopped-3"));
        assert!(last.sdp.contains("m=audio 0 "));
        assert_eq!(last.sdp.matches("typ host").count(), 2);
    }
}

#[test]
fn an_ice_restart_shows_in_the_credentials() {
    for browser in ["chromium", "firefox"] {
        let mut session = Session::new();
        let (before, first) = session.fixture(&format!("{browser}-restart-0"));
        let (after, second) = session.fixture(&format!("{browser}-restart-1"));
        assert_ne!(before.ice, after.ice);
        assert_eq!(before.fingerprints, after.fingerprints);
        // The second offer was recorded after an answer that had left the time of sending out.
        let rest = |mut sections: Vec<MediaSection>| {
            for section in &mut sections {
                let mut extensions = ExtensionMap::default();
                let kept = section.extensions.iter().filter(|(kind, _)| *kind != ExtensionKind::AbsSendTime);
                kept.for_each(|(kind, id)| assert!(extensions.set(kind, id)));
                section.extensions = extensions;
            }
            sections
        };
        assert_eq!(rest(first.sections), rest(second.sections));
    }
}

#[test]
fn data_channels_are_declined_wherever_they_stand() {
    for browser in ["chromium", "firefox"] {
        let mut session = Session::new();
        let alone = session.answer(fixture(&format!("{browser}-data-0"))).unwrap_err();
        assert!(matches!(alone, SdpError::NothingUsable { .. }), "{alone}");
        let (_, with_media) = session.fixture(&format!("{browser}-data-1"));
        assert!(with_media.sdp.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
        assert_eq!(with_media.sections.len(), 2);
    }
}

#[test]
fn programs_that_announce_sources_and_no_extensions() {
    for (name, payload_type, ssrc) in [("obs", 96, 2_271_560_482), ("ffmpeg", 106, 1_090_286_453)] {
        let (_, answer) = Session::new().fixture(name);
        let video = &answer.sections[1];
        assert_eq!(video.direction, Direction::Receive);
        let ssrcs = SsrcPair { media: Ssrc(ssrc), rtx: None };
        assert_eq!(video.remote_ssrcs, [RemoteSource { ssrcs, rid: None }]);
        let format = &video.formats[0];
        assert_eq!((format.payload_type, format.codec, format.rtx), (PayloadType(payload_type), Codec::H264, None));
        assert_eq!(video.extensions, ExtensionMap::default());
        assert_eq!(video.nack, name == "obs");
    }
    let (_, obs) = Session::new().fixture("obs");
    assert!(obs.sdp.contains("maxaveragebitrate=96000;stereo=1"), "audio stays stereo");
}

#[test]
fn peers_written_in_rust() {
    let (_, answer) = Session::new().fixture("str0m");
    assert_eq!(rids(&answer.sections[1]), ["l", "h"]);
    assert!(answer.sections[1].extensions.id(ExtensionKind::AbsCaptureTime).is_some());
    assert!(!answer.sdp.contains("a=rtcp-rsize"), "not offered");
    let (_, answer) = Session::new().fixture("webrtc-rs");
    let directions: Vec<_> = answer.sections.iter().map(|section| section.direction).collect();
    assert_eq!(directions, [Direction::Receive, Direction::Send, Direction::Send]);
    assert_eq!(answer.sections[0].remote_ssrcs[0].ssrcs.media, Ssrc(1234));
}

/// A small offer with the lines of one video section replaced.
fn offer_with(session: &str, section: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 {HASH}\r\na=setup:actpass\r\n{session}\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 H264/90000\r\n\
        a=fmtp:98 packetization-mode=1;profile-level-id=42e01f\r\n{section}"
    )
}

#[test]
fn payload_types_that_look_like_rtcp_are_not_used() {
    for payload_type in [64, 72, 95] {
        let offer = offer_with("", "").replace("96", &payload_type.to_string());
        let (_, answer) = Session::new().answer(&offer).unwrap();
        let formats: Vec<u8> = answer.sections[0].formats.iter().map(|format| format.payload_type.0).collect();
        assert_eq!(formats, [98], "RFC 5761 section 4");
    }
    let (_, answer) = Session::new().answer(&offer_with("", "").replace("96", "63")).unwrap();
    assert_eq!(answer.sections[0].formats[0].payload_type, PayloadType(63));
}

#[test]
fn restrictions_and_alternatives_of_simulcast() {
    let extension = "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n";
    let offer = offer_with(
        "",
        &format!(
            "{extension}a=rid:a send pt=96,98,100;max-width=320\r\na=rid:b send\r\na=rid:c send max-fps=15\r\n\
            a=rid:d send pt=100\r\na=rid:r recv\r\na=simulcast: recv r send x,a;~b,c;c;d;a\r\n"
        ),
    );
    let (_, answer) = Session::new().answer(&offer).unwrap();
    assert_eq!(rids(&answer.sections[0]), ["a", "b", "c"], "d has no payload type that is taken");
    assert!(answer.sdp.contains("a=rid:a recv pt=96,98;max-width=320\r\na=rid:b recv\r\na=rid:c recv max-fps=15\r\n"));
    assert!(answer.sdp.ends_with("a=simulcast:recv a;~b;c\r\n"), "{}", answer.sdp);

    let (_, unnamed) = Session::new().answer(&offer.replace(extension, "")).unwrap();
    assert!(unnamed.sections[0].rids.is_empty(), "packets could not name their layer");
}

#[test]
fn h264_by_packetization_mode_and_profile() {
    let taken = |fmtp: &str| {
        let offer = offer_with("", &format!("a=rtpmap:99 H264/90000\r\na=fmtp:99 {fmtp}\r\n"));
        let (_, answer) = Session::new().answer(&offer).unwrap();
        answer.sections[0].format(PayloadType(99)).is_some()
    };
    assert!(taken("packetization-mode=1;profile-level-id=640c1f"));
    assert!(taken("packetization-mode=1;profile-level-id=4d001f"));
    assert!(taken("profile-level-id=42001f; PACKETIZATION-MODE=1"));
    assert!(taken("packetization-mode=1"));
    assert!(taken("packetization-mode=0;profile-level-id=42e01f"));
    assert!(taken("profile-level-id=42e01f"), "no mode is mode 0");
    assert!(!taken("packetization-mode=2"), "interleaved");
    assert!(!taken("packetization-mode=1;profile-level-id=f4001f"), "4:4:4");
    assert!(!taken("packetization-mode=1;profile-level-id=zz001f"));
}

#[test]
fn the_dtls_role_is_the_opposite_of_the_offered_and_stays() {
    let offer = |setup: &str| offer_with("", "").replace("actpass", setup);
    for (first, role) in [("passive", DtlsRole::Client), ("active", DtlsRole::Server), ("actpass", DtlsRole::Client)] {
        let mut session = Session::new();
        let (_, answer) = session.answer(&offer(first)).unwrap();
        assert_eq!(answer.dtls_role, role);
        assert!(answer.sdp.contains(&format!("a=setup:{}\r\n", setup_of(role))), "{}", answer.sdp);
        // RFC 8842 section 5.3: a later offer says actpass again, or what came of it.
        let (_, again) = session.answer(&offer("actpass")).unwrap();
        assert_eq!(again.dtls_role, role);
        let (same, other) = if role == DtlsRole::Client { ("passive", "active") } else { ("active", "passive") };
        assert_eq!(session.answer(&offer(same)).unwrap().1.dtls_role, role);
        let error = session.answer(&offer(other)).unwrap_err();
        assert_eq!(error.to_string(), "not supported (line 10): a change of DTLS roles in mid-call");
    }
}

#[test]
fn what_cannot_be_answered_says_why() {
    let message = |text: &str| {
        let error = Session::new().answer(text).unwrap_err();
        assert_eq!(error.fault(), Fault::Peer);
        error.to_string()
    };
    let good = offer_with("", "");
    assert!(Session::new().answer(&good).is_ok());
    assert!(Session::new().answer(&good.replace("\r\n", "\n")).is_ok());
    assert_eq!(message(""), "line 1 (``): a description begins with v=0");
    assert_eq!(message(&good.replace("a=ice-ufrag:abcd\r\n", "")), "a=ice-ufrag is missing (line 9)");
    assert_eq!(
        message(&good.replace("a=ice-pwd:01", "a=ice-pwd:é")),
        "line 7 (`a=ice-pwd:é23456789012345678901`): a=ice-pwd has 22 to 256 letters and digits"
    );
    let no_hash = good.replace(&format!("a=fingerprint:sha-256 {HASH}\r\n"), "");
    assert_eq!(message(&no_hash), "a=fingerprint is missing (line 9)");
    assert_eq!(message(&good.replace("a=mid:0\r\n", "")), "a=mid is missing (line 10)");
    let sha_1 = good.replace("sha-256 0A", "sha-1 0A");
    assert!(message(&sha_1).contains("a=fingerprint without one of sha-256, sha-384 or sha-512"));
    assert!(Session::new().answer(&good.replace("a=setup", "a=fingerprint:sha-1 0A\r\na=setup")).is_ok());
    assert!(Session::new().answer(&good.replace("sha-256 ", &format!("SHA-512 {HASH}:"))).is_ok());
    let lite = offer_with("a=ice-lite\r\n", "");
    assert_eq!(message(&lite), "not supported (line 11): an ICE-lite peer, for we are ICE-lite");
    let twice = format!("{good}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n");
    assert!(message(&twice).contains("the same a=mid"));
    let no_bundle = format!("{good}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\n").replace("a=group:BUNDLE 0\r\n", "");
    let expected = format!("not supported (line {}): several sections without a=group:BUNDLE", good.lines().count());
    assert_eq!(message(&no_bundle), expected);
    assert!(message(&good.replace("m=video 9", "m=video 0")).contains("no media section that is not stopped"));
    assert!(message("v=0\r\n").contains("no media section that is not stopped"));
    assert!(message(&good.replace("t=0 0", "t=0 0\r\nnonsense")).contains("(`nonsense`)"));
    let ghost = good.replace("BUNDLE 0", "BUNDLE 0 7");
    assert!(message(&ghost).contains("names a section that is not there"));
}

#[test]
fn sections_outside_the_bundle_and_without_rtcp_mux_are_rejected() {
    let second = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n";
    let both = offer_with("", second);
    let (_, answer) = Session::new().answer(&both).unwrap();
    assert!(answer.sdp.contains("m=audio 0 ") && answer.sdp.contains("m=video 9 "));
    let (_, answer) = Session::new().answer(&both.replace("BUNDLE 0", "BUNDLE 0 1")).unwrap();
    assert!(answer.sdp.contains("m=audio 9 "));
    let no_mux = both.replace("BUNDLE 0", "BUNDLE 0 1").replace("a=mid:1\r\na=rtcp-mux\r\n", "a=mid:1\r\n");
    let (_, answer) = Session::new().answer(&no_mux).unwrap();
    assert!(answer.sdp.contains("m=audio 9 "), "the first section of the bundle says it for all");
    let error = Session::new().answer(&no_mux.replace("a=rtcp-mux\r\n", "")).unwrap_err();
    assert!(error.to_string().contains("a=rtcp-mux"), "{error}");
}

/// Shapes that other servers refused or misread, as their users reported.
#[test]
fn what_others_send_is_taken() {
    let answered = |offer: &str| {
        let mut session = Session::new();
        session.answer(offer).unwrap_or_else(|error| panic!("{offer}: {error}"))
    };
    let good = offer_with("", "");
    for odd in [format!("\u{feff}{good}"), good.replace("\r\n", "\n"), good.replace("\r\n", " \r\n\r\n")] {
        assert_eq!(answered(&odd).1.sections.len(), 1);
    }
    let uuid = "5f0c1f3e-51c1-4d3f-9f2a-0d7e3c1b8a42";
    let (_, named) =
        answered(&good.replace("BUNDLE 0", &format!("BUNDLE {uuid}")).replace("a=mid:0", &format!("a=mid:{uuid}")));
    assert_eq!(named.sections[0].mid.as_str(), uuid);
    let (_, unnamed) = answered(&good.replace("a=group:BUNDLE 0\r\n", "").replace("a=mid:0\r\n", ""));
    assert_eq!(unnamed.sections[0].direction, Direction::Receive);
    assert!(!unnamed.sdp.contains("a=mid") && !unnamed.sdp.contains("BUNDLE"), "{}", unnamed.sdp);
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:1\r\na=rtpmap:97 opus/48000\r\n";
    let (_, mono) = answered(&offer_with("", audio).replace("BUNDLE 0", "BUNDLE 0 1"));
    assert!(mono.sdp.contains("a=rtpmap:97 opus/48000/2\r\n"));
    let bundled = audio.replace("m=audio 9", "m=audio 0").replace("a=mid:1", "a=bundle-only\r\na=mid:1");
    let (_, bundled) = answered(&offer_with("", &bundled).replace("BUNDLE 0", "BUNDLE 0 1"));
    assert!(bundled.sdp.contains("m=audio 9 "));
    let spread = "a=rtpmap:99 H264/90000\r\na=fmtp:99 profile-level-id=42e01f;\r\na=fmtp:99 packetization-mode=1\r\n";
    let (_, spread) = answered(&offer_with("", spread));
    let format = spread.sections[0].format(PayloadType(99)).unwrap();
    assert_eq!(format.fmtp, "profile-level-id=42e01f;packetization-mode=1");
}

#[test]
fn format_parameters_are_bounded_by_section_and_by_offer() {
    let padding = |bytes| format!("a=fmtp:98 x={}\r\n", "y".repeat(bytes));
    let of_section = offer_with("", &padding(4 * 1024));
    let line = of_section.lines().count();
    let too_many = |line, what, limit| SdpError::TooMany { line, what, limit };
    assert_eq!(Offer::parse(&of_section), Err(too_many(line, "bytes of a=fmtp in a section", 4 * 1024)));
    let section = |mid: usize| {
        format!("m=video 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:{mid}\r\na=rtpmap:98 H264/90000\r\n{}", padding(3_000))
    };
    let with_sections = |count: usize| {
        let mids: String = (1..=count).map(|mid| format!(" {mid}")).collect();
        let sections: String = (1..=count).map(section).collect();
        offer_with("", &sections).replace("BUNDLE 0", &format!("BUNDLE 0{mids}"))
    };
    assert!(Offer::parse(&with_sections(32)).is_ok());
    let of_offer = with_sections(33);
    let line = of_offer.lines().count();
    assert_eq!(Offer::parse(&of_offer), Err(too_many(line, "bytes of a=fmtp", 96 * 1024)));
}

/// One section that cannot be used says why; where none can, that is the answer.
#[test]
fn a_section_that_cannot_be_used_says_why() {
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 8\r\na=mid:1\r\na=rtpmap:8 PCMA/8000\r\n";
    let both = offer_with("", audio).replace("BUNDLE 0", "BUNDLE 0 1");
    let (_, answer) = Session::new().answer(&both).unwrap();
    let why = "none of its formats is one that this server forwards";
    assert_eq!(answer.refused, [(1, why)]);
    assert!(
        answer.sdp.contains(&format!("m=audio 0 UDP/TLS/RTP/SAVPF 8\r\ni=not used: {why}\r\nc=")),
        "{}",
        answer.sdp
    );
    let nothing = both.replace("VP8/90000", "VP7/90000").replace("H264/90000", "H263/90000");
    assert_eq!(Session::new().answer(&nothing).unwrap_err(), SdpError::NothingUsable { line: 10, what: why });
}

/// A long call's stopped sections count for nothing.
#[test]
fn the_limit_is_of_live_sections() {
    let stopped: String =
        (1..600).map(|i| format!("m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:{i}\r\na=inactive\r\n")).collect();
    let (_, answer) = Session::new().answer(&offer_with("", &stopped)).unwrap();
    assert_eq!(answer.sections.len(), 600);
    assert_eq!(answer.sections.iter().filter(|section| !section.formats.is_empty()).count(), 1);
}

/// Media of a source that cannot be read would be nobody's.
#[test]
fn sources_that_are_no_numbers_of_32_bits_are_refused() {
    for line in
        ["a=ssrc:4294967296 cname:x", "a=ssrc:-1 cname:x", "a=ssrc:x", "a=ssrc:", "a=ssrc-group:FID 1 4294967296"]
    {
        let offer = offer_with("", &format!("a=ssrc:4294967295 cname:x\r\n{line}\r\n"));
        let Err(SdpError::Syntax { line: number, text, .. }) = Offer::parse(&offer) else { panic!("{line}") };
        assert_eq!((&*text, offer.lines().nth(number - 1)), (line, Some(line)));
    }
}

/// Layers by source, as peers offered them before RFC 8853, are layers like others.
#[test]
fn a_sim_group_is_simulcast() {
    let group = "a=ssrc-group:SIM 11 12 13\r\na=ssrc-group:FID 11 21\r\na=ssrc-group:FID 12 22\r\n\
        a=ssrc:21 cname:x\r\na=ssrc:13 cname:x\r\na=ssrc:11 cname:x\r\na=ssrc:12 cname:x\r\n";
    let offer = offer_with("", group).replace("a=sendrecv", "a=sendonly");
    let (_, answer) = Session::new().answer(&offer).unwrap();
    let section = &answer.sections[0];
    assert_eq!(rids(section), ["0", "1", "2"]);
    let sources: Vec<_> =
        section.remote_ssrcs.iter().map(|source| (source.ssrcs.media.0, source.rid.unwrap().to_string())).collect();
    assert_eq!(sources, [(11, "0".to_owned()), (12, "1".to_owned()), (13, "2".to_owned())]);
    assert_eq!(section.remote_ssrcs[1].ssrcs.rtx, Some(Ssrc(22)));
    assert!(!answer.sdp.contains("a=rid") && !answer.sdp.contains("a=simulcast"), "packets name none: {}", answer.sdp);
    let mut two = Session::with(MediaPolicy { max_rids: 2, ..Default::default() });
    let (_, answer) = two.answer(&offer).unwrap();
    assert_eq!(rids(&answer.sections[0]), ["0", "1"]);
    assert_eq!(answer.sections[0].remote_ssrcs[2].rid, None, "its packets are not taken");
}

/// What stands for all of a bundle may stand in any of its sections.
#[test]
fn transport_attributes_of_a_later_section_do() {
    let good = offer_with("", "");
    let (session, section) = good.split_once("m=").unwrap();
    let bare = "m=audio 0 RTP/AVPF 97\r\na=bundle-only\r\na=mid:1\r\na=rtpmap:97 opus/48000/2\r\n";
    let offer = format!("{session}{bare}m={section}").replace("BUNDLE 0", "BUNDLE 1 0");
    let (_, answer) = Session::new().answer(&offer).unwrap();
    assert!(answer.refused.is_empty() && answer.sdp.contains("m=audio 9 RTP/AVPF 97"), "{answer:?}");
    let only = good.replace("a=rtcp-mux", "a=rtcp-mux-only");
    assert!(Session::new().answer(&only).is_ok());
    for odd in [format!("{good}\0"), good.replace("a=", " a="), format!("\r\n\n{good}")] {
        assert!(Session::new().answer(&odd).is_ok());
    }
}

#[test]
fn arguments_of_ours_that_would_break_the_text_are_our_fault() {
    let offer = Offer::parse(fixture("chromium-whep")).unwrap();
    let policy = MediaPolicy::default();
    let (ice, fingerprint) = (offer.ice.clone(), offer.fingerprints[0].clone());
    let with = |cname: &str, stream: &str, ssrc: u32| {
        let params = AnswerParams {
            ice: &ice,
            fingerprint: &fingerprint,
            candidates: &[],
            policy: &policy,
            session: 1,
            version: 1,
            previous: &[],
            dtls_role: None,
            cname,
            streams: &|_| stream.to_owned(),
        };
        let mut next = ssrc;
        answer(&offer, &params, &mut || {
            next += u32::from(ssrc != 0);
            Ssrc(next)
        })
    };
    assert!(with("c", "s", 1).is_ok());
    for failed in [with("c", "s\r\na=x", 1), with("", "s", 1), with("c d", "s", 1), with("c", "s", 0)] {
        assert_eq!(failed.unwrap_err().fault(), Fault::Ours);
    }
}

/// A fixture with lines taken out, doubled, moved, cut or with bytes changed.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (0..5u8, any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[ -~]{0,12}");
    (prop::sample::select(FIXTURES), prop::collection::vec(edit, 0..12)).prop_map(|((_, text), edits)| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (what, at, to, insert) in edits {
            let (at, to) = (at.index(lines.len()), to.index(lines.len()));
            match what {
                0 if lines.len() > 1 => drop(lines.remove(at)),
                1 => lines.insert(to, lines[at].clone()),
                2 => lines.swap(at, to),
                3 => lines[at].truncate(to),
                _ => lines[at].push_str(&insert),
            }
        }
        lines.join("\r\n")
    })
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "(v=0\n)?(([amc]=)?[a-z]{0,8}[ :/;,=~0-9a-zA-Z\r\u{e9}-]{0,40}\n){0,20}") {
        let _ = Session::new().answer(&text);
        let _ = crate::sdp::TrickleFragment::parse(&text);
    }

    #[test]
    fn damaged_offers_are_answered_in_agreement_or_refused(first in mutated(), second in mutated()) {
        let mut session = Session::new();
        let _ = session.answer(&first);
        let _ = session.answer(&second);
        let _ = crate::sdp::TrickleFragment::parse(&first);
    }
}

#[test]
fn parity_is_answered_to_who_takes_it_and_keeps_its_source() {
    let video = |answer: &Answer| answer.sections.iter().find(|s| s.kind == MediaKind::Video).unwrap().clone();
    let (_, without) = Session::new().fixture("chromium-whep");
    assert!(video(&without).local_fec.is_none() && !without.sdp.contains("flexfec"));
    let mut session = Session::with(MediaPolicy { parity: true, ..MediaPolicy::default() });
    let (_, answer) = session.fixture("chromium-whep");
    let section = video(&answer);
    let (media, fec) = (section.local_ssrcs.unwrap().media, section.local_fec.unwrap());
    assert_eq!(fec.payload_type, PayloadType(49));
    let lines = [
        "a=rtpmap:49 flexfec-03/90000".to_owned(),
        "a=rtcp-fb:49 transport-cc".to_owned(),
        "a=fmtp:49 repair-window=10000000".to_owned(),
        format!("a=ssrc-group:FEC-FR {} {}", media.0, fec.ssrc.0),
        format!("a=ssrc:{} cname:cname", fec.ssrc.0),
    ];
    assert!(lines.iter().all(|line| answer.sdp.lines().any(|given| given == line)), "{}", answer.sdp);
    let (_, again) = session.fixture("chromium-whep");
    assert_eq!(video(&again).local_fec, Some(fec));
    assert!(again.sections.iter().all(|section| section.kind == MediaKind::Video || section.local_fec.is_none()));
    let (_, firefox) = Session::with(session.policy.clone()).fixture("firefox-whep");
    assert!(firefox.sections.iter().all(|section| section.local_fec.is_none()));
}

#[test]
fn who_only_sends_is_answered_no_parity() {
    let (_, answer) =
        Session::with(MediaPolicy { parity: true, ..MediaPolicy::default() }).fixture("chromium-simulcast");
    for section in &answer.sections {
        let slot = section.direction == Direction::Send && section.kind == MediaKind::Video;
        assert_eq!(section.local_fec.is_some(), slot, "{}", section.mid);
    }
}

#[test]
fn who_sends_video_in_red_with_parity_is_answered_both() {
    let (_, without) =
        Session::with(MediaPolicy { parity: true, ..MediaPolicy::default() }).fixture("chromium-simulcast");
    assert!(!without.sdp.contains("ulpfec") && !without.sdp.contains("red/90000"));
    let policy = MediaPolicy { publishers_ulpfec: true, ..MediaPolicy::default() };
    for (fixture, red, rtx, ulpfec) in
        [("chromium-simulcast", 118, Some(119), 120), ("firefox-simulcast", 122, Some(119), 123)]
    {
        let (_, answer) = Session::with(policy.clone()).fixture(fixture);
        let receives =
            |section: &&MediaSection| section.direction == Direction::Receive && section.kind == MediaKind::Video;
        let section = answer.sections.iter().find(receives).unwrap();
        let taken = section.red.unwrap();
        assert_eq!((taken.payload_type.0, taken.rtx.map(|rtx| rtx.0), taken.parity.0), (red, rtx, ulpfec), "{fixture}");
        let others = answer.sections.iter().filter(|section| !receives(section));
        assert!(others.into_iter().all(|section| section.red.is_none()));
        let lines = [format!("a=rtpmap:{red} red/90000"), format!("a=rtpmap:{ulpfec} ulpfec/90000")];
        let rtx = rtx.map(|rtx| format!("a=fmtp:{rtx} apt={red}"));
        let has = |line: &String| answer.sdp.lines().any(|given| given == line);
        assert!(lines.iter().chain(&rtx).all(has), "{}", answer.sdp);
    }
}

#[test]
fn who_takes_no_parity_beside_video_is_sent_it_in_red() {
    let policy = MediaPolicy { parity: true, subscribers_ulpfec: true, ..MediaPolicy::default() };
    let slots = |answer: &Answer| {
        let slot = |section: &&MediaSection| section.direction == Direction::Send && section.kind == MediaKind::Video;
        answer.sections.iter().filter(slot).cloned().collect::<Vec<_>>()
    };
    let (_, firefox) = Session::with(policy.clone()).fixture("firefox-whep");
    let [slot] = &slots(&firefox)[..] else { panic!("one slot") };
    let red = slot.red.unwrap();
    assert_eq!((slot.local_fec, red.payload_type.0, red.parity.0), (None, 122, 123));
    for line in ["a=rtpmap:122 red/90000", "a=rtpmap:123 ulpfec/90000"] {
        assert!(firefox.sdp.lines().any(|given| given == line), "{}", firefox.sdp);
    }
    let (_, chromium) = Session::with(policy).fixture("chromium-whep");
    assert!(slots(&chromium).iter().all(|slot| slot.local_fec.is_some() && slot.red.is_none()));
    assert!(!chromium.sdp.contains("ulpfec"));
}
