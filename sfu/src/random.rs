//! Randomness from the operating system, as text and numbers.

/// What ICE credentials, URLs and tokens may all hold.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// So many bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// Any number.
pub(crate) fn number() -> u64 {
    u64::from_le_bytes(bytes())
}

/// `len` letters and digits; each is worth 5.9 bits.
pub(crate) fn text(len: usize) -> String {
    let mut text = String::with_capacity(len);
    while text.len() < len {
        let letters =
            bytes::<32>().into_iter().filter_map(|byte| LETTERS.get(usize::from(byte % 64)).copied().map(char::from));
        text.extend(letters.take(len - text.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_their_length_and_differ() {
        let (a, b) = (text(40), text(40));
        assert_eq!((a.len(), b.len()), (40, 40));
        assert_ne!(a, b);
        assert!(a.bytes().all(|b| b.is_ascii_alphanumeric()));
    }
}
