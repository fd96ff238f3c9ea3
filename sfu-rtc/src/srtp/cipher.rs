//! Encryption and authentication under session keys (RFC 7714 sections 8 and 9, RFC 3711 sections 4.1.1 and 4.2.1).
//!
//! ```text
//! GCM nonce, SRTP   (00 00 | SSRC | ROC | SEQ)               XOR salt, 12 bytes
//! GCM nonce, SRTCP  (00 00 | SSRC | 00 00 | SRTCP index)     XOR salt, 12 bytes
//! CM counter        (00*4  | SSRC | index, 6 bytes | 00 00)  XOR (salt | 00 00), 16 bytes
//! ```
//!
//! The index is the extended sequence number (48 bits), or the SRTCP index (31 bits).

use super::keys::{Label, MasterKey, SrtpProfile, counter_mode, derive};
use super::{RTCP_CLEAR, RTCP_ENCRYPTED, RTCP_INDEX, word};
use crate::drop_reason::DropReason;
use crate::prefetch::prefetch;
use aws_lc_rs::cipher::{EncryptingKey, EncryptionContext};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Length of an HMAC-SHA1 key (RFC 3711 section 8.2).
const SHA1_KEY: usize = 20;
/// HMAC-SHA1 cut to 80 bits.
const SHA1_TAG: usize = 10;
/// GCM tag.
const GCM_TAG: usize = 16;

/// Session keys of one direction for RTP, or for RTCP.
///
/// AES-GCM is ring's: its key is one piece of memory that can be fetched into the cache as a whole, where AWS-LC's is
/// behind two pointers, and it uses the wide AES instructions (VAES) of processors without AVX-512 too.
pub(super) enum Cipher {
    Gcm { key: Box<LessSafeKey>, salt: [u8; 12] },
    CmSha1 { key: Box<EncryptingKey>, auth: Box<hmac::Key>, salt: [u8; 14] },
}

impl Cipher {
    pub(super) fn for_rtp(master: &MasterKey) -> Self {
        Self::derived(master, Label::RtpEncryption, Label::RtpAuthentication, Label::RtpSalt)
    }

    pub(super) fn for_rtcp(master: &MasterKey) -> Self {
        Self::derived(master, Label::RtcpEncryption, Label::RtcpAuthentication, Label::RtcpSalt)
    }

    fn derived(master: &MasterKey, encryption: Label, authentication: Label, salt: Label) -> Self {
        Self::try_derived(master, encryption, authentication, salt).expect("the lengths are those of the profile")
    }

    fn try_derived(master: &MasterKey, encryption: Label, auth: Label, salting: Label) -> Result<Self, Unspecified> {
        let mut key = [0; 32];
        let key = &mut key[..master.profile().key_len()];
        derive(master, encryption, key)?;
        match master.profile() {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => {
                let mut salt = [0; 12];
                derive(master, salting, &mut salt)?;
                Self::gcm(key, salt)
            }
            SrtpProfile::Aes128CmHmacSha1_80 => {
                let (mut auth_key, mut salt) = ([0; SHA1_KEY], [0; 14]);
                derive(master, auth, &mut auth_key)?;
                derive(master, salting, &mut salt)?;
                Self::cm_sha1(key, &auth_key, salt)
            }
        }
    }

    fn gcm(key: &[u8], salt: [u8; 12]) -> Result<Self, Unspecified> {
        let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = UnboundKey::new(algorithm, key).map_err(|_| Unspecified)?;
        Ok(Self::Gcm { key: Box::new(LessSafeKey::new(key)), salt })
    }

