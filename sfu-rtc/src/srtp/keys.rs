//! Protection profiles and master keys (RFC 5764 sections 4.1.2 and 4.2, RFC 7714 section 14.2), and the session keys
//! that come of them (RFC 3711 section 4.3; AES-256: RFC 6188; AES-GCM: RFC 7714 section 11).

use arrayvec::ArrayVec;
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;
use std::fmt;

/// SRTP protection profile, as negotiated by DTLS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SrtpProfile {
    /// AEAD_AES_128_GCM.
    AeadAes128Gcm,
    /// AEAD_AES_256_GCM.
    AeadAes256Gcm,
    /// AES128_CM_HMAC_SHA1_80.
    Aes128CmHmacSha1_80,
}

impl SrtpProfile {
    /// Length of a master key, and of the session keys for encryption.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            Self::AeadAes128Gcm | Self::Aes128CmHmacSha1_80 => 16,
        }
    }

    /// Length of a master salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::Aes128CmHmacSha1_80 => 14,
        }
    }

    /// Length of the authentication tag.
    pub(crate) const fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
            Self::Aes128CmHmacSha1_80 => 10,
        }
    }
}

/// Longest master key: AES-256.
const MAX_KEY: usize = 32;
/// Longest master salt: 112 bits (RFC 3711 section 8.2).
pub(super) const MAX_SALT: usize = 14;

/// Master key and salt of one direction.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    profile: SrtpProfile,
    key: ArrayVec<u8, MAX_KEY>,
    salt: ArrayVec<u8, MAX_SALT>,
}

impl MasterKey {
    /// `None` where the lengths are not those of the profile.
    pub fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Option<Self> {
        let fits = key.len() == profile.key_len() && salt.len() == profile.salt_len();
        fits.then(|| Self { profile, key: key.iter().copied().collect(), salt: salt.iter().copied().collect() })
    }

    /// The profile that it is for.
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.salt
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({:?})", self.profile)
    }
}

/// What a DTLS handshake yields for SRTP (RFC 5764 section 4.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyingMaterial {
    /// For what we send.
    pub local: MasterKey,
    /// For what we receive.
    pub remote: MasterKey,
}

impl KeyingMaterial {
    /// Splits exported material: client key, server key, client salt, server salt. `None` where the length is
    /// not that of the profile.
    pub(crate) fn from_export(profile: SrtpProfile, exported: &[u8], we_are_client: bool) -> Option<Self> {
        let (keys, salts) = exported.split_at_checked(2 * profile.key_len())?;
        let (client_key, server_key) = keys.split_at(profile.key_len());
        let (client_salt, server_salt) = salts.split_at_checked(profile.salt_len())?;
        let client = MasterKey::new(profile, client_key, client_salt)?;
        let server = MasterKey::new(profile, server_key, server_salt)?;
        let (local, remote) = if we_are_client { (client, server) } else { (server, client) };
        Some(Self { local, remote })
    }

    /// The negotiated profile.
    pub fn profile(&self) -> SrtpProfile {
        self.local.profile
    }
}

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
///
/// The pseudo-random function is the AES counter-mode key stream that starts at
/// `(master salt padded to 112 bits, XOR label at byte 7) || 00 00`. The key derivation rate is zero.
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

    #[test]
    fn exported_material_is_split_by_role() {
        let exported: Vec<u8> = (0..56).collect();
        let profile = SrtpProfile::AeadAes128Gcm;
        let server = KeyingMaterial::from_export(profile, &exported, false).unwrap();
        assert_eq!(server.remote.key(), &exported[..16]);
        assert_eq!(server.local.key(), &exported[16..32]);
        assert_eq!(server.remote.salt(), &exported[32..44]);
        assert_eq!(server.local.salt(), &exported[44..]);
        let client = KeyingMaterial::from_export(profile, &exported, true).unwrap();
        assert_eq!((client.local, client.remote), (server.remote, server.local));
        for len in [0, 31, 40, 55, 57] {
            assert!(KeyingMaterial::from_export(profile, &vec![0; len], true).is_none(), "{len}");
        }
    }

    #[test]
    fn keys_are_not_printed() {
        let key = MasterKey::new(SrtpProfile::AeadAes256Gcm, &[7; 32], &[7; 12]).unwrap();
        assert_eq!(format!("{key:?}"), "MasterKey(AeadAes256Gcm)");
    }

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
