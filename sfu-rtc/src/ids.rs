//! Identifiers on the wire, each a type of its own.

use arrayvec::ArrayString;
use std::fmt;

/// Synchronization source (RFC 3550 section 5.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ssrc(pub u32);

impl fmt::Debug for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// RTP payload type, 0 to 127.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct PayloadType(pub u8);

/// An RTP sequence number extended to 64 bits, so that it orders without wrap-around.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// The 16 bits on the wire.
    pub const fn wire(self) -> u16 {
        self.0 as u16
    }

    /// The number nearest to `self` whose low 16 bits are `wire`.
    pub const fn extend(self, wire: u16) -> Self {
        let distance = wire.wrapping_sub(self.0 as u16) as i16;
        match self.0.checked_add_signed(distance as i64) {
            Some(extended) => Self(extended),
            None => Self(wire as u64),
        }
    }

    /// The next number.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Longest MID or RID kept. The one-byte header extension carries at most 16 bytes (RFC 8285 section 4.2), but some peers
/// name sections by a UUID of 36, in the two-byte form or in the description alone.
const MAX_ID_LEN: usize = 48;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(ArrayString<MAX_ID_LEN>);

        impl $name {
            /// `None` where `text` is empty, longer than 48 bytes or holds anything but visible ASCII.
            pub fn new(text: &str) -> Option<Self> {
                let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
                fits.then(|| ArrayString::from(text).ok().map(Self)).flatten()
            }

            /// From the bytes of a header extension.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Self::new(std::str::from_utf8(bytes).ok()?)
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// Identification of a media section (RFC 8843 section 15).
    Mid
}

text_id! {
    /// Identification of a stream within a media section (RFC 8851, RFC 8852).
    Rid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_extend_over_the_wrap() {
        let seq = SeqNo(0x1_fffe);
        assert_eq!(seq.extend(0xffff), SeqNo(0x1_ffff));
        assert_eq!(seq.extend(0x0001), SeqNo(0x2_0001));
        assert_eq!(seq.extend(0xfff0), SeqNo(0x1_fff0));
        assert_eq!(SeqNo(3).extend(0xfffe), SeqNo(0xfffe), "nothing lies before zero");
    }

    #[test]
    fn text_ids_refuse_what_cannot_be_one() {
        assert_eq!(Mid::new("0").unwrap().as_str(), "0");
        assert!(Mid::new("").is_none());
        assert!(Mid::new("8f14e45f-ceea-467f-a830-5d43b1f2c0d9").is_some());
        assert!(Mid::new(&"x".repeat(49)).is_none());
        assert!(Rid::from_bytes(b"a b").is_none());
        assert!(Rid::from_bytes(&[0xff]).is_none());
    }
}
