//! The streams that a section announces: simulcast layers by name (RFC 8853, RFC 8851) and sources (RFC 5576).
//!
//! ```text
//! a=rid:h send pt=96,97;max-width=1280
//! a=simulcast:send q;h,h2;~f            ';' between streams, ',' between alternatives of one, '~' begins paused
//! a=ssrc-group:SIM 1 2 3                layers of simulcast, lowest first, as peers offered it before RFC 8853
//! a=ssrc-group:FEC-FR 1 21              media and their parity (RFC 5956 section 4.3)
//! a=ssrc-group:FID 1 11                 media and its retransmissions (RFC 4588 section 8.7)
//! a=ssrc:1 cname:a
//! ```

use super::error::SdpError;
use super::lines::{Attribute, MediaPart};
use crate::ids::{PayloadType, Rid, Ssrc};
use crate::media::{RemoteSource, SsrcPair};

/// Most a=rid lines of a section that are kept.
const MAX_RIDS: usize = 16;

/// A stream that the peer offers to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedRid {
    /// Its name.
    pub rid: Rid,
    /// Payload types to which it is restricted; empty for all.
    pub payload_types: Vec<PayloadType>,
    /// Further restrictions, as offered ("max-width=1280;max-fps=30").
    pub restrictions: String,
    /// Whether it begins paused.
    pub paused: bool,
}

/// The streams of `a=simulcast:send`, in its order, each in the first of its alternatives.
pub(super) fn offered_rids(section: &MediaPart<'_>) -> Vec<OfferedRid> {
    let declared: Vec<_> = section.all("rid").filter_map(|line| declaration(line.value)).take(MAX_RIDS).collect();
    let Some(list) = section.attribute("simulcast").and_then(|line| send_list(line.value)) else {
        return Vec::new();
    };
    let mut rids: Vec<OfferedRid> = Vec::new();
    for alternatives in list.split(';').take(MAX_RIDS) {
        let chosen = alternatives.split(',').find_map(|name| {
            let name = name.trim();
            let rid = Rid::new(name.strip_prefix('~').unwrap_or(name))?;
            let declared = declared.iter().find(|declared| declared.rid == rid)?;
            Some(OfferedRid { paused: name.starts_with('~'), ..declared.clone() })
        });
        if let Some(chosen) = chosen
            && rids.iter().all(|known| known.rid != chosen.rid)
        {
            rids.push(chosen);
        }
    }
    rids
}

/// `<rid> send [pt=<list>][;<restriction>...]`; `None` for the streams that the peer would receive.
fn declaration(value: &str) -> Option<OfferedRid> {
    let mut words = value.splitn(3, ' ');
    let rid = Rid::new(words.next()?)?;
    if words.next()?.trim() != "send" {
        return None;
    }
    let (mut payload_types, mut restrictions) = (Vec::new(), Vec::new());
    for restriction in words.next().unwrap_or("").split(';').map(str::trim).filter(|text| !text.is_empty()) {
        match restriction.strip_prefix("pt=") {
            Some(list) => {
                payload_types.extend(list.split(',').filter_map(|pt| pt.trim().parse().ok()).map(PayloadType))
            }
            None => restrictions.push(restriction),
        }
    }
    Some(OfferedRid { rid, payload_types, restrictions: restrictions.join(";"), paused: false })
}

/// The list after `send` in `send <list> [recv <list>]` or the reverse.
fn send_list(value: &str) -> Option<&str> {
    let mut words = value.split_ascii_whitespace();
    words.find(|&word| word == "send")?;
    words.next()
}

/// Most sources of a section that are kept: three layers with retransmission and correction, and room.
const MAX_SSRCS: usize = 32;

/// Media sources in the order in which they are announced, each with that of its retransmissions and, in a SIM group, a
/// name for its layer.
pub(super) fn announced_sources(section: &MediaPart<'_>) -> Result<Vec<RemoteSource>, SdpError> {
    let mut pairs: Vec<SsrcPair> = Vec::new();
    let (mut repair, mut layers) = (Vec::new(), Vec::new());
    for group in section.all("ssrc-group").take(MAX_SSRCS) {
        let mut words = group.value.split_ascii_whitespace();
        let semantics = words.next().unwrap_or("");
        let ssrcs: Vec<Ssrc> = words.take(MAX_SSRCS).map(|word| ssrc(group, word)).collect::<Result<_, _>>()?;
        let &[media, second, ..] = ssrcs.as_slice() else { continue };
        match semantics {
            "FID" if pairs.iter().all(|pair| pair.media != media) => {
                pairs.push(SsrcPair { media, rtx: Some(second) });
                repair.push(second);
            }
            "FEC-FR" | "FEC" => repair.push(second),
            "SIM" if layers.is_empty() => layers = ssrcs,
            _ => {}
        }
    }
    let mut ordered: Vec<RemoteSource> = Vec::new();
    let lines = section.all("ssrc").map(|line| ssrc(line, line.value.split_ascii_whitespace().next().unwrap_or("")));
    // Who names layers in a group may leave out their lines.
    for media in layers.iter().copied().map(Ok).chain(lines) {
        let media = media?;
        if ordered.len() == MAX_SSRCS {
            break;
        }
        if !repair.contains(&media) && ordered.iter().all(|known| known.ssrcs.media != media) {
            let paired = pairs.iter().find(|pair| pair.media == media).copied();
            let rid = layers.iter().position(|layer| *layer == media).and_then(|at| Rid::new(&at.to_string()));
            ordered.push(RemoteSource { ssrcs: paired.unwrap_or(SsrcPair { media, rtx: None }), rid });
        }
    }
    Ok(ordered)
}

/// Source of the section's parity: that of the first group, since ours protects all sources of a section by one.
pub(super) fn announced_parity(section: &MediaPart<'_>) -> Option<Ssrc> {
    section.all("ssrc-group").take(MAX_SSRCS).find_map(|group| {
        let mut words = group.value.split_ascii_whitespace();
        let is_repair = matches!(words.next(), Some("FEC-FR"));
        words.nth(1).filter(|_| is_repair)?.parse().ok().map(Ssrc)
    })
}

/// A source is a number of 32 bits (RFC 5576 section 4.1). Whose source cannot be read is told so: its media would be
/// dropped, or taken for another's.
fn ssrc(line: Attribute<'_>, word: &str) -> Result<Ssrc, SdpError> {
    word.parse().map(Ssrc).map_err(|_| line.wrong("a source is a number from 0 to 4294967295"))
}
