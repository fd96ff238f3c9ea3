//! Answering an offer: what becomes of each section, and the sources that we send with.

use super::error::SdpError;
use super::offer::{Offer, OfferedFormat, OfferedKind, OfferedMedia, Setup};
use super::select::{self, Accepted, MediaPolicy};
use super::streams::OfferedRid;
use super::write::{self, AnswerParams, Live, SectionAnswer, is_token};
use crate::dtls::DtlsRole;
use crate::fec::Scheme;
use crate::ids::{Mid, Rid, Ssrc};
use crate::media::{Direction, FecStream, MediaKind, MediaSection, RemoteSource, SsrcPair};
use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use std::collections::HashSet;
use std::sync::Arc;

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// For the peer.
    pub sdp: String,
    /// For the transport: every audio or video section that has a mid, in the order of the offer.
    pub sections: Vec<MediaSection>,
    /// Our side of DTLS.
    pub dtls_role: DtlsRole,
    /// Sections that the peer wants and that cannot be used, by their place in the offer, with the reason.
    pub refused: Vec<(usize, &'static str)>,
}

/// Answers an offer. `new_ssrc` gives random numbers; one that is taken already is not used.
///
/// A section that cannot be served is rejected, with the reason in its i= line, and does not make the answer fail.
///
/// # Errors
/// [`SdpError::NothingUsable`] where that is so of all of them; else what is wrong with the offer, or our arguments.
pub fn answer(
    offer: &Offer,
    params: &AnswerParams<'_>,
    new_ssrc: &mut dyn FnMut() -> Ssrc,
) -> Result<Answer, SdpError> {
    check(offer, params)?;
    let dtls_role = dtls_role(offer, params.dtls_role)?;
    let mut sources = Sources::new(offer, params, new_ssrc);
    let mut answers = Vec::with_capacity(offer.media.len());
    for media in &offer.media {
        answers.push(match carried(offer, media) {
            Ok((mid, kind)) => answer_section(media, mid, kind, params, &mut sources)?,
            Err(why) => SectionAnswer::Rejected(why),
        });
    }
    let refused: Vec<_> = offer
        .media
        .iter()
        .zip(&answers)
        .enumerate()
        .filter_map(|(at, (media, answer))| match answer {
            SectionAnswer::Rejected(why) if !media.stopped => Some((at, *why)),
            _ => None,
        })
        .collect();
    if let Some((first, what)) = refused.first()
        && answers.iter().all(|answer| matches!(answer, SectionAnswer::Rejected(_)))
    {
        return Err(SdpError::NothingUsable { line: offer.media[*first].line, what });
    }
    let sdp = write::answer(offer, params, dtls_role, &answers)?;
    let sections = offer.media.iter().zip(answers).filter_map(|(media, answer)| match answer {
        SectionAnswer::Live(live) => Some(live.section),
        SectionAnswer::Rejected(_) => Some(stopped_section(media.mid?, kind(media)?, params)),
    });
    Ok(Answer { sdp, sections: sections.collect(), dtls_role, refused })
}

fn check(offer: &Offer, params: &AnswerParams<'_>) -> Result<(), SdpError> {
    // Stopped sections stay in the description for as long as the call goes on (RFC 8829 section 5.2.2), and cost nothing.
    let limit = params.policy.max_sections;
    if let Some(first) = offer.media.iter().filter(|media| !media.stopped).nth(limit) {
        let what = "media sections that are not stopped";
        return Err(SdpError::TooMany { line: first.line, what, limit });
    }
    if offer.ice_lite {
        return Err(SdpError::Unsupported { line: first_line(offer), what: "an ICE-lite peer, for we are ICE-lite" });
    }
    if !is_token(params.cname) {
        return Err(SdpError::Arguments { what: "the canonical name is no word" });
    }
    Ok(())
}

/// Our role, which is the opposite of the peer's.
fn dtls_role(offer: &Offer, before: Option<DtlsRole>) -> Result<DtlsRole, SdpError> {
    let role = match offer.setup {
        Setup::Passive => DtlsRole::Client,
        Setup::Active => DtlsRole::Server,
        // Our ClientHello leaves with the answer to the first check, a round trip before the peer's would come.
        Setup::ActPass => before.unwrap_or(DtlsRole::Client),
    };
    match before {
        Some(before) if before != role => {
            Err(SdpError::Unsupported { line: first_line(offer), what: "a change of DTLS roles in mid-call" })
        }
        _ => Ok(role),
    }
}

fn first_line(offer: &Offer) -> usize {
    offer.media.iter().find(|media| !media.stopped).map_or(1, |media| media.line)
}

fn kind(media: &OfferedMedia) -> Option<MediaKind> {
    match media.kind {
        OfferedKind::Audio => Some(MediaKind::Audio),
        OfferedKind::Video => Some(MediaKind::Video),
        OfferedKind::Other(_) => None,
    }
}

