//! The text of an answer.

use super::error::SdpError;
use super::fmtp;
use super::offer::{Offer, OfferedDirection, OfferedKind, OfferedMedia};
use super::select::{Accepted, FLEXFEC, MediaPolicy, RED, REED_SOLOMON, ULPFEC};
use super::streams::OfferedRid;
use crate::dtls::{DtlsRole, Fingerprint};
use crate::fec::Scheme;
use crate::ice::{Candidate, IceCredentials};
use crate::ids::Mid;
use crate::media::{Direction, FecStream, MediaKind, MediaSection, VideoRed};
use std::fmt::{Display, Write};

/// Our side of an answer.
pub struct AnswerParams<'a> {
    /// Our ICE credentials.
    pub ice: &'a IceCredentials,
    /// Hash of our certificate.
    pub fingerprint: &'a Fingerprint,
    /// Where we can be reached.
    pub candidates: &'a [Candidate],
    /// What we are willing to negotiate.
    pub policy: &'a MediaPolicy,
    /// Session id of the o= line, the same in every answer to one peer.
    pub session: u64,
    /// Version of the o= line, one more in every answer.
    pub version: u64,
    /// Sections of the answer before; a section keeps its sources by its mid.
    pub previous: &'a [MediaSection],
    /// Our DTLS role in the answer before, which stays as long as the transport does (RFC 8842 section 5.3).
    pub dtls_role: Option<DtlsRole>,
    /// Canonical name of our sources (RFC 3550 section 6.5.1).
    pub cname: &'a str,
    /// Name of the media stream to which a slot belongs (the first word of a=msid). Receivers play the slots of one
    /// stream in sync.
    pub streams: &'a dyn Fn(&Mid) -> String,
}

/// What became of an offered section.
pub(super) enum SectionAnswer {
    /// Answered with port 0; why.
    Rejected(&'static str),
    /// Part of the transport.
    Live(Box<Live>),
}

/// A section that is part of the transport.
pub(super) struct Live {
    pub(super) section: MediaSection,
    pub(super) accepted: Vec<Accepted>,
    /// Simulcast streams that we take, restricted to payload types that we take.
    pub(super) rids: Vec<OfferedRid>,
    /// What is reported on parity.
    pub(super) fec_feedback: Vec<&'static str>,
}

impl Live {
    /// Parity that flows on it, ours or the peer's.
    pub(super) fn fec(&self) -> Option<FecStream> {
        match self.section.direction {
            Direction::Send => self.section.local_fec,
            Direction::Receive => self.section.remote_fec,
            Direction::Inactive => None,
        }
    }
}

/// Text that is being written.
struct Text(String);

impl Text {
    fn line(&mut self, line: impl Display) {
        // Writing into a String does not fail.
        let _ = write!(self.0, "{line}\r\n");
    }

    fn attribute(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("a={name}:{value}"));
    }
}

/// Writes the answer to each section of the offer.
pub(super) fn answer(
    offer: &Offer,
    params: &AnswerParams<'_>,
    dtls_role: DtlsRole,
    answers: &[SectionAnswer],
) -> Result<String, SdpError> {
    let mut text = Text(String::with_capacity(1024 * (1 + answers.len())));
    // RFC 8829 section 5.2.1: the session id is below 2^63.
    let session = params.session & (u64::MAX >> 1);
    text.line("v=0");
    text.line(format_args!("o=- {session} {} IN IP4 127.0.0.1", params.version));
    text.line("s=-");
    text.line("t=0 0");
    let live =
        || answers.iter().filter_map(|answer| if let SectionAnswer::Live(live) = answer { Some(live) } else { None });
    if offer.grouped && live().next().is_some() {
        let mids = live().fold(String::new(), |mids, live| format!("{mids} {}", live.section.mid));
        text.attribute("group", format_args!("BUNDLE{mids}"));
    }
    text.line("a=ice-lite");
    let first = live().next().map(|live| live.section.mid);
    for (media, answer) in offer.media.iter().zip(answers) {
        match answer {
            SectionAnswer::Rejected(why) => rejected(&mut text, media, why),
            SectionAnswer::Live(live) => {
                media_line(&mut text, media, live);
                transport(&mut text, offer, params, dtls_role, first == Some(live.section.mid));
                section(&mut text, media, live);
                if live.section.direction == Direction::Send {
                    sources(&mut text, params, live)?;
                }
            }
        }
    }
    Ok(text.0)
}

