//! Protection profiles and master keys (RFC 5764 sections 4.1.2 and 4.2, RFC 7714 section 14.2).

use arrayvec::ArrayVec;
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
    pub const fn tag_len(self) -> usize {
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
    pub fn from_export(profile: SrtpProfile, exported: &[u8], we_are_client: bool) -> Option<Self> {
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

#[cfg(test)]
mod tests {
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
}
