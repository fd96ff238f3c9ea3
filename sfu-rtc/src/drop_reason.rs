//! Why a packet died. A bad packet is never an error of ours: it is one of these, counted.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)+) => {
        /// Why a packet was not processed or not sent on.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)+
        }

        impl DropReason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Name in metrics.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// Neither STUN, DTLS, RTP nor RTCP (RFC 7983).
    Unclassified = "unclassified",
    /// From an address that no ICE check came from.
    UnvalidatedAddress = "unvalidated_address",
    /// STUN that is malformed.
    StunMalformed = "stun_malformed",
    /// STUN for a user name that no transport has.
    StunUnknownUser = "stun_unknown_user",
    /// STUN whose message integrity or fingerprint is wrong.
    StunIntegrity = "stun_integrity",
    /// A STUN check that came before from elsewhere: recorded and sent again.
    StunReplay = "stun_replay",
    /// A STUN response to no check of ours.
    StunUnknownAnswer = "stun_unknown_answer",
    /// A STUN check from the path of another peer that is heard there.
    PathTaken = "path_taken",
    /// Not sent: the peer has not shown that it receives there, and got already what it may have until then.
    UnprovenPath = "unproven_path",
    /// DTLS that the handshake refused.
    DtlsRefused = "dtls_refused",
    /// DTLS of a peer too many of whose datagrams proved nothing.
    DtlsRate = "dtls_rate",
    /// SRTP or SRTCP before the handshake gave keys.
    NoKeys = "no_keys",
    /// RTP that is malformed.
    RtpMalformed = "rtp_malformed",
    /// RTCP that is malformed.
    RtcpMalformed = "rtcp_malformed",
    /// Shorter than its authentication tag and trailer.
    SrtpTooShort = "srtp_too_short",
    /// Authentication failed: forged, damaged or for other keys.
    SrtpAuth = "srtp_auth",
    /// Seen before, or too old to tell (RFC 3711 section 3.3.2).
    SrtpReplay = "srtp_replay",
    /// Not sent: its source has used the number before under the same key, or it is too old to tell. A fault of ours.
    SrtpIndexReused = "srtp_index_reused",
    /// Larger than the largest packet we handle.
    TooLarge = "too_large",
    /// Belongs to no negotiated section, or its payload type does not.
    UnknownStream = "unknown_stream",
    /// More streams than a transport may have.
    TooManyStreams = "too_many_streams",
    /// The section carries no publication.
    NotPublished = "not_published",
    /// A packet that had arrived before.
    Duplicate = "duplicate",
    /// Too far behind or ahead of its stream to be used.
    OutOfWindow = "out_of_window",
    /// A payload whose codec header is malformed.
    PayloadMalformed = "payload_malformed",
    /// RTX for a packet that makes no sense, or empty (RFC 4588).
    RtxMalformed = "rtx_malformed",
    /// Parity of forward error correction whose header is malformed.
    FecMalformed = "fec_malformed",
    /// Padding only.
    Padding = "padding",
    /// Of a layer that the subscriber does not get.
    LayerNotSelected = "layer_not_selected",
    /// Waiting for a keyframe to begin or switch.
    AwaitingKeyframe = "awaiting_keyframe",
    /// The subscription is paused, or the publication muted.
    Paused = "paused",
    /// The subscriber has no payload type for the codec.
    CodecNotNegotiated = "codec_not_negotiated",
    /// The subscriber's transport is not connected.
    NotConnected = "not_connected",
    /// The subscriber's queue is full.
    QueueFull = "queue_full",
    /// Older than a keyframe of its stream: who gets that needs it no more.
    Superseded = "superseded",
    /// The queue to another worker is full.
    RelayFull = "relay_full",
    /// Asked for again, but no longer in the history.
    NotInHistory = "not_in_history",
    /// Asked for again too soon after it was sent again.
    ResentTooRecently = "resent_too_recently",
    /// The peer sends more of this than it may.
    RateLimited = "rate_limited",
    /// The peer sends more media, or more feedback, than it may.
    IngressLimit = "ingress_limit",
    /// The peer sends more of this publication than its token or its room allows.
    OverCap = "over_cap",
    /// The worker has a limit that was met.
    LimitReached = "limit_reached",
    /// The worker is past its limit and leaves this out.
    Overload = "overload",
}

/// A count per [`DropReason`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DropCounts([u64; DropReason::ALL.len()]);

impl Default for DropCounts {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl DropCounts {
    /// One more packet died of `reason`.
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// How many died of `reason`.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.of(reason)))
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_reason() {
        let mut counts = DropCounts::default();
        counts.count(DropReason::SrtpAuth);
        counts.count(DropReason::LimitReached);
        let mut sum = counts.clone();
        sum.merge(&counts);
        assert_eq!(sum.of(DropReason::SrtpAuth), 2);
        assert_eq!(sum.iter().map(|(_, n)| n).sum::<u64>(), 4);
    }

    #[test]
    fn labels_are_distinct() {
        let labels: std::collections::HashSet<_> = DropReason::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), DropReason::ALL.len());
    }
}
