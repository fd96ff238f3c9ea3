//! What the control plane orders of a worker. Commands are carried out in order and never fail loudly: one that names
//! something unknown (it may have gone meanwhile) is ignored and counted.

use crate::ids::{PublicationId, RoomId, TransportId, WorkerId};
use sfu_rtc::dtls::{DtlsRole, Fingerprint};
use sfu_rtc::ice::IceCredentials;
use sfu_rtc::ids::{Mid, Rid};
use sfu_rtc::media::{MediaKind, MediaSection};
use sfu_rtc::transport::RtcpSource;

/// One order to a worker.
#[derive(Clone, Debug)]
pub enum Command {
    /// Makes a room.
    OpenRoom {
        /// Its name.
        room: RoomId,
    },
    /// Ends a room with all its transports; each peer gets a DTLS close_notify.
    CloseRoom {
        /// Which.
        room: RoomId,
    },
    /// Makes a peer's transport in a room.
    AddTransport {
        /// Its room.
        room: RoomId,
        /// Its name.
        transport: TransportId,
        /// What was negotiated.
        params: Box<TransportParams>,
    },
    /// Renegotiation: replaces the media sections. Sections keep their state where mid and direction stay.
    UpdateSections {
        /// Which.
        transport: TransportId,
        /// All sections.
        sections: Vec<MediaSection>,
    },
    /// ICE restart (RFC 8445 section 9): new credentials on both sides; media goes on over the old path until
    /// a check with the new ones succeeds.
    RestartIce {
        /// Which.
        transport: TransportId,
        /// Ours.
        local: IceCredentials,
        /// The peer's.
        remote: IceCredentials,
    },
    /// Ends a transport with its publications and slots.
    RemoveTransport {
        /// Which.
        transport: TransportId,
    },
    /// Binds a receiving section to a publication; from now on its packets are forwarded.
    Publish {
        /// Its name.
        publication: PublicationId,
        /// Transport that carries it.
        transport: TransportId,
        /// Section that carries it.
        mid: Mid,
    },
    /// Ends a publication; slots that carry it fall empty.
    Unpublish {
        /// Which.
        publication: PublicationId,
    },
    /// Stops or resumes the forwarding of a publication.
    SetMuted {
        /// Which.
        publication: PublicationId,
        /// True stops it.
        muted: bool,
    },
    /// Puts a publication into a slot, or empties it. The switch happens at the source's next keyframe, which the
    /// worker asks for; until then the slot is silent.
    AssignSlot {
        /// Subscriber.
        transport: TransportId,
        /// Its slot (a section with direction Send).
        mid: Mid,
        /// What it carries from now on.
        source: Option<PublicationId>,
        /// Which layers it may carry.
        preference: LayerPreference,
    },
    /// Changes what a slot may carry, its source staying.
    SetPreference {
        /// Subscriber.
        transport: TransportId,
        /// Its slot.
        mid: Mid,
        /// What it may carry.
        preference: LayerPreference,
    },
    /// Asks a publication's sender for a keyframe.
    RequestKeyframe {
        /// Which.
        publication: PublicationId,
    },
    /// Relays a publication that a peer of this worker sends to another worker, which is ordered to open the relay.
    RelayTo {
        /// Which.
        publication: PublicationId,
        /// Where to.
        destination: WorkerId,
    },
    /// Relays a publication there no longer.
    StopRelay {
        /// Which.
        publication: PublicationId,
        /// Where to.
        destination: WorkerId,
    },
    /// Makes a publication of what another worker relays. `Unpublish` ends it.
    OpenRelay {
        /// Its room, which is on that worker too.
        room: RoomId,
        /// Its name there and here.
        publication: PublicationId,
        /// Worker of the peer that sends it.
        origin: WorkerId,
        /// Transport of that peer.
        sender: TransportId,
        /// Audio or video.
        kind: MediaKind,
        /// Simulcast layers, lowest first; empty without simulcast.
        rids: Vec<Rid>,
    },
    /// Asks for the worker's figures, answered by `Event::Stats` with the same token.
    Stats {
        /// Any number.
        token: u64,
    },
}

/// What was negotiated for a new transport.
#[derive(Clone, Debug)]
pub struct TransportParams {
    /// Our ICE credentials. The worker finds the transport by the user name fragment.
    pub local_ice: IceCredentials,
    /// The peer's ICE credentials.
    pub remote_ice: IceCredentials,
    /// Fingerprints of the peer's certificate, of which one must match.
    pub remote_fingerprints: Vec<Fingerprint>,
    /// Our side of DTLS.
    pub dtls_role: DtlsRole,
    /// All sections.
    pub sections: Vec<MediaSection>,
    /// SSRC and CNAME of our RTCP: random, and none of the peer's sources.
    pub rtcp: RtcpSource,
}

/// What a subscriber wants to get in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LayerPreference {
    /// Best quality.
    pub quality: Quality,
    /// Nothing is sent.
    pub paused: bool,
}

/// Best quality wanted: of n layers, the lowest, the middle, or the highest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Quality {
    /// The lowest layer.
    Low,
    /// Up to the middle layer.
    Medium,
    /// Up to the highest layer.
    #[default]
    High,
}
