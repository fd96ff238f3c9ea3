//! The receiving half.

use super::cipher::Cipher;
use super::keys::{MasterKey, SrtpProfile};
use super::replay::SourceWindows;
use super::{RTP_HEADER, word};
use crate::drop_reason::DropReason;
use crate::ids::{SeqNo, Ssrc};
use std::fmt;

/// An RTP packet that was authentic and new, and is now in clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Length of the packet without its tag.
    pub len: usize,
    /// Its sequence number, extended by the rollover counter.
    pub seq: SeqNo,
}

/// Opens what a peer sends under one master key.
///
/// A source gets its state (rollover counter and replay window) by its first authentic packet, and at most
/// `max_streams` sources have state for RTP, and as many for RTCP.
pub struct SrtpReceiver {
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
    rtp_streams: SourceWindows,
    rtcp_streams: SourceWindows,
    max_streams: usize,
}

impl SrtpReceiver {
    /// With session keys derived from `master`.
    pub fn new(master: &MasterKey, max_streams: usize) -> Self {
        Self {
            profile: master.profile(),
            rtp: Cipher::for_rtp(master),
            rtcp: Cipher::for_rtcp(master),
            rtp_streams: SourceWindows::new(),
            rtcp_streams: SourceWindows::new(),
            max_streams,
        }
    }

    /// The profile in use.
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Fetches the keys and windows for RTP, which will be needed soon.
    pub fn prefetch(&self) {
        self.rtp.prefetch();
        self.rtp_streams.prefetch();
    }

    /// Authenticates the RTP packet, then decrypts it in place. `header_len`, `ssrc` and `seq` are what its header
    /// says. On failure, what follows the header is undefined.
    pub fn open_rtp(
        &mut self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: Ssrc,
        seq: u16,
    ) -> Result<Opened, DropReason> {
        if header_len < RTP_HEADER {
            return Err(DropReason::RtpMalformed);
        }
        let stream = self.rtp_streams.find(ssrc);
        let seq = match stream {
            Some(at) => SeqNo(self.rtp_streams.at(at).highest()).extend(seq),
            None => SeqNo(seq.into()),
        };
        self.admits(&self.rtp_streams, stream, seq.0)?;
        let len = self.rtp.open_rtp(packet, header_len, ssrc.0, seq.0)?;
        self.rtp_streams.record(stream, ssrc, seq.0);
        Ok(Opened { len, seq })
    }

    /// Authenticates the compound RTCP packet, then decrypts it in place; its length without trailer. On failure,
    /// what follows the first eight bytes is undefined.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let index = self.rtcp.rtcp_index(packet)?;
        let ssrc = Ssrc(word(packet, 4));
        let stream = self.rtcp_streams.find(ssrc);
        self.admits(&self.rtcp_streams, stream, index.into())?;
        let len = self.rtcp.open_rtcp(packet, index)?;
        self.rtcp_streams.record(stream, ssrc, index.into());
        Ok(len)
    }

    /// How many sources have state.
    pub fn streams(&self) -> usize {
        self.rtp_streams.len() + self.rtcp_streams.len()
    }

    /// Whether a packet with `index`, of a stream that has a window or not, is worth authenticating.
    fn admits(&self, streams: &SourceWindows, stream: Option<usize>, index: u64) -> Result<(), DropReason> {
        match stream {
            Some(at) if streams.at(at).is_new(index) => Ok(()),
            Some(_) => Err(DropReason::SrtpReplay),
            None if streams.len() < self.max_streams => Ok(()),
            None => Err(DropReason::TooManyStreams),
        }
    }
}

impl fmt::Debug for SrtpReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtpReceiver({:?}, {} streams)", self.profile, self.streams())
    }
}
