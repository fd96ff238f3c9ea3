//! Reading an offer: what the peer wants to send and receive, and how it can be reached.

use super::error::SdpError;
use super::lines::{Attribute, Description, MAX_SECTIONS, MediaPart, find};
use super::streams::{self, OfferedRid};
use crate::dtls::Fingerprint;
use crate::ice::{IceCredentials, udp_address};
use crate::ids::{Mid, PayloadType, Ssrc};
use crate::media::RemoteSource;
use crate::rtp::extension::ExtensionKind;
use std::collections::HashSet;
use std::net::SocketAddr;

/// Most fingerprints that are kept.
const MAX_FINGERPRINTS: usize = 8;
/// Most candidates that are kept: a host with Wi-Fi, mobile and VPN has three in each address family, as it is seen from
/// inside and from outside.
const MAX_CANDIDATES: usize = 16;
/// Most rtcp-fb lines of one payload type that are kept.
const MAX_FEEDBACK: usize = 16;
/// Most bytes of fmtp in one section. Chromium has 800, and H.265 with parameter sets is the longest line seen, at about
/// 300.
const MAX_SECTION_FMTP: usize = 4 * 1024;
/// Most bytes of fmtp in an offer: they are kept for as long as the call goes on. As many sections of Chromium's as an
/// offer has room for have 40 kB.
const MAX_OFFER_FMTP: usize = 96 * 1024;
/// Most header extensions of one section that are kept.
const MAX_EXTENSIONS: usize = 32;

/// A peer's offer, or what of it concerns us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// ICE credentials of the one transport. New ones in a later offer are an ICE restart.
    pub ice: IceCredentials,
    /// Words of `a=ice-options`, such as "trickle".
    pub ice_options: Vec<String>,
    /// Whether the peer is ICE-lite, as we are.
    pub ice_lite: bool,
    /// Addresses of its candidates over UDP, as far as it gives any: browsers often hide them.
    pub candidates: Vec<SocketAddr>,
    /// Hashes of the peer's certificate, of which one must match.
    pub fingerprints: Vec<Fingerprint>,
    /// Who opens the DTLS handshake.
    pub setup: Setup,
    /// Sections that share one transport (`a=group:BUNDLE`, RFC 9143).
    pub bundle: Vec<Mid>,
    /// Whether the peer named them in a group; a single section needs none.
    pub grouped: bool,
    /// RTP and RTCP on one port, as the section says that stands for the bundle (RFC 5761; RFC 9143 section 7.1.3).
    pub rtcp_mux: bool,
    /// All sections in their order.
    pub media: Vec<OfferedMedia>,
}

/// DTLS role that the peer offers (RFC 8842).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Setup {
    /// Either.
    ActPass,
    /// It is the client.
    Active,
    /// It is the server.
    Passive,
}

/// What a section carries.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum OfferedKind {
    /// Audio.
    Audio,
    /// Video.
    Video,
    /// Data channels, or anything else, by its name in the m= line.
    Other(String),
}

/// Which way media flows, seen from the peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OfferedDirection {
    /// Both ways.
    SendRecv,
    /// It sends.
    SendOnly,
    /// It receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl OfferedDirection {
    /// Whether the peer would send.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the peer would receive.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    fn parse(name: &str) -> Option<Self> {
        match name {
            "sendrecv" => Some(Self::SendRecv),
            "sendonly" => Some(Self::SendOnly),
            "recvonly" => Some(Self::RecvOnly),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }
}

/// One offered payload type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedFormat {
    /// Payload type.
    pub payload_type: PayloadType,
    /// Encoding name ("VP8", "rtx").
    pub name: String,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Audio channels.
    pub channels: u8,
    /// Format parameters; empty where there are none.
    pub fmtp: String,
    /// Feedback that the peer understands for it ("nack pli").
    pub feedback: Vec<String>,
}

impl OfferedFormat {
    /// Whether the peer understands this feedback.
    pub(crate) fn has_feedback(&self, feedback: &str) -> bool {
        self.feedback.iter().any(|known| known == feedback)
    }
}

