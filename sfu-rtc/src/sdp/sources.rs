//! Sources that a section announces (RFC 5576): `a=ssrc` and `a=ssrc-group`.
//!
//! ```text
//! a=ssrc-group:SIM 1 2 3       layers of simulcast, lowest first, as peers offered it before RFC 8853
//! a=ssrc-group:FID 1 11        media and its retransmissions (RFC 4588 section 8.7)
//! a=ssrc:1 cname:a
//! ```

use super::lines::MediaPart;
use crate::ids::{Rid, Ssrc};
use crate::media::{RemoteSource, SsrcPair};

/// Most sources of a section that are kept: three layers with retransmission and correction, and room.
const MAX_SSRCS: usize = 32;

/// Media sources in the order in which they are announced, each with that of its retransmissions and, in a SIM group, a
/// name for its layer.
pub(super) fn announced(section: &MediaPart<'_>) -> Vec<RemoteSource> {
    let mut pairs: Vec<SsrcPair> = Vec::new();
    let (mut repair, mut layers) = (Vec::new(), Vec::new());
    for group in section.all("ssrc-group").take(MAX_SSRCS) {
        let mut words = group.value.split_ascii_whitespace();
        let semantics = words.next().unwrap_or("");
        let ssrcs: Vec<Ssrc> = words.map_while(|word| word.parse().ok().map(Ssrc)).take(MAX_SSRCS).collect();
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
    let lines =
        section.all("ssrc").filter_map(|line| line.value.split_ascii_whitespace().next()?.parse().ok().map(Ssrc));
    // Who names layers in a group may leave out their lines.
    for media in layers.iter().copied().chain(lines) {
        if ordered.len() == MAX_SSRCS {
            break;
        }
        if !repair.contains(&media) && ordered.iter().all(|known| known.ssrcs.media != media) {
            let paired = pairs.iter().find(|pair| pair.media == media).copied();
            let rid = layers.iter().position(|layer| *layer == media).and_then(|at| Rid::new(&at.to_string()));
            ordered.push(RemoteSource { ssrcs: paired.unwrap_or(SsrcPair { media, rtx: None }), rid });
        }
    }
    ordered
}
