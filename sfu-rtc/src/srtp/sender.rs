//! The sending half.

use super::cipher::Cipher;
use super::keys::{MasterKey, SrtpProfile};
use super::{RTCP_INDEX, RTP_HEADER, word};
use crate::drop_reason::DropReason;
use crate::ids::SeqNo;
use std::fmt;

/// SRTCP indices have 31 bits; a key is not used beyond them (RFC 3711 section 9.2).
const MAX_RTCP_INDEX: u32 = (1 << 31) - 1;
/// SRTP indices have 48 bits.
const MAX_RTP_INDEX: u64 = (1 << 48) - 1;

/// Seals what we send under one master key.
///
/// The caller must never seal two different packets with one SSRC and one sequence number.
pub struct SrtpSender {
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
    /// One count for all sources: an index need only be unique per source.
    next_rtcp_index: u32,
}

impl SrtpSender {
    /// With session keys derived from `master`.
    pub fn new(master: &MasterKey) -> Self {
        Self {
            profile: master.profile(),
            rtp: Cipher::for_rtp(master),
            rtcp: Cipher::for_rtcp(master),
            next_rtcp_index: 0,
        }
    }

    /// The profile in use.
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Fetches the keys for RTP, which will be needed soon.
    pub fn prefetch(&self) {
        self.rtp.prefetch();
    }

    /// By how many bytes an RTP packet grows.
    pub fn rtp_overhead(&self) -> usize {
        self.profile.tag_len()
    }

    /// By how many bytes an RTCP packet grows.
    pub fn rtcp_overhead(&self) -> usize {
        self.profile.tag_len() + RTCP_INDEX
    }

    /// Seals the RTP packet that is `out[start..]` in place and appends the tag. Its header has `header_len` bytes;
    /// `seq` is its sequence number, extended.
    pub fn seal_rtp(&self, out: &mut Vec<u8>, start: usize, header_len: usize, seq: SeqNo) -> Result<(), DropReason> {
        self.seal_rtp_from(out, start, header_len, &[], seq)
    }

    /// Like [`Self::seal_rtp`] for a packet whose payload goes on with `rest`, which others share: it is encrypted
    /// into `out` and not changed. `out[start..]` holds the header and whatever of the payload comes before `rest`.
    pub fn seal_rtp_from(
        &self,
        out: &mut Vec<u8>,
        start: usize,
        header_len: usize,
        rest: &[u8],
        seq: SeqNo,
    ) -> Result<(), DropReason> {
        let written = out.len().checked_sub(start).ok_or(DropReason::RtpMalformed)?;
        if header_len < RTP_HEADER || written < header_len || seq.0 > MAX_RTP_INDEX {
            return Err(DropReason::RtpMalformed);
        }
        out.resize(out.len() + rest.len() + self.rtp_overhead(), 0);
        let packet = &mut out[start..];
        let ssrc = word(packet, 8);
        self.rtp.seal_rtp(packet, header_len, rest, ssrc, seq.0).map_err(|_| DropReason::TooLarge)
    }

    /// Seals the compound RTCP packet that is `out[start..]` in place and appends tag and index.
    pub fn seal_rtcp(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), DropReason> {
        if out.len() < start + super::RTCP_CLEAR {
            return Err(DropReason::RtcpMalformed);
        }
        if self.next_rtcp_index > MAX_RTCP_INDEX {
            return Err(DropReason::LimitReached);
        }
        out.resize(out.len() + self.rtcp_overhead(), 0);
        let index = self.next_rtcp_index;
        self.next_rtcp_index += 1;
        self.rtcp.seal_rtcp(&mut out[start..], index).map_err(|_| DropReason::TooLarge)
    }
}

impl fmt::Debug for SrtpSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtpSender({:?})", self.profile)
    }
}