/// One offered header extension that we know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OfferedExtension {
    /// Which.
    pub kind: ExtensionKind,
    /// Its id.
    pub id: u8,
    /// Which way the peer uses it.
    pub direction: OfferedDirection,
}

/// One offered section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedMedia {
    /// Number of its m= line, from 1.
    pub line: usize,
    /// Its a=mid. A stopped section may have none; a single section that has none is called "0" among us.
    pub mid: Option<Mid>,
    /// Whether the peer gave it its a=mid.
    pub mid_given: bool,
    /// What it carries.
    pub kind: OfferedKind,
    /// Protocol in the m= line.
    pub protocol: String,
    /// First format in the m= line, which is repeated where the section is rejected.
    pub first_format: String,
    /// Stopped: port 0 without `a=bundle-only`.
    pub stopped: bool,
    /// Which way media flows.
    pub direction: OfferedDirection,
    /// Payload types in the peer's order of preference.
    pub formats: Vec<OfferedFormat>,
    /// Header extensions that we know.
    pub extensions: Vec<OfferedExtension>,
    /// Simulcast streams that it sends.
    pub rids: Vec<OfferedRid>,
    /// Sources that it announces.
    pub ssrcs: Vec<RemoteSource>,
    /// Source of the parity that it sends beside them (`a=ssrc-group:FEC-FR`, RFC 5956 section 4.3).
    pub parity: Option<Ssrc>,
    /// Identifier of the media stream to which it belongs (a=msid), which the audio and video of one camera share.
    pub stream: Option<String>,
    /// RTP and RTCP on one port (RFC 5761).
    pub rtcp_mux: bool,
    /// RTCP of reduced size (RFC 5506).
    pub rtcp_rsize: bool,
    /// One- and two-byte header extensions mixed (RFC 8285).
    pub extmap_allow_mixed: bool,
}

impl Offer {
    /// Reads an offer. Whatever is not understood is left out; an error is what no answer can be given to.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        let description = Description::parse(text)?;
        check_fmtp(&description)?;
        let session = &description.session;
        let media = description.media.iter().map(|part| OfferedMedia::parse(part, session));
        let mut media = media.collect::<Result<Vec<_>, _>>()?;
        let grouped = session.iter().any(is_bundle);
        name_single(&mut media, grouped)?;
        check_mids(&description)?;
        if media.iter().all(|section| section.stopped) {
            let line = media.first().map_or(1, |section| section.line);
            return Err(SdpError::NothingUsable { line, what: "it has no media section that is not stopped" });
        }
        let bundle = bundle(session, &media)?;
        let transport = TransportPart::of(&description, &media, &bundle);
        let ice = transport.ice()?;
        Ok(Self {
            ice,
            ice_options: transport.words("ice-options"),
            ice_lite: find(session, "ice-lite").is_some(),
            candidates: candidates(&description),
            fingerprints: transport.fingerprints()?,
            setup: transport.setup()?,
            grouped,
            rtcp_mux: transport.attribute("rtcp-mux").or_else(|| transport.attribute("rtcp-mux-only")).is_some(),
            bundle,
            media,
        })
    }
}

/// Where the peer says that it can be reached, which stands in each section of some offers.
fn candidates(description: &Description<'_>) -> Vec<SocketAddr> {
    let mut candidates = Vec::new();
    for line in description.media.iter().flat_map(|part| part.all("candidate")) {
        match udp_address(line.value) {
            Some(address) if candidates.len() < MAX_CANDIDATES && !candidates.contains(&address) => {
                candidates.push(address);
            }
            _ => {}
        }
    }
    candidates
}

