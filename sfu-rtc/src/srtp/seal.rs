//! Seals what we send, and no index twice.

use super::cipher::Cipher;
use super::keys::{MasterKey, SrtpProfile};
use super::replay::SourceWindows;
use super::{RTCP_INDEX, RTP_HEADER, word};
use crate::drop_reason::DropReason;
use crate::ids::{SeqNo, Ssrc};
use std::fmt;

/// SRTCP indices have 31 bits; a key is not used beyond them (RFC 3711 section 9.2).
const MAX_RTCP_INDEX: u32 = (1 << 31) - 1;
/// SRTP indices have 48 bits.
const MAX_RTP_INDEX: u64 = (1 << 48) - 1;

/// Sources of which nothing more is sent. Each new slot of a call may bring two; one that has had so many is refused
/// more until it connects anew.
const MAX_RETIRED: usize = 16_384;

/// Seals what we send under one master key.
///
/// It refuses an index that its source has used before, or that is too old to tell: an initialisation vector must not be
/// used twice under one key (RFC 7714 section 8.1, RFC 3711 section 9.1).
pub struct SrtpSender {
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
    sent: SourceWindows,
    /// They have no window any more, and must not come back under this key.
    retired: Vec<Ssrc>,
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
            sent: SourceWindows::new(),
            retired: Vec::new(),
            next_rtcp_index: 0,
        }
    }

    /// The profile in use.
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Fetches the keys for RTP, and what [`Self::prefetch_window`] needs.
    pub fn prefetch(&self) {
        self.rtp.prefetch();
        self.sent.prefetch();
    }

    /// Fetches the window for RTP of one source.
    pub fn prefetch_window(&self, ssrc: Ssrc) {
        self.sent.prefetch_window(ssrc);
    }

    /// Nothing more is sent with `ssrc`, which gives the memory of its window back.
    pub(crate) fn retire(&mut self, ssrc: Ssrc) {
        if self.sent.remove(ssrc).is_some() {
            self.retired.push(ssrc);
        }
    }

    /// By how many bytes an RTCP packet grows.
    pub(crate) fn rtcp_overhead(&self) -> usize {
        self.profile.tag_len() + RTCP_INDEX
    }

    /// Seals the RTP packet that is `out[start..]` in place and appends the tag. Its header has `header_len` bytes;
    /// `seq` is its sequence number, extended.
    ///
    /// # Errors
    /// [`DropReason::SrtpIndexReused`] where the source has used the number before, or is retired.
    pub fn seal_rtp(
        &mut self,
        out: &mut Vec<u8>,
        start: usize,
        header_len: usize,
        seq: SeqNo,
    ) -> Result<(), DropReason> {
        let written = out.len().checked_sub(start).ok_or(DropReason::RtpMalformed)?;
        if header_len < RTP_HEADER || written < header_len || seq.0 > MAX_RTP_INDEX {
            return Err(DropReason::RtpMalformed);
        }
        let ssrc = word(&out[start..], 8);
        let source = self.sent.find(Ssrc(ssrc));
        self.admits(source, Ssrc(ssrc), seq)?;
        self.rtp.seal_rtp(out, start, header_len, (ssrc, seq.0)).map_err(|_| DropReason::TooLarge)?;
        self.sent.record(source, Ssrc(ssrc), seq.0);
        Ok(())
    }

    fn admits(&self, source: Option<usize>, ssrc: Ssrc, seq: SeqNo) -> Result<(), DropReason> {
        match source {
            Some(at) if self.sent.at(at).is_new(seq.0) => Ok(()),
            Some(_) => Err(DropReason::SrtpIndexReused),
            None if self.retired.contains(&ssrc) => Err(DropReason::SrtpIndexReused),
            None if self.retired.len() >= MAX_RETIRED => Err(DropReason::LimitReached),
            None => Ok(()),
        }
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
