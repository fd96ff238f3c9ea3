//! Sources that a section announces (RFC 5576): `a=ssrc` and `a=ssrc-group`.

use super::lines::MediaPart;
use crate::ids::Ssrc;
use crate::media::SsrcPair;

/// Most sources of a section that are kept: three layers with retransmission and correction, and room.
const MAX_SSRCS: usize = 32;

/// Media sources in the order in which they are announced, each with that of its retransmissions.
pub(super) fn announced(section: &MediaPart<'_>) -> Vec<SsrcPair> {
    let mut pairs: Vec<SsrcPair> = Vec::new();
    let mut repair: Vec<Ssrc> = Vec::new();
    for group in section.all("ssrc-group").take(MAX_SSRCS) {
        let mut words = group.value.split_ascii_whitespace();
        let semantics = words.next().unwrap_or("");
        let mut ssrcs = words.map_while(|word| word.parse().ok().map(Ssrc));
        let (Some(media), Some(second)) = (ssrcs.next(), ssrcs.next()) else { continue };
        match semantics {
            "FID" if pairs.iter().all(|pair| pair.media != media) => {
                pairs.push(SsrcPair { media, rtx: Some(second) });
                repair.push(second);
            }
            "FEC-FR" | "FEC" => repair.push(second),
            _ => {}
        }
    }
    let mut ordered: Vec<SsrcPair> = Vec::new();
    for line in section.all("ssrc") {
        let word = line.value.split_ascii_whitespace().next();
        let Some(media) = word.and_then(|word| word.parse().ok()).map(Ssrc) else { continue };
        if ordered.len() == MAX_SSRCS {
            break;
        }
        if !repair.contains(&media) && ordered.iter().all(|pair| pair.media != media) {
            let paired = pairs.iter().find(|pair| pair.media == media).copied();
            ordered.push(paired.unwrap_or(SsrcPair { media, rtx: None }));
        }
    }
    ordered
}