fn check_fmtp(description: &Description<'_>) -> Result<(), SdpError> {
    let mut of_offer = 0;
    for part in &description.media {
        let mut of_section = 0;
        for Attribute { line, value, .. } in part.all("fmtp") {
            of_section += value.len();
            of_offer += value.len();
            if of_section > MAX_SECTION_FMTP {
                let what = "bytes of a=fmtp in a section";
                return Err(SdpError::TooMany { line, what, limit: MAX_SECTION_FMTP });
            }
            if of_offer > MAX_OFFER_FMTP {
                return Err(SdpError::TooMany { line, what: "bytes of a=fmtp", limit: MAX_OFFER_FMTP });
            }
        }
    }
    Ok(())
}

/// Older peers do not name the only section that they have.
fn name_single(media: &mut [OfferedMedia], grouped: bool) -> Result<(), SdpError> {
    let mut live = media.iter_mut().filter(|section| !section.stopped);
    let (first, several) = (live.next(), live.next().is_some());
    if let Some(first) = first
        && first.mid.is_none()
        && !several
        && !grouped
    {
        first.mid = Mid::new("0");
    }
    let nameless = media.iter().find(|section| !section.stopped && section.mid.is_none());
    nameless.map_or(Ok(()), |section| Err(SdpError::Missing { line: section.line, what: "a=mid" }))
}

fn is_bundle(attribute: &Attribute<'_>) -> bool {
    attribute.name == "group" && attribute.value.split_ascii_whitespace().next() == Some("BUNDLE")
}

fn check_mids(description: &Description<'_>) -> Result<(), SdpError> {
    let mut seen = HashSet::new();
    let mut mids = description.media.iter().filter_map(|part| part.attribute("mid"));
    mids.find(|line| !seen.insert(line.value))
        .map_or(Ok(()), |line| Err(line.wrong("two sections have the same a=mid")))
}

/// The first BUNDLE group; a single section needs none.
fn bundle(session: &[Attribute<'_>], media: &[OfferedMedia]) -> Result<Vec<Mid>, SdpError> {
    let Some(bundle) = session.iter().find(|attribute| is_bundle(attribute)) else {
        let mut live = media.iter().filter(|section| !section.stopped);
        let only = live.next().and_then(|section| section.mid);
        return match live.next() {
            Some(OfferedMedia { line, .. }) => {
                Err(SdpError::Unsupported { line: *line, what: "several sections without a=group:BUNDLE" })
            }
            None => Ok(only.into_iter().collect()),
        };
    };
    let words = bundle.value.split_ascii_whitespace().skip(1);
    let mids: Vec<_> = words.filter_map(Mid::new).take(MAX_SECTIONS).collect();
    if mids.iter().any(|&mid| media.iter().all(|section| section.mid != Some(mid))) {
        return Err(bundle.wrong("a=group:BUNDLE names a section that is not there"));
    }
    Ok(mids)
}

/// Where the attributes of the one transport stand: in the first live section of the bundle, or in the session part
/// (RFC 9143 section 7.1.3), or, as some peers have it, in a later section.
struct TransportPart<'a> {
    section: Option<&'a MediaPart<'a>>,
    later: Vec<&'a MediaPart<'a>>,
    session: &'a [Attribute<'a>],
}

impl<'a> TransportPart<'a> {
    fn of(description: &'a Description<'a>, media: &[OfferedMedia], bundle: &[Mid]) -> Self {
        let mut live = bundle.iter().filter_map(|&mid| {
            let index = media.iter().position(|section| section.mid == Some(mid) && !section.stopped)?;
            description.media.get(index)
        });
        let section = live.next().or(description.media.first());
        Self { section, later: live.collect(), session: &description.session }
    }