/// Mid and kind of a section that our transport can carry; else why it cannot.
fn carried(offer: &Offer, media: &OfferedMedia) -> Result<(Mid, MediaKind), &'static str> {
    // RFC 8829 section 5.1.2: all of these mean the same, and an older name of the one over TCP.
    const PROTOCOLS: [&str; 9] = [
        "UDP/TLS/RTP/SAVPF",
        "UDP/TLS/RTP/SAVP",
        "TCP/DTLS/RTP/SAVPF",
        "TCP/DTLS/RTP/SAVP",
        "TCP/TLS/RTP/SAVPF",
        "RTP/SAVPF",
        "RTP/SAVP",
        "RTP/AVPF",
        "RTP/AVP",
    ];
    if media.stopped {
        return Err("it is stopped");
    }
    let kind = kind(media).ok_or("it is neither audio nor video")?;
    if !PROTOCOLS.contains(&media.protocol.as_str()) {
        return Err("its protocol is not UDP/TLS/RTP/SAVPF");
    }
    let mid = media.mid.filter(|mid| offer.bundle.contains(mid)).ok_or("it is not in the BUNDLE group")?;
    // What the section says that stands for the bundle is so of all in it.
    if !media.rtcp_mux && !offer.rtcp_mux {
        return Err("it has no a=rtcp-mux, and RTCP on a port of its own is not supported");
    }
    Ok((mid, kind))
}

/// Answers a section that our transport can carry.
fn answer_section(
    media: &OfferedMedia,
    mid: Mid,
    kind: MediaKind,
    params: &AnswerParams<'_>,
    sources: &mut Sources<'_>,
) -> Result<SectionAnswer, SdpError> {
    let policy = params.policy;
    let mut accepted = select::formats(media, policy);
    accepted.retain(|a| a.format.codec.kind() == kind);
    if accepted.is_empty() {
        return Ok(SectionAnswer::Rejected("none of its formats is one that this server forwards"));
    }
    let direction = match media.direction {
        offered if offered.sends() && policy.publish => Direction::Receive,
        offered if offered.receives() && policy.subscribe => Direction::Send,
        _ => Direction::Inactive,
    };
    if direction == Direction::Send && !policy.slot_feedback {
        accepted.iter_mut().for_each(Accepted::without_transport_cc);
    }
    let extensions = select::extensions(media, &accepted, direction);
    // An inactive section names its layers too: a browser drops for good what one answer leaves out.
    let rids = if direction == Direction::Send { vec![] } else { taken_rids(media, &accepted, &extensions, policy) };
    let remote_ssrcs = if direction == Direction::Receive { media.ssrcs.clone() } else { Vec::new() };
    let (layers, remote_ssrcs) = layers(&rids, remote_ssrcs, policy.max_rids);
    let rtx = accepted.iter().any(|a| a.format.rtx.is_some());
    let fec = select::parity(media, direction).filter(|_| policy.parity && kind == MediaKind::Video);
    let wants = |name: &str| policy.slot_feedback || direction == Direction::Receive || name != "transport-cc";
    let reported = |name: &&str| fec.is_some_and(|(format, _)| format.has_feedback(name)) && wants(name);
    let fec_feedback = select::FEEDBACK.into_iter().filter(reported).collect();
    let section = MediaSection {
        mid,
        kind,
        direction,
        formats: Arc::new(accepted.iter().map(|a| a.format.clone()).collect()),
        extensions,
        rids: layers,
        remote_ssrcs,
        local_ssrcs: sources.of(mid, direction, rtx)?,
        local_fec: sources.fec_of(mid, direction, fec)?,
        remote_fec: fec
            .zip(media.parity)
            .filter(|_| direction == Direction::Receive)
            .map(|((format, scheme), ssrc)| FecStream { ssrc, payload_type: format.payload_type, scheme }),
        red: select::red(media, direction, policy)
            .filter(|_| kind == MediaKind::Video && (direction == Direction::Receive || fec.is_none())),
        reduced_rtcp: media.rtcp_rsize,
        rtx_time: policy.rtx_time,
        nack: accepted.iter().any(|a| a.feedback.contains(&"nack")),
        remb: accepted.iter().any(|a| a.feedback.contains(&"goog-remb")),
    };
    Ok(SectionAnswer::Live(Box::new(Live { section, accepted, rids, fec_feedback })))
}

