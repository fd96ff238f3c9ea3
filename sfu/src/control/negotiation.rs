//! Offers and answers: what a participant's transport is made of.

use super::error::ControlError;
use super::ids::Ids;
use crate::config::{self, Config};
use crate::random;
use crate::worker_thread::WorkerHandle;
use sfu_core::command::{Command, TransportParams};
use sfu_core::ids::{RoomId, TransportId};
use sfu_rtc::dtls::{DtlsCertificate, DtlsRole, Fingerprint};
use sfu_rtc::ice::IceCredentials;
use sfu_rtc::ids::{Mid, Ssrc};
use sfu_rtc::media::{Direction, MediaSection};
use sfu_rtc::sdp::{self, AnswerParams, Fault, MediaPolicy, Offer, OfferedKind, SdpError};
use sfu_rtc::transport::RtcpSource;
use std::net::{IpAddr, SocketAddr};

/// What was negotiated with a participant.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    pub(crate) transport: TransportId,
    pub(crate) local: IceCredentials,
    pub(crate) remote: IceCredentials,
    pub(crate) fingerprints: Vec<Fingerprint>,
    /// Addresses of the peer's candidates.
    candidates: Vec<SocketAddr>,
    dtls_role: DtlsRole,
    pub(crate) sections: Vec<MediaSection>,
    /// Whom our RTCP is from.
    rtcp: RtcpSource,
    /// Of the answers' o= line.
    session: u64,
    version: u64,
}

/// What an offer leads to.
pub(crate) struct Negotiated {
    pub(crate) media: Media,
    pub(crate) answer: String,
    /// Sections of the offer that are not used, by number, each with the reason.
    pub(crate) refused: Vec<(usize, &'static str)>,
    pub(crate) change: Change,
}

/// What an offer is, compared with what was negotiated before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// The first, or of another peer connection: a transport is made.
    New,
    /// None: the worker need not hear of it.
    Nothing,
    /// The same transport with other sections.
    Sections,
    /// The same transport with new ICE credentials.
    IceRestart,
}

/// Answers offers.
pub(crate) struct Negotiator {
    fingerprint: Fingerprint,
    policy: MediaPolicy,
}

impl Negotiator {
    pub(crate) fn new(config: &Config, certificate: &DtlsCertificate) -> Self {
        let mut policy = MediaPolicy {
            max_sections: config.limits.sections_per_participant,
            slot_feedback: config.bandwidth.estimator().wants_feedback() || config.repair.planner(),
            parity: config.repair.planner(),
            publishers_ulpfec: config.repair.publishers_ulpfec,
            subscribers_ulpfec: config.repair.planner() && config.repair.subscribers_ulpfec,
            ..MediaPolicy::default()
        };
        if !config.media.codecs.is_empty() {
            policy.codecs = config.media.codecs.iter().filter_map(|name| config::codec(name)).collect();
        }
        Self { fingerprint: certificate.fingerprint().clone(), policy }
    }

    /// Answers `offer` of somebody who may publish and subscribe as said, and whose transport was `previous`.
    pub(crate) fn negotiate(
        &self,
        offer: &Offer,
        previous: Option<&Media>,
        (publish, subscribe): (bool, bool),
        worker: &WorkerHandle,
        ids: &Ids,
    ) -> Result<Negotiated, ControlError> {
        let policy = MediaPolicy { publish, subscribe, ..self.policy.clone() };
        let mut change = previous.map_or(Ok(Change::New), |media| change(offer, media))?;
        let previous = previous.filter(|_| change != Change::New);
        let local = match (previous, change) {
            (Some(media), Change::Sections) => media.local.clone(),
            _ => worker.new_credentials(),
        };
        let session = previous.map_or_else(|| random::number() >> 2, |media| media.session);
        let version = previous.map_or(1, |media| media.version + 1);
        let streams = stream_names(offer, &policy);
        let rtcp = previous.map_or_else(|| new_source(offer), |media| media.rtcp.clone());
        let params = AnswerParams {
            ice: &local,
            fingerprint: &self.fingerprint,
            candidates: worker.candidates(),
            policy: &policy,
            session,
            version,
            previous: previous.map_or(&[], |media| &media.sections),
            dtls_role: previous.map(|media| media.dtls_role),
            cname: &rtcp.cname,
            streams: &|mid| streams.iter().find(|(m, _)| m == mid).map_or_else(|| "-".into(), |(_, name)| name.clone()),
        };
        let answer = sdp::answer(offer, &params, &mut || other_than(rtcp.ssrc)).map_err(refusal)?;
        for (section, why) in &answer.refused {
            tracing::info!(section, why, "a media section of an offer cannot be used");
        }
        if change == Change::Sections && previous.is_some_and(|media| media.sections == answer.sections) {
            change = Change::Nothing;
        }
        let media = Media {
            transport: previous.map_or_else(|| ids.transport(), |media| media.transport),
            local,
            remote: offer.ice.clone(),
            fingerprints: offer.fingerprints.clone(),
            candidates: offer.candidates.clone(),
            dtls_role: answer.dtls_role,
            sections: answer.sections,
            rtcp,
            session,
            version,
        };
        Ok(Negotiated { media, answer: answer.sdp, refused: answer.refused, change })
    }
}