    fn attribute(&self, name: &str) -> Option<Attribute<'a>> {
        let in_section = self.section.and_then(|section| section.attribute(name));
        let in_session = in_section.or_else(|| find(self.session, name));
        in_session.or_else(|| self.later.iter().find_map(|section| section.attribute(name)))
    }

    fn without(&self, what: &'static str) -> SdpError {
        SdpError::Missing { line: self.section.map_or(1, |section| section.line), what }
    }

    fn words(&self, name: &str) -> Vec<String> {
        let value = self.attribute(name).map_or("", |attribute| attribute.value);
        value.split_ascii_whitespace().take(16).map(str::to_owned).collect()
    }

    fn ice(&self) -> Result<IceCredentials, SdpError> {
        let ufrag = self.attribute("ice-ufrag").ok_or(self.without("a=ice-ufrag"))?;
        let pwd = self.attribute("ice-pwd").ok_or(self.without("a=ice-pwd"))?;
        ice_credentials(ufrag, pwd)
    }

    fn fingerprints(&self) -> Result<Vec<Fingerprint>, SdpError> {
        let in_section = self.section.into_iter().flat_map(|section| section.all("fingerprint"));
        let in_session = self.session.iter().copied().filter(|attribute| attribute.name == "fingerprint");
        let mut lines: Vec<_> = in_section.chain(in_session).collect();
        if lines.is_empty() {
            lines.extend(self.later.iter().flat_map(|section| section.all("fingerprint")));
        }
        let mut fingerprints: Vec<Fingerprint> = Vec::new();
        for &line in &lines {
            let fingerprint = line.value.parse().map_err(|_| line.wrong("no fingerprint"))?;
            if !fingerprints.contains(&fingerprint) {
                fingerprints.push(fingerprint);
            }
            if fingerprints.len() > MAX_FINGERPRINTS {
                return Err(SdpError::TooMany { line: line.line, what: "fingerprints", limit: MAX_FINGERPRINTS });
            }
        }
        let Some(first) = lines.first() else { return Err(self.without("a=fingerprint")) };
        if !fingerprints.iter().any(Fingerprint::is_usable) {
            return Err(first.wrong("a=fingerprint without one of sha-256, sha-384 or sha-512"));
        }
        Ok(fingerprints)
    }

    fn setup(&self) -> Result<Setup, SdpError> {
        // RFC 8842 section 5.1: an offer without a=setup means active.
        let Some(setup) = self.attribute("setup") else { return Ok(Setup::Active) };
        match setup.value {
            "actpass" => Ok(Setup::ActPass),
            "active" => Ok(Setup::Active),
            "passive" => Ok(Setup::Passive),
            _ => Err(setup.wrong("a=setup is actpass, active or passive")),
        }
    }
}

/// Checks lengths and characters (RFC 8839 section 5.4), with the few characters more that libwebrtc allows.
pub(super) fn ice_credentials(ufrag: Attribute<'_>, pwd: Attribute<'_>) -> Result<IceCredentials, SdpError> {
    let ice_chars = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/-_#=".contains(&b));
    if !(4..=256).contains(&ufrag.value.len()) || !ice_chars(ufrag.value) {
        return Err(ufrag.wrong("a=ice-ufrag has 4 to 256 letters and digits"));
    }
    if !(22..=256).contains(&pwd.value.len()) || !ice_chars(pwd.value) {
        return Err(pwd.wrong("a=ice-pwd has 22 to 256 letters and digits"));
    }
    Ok(IceCredentials { ufrag: ufrag.value.to_owned(), pwd: pwd.value.to_owned() })
}

impl OfferedMedia {
    fn parse(part: &MediaPart<'_>, session: &[Attribute<'_>]) -> Result<Self, SdpError> {
        let stopped = part.port == 0 && part.attribute("bundle-only").is_none();
        let mid = match part.attribute("mid") {
            Some(line) => Some(Mid::new(line.value).ok_or(line.wrong("a=mid has 1 to 48 visible characters"))?),
            None => None,
        };
        let kind = match part.media {
            "audio" => OfferedKind::Audio,
            "video" => OfferedKind::Video,
            other => OfferedKind::Other(other.to_owned()),
        };
        // Both may stand in the session part for all sections.
        let direction = part.attributes.iter().chain(session).find_map(|line| OfferedDirection::parse(line.name));
        let allow_mixed = part.attribute("extmap-allow-mixed").or_else(|| find(session, "extmap-allow-mixed"));
        let stream = part.attribute("msid").and_then(|line| line.value.split_ascii_whitespace().next());
        Ok(Self {
            line: part.line,
            mid,
            mid_given: mid.is_some(),
            kind,
            protocol: part.proto.to_owned(),
            first_format: part.formats.first().copied().unwrap_or("0").to_owned(),
            stopped,
            direction: direction.unwrap_or(OfferedDirection::SendRecv),
            formats: formats(part),
            extensions: extensions(part),
            rids: streams::offered_rids(part),
            ssrcs: streams::announced_sources(part)?,
            parity: streams::announced_parity(part),
            stream: stream.filter(|&stream| stream != "-").map(str::to_owned),
            // RFC 8858: nothing but one port is the same to us, who have no other.
            rtcp_mux: part.attribute("rtcp-mux").or_else(|| part.attribute("rtcp-mux-only")).is_some(),
            rtcp_rsize: part.attribute("rtcp-rsize").is_some(),
            extmap_allow_mixed: allow_mixed.is_some(),
        })
    }
}

