//! Source description items as header extensions (RFC 7941): MID (RFC 8843 section 15), RID and repaired RID
//! (RFC 8852 section 3). The value is the text alone.

use crate::ids::{Mid, Rid};

/// A media section's identification. Some senders end it with zero bytes.
pub fn mid(value: &[u8]) -> Option<Mid> {
    Mid::from_bytes(text(value))
}

/// A stream's identification, its own or that of the stream it repairs.
pub fn rid(value: &[u8]) -> Option<Rid> {
    Rid::from_bytes(text(value))
}

fn text(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    &value[..end]
}