fn rejected(text: &mut Text, media: &OfferedMedia, why: &str) {
    let kind = match &media.kind {
        OfferedKind::Audio => "audio",
        OfferedKind::Video => "video",
        OfferedKind::Other(kind) => kind,
    };
    text.line(format_args!("m={kind} 0 {} {}", media.protocol, media.first_format));
    if !media.stopped {
        text.line(format_args!("i=not used: {why}"));
    }
    text.line("c=IN IP4 0.0.0.0");
    if let Some(mid) = media.mid.filter(|_| media.mid_given) {
        text.attribute("mid", mid);
    }
    text.line("a=inactive");
}

fn media_line(text: &mut Text, media: &OfferedMedia, live: &Live) {
    let kind = match live.section.kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    };
    let payload_types = live.section.formats.iter().flat_map(|format| [Some(format.payload_type), format.rtx]);
    let fec = live.fec().map(|fec| fec.payload_type);
    let red = live.section.red.map(|red| [Some(red.payload_type), red.rtx, Some(red.parity)]);
    let red = red.into_iter().flatten().flatten();
    let payload_types =
        payload_types.flatten().chain(fec).chain(red).fold(String::new(), |list, pt| format!("{list} {}", pt.0));
    // Port 9 and no address: they are in the candidates.
    text.line(format_args!("m={kind} 9 {}{payload_types}", media.protocol));
    text.line("c=IN IP4 0.0.0.0");
    if media.mid_given {
        text.attribute("mid", live.section.mid);
    }
}

/// What concerns the one transport. Every section repeats it, for not every peer looks into the session part.
fn transport(text: &mut Text, offer: &Offer, params: &AnswerParams<'_>, dtls_role: DtlsRole, first: bool) {
    text.attribute("ice-ufrag", &params.ice.ufrag);
    text.attribute("ice-pwd", &params.ice.pwd);
    if offer.ice_options.iter().any(|option| option == "trickle") {
        text.line("a=ice-options:trickle");
    }
    text.attribute("fingerprint", params.fingerprint);
    text.line(match dtls_role {
        DtlsRole::Client => "a=setup:active",
        DtlsRole::Server => "a=setup:passive",
    });
    if first {
        for candidate in params.candidates {
            text.line(format_args!("a={candidate}"));
        }
        text.line("a=end-of-candidates");
    }
    text.line("a=rtcp-mux");
}

fn section(text: &mut Text, media: &OfferedMedia, live: &Live) {
    if media.rtcp_rsize {
        text.line("a=rtcp-rsize");
    }
    text.line(match live.section.direction {
        Direction::Receive => "a=recvonly",
        Direction::Send => "a=sendonly",
        Direction::Inactive => "a=inactive",
    });
    if media.extmap_allow_mixed {
        text.line("a=extmap-allow-mixed");
    }
    for extension in &media.extensions {
        if live.section.extensions.id(extension.kind) == Some(extension.id) {
            let direction = match extension.direction {
                OfferedDirection::SendRecv => "",
                OfferedDirection::SendOnly => "/recvonly",
                OfferedDirection::RecvOnly => "/sendonly",
                OfferedDirection::Inactive => "/inactive",
            };
            text.attribute("extmap", format_args!("{}{direction} {}", extension.id, extension.kind.uri()));
        }
    }
    for accepted in &live.accepted {
        format(text, accepted, live);
    }
    parity(text, live);
    if let Some(taken) = live.section.red {
        red(text, taken);
    }
    simulcast(text, live);
}

/// Longest time from a packet to its last parity, in microseconds: we need less, and Chromium offers as much.
const REPAIR_WINDOW: u32 = 10_000_000;

fn parity(text: &mut Text, live: &Live) {
    let Some(FecStream { payload_type, scheme, .. }) = live.fec() else { return };
    let (pt, is_own) = (payload_type.0, scheme == Scheme::ReedSolomon);
    let name = if is_own { REED_SOLOMON } else { FLEXFEC };
    text.attribute("rtpmap", format_args!("{pt} {name}/90000"));
    for feedback in &live.fec_feedback {
        text.attribute("rtcp-fb", format_args!("{pt} {feedback}"));
    }
    if !is_own {
        text.attribute("fmtp", format_args!("{pt} repair-window={REPAIR_WINDOW}"));
    }
}