    fn cm_sha1(key: &[u8], auth: &[u8; SHA1_KEY], salt: [u8; 14]) -> Result<Self, Unspecified> {
        let auth = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth);
        Ok(Self::CmSha1 { key: Box::new(counter_mode(key)?), auth: Box::new(auth), salt })
    }

    pub(super) fn prefetch(&self) {
        match self {
            Self::Gcm { key, .. } => prefetch(&**key),
            Self::CmSha1 { key, auth, .. } => {
                prefetch(&**key);
                prefetch(&**auth);
            }
        }
    }

    pub(super) fn tag_len(&self) -> usize {
        match self {
            Self::Gcm { .. } => GCM_TAG,
            Self::CmSha1 { .. } => SHA1_TAG,
        }
    }

    /// Seals the RTP packet that is `out[start..]`, with a header of `header_len` bytes, and appends the tag.
    pub(super) fn seal_rtp(
        &self,
        out: &mut Vec<u8>,
        start: usize,
        header_len: usize,
        (ssrc, index): (u32, u64),
    ) -> Result<(), Unspecified> {
        let packet = out.get_mut(start..).ok_or(Unspecified)?;
        let (header, text) = packet.split_at_mut_checked(header_len).ok_or(Unspecified)?;
        match self {
            Self::Gcm { key, salt } => {
                let tag = seal_gcm(key, rtp_nonce(salt, ssrc, index), header, text)?;
                out.extend_from_slice(&tag);
            }
            Self::CmSha1 { key, auth, salt } => {
                key.less_safe_encrypt(text, counter(salt, ssrc, index))?;
                let tag = sha1_tag(auth, packet, roc(index));
                out.extend_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// Authenticates and decrypts an RTP packet in place; the length without the tag. On failure, what follows the
    /// header is undefined.
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, DropReason> {
        let len = packet.len().checked_sub(self.tag_len()).filter(|len| *len >= header_len);
        let len = len.ok_or(DropReason::SrtpTooShort)?;
        let opened = match self {
            Self::Gcm { key, salt } => {
                let (header, text_and_tag) = packet.split_at_mut(header_len);
                open_gcm(key, rtp_nonce(salt, ssrc, index), header, text_and_tag)
            }
            Self::CmSha1 { key, auth, salt } => {
                let (sealed, tag) = packet.split_at_mut(len);
                verify_slices_are_equal(&sha1_tag(auth, sealed, roc(index)), tag)
                    .and_then(|()| key.less_safe_encrypt(&mut sealed[header_len..], counter(salt, ssrc, index)))
                    .map(|_| ())
            }
        };
        opened.map(|()| len).map_err(|_| DropReason::SrtpAuth)
    }

    /// Seals an RTCP packet, which `packet` holds with room for the trailer.
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], index: u32) -> Result<(), Unspecified> {
        let trailer = self.tag_len() + RTCP_INDEX;
        let end = packet.len().checked_sub(trailer).filter(|end| *end >= RTCP_CLEAR).ok_or(Unspecified)?;
        let ssrc = word(packet, 4);
        let flagged = (index | RTCP_ENCRYPTED).to_be_bytes();
        match self {
            Self::Gcm { key, salt } => {
                let (sealed, trailer) = packet.split_at_mut(end);
                let (header, text) = sealed.split_at_mut(RTCP_CLEAR);
                let (tag, trailer) = trailer.split_at_mut(GCM_TAG);
                trailer.copy_from_slice(&flagged);
                let sealed = seal_gcm(key, rtcp_nonce(salt, ssrc, index), &rtcp_aad(header, &flagged), text)?;
                tag.copy_from_slice(&sealed);
                Ok(())
            }
            Self::CmSha1 { key, auth, salt } => {
                let (sealed, trailer) = packet.split_at_mut(end);
                key.less_safe_encrypt(&mut sealed[RTCP_CLEAR..], counter(salt, ssrc, index.into()))?;
                let (trailer, tag) = trailer.split_at_mut(RTCP_INDEX);
                trailer.copy_from_slice(&flagged);
                tag.copy_from_slice(&sha1_tag(auth, sealed, flagged));
                Ok(())
            }
        }
    }

    /// The index that an SRTCP packet claims.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Result<u32, DropReason> {
        let trailer = self.tag_len() + RTCP_INDEX;
        if packet.len() < RTCP_CLEAR + trailer {
            return Err(DropReason::SrtpTooShort);
        }
        let at = match self {
            Self::Gcm { .. } => packet.len() - RTCP_INDEX,
            Self::CmSha1 { .. } => packet.len() - trailer,
        };
        let flagged = word(packet, at);
        // WebRTC demands confidentiality (RFC 8827 section 6.5), so a packet that says it is in clear is forged.
        if flagged & RTCP_ENCRYPTED == 0 {
            return Err(DropReason::SrtpAuth);
        }
        Ok(flagged & !RTCP_ENCRYPTED)
    }

    /// Authenticates and decrypts an SRTCP packet, whose index [`Self::rtcp_index`] gave, in place; the length of
    /// the RTCP packet. On failure, what follows the first eight bytes is undefined.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], index: u32) -> Result<usize, DropReason> {
        let trailer = self.tag_len() + RTCP_INDEX;
        let end = packet.len().checked_sub(trailer).filter(|end| *end >= RTCP_CLEAR);
        let end = end.ok_or(DropReason::SrtpTooShort)?;
        let ssrc = word(packet, 4);
        let flagged = (index | RTCP_ENCRYPTED).to_be_bytes();
        let opened = match self {
            Self::Gcm { key, salt } => {
                let (header, text_and_tag) = packet[..end + GCM_TAG].split_at_mut(RTCP_CLEAR);
                open_gcm(key, rtcp_nonce(salt, ssrc, index), &rtcp_aad(header, &flagged), text_and_tag)
            }
            Self::CmSha1 { key, auth, salt } => {
                let (sealed, trailer) = packet.split_at_mut(end);
                verify_slices_are_equal(&sha1_tag(auth, sealed, flagged), &trailer[RTCP_INDEX..])
                    .and_then(|()| key.less_safe_encrypt(&mut sealed[RTCP_CLEAR..], counter(salt, ssrc, index.into())))
                    .map(|_| ())
            }
        };
        opened.map(|()| end).map_err(|_| DropReason::SrtpAuth)
    }
}

