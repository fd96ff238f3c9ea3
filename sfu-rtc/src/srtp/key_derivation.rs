//! Session keys from a master key (RFC 3711 section 4.3; AES-256: RFC 6188; AES-GCM: RFC 7714 section 11).
//!
//! The pseudo-random function is the AES counter-mode key stream that starts at
//! `(master salt padded to 112 bits, XOR label at byte 7) || 00 00`. The key derivation rate is zero.

use super::keys::{MAX_SALT, MasterKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;

/// What a session key is for (RFC 3711 section 4.3.1).
#[derive(Clone, Copy)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Where the label stands in the 112-bit value: `label || packet index` fills the last seven bytes.
const LABEL_AT: usize = 7;

/// Derives the session key for `label` into `out`.
pub(super) fn derive(master: &MasterKey, label: Label, out: &mut [u8]) -> Result<(), Unspecified> {
    let mut counter = [0; 16];
    counter[..master.salt().len()].copy_from_slice(master.salt());
    const { assert!(MAX_SALT + 2 == 16) };
    counter[LABEL_AT] ^= label as u8;
    out.fill(0);
    let context = EncryptionContext::Iv128(FixedLength::from(&counter));
    counter_mode(master.key())?.less_safe_encrypt(out, context)?;
    Ok(())
}

/// An AES key in counter mode, its schedule expanded.
pub(super) fn counter_mode(key: &[u8]) -> Result<EncryptingKey, Unspecified> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key)?)
}
