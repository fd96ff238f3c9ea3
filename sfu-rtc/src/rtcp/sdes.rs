//! Source description (RFC 3550 section 6.5), packet type 202: chunks of an SSRC and items.
//!
//! ```text
//! |                             SSRC                              |
//! |   type (8)    |  length (8)   | text ... | 0, to a whole word |
//! ```

use super::wire::{SDES, put_ssrc, ssrc_at, write_packet};
use crate::ids::Ssrc;

/// Canonical name, the one item that a session needs.
const CNAME: u8 = 1;

/// A source description.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sdes<'a> {
    chunks: &'a [u8],
    count: u8,
}

impl<'a> Sdes<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let sdes = Self { chunks: body, count };
        (sdes.walk().count() == usize::from(count)).then_some(sdes)
    }

    /// Each source that has a canonical name.
    pub fn cnames(&self) -> impl Iterator<Item = (Ssrc, &'a [u8])> + use<'a> {
        self.walk().filter_map(|(ssrc, cname)| Some((ssrc, cname?)))
    }

    fn walk(&self) -> Chunks<'a> {
        Chunks { rest: self.chunks, left: self.count }
    }
}

/// Walks the chunks; ends early at a malformed one.
struct Chunks<'a> {
    rest: &'a [u8],
    left: u8,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (Ssrc, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let ssrc = ssrc_at(self.rest, 0)?;
        let mut cname = None;
        let mut at = 4;
        while *self.rest.get(at)? != 0 {
            let end = at + 2 + usize::from(*self.rest.get(at + 1)?);
            let text = self.rest.get(at + 2..end)?;
            if self.rest[at] == CNAME {
                cname = cname.or(Some(text));
            }
            at = end;
        }
        let end = (at + 1).next_multiple_of(4);
        self.rest = self.rest.get(end..)?;
        Some((ssrc, cname))
    }
}

/// Appends a source description with one canonical name, cut to the 255 bytes that an item holds.
pub fn write_sdes_cname(out: &mut Vec<u8>, ssrc: Ssrc, cname: &str) {
    let text = &cname.as_bytes()[..cname.len().min(255)];
    write_packet(out, 1, SDES, |out| {
        put_ssrc(out, ssrc);
        out.extend_from_slice(&[CNAME, text.len() as u8]);
        out.extend_from_slice(text);
        let item = 2 + text.len();
        out.resize(out.len() + (item + 1).next_multiple_of(4) - item, 0);
    });
}
