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
    pseudo_random(master.key(), master.salt(), label, out)
}

fn pseudo_random(key: &[u8], salt: &[u8], label: Label, out: &mut [u8]) -> Result<(), Unspecified> {
    let mut counter = [0; 16];
    const { assert!(MAX_SALT + 2 == 16) };
    counter[..salt.len()].copy_from_slice(salt);
    counter[LABEL_AT] ^= label as u8;
    out.fill(0);
    let context = EncryptionContext::Iv128(FixedLength::from(&counter));
    counter_mode(key)?.less_safe_encrypt(out, context)?;
    Ok(())
}

/// An AES key in counter mode, its schedule expanded.
pub(super) fn counter_mode(key: &[u8]) -> Result<EncryptingKey, Unspecified> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key)?)
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    fn derived(key: &str, salt: &str, label: Label, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        pseudo_random(&hex(key), &hex(salt), label, &mut out).unwrap();
        out
    }

    #[test]
    fn rfc_3711_appendix_b_3() {
        let derived =
            |label, len| derived("e1f97a0d3e018be0d64fa32c06de4139", "0ec675ad498afeebb6960b3aabe6", label, len);
        assert_eq!(derived(Label::RtpEncryption, 16), hex("c61e7a93744f39ee10734afe3ff7a087"));
        assert_eq!(derived(Label::RtpSalt, 14), hex("30cbbc08863d8c85d49db34a9ae1"));
        assert_eq!(derived(Label::RtpAuthentication, 20), hex("cebe321f6ff7716b6fd4ab49af256a156d38baa4"));
    }

    #[test]
    fn rfc_6188_section_7_2() {
        let key = "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6";
        let derived = |label, len| derived(key, "3b04803de51ee7c96423ab5b78d2", label, len);
        let encryption = "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4";
        assert_eq!(derived(Label::RtpEncryption, 32), hex(encryption));
        assert_eq!(derived(Label::RtpSalt, 14), hex("fa31791685ca444a9e07c6c64e93"));
        assert_eq!(derived(Label::RtpAuthentication, 20), hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
    }
}