/// Encrypts `text` in place; its tag.
fn seal_gcm(
    key: &LessSafeKey,
    nonce: Nonce,
    authenticated: &[u8],
    text: &mut [u8],
) -> Result<[u8; GCM_TAG], Unspecified> {
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(authenticated), text).map_err(|_| Unspecified)?;
    tag.as_ref().try_into().map_err(|_| Unspecified)
}

/// Authenticates and decrypts in place.
fn open_gcm(key: &LessSafeKey, nonce: Nonce, authenticated: &[u8], text_and_tag: &mut [u8]) -> Result<(), Unspecified> {
    key.open_in_place(nonce, Aad::from(authenticated), text_and_tag).map(|_| ()).map_err(|_| Unspecified)
}

/// Rollover counter of a 48-bit index, as it is authenticated.
fn roc(index: u64) -> [u8; 4] {
    let bytes = index.to_be_bytes();
    [bytes[2], bytes[3], bytes[4], bytes[5]]
}

fn rtp_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    salted_nonce(nonce, salt)
}

fn rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u32) -> Nonce {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[8..].copy_from_slice(&index.to_be_bytes());
    salted_nonce(nonce, salt)
}

fn salted_nonce(mut nonce: [u8; 12], salt: &[u8; 12]) -> Nonce {
    nonce.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    Nonce::assume_unique_for_key(nonce)
}

/// What GCM authenticates besides the ciphertext of an SRTCP packet (RFC 7714 section 9.2).
fn rtcp_aad(header: &[u8], flagged_index: &[u8; 4]) -> [u8; RTCP_CLEAR + RTCP_INDEX] {
    let mut aad = [0; RTCP_CLEAR + RTCP_INDEX];
    aad[..RTCP_CLEAR].copy_from_slice(header);
    aad[RTCP_CLEAR..].copy_from_slice(flagged_index);
    aad
}

fn counter(salt: &[u8; 14], ssrc: u32, index: u64) -> EncryptionContext {
    let mut counter = [0; 16];
    counter[4..8].copy_from_slice(&ssrc.to_be_bytes());
    counter[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
    counter.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    EncryptionContext::Iv128(FixedLength::from(&counter))
}

fn sha1_tag(auth: &hmac::Key, packet: &[u8], suffix: [u8; 4]) -> [u8; SHA1_TAG] {
    let mut context = hmac::Context::with_key(auth);
    context.update(packet);
    context.update(&suffix);
    let mut tag = [0; SHA1_TAG];
    tag.copy_from_slice(&context.sign().as_ref()[..SHA1_TAG]);
    tag
}

#[cfg(test)]
mod tests;