/// The formats of the m= line that an a=rtpmap explains.
fn formats(part: &MediaPart<'_>) -> Vec<OfferedFormat> {
    let mut formats: Vec<OfferedFormat> = Vec::new();
    for word in &part.formats {
        let Ok(payload_type) = word.parse::<u8>() else { continue };
        // 64 to 95 cannot be told from RTCP on the same port (RFC 5761 section 4), and there is no other.
        if payload_type > 127
            || (64..=95).contains(&payload_type)
            || formats.iter().any(|known| known.payload_type.0 == payload_type)
        {
            continue;
        }
        let Some(map) = part.all("rtpmap").find_map(|line| of_payload_type(line.value, payload_type)) else { continue };
        let mut fields = map.trim().split('/');
        let (Some(name), Some(Ok(clock_rate))) = (fields.next(), fields.next().map(str::parse)) else { continue };
        let channels = fields.next().and_then(|field| field.parse().ok()).unwrap_or(1);
        // Some peers spread the parameters over several lines.
        let fmtp = part.all("fmtp").filter_map(|line| of_payload_type(line.value, payload_type));
        let fmtp = fmtp.map(|text| text.trim_end_matches(';')).collect::<Vec<_>>().join(";");
        let feedback = part.all("rtcp-fb").filter_map(|line| {
            let of_all = line.value.strip_prefix("* ");
            of_all.or_else(|| of_payload_type(line.value, payload_type)).map(|text| text.trim().to_owned())
        });
        formats.push(OfferedFormat {
            payload_type: PayloadType(payload_type),
            name: name.to_owned(),
            clock_rate,
            channels,
            fmtp,
            feedback: feedback.take(MAX_FEEDBACK).collect(),
        });
    }
    formats
}

/// What follows `<payload type> ` where the line is of this payload type.
fn of_payload_type(value: &str, payload_type: u8) -> Option<&str> {
    let (word, rest) = value.split_once(' ')?;
    (word.parse() == Ok(payload_type)).then(|| rest.trim())
}

/// `a=extmap:<id>[/<direction>] <uri> [<attributes>]`, of those that we know; the first of an id counts.
fn extensions(part: &MediaPart<'_>) -> Vec<OfferedExtension> {
    let mut extensions: Vec<OfferedExtension> = Vec::new();
    for line in part.all("extmap") {
        let mut words = line.value.split_ascii_whitespace();
        let (Some(entry), Some(uri)) = (words.next(), words.next()) else { continue };
        let (id, direction) = match entry.split_once('/') {
            Some((id, direction)) => (id, OfferedDirection::parse(direction)),
            None => (entry, Some(OfferedDirection::SendRecv)),
        };
        let (Ok(id), Some(direction), Some(kind)) = (id.parse(), direction, ExtensionKind::from_uri(uri)) else {
            continue;
        };
        let taken = extensions.iter().any(|known| known.id == id || known.kind == kind);
        if !taken && extensions.len() < MAX_EXTENSIONS {
            extensions.push(OfferedExtension { kind, id, direction });
        }
    }
    extensions
}
