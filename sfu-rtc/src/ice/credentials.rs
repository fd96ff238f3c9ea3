//! User name fragment and password (RFC 8445 section 5.3).

use std::fmt;

/// ICE credentials of one side.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// User name fragment, 4 to 256 characters.
    pub ufrag: String,
    /// Password, 22 to 256 characters.
    pub pwd: String,
}

/// Random bytes in a new pair of credentials: 8 characters of six bits for the fragment (24 bits are asked for),
/// 24 for the password (128 bits are asked for).
pub const ICE_ENTROPY: usize = UFRAG_LEN + PWD_LEN;
const UFRAG_LEN: usize = 8;
const PWD_LEN: usize = 24;

/// ice-char of RFC 8839 section 5.4.
const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";

impl IceCredentials {
    /// New credentials out of random `bytes`. The fragment begins with `prefix`, an [`ice_char`], by which its owner
    /// is found before any look-up.
    pub fn from_entropy(prefix: char, bytes: &[u8; ICE_ENTROPY]) -> Self {
        let (ufrag, pwd) = bytes.split_at(UFRAG_LEN);
        let text = |bytes: &[u8]| bytes.iter().map(|byte| ice_char((*byte).into())).collect::<String>();
        Self { ufrag: format!("{prefix}{}", text(ufrag)), pwd: text(pwd) }
    }
}

/// The character for `index`, modulo 64.
pub fn ice_char(index: usize) -> char {
    ALPHABET[index % ALPHABET.len()].into()
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceCredentials({}:…)", self.ufrag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_becomes_characters() {
        let bytes = std::array::from_fn(|i| (i * 9) as u8);
        let credentials = IceCredentials::from_entropy('c', &bytes);
        assert_eq!((credentials.ufrag.len(), credentials.pwd.len()), (9, 24));
        assert!(credentials.ufrag.starts_with('c'));
        let ice = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
        assert!(credentials.ufrag.chars().all(ice) && credentials.pwd.chars().all(ice));
        assert_ne!(credentials, IceCredentials::from_entropy('c', &[1; ICE_ENTROPY]));
    }

    #[test]
    fn the_password_is_not_printed() {
        let credentials = IceCredentials { ufrag: "abcd".into(), pwd: "secret".into() };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