fn red(text: &mut Text, VideoRed { payload_type, rtx, parity }: VideoRed) {
    text.attribute("rtpmap", format_args!("{} {RED}/90000", payload_type.0));
    if let Some(rtx) = rtx {
        text.attribute("rtpmap", format_args!("{} rtx/90000", rtx.0));
        text.attribute("fmtp", format_args!("{} apt={}", rtx.0, payload_type.0));
    }
    text.attribute("rtpmap", format_args!("{} {ULPFEC}/90000", parity.0));
}

fn format(text: &mut Text, accepted: &Accepted, live: &Live) {
    let format = &accepted.format;
    let (pt, name, clock_rate) = (format.payload_type.0, format.codec.name(), format.clock_rate);
    match accepted.channels {
        1 => text.attribute("rtpmap", format_args!("{pt} {name}/{clock_rate}")),
        channels => text.attribute("rtpmap", format_args!("{pt} {name}/{clock_rate}/{channels}")),
    }
    for feedback in &accepted.feedback {
        text.attribute("rtcp-fb", format_args!("{pt} {feedback}"));
    }
    let fmtp = fmtp::without_parameter_sets(&format.fmtp);
    if !fmtp.is_empty() {
        text.attribute("fmtp", format_args!("{pt} {fmtp}"));
    }
    if let Some(rtx) = format.rtx {
        let rtx_time = live.section.rtx_time.as_millis();
        text.attribute("rtpmap", format_args!("{} rtx/{clock_rate}", rtx.0));
        text.attribute("fmtp", format_args!("{} apt={pt};rtx-time={rtx_time}", rtx.0));
    }
}

fn simulcast(text: &mut Text, live: &Live) {
    if live.rids.is_empty() {
        return;
    }
    for rid in &live.rids {
        let payload_types = rid.payload_types.iter().map(|pt| pt.0.to_string()).collect::<Vec<_>>().join(",");
        let restrictions = match (payload_types.is_empty(), rid.restrictions.is_empty()) {
            (true, true) => String::new(),
            (true, false) => format!(" {}", rid.restrictions),
            (false, true) => format!(" pt={payload_types}"),
            (false, false) => format!(" pt={payload_types};{}", rid.restrictions),
        };
        text.attribute("rid", format_args!("{} recv{restrictions}", rid.rid));
    }
    let paused = |paused| if paused { "~" } else { "" };
    let streams: Vec<_> = live.rids.iter().map(|rid| format!("{}{}", paused(rid.paused), rid.rid)).collect();
    text.attribute("simulcast", format_args!("recv {}", streams.join(";")));
}

fn sources(text: &mut Text, params: &AnswerParams<'_>, live: &Live) -> Result<(), SdpError> {
    let Some(pair) = live.section.local_ssrcs else { return Ok(()) };
    let mid = live.section.mid;
    let stream = (params.streams)(&mid);
    if !is_token(&stream) {
        return Err(SdpError::Arguments { what: "the name of a media stream is no word" });
    }
    let msid = format!("{stream} {stream}-{mid}");
    text.attribute("msid", &msid);
    if let Some(rtx) = pair.rtx {
        text.attribute("ssrc-group", format_args!("FID {} {}", pair.media.0, rtx.0));
    }
    let fec = live.fec().map(|fec| fec.ssrc);
    if let Some(fec) = fec {
        // RFC 5956 section 4.3: the group of a source and its repair.
        text.attribute("ssrc-group", format_args!("FEC-FR {} {}", pair.media.0, fec.0));
    }
    for ssrc in [Some(pair.media), pair.rtx, fec].into_iter().flatten() {
        text.attribute("ssrc", format_args!("{} cname:{}", ssrc.0, params.cname));
        text.attribute("ssrc", format_args!("{} msid:{msid}", ssrc.0));
    }
    Ok(())
}

/// Whether text can stand in an attribute as one word.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic())
}
