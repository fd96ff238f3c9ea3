//! Simulcast (RFC 8853) and restrictions of its streams (RFC 8851).
//!
//! ```text
//! a=rid:h send pt=96,97;max-width=1280
//! a=simulcast:send q;h,h2;~f            ';' between streams, ',' between alternatives of one, '~' begins paused
//! ```

use super::lines::MediaPart;
use crate::ids::{PayloadType, Rid};

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