/// Letters of a canonical name: RFC 7022 section 4.2 wants 96 bits, and these are worth 5.9 each.
const CNAME_LEN: usize = 17;

/// Whom our RTCP to the peer is from that makes this offer.
fn new_source(offer: &Offer) -> RtcpSource {
    let announced = offer.media.iter().flat_map(|media| &media.ssrcs).map(|source| source.ssrcs);
    let theirs: Vec<_> = announced.flat_map(|pair| [Some(pair.media), pair.rtx]).flatten().collect();
    let mut ssrc = random_ssrc();
    while theirs.contains(&ssrc) {
        ssrc = random_ssrc();
    }
    RtcpSource { ssrc, cname: random::text(CNAME_LEN) }
}

/// A source for media, where `taken` is another of ours.
fn other_than(taken: Ssrc) -> Ssrc {
    let mut ssrc = random_ssrc();
    while ssrc == taken {
        ssrc = random_ssrc();
    }
    ssrc
}

fn random_ssrc() -> Ssrc {
    // The low half of a random number is a random number.
    Ssrc(random::number() as u32)
}

/// Reads an offer.
pub(crate) fn parse_offer(sdp: &str) -> Result<Offer, ControlError> {
    Offer::parse(sdp).map_err(refusal)
}

impl Media {
    /// The sections in which we send.
    pub(crate) fn sending(&self) -> impl Iterator<Item = &MediaSection> {
        self.sections.iter().filter(|section| section.direction == Direction::Send)
    }

    /// What its worker has to be told that `change` made of this, for a client at `address`.
    pub(crate) fn commands(&self, room: RoomId, change: Change, address: Option<IpAddr>) -> Vec<Command> {
        let (transport, sections) = (self.transport, self.sections.clone());
        match change {
            Change::New => {
                let params = TransportParams {
                    local_ice: self.local.clone(),
                    remote_ice: self.remote.clone(),
                    remote_fingerprints: self.fingerprints.clone(),
                    dtls_role: self.dtls_role,
                    sections,
                    rtcp: self.rtcp.clone(),
                    signalled_from: address,
                    candidates: self.candidates.clone(),
                };
                vec![Command::AddTransport { room, transport, params: Box::new(params) }]
            }
            Change::Nothing => Vec::new(),
            Change::Sections => vec![Command::UpdateSections { transport, sections }],
            Change::IceRestart => vec![self.restart_command(), Command::UpdateSections { transport, sections }],
        }
    }

    fn restart_command(&self) -> Command {
        let (local, remote) = (self.local.clone(), self.remote.clone());
        Command::RestartIce { transport: self.transport, local, remote }
    }

    /// Whether credentials of the peer restart ICE. They do where both are new (RFC 8839 section 4.4.1.1.1); with one of
    /// them only, the peer's checks would fail, or pass for those of the session before.
    pub(crate) fn is_restart(&self, remote: &IceCredentials) -> Result<bool, ControlError> {
        match (remote.ufrag != self.remote.ufrag, remote.pwd != self.remote.pwd) {
            (true, true) => Ok(true),
            (false, false) => Ok(false),
            (true, false) => Err(half_restart("a=ice-ufrag is new and a=ice-pwd is not")),
            (false, true) => Err(half_restart("a=ice-pwd is new and a=ice-ufrag is not")),
        }
    }

    /// ICE restart without an offer (RFC 9725 section 4.4.2): new credentials on both sides. What `worker`, its own, has
    /// to be told.
    pub(crate) fn restart(&mut self, remote: IceCredentials, worker: &WorkerHandle) -> Command {
        self.local = worker.new_credentials();
        self.remote = remote;
        self.restart_command()
    }
}

/// A peer connection is known by its certificate and, within it, an ICE restart by its credentials.
fn change(offer: &Offer, media: &Media) -> Result<Change, ControlError> {
    Ok(if offer.fingerprints != media.fingerprints {
        Change::New
    } else if media.is_restart(&offer.ice)? {
        Change::IceRestart
    } else {
        Change::Sections
    })
}

/// A media stream for each pair of slots, one of sound and one of picture, so that the browser plays the two in sync.
fn stream_names(offer: &Offer, policy: &MediaPolicy) -> Vec<(Mid, String)> {
    let mut counts = [0; 2];
    let mut names = Vec::new();
    for media in &offer.media {
        let Some(mid) = media.mid else { continue };
        let direction = media.direction;
        if direction.receives() && !(direction.sends() && policy.publish) {
            let count = &mut counts[usize::from(media.kind == OfferedKind::Video)];
            names.push((mid, format!("slot-{count}")));
            *count += 1;
        }
    }
    names
}

fn half_restart(what: &str) -> ControlError {
    ControlError::bad_sdp(format!("{what}; an ICE restart changes both (RFC 8839 section 4.4.1.1.1)."))
}

fn refusal(error: SdpError) -> ControlError {
    match error.fault() {
        _ if matches!(error, SdpError::NothingUsable { .. }) => {
            ControlError::nothing_usable(format!("The offer cannot be answered: {error}."))
        }
        Fault::Peer => ControlError::bad_sdp(format!("The offer cannot be answered: {error}.")),
        Fault::Ours => ControlError::internal(format!("The answer could not be made: {error}.")),
    }
}
