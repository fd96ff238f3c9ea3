//! Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 2): 16 bits.

/// The number in the extension's first two bytes; the second version of the extension puts a request behind it.
pub fn parse(value: &[u8]) -> Option<u16> {
    value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// As the extension's two bytes.
pub fn to_bytes(seq: u16) -> [u8; 2] {
    seq.to_be_bytes()
}
