//! Opens what a peer sends: whether it is worth authenticating, then whether it is authentic, then in clear.

use super::cipher::Cipher;
use super::keys::{MasterKey, SrtpProfile};
use super::replay::SourceWindows;
use super::{RTP_HEADER, word};
use crate::drop_reason::DropReason;
use crate::ids::{SeqNo, Ssrc};
use std::collections::BTreeMap;
use std::fmt;

/// An RTP packet that was authentic and new, and is now in clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Length of the packet without its tag.
    pub len: usize,
    /// Its sequence number, extended by the rollover counter.
    pub seq: SeqNo,
}

/// Most sources of which only the last index is kept. They cannot be forgotten while the keys last, or what they sent could
/// be played again; a call in which so many came and went has to connect anew.
const MAX_ENDED: usize = 8_192;

/// Opens what a peer sends under one master key.
///
/// A source gets its state (rollover counter and replay window) by its first authentic packet, and at most
/// `max_streams` sources have state for RTP, and as many for RTCP. One that ended gives its window back.
pub struct SrtpReceiver {
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
    rtp_streams: Received,
    rtcp_streams: Received,
    max_streams: usize,
}

impl SrtpReceiver {
    /// With session keys derived from `master`.
    pub fn new(master: &MasterKey, max_streams: usize) -> Self {
        Self {
            profile: master.profile(),
            rtp: Cipher::for_rtp(master),
            rtcp: Cipher::for_rtcp(master),
            rtp_streams: Received::default(),
            rtcp_streams: Received::default(),
            max_streams,
        }
    }

    /// The profile in use.
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Fetches the keys for RTP, and what [`Self::prefetch_window`] needs.
    pub fn prefetch(&self) {
        self.rtp.prefetch();
        self.rtp_streams.windows.prefetch();
    }

    /// Fetches the window for RTP of one source.
    pub fn prefetch_window(&self, ssrc: Ssrc) {
        self.rtp_streams.windows.prefetch_window(ssrc);
    }

    /// Nothing more is expected of `ssrc`, which gives the memory of its windows back. What it sends later than all so
    /// far is taken nevertheless; what it sent before is not taken again.
    pub(crate) fn retire(&mut self, ssrc: Ssrc) {
        self.rtp_streams.retire(ssrc);
        self.rtcp_streams.retire(ssrc);
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
        let known = self.rtp_streams.find(ssrc);
        let seq = match self.rtp_streams.highest(known) {
            Some(highest) => SeqNo(highest).extend(seq),
            None => SeqNo(seq.into()),
        };
        self.rtp_streams.admits(known, seq.0, self.max_streams)?;
        let len = self.rtp.open_rtp(packet, header_len, ssrc.0, seq.0)?;
        self.rtp_streams.record(known, ssrc, seq.0);
        Ok(Opened { len, seq })
    }

    /// Authenticates the compound RTCP packet, then decrypts it in place; its length without trailer. On failure,
    /// what follows the first eight bytes is undefined.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let index = self.rtcp.rtcp_index(packet)?;
        let ssrc = Ssrc(word(packet, 4));
        let known = self.rtcp_streams.find(ssrc);
        self.rtcp_streams.admits(known, index.into(), self.max_streams)?;
        let len = self.rtcp.open_rtcp(packet, index)?;
        self.rtcp_streams.record(known, ssrc, index.into());
        Ok(len)
    }

    /// How many sources have windows.
    pub fn streams(&self) -> usize {
        self.rtp_streams.windows.len() + self.rtcp_streams.windows.len()
    }
}

/// What was received, by source.
#[derive(Default)]
struct Received {
    windows: SourceWindows,
    /// Highest index of each source that gave its window back.
    ended: BTreeMap<Ssrc, u64>,
}

/// How a source is known.
#[derive(Clone, Copy)]
enum Known {
    /// By its window, which is there.
    Window(usize),
    /// As one that ended with this index.
    Ended(u64),
    New,
}

impl Received {
    fn find(&self, ssrc: Ssrc) -> Known {
        match self.windows.find(ssrc) {
            Some(at) => Known::Window(at),
            None => self.ended.get(&ssrc).map_or(Known::New, |highest| Known::Ended(*highest)),
        }
    }

    fn highest(&self, known: Known) -> Option<u64> {
        match known {
            Known::Window(at) => Some(self.windows.at(at).highest()),
            Known::Ended(highest) => Some(highest),
            Known::New => None,
        }
    }

    /// Whether a packet with `index` is worth authenticating.
    fn admits(&self, known: Known, index: u64, max_streams: usize) -> Result<(), DropReason> {
        match known {
            Known::Window(at) if self.windows.at(at).is_new(index) => Ok(()),
            Known::Window(_) => Err(DropReason::SrtpReplay),
            Known::Ended(highest) if index <= highest => Err(DropReason::SrtpReplay),
            Known::New | Known::Ended(_) if self.windows.len() < max_streams => Ok(()),
            Known::Ended(_) | Known::New => Err(DropReason::TooManyStreams),
        }
    }

    fn record(&mut self, known: Known, ssrc: Ssrc, index: u64) {
        match known {
            Known::Window(at) => self.windows.record(Some(at), ssrc, index),
            Known::New => self.windows.record(None, ssrc, index),
            Known::Ended(highest) => {
                self.ended.remove(&ssrc);
                self.windows.resume(ssrc, highest, index);
            }
        }
    }

    fn retire(&mut self, ssrc: Ssrc) {
        if self.ended.len() < MAX_ENDED
            && let Some(highest) = self.windows.remove(ssrc)
        {
            self.ended.insert(ssrc, highest);
        }
    }
}

impl fmt::Debug for SrtpReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtpReceiver({:?}, {} streams)", self.profile, self.streams())
    }
}