/// The layers of a section: those that its packets name, or else those of its sources. Of these, sources beyond `max`
/// layers lose their name, and their packets are not taken.
fn layers(named: &[OfferedRid], mut sources: Vec<RemoteSource>, max: usize) -> (Vec<Rid>, Vec<RemoteSource>) {
    if !named.is_empty() {
        sources.iter_mut().for_each(|source| source.rid = None);
        return (named.iter().map(|rid| rid.rid).collect(), sources);
    }
    let rids: Vec<_> = sources.iter().filter_map(|source| source.rid).take(max).collect();
    for source in &mut sources {
        source.rid = source.rid.filter(|rid| rids.contains(rid));
    }
    (rids, sources)
}

/// The simulcast streams that we take; none where packets could not name theirs.
fn taken_rids(
    media: &OfferedMedia,
    accepted: &[Accepted],
    extensions: &ExtensionMap,
    policy: &MediaPolicy,
) -> Vec<OfferedRid> {
    if extensions.id(ExtensionKind::Rid).is_none() {
        return Vec::new();
    }
    let restricted = media.rids.iter().filter_map(|offered| {
        let mut rid = offered.clone();
        rid.payload_types.retain(|&pt| accepted.iter().any(|a| a.format.payload_type == pt));
        (rid.payload_types.is_empty() == offered.payload_types.is_empty()).then_some(rid)
    });
    restricted.take(policy.max_rids).collect()
}

/// A section that was rejected, for the transport: nothing flows on it.
fn stopped_section(mid: Mid, kind: MediaKind, params: &AnswerParams<'_>) -> MediaSection {
    MediaSection {
        mid,
        kind,
        direction: Direction::Inactive,
        formats: Arc::default(),
        extensions: ExtensionMap::default(),
        rids: Vec::new(),
        remote_ssrcs: Vec::new(),
        local_ssrcs: None,
        local_fec: None,
        remote_fec: None,
        red: None,
        reduced_rtcp: false,
        rtx_time: params.policy.rtx_time,
        nack: false,
        remb: false,
    }
}

/// Chooses our sources: those of the answer before, or new ones that nobody has.
struct Sources<'a> {
    previous: &'a [MediaSection],
    taken: HashSet<Ssrc>,
    new_ssrc: &'a mut dyn FnMut() -> Ssrc,
}

impl<'a> Sources<'a> {
    fn new(offer: &Offer, params: &AnswerParams<'a>, new_ssrc: &'a mut dyn FnMut() -> Ssrc) -> Self {
        let theirs = offer.media.iter().flat_map(|media| media.ssrcs.iter().map(|source| source.ssrcs));
        let ours = params.previous.iter().filter_map(|section| section.local_ssrcs);
        let parity = params.previous.iter().filter_map(|section| section.local_fec).map(|fec| fec.ssrc);
        let parity = parity.chain(offer.media.iter().filter_map(|media| media.parity));
        let taken = theirs.chain(ours).flat_map(|pair| [Some(pair.media), pair.rtx]).flatten().chain(parity).collect();
        Self { previous: params.previous, taken, new_ssrc }
    }

    /// The sources of a section. They stay while it is inactive, so that it can go on later.
    fn of(&mut self, mid: Mid, direction: Direction, rtx: bool) -> Result<Option<SsrcPair>, SdpError> {
        let known = self.previous.iter().find(|section| section.mid == mid).and_then(|section| section.local_ssrcs);
        match direction {
            Direction::Receive => Ok(None),
            Direction::Inactive => Ok(known),
            Direction::Send => {
                let media = known.map_or_else(|| self.fresh(), |pair| Ok(pair.media))?;
                let rtx = match (rtx, known.and_then(|pair| pair.rtx)) {
                    (false, _) => None,
                    (true, Some(known)) => Some(known),
                    (true, None) => Some(self.fresh()?),
                };
                Ok(Some(SsrcPair { media, rtx }))
            }
        }
    }

    /// The source of a section's parity, in the same way.
    fn fec_of(
        &mut self,
        mid: Mid,
        direction: Direction,
        format: Option<(&OfferedFormat, Scheme)>,
    ) -> Result<Option<FecStream>, SdpError> {
        let known = self.previous.iter().find(|section| section.mid == mid).and_then(|section| section.local_fec);
        let Some((format, scheme)) = format.filter(|_| direction == Direction::Send) else {
            return Ok(known.filter(|_| direction == Direction::Inactive));
        };
        let ssrc = known.map_or_else(|| self.fresh(), |known| Ok(known.ssrc))?;
        Ok(Some(FecStream { ssrc, payload_type: format.payload_type, scheme }))
    }

    fn fresh(&mut self) -> Result<Ssrc, SdpError> {
        /// Random numbers meet one of a few hundred sources once in ten million tries.
        const TRIES: usize = 16;
        for _ in 0..TRIES {
            let ssrc = (self.new_ssrc)();
            if ssrc.0 != 0 && self.taken.insert(ssrc) {
                return Ok(ssrc);
            }
        }
        Err(SdpError::Arguments { what: "no unused source was given" })
    }
}

#[cfg(test)]
mod tests;
