//! User name fragment and password (RFC 8445 section 5.3), and the secret from which the transaction ids of our own
//! checks are derived.

use super::stun::{StunClass, StunKey, StunMessage, TransactionId, ufrag_of};
use aws_lc_rs::hmac;
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
/// Random bytes in a new fragment, beside what names its owner.
pub const UFRAG_LEN: usize = 8;
const PWD_LEN: usize = 24;

/// ice-char of RFC 8839 section 5.4.
const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";

impl IceCredentials {
    /// New credentials out of random `bytes`. The fragment begins with `prefix`, an [`ice_char`], by which its owner
    /// is found before any look-up.
    pub fn from_entropy(prefix: char, bytes: &[u8; ICE_ENTROPY]) -> Self {
        let (ufrag, pwd) = bytes.split_at(UFRAG_LEN);
        Self { ufrag: format!("{prefix}{}", characters(ufrag)), pwd: characters(pwd) }
    }
}

fn characters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| ice_char((*byte).into())).collect()
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

/// Bytes of the key of [`IcePasswords`].
pub const PASSWORDS_KEY: usize = 32;

/// Makes credentials whose password follows from the fragment, for whoever has the key: so a check is told from a forged
/// one before anything is looked up, or known, of its session. They hold as long as the key: whether the session has ended,
/// its worker knows.
#[derive(Clone)]
pub struct IcePasswords(hmac::Key);

impl IcePasswords {
    /// With random bytes that no peer knows.
    pub fn new(key: &[u8; PASSWORDS_KEY]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// New credentials out of random `bytes`. The fragment begins with `prefix`, an [`ice_char`], by which its owner is
    /// found before any look-up.
    pub fn credentials(&self, prefix: char, bytes: &[u8; UFRAG_LEN]) -> IceCredentials {
        let ufrag = format!("{prefix}{}", characters(bytes));
        IceCredentials { pwd: self.password(&ufrag), ufrag }
    }

    /// Whether `stun` is a binding request of somebody who knows the password of the fragment that it names.
    pub fn authenticate(&self, stun: &[u8]) -> bool {
        let Some(ufrag) = ufrag_of(stun) else { return false };
        let key = StunKey::new(&self.password(ufrag));
        StunMessage::parse(stun).is_some_and(|check| check.class == StunClass::Request && check.is_authentic(&key))
    }

    fn password(&self, ufrag: &str) -> String {
        characters(&hmac::sign(&self.0, ufrag.as_bytes()).as_ref()[..PWD_LEN])
    }
}

impl fmt::Debug for IcePasswords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IcePasswords(…)")
    }
}

/// Random bytes that no peer knows.
///
/// An answer to a check counts as proof that the peer receives where the check went. A peer knows both sides' passwords,
/// so it could answer a check that it never got, in the name of another address, if it could guess its transaction id.
#[derive(Clone)]
pub struct IceSecret(hmac::Key);

impl IceSecret {
    /// Out of a random seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes()))
    }

    /// A number that says nothing about the seed, for what peers may see.
    pub fn public_seed(&self) -> u64 {
        u64::from_be_bytes(self.derive(b"public"))
    }

    /// The secret of one transport.
    pub(crate) fn for_transport(&self, local: &IceCredentials) -> Self {
        let tag: [u8; 32] = self.derive(local.pwd.as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, &tag))
    }

    /// The transaction id of the check with this number, and a number from 0 to 255 to spread checks with.
    pub(super) fn transaction(&self, number: u64) -> (TransactionId, u8) {
        let bytes: [u8; 13] = self.derive(&number.to_be_bytes());
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&bytes[..12]);
        (transaction, bytes[12])
    }

    fn derive<const N: usize>(&self, label: &[u8]) -> [u8; N] {
        let tag = hmac::sign(&self.0, label);
        let mut bytes = [0; N];
        bytes.copy_from_slice(&tag.as_ref()[..N]);
        bytes
    }
}

impl fmt::Debug for IceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IceSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::stun::StunWriter;
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

    #[test]
    fn a_check_is_told_from_a_forged_one_by_its_fragment() {
        let [passwords, others] = [[1; PASSWORDS_KEY], [2; PASSWORDS_KEY]].map(|key| IcePasswords::new(&key));
        let credentials = passwords.credentials('c', &[3; UFRAG_LEN]);
        assert_eq!((credentials.ufrag.len(), credentials.pwd.len()), (1 + UFRAG_LEN, PWD_LEN));
        let message = |class, ufrag: &str, pwd: &str| {
            StunWriter::new(class, &[7; 12]).username(ufrag, "peer").finish(&StunKey::new(pwd))
        };
        let IceCredentials { ufrag, pwd } = &credentials;
        let check = message(StunClass::Request, ufrag, pwd);
        assert!(passwords.authenticate(&check) && !others.authenticate(&check));
        let other = passwords.credentials('c', &[4; UFRAG_LEN]);
        for forged in [
            message(StunClass::Request, ufrag, &other.pwd),
            message(StunClass::Request, &other.ufrag, pwd),
            message(StunClass::Indication, ufrag, pwd),
            check[..check.len() - 8].to_vec(),
            Vec::new(),
        ] {
            assert!(!passwords.authenticate(&forged), "{forged:?}");
        }
        assert!(!format!("{passwords:?}").contains("Key"));
    }

    #[test]
    fn every_transport_and_check_has_its_own_id() {
        let transport = |pwd: &str| IceCredentials { ufrag: "a".into(), pwd: pwd.into() };
        let secret = IceSecret::from_seed(1);
        let [one, other] = ["one", "other"].map(|pwd| secret.for_transport(&transport(pwd)));
        let ids = [one.transaction(0), one.transaction(1), other.transaction(0)].map(|(id, _)| id);
        assert!(ids[0] != ids[1] && ids[0] != ids[2]);
        assert_eq!(one.transaction(1), one.transaction(1));
        assert_ne!(IceSecret::from_seed(2).public_seed(), secret.public_seed());
        assert!(!format!("{secret:?}").contains("Key"));
    }
}
