//! What the control plane orders of a worker. Commands are carried out in order and never fail loudly: one that names
//! something unknown (it may have gone meanwhile) is ignored and counted.

use crate::ids::{PublicationId, RoomId, TransportId, WorkerId};
use arrayvec::ArrayVec;
use sfu_rtc::dtls::{DtlsRole, Fingerprint};
use sfu_rtc::ice::IceCredentials;
use sfu_rtc::ids::{Mid, Rid};
use sfu_rtc::media::{MediaKind, MediaSection};
use sfu_rtc::transport::RtcpSource;
use sfu_rtc::units::Bitrate;
use std::net::{IpAddr, SocketAddr};

pub use crate::layer_order::MAX_LAYERS;

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
    /// Says what a publication's sender was asked to send, so that subscribers' bandwidth is shared out by that at once,
    /// and not only when it has been measured.
    SetEncoderTarget {
        /// Which.
        publication: PublicationId,
        /// What was asked for.
        target: Box<EncoderTarget>,
    },
    /// Bounds what comes in of a publication: what is over that is dropped.
    CapPublication {
        /// Which.
        publication: PublicationId,
        /// The bitrate is that of all its layers together.
        caps: VideoCaps,
    },
    /// Bounds what a subscriber is sent.
    CapSubscriber {
        /// Which.
        transport: TransportId,
        /// The bitrate is that of all its slots together; the rest holds for each video.
        caps: VideoCaps,
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
    /// Its sender keeps a frame as a long-term reference; from the first such command on it is told which of these all
    /// hold (`Event::References`). Frames are named by their numbers in the dependency descriptor.
    MarkReference {
        /// Which.
        publication: PublicationId,
        /// The frame.
        frame: u16,
        /// With which frame it became one: the same, or a later one.
        by: u16,
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
    /// Asks a publisher by REMB to send no more than so much in all, at once and more than once a second, where it follows
    /// that. `None` lifts the bound.
    LimitSender {
        /// Which.
        transport: TransportId,
        /// All that it sends: audio, video and retransmissions.
        bitrate: Option<Bitrate>,
    },
    /// Asks for the worker's figures, answered by `Event::Stats` with the same token.
    Stats {
        /// Any number.
        token: u64,
    },
}

/// What the sender of a publication was asked to send.
#[derive(Clone, Default, Debug)]
pub struct EncoderTarget {
    /// What is not named is sent as before, and cannot take more.
    pub layers: ArrayVec<EncodingTarget, MAX_LAYERS>,
}

/// What the sender was asked to send of one layer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct EncodingTarget {
    /// Its name; of a publication without simulcast the one layer has none.
    pub rid: Option<Rid>,
    /// Media bits per second. `None` where that is as before, or nothing is sent for now.
    pub bitrate: Option<Bitrate>,
    /// Bits per second that it could take if it were asked for: what the paths of those who want it may be probed for,
    /// though it is not sent now. Zero where it is not to become better.
    pub attainable: Bitrate,
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
    /// Address that the peer's signalling came from: there, a handshake may begin at the first check.
    pub signalled_from: Option<IpAddr>,
    /// Addresses of the peer's candidates, as far as it names any. Nobody else gets a handshake there without proof.
    pub candidates: Vec<SocketAddr>,
}

/// The most that somebody may send or get of video. What is `None` is not bounded.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct VideoCaps {
    /// Bits per second.
    pub bitrate: Option<Bitrate>,
    /// Frames per second.
    pub framerate: Option<u8>,
    /// Lines: the shorter side of the picture.
    pub height: Option<u16>,
}

impl VideoCaps {
    /// Whether a picture of this size is within the height. One of unknown size is taken to be.
    pub(crate) fn admits(&self, size: Option<(u16, u16)>) -> bool {
        let lines = size.map(|(width, height)| width.min(height));
        self.height.is_none_or(|most| lines.is_none_or(|lines| lines <= most))
    }
}

/// What a subscriber wants to get in a slot, and how much it matters to it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LayerPreference {
    /// Best quality.
    pub quality: Quality,
    /// Nothing is sent.
    pub paused: bool,
    /// How large it is shown; `None` where the subscriber does not say.
    pub tile: Option<Tile>,
    /// What it is to the subscriber.
    pub role: Role,
    /// Higher goes first, whatever its role: the subscriber's own word.
    pub priority: u8,
}

impl LayerPreference {
    /// Whether anything is to be sent.
    pub(crate) fn is_visible(&self) -> bool {
        !self.paused && self.tile.is_none_or(|tile| tile.area() > 0)
    }
}

/// How large a subscriber shows a video, in device pixels; without an area it does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tile {
    /// Width.
    pub width: u16,
    /// Height.
    pub height: u16,
}

/// A layer whose sides are shorter by this factor fills a tile well enough: 360 lines do for 400, 720 cost three times
/// as much.
const CLOSE_ENOUGH: (u64, u64) = (9, 8);
/// Pixels that the lowest layer is taken to have where that is not known; each further one has four times as many.
const LOWEST_LAYER: u64 = 320 * 180;

impl Tile {
    /// Pixels.
    pub(crate) fn area(self) -> u32 {
        u32::from(self.width) * u32::from(self.height)
    }

    /// How many of these layers, the lowest first, are of use: up to the first that fills it. Pixels are compared, since
    /// pictures may be cropped, or stand on their side.
    pub(crate) fn useful(self, sizes: impl Iterator<Item = Option<(u16, u16)>>) -> usize {
        let ((much, little), mut useful) = (CLOSE_ENOUGH, 0);
        for (place, size) in sizes.enumerate() {
            useful = place + 1;
            let guess = LOWEST_LAYER << (2 * place).min(16);
            let pixels = size.map_or(guess, |(width, height)| u64::from(width) * u64::from(height));
            if pixels * much * much >= u64::from(self.area()) * little * little {
                break;
            }
        }
        useful
    }
}

/// What a video is to a subscriber, the least important first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Role {
    /// One of many.
    #[default]
    Other,
    /// Its publisher speaks. The worker sees that for itself.
    Speaker,
    /// The subscriber has chosen it.
    Pinned,
    /// It shows a screen.
    Screen,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_needs_no_layer_above_the_first_that_fills_it() {
        const LAYERS: [(u16, u16); 3] = [(320, 180), (640, 360), (1280, 720)];
        let useful = |width, height| Tile { width, height }.useful(LAYERS.into_iter().map(Some));
        let tiles = [(160, 90), (320, 180), (355, 200), (400, 225), (711, 400), (800, 450), (3840, 2160)];
        assert_eq!(tiles.map(|(width, height)| useful(width, height)), [1, 1, 1, 2, 2, 3, 3]);
        assert_eq!(useful(225, 400), 2, "upright");
        assert_eq!(Tile { width: 640, height: 360 }.useful([None; 3].into_iter()), 2, "sizes that are usual");
        assert_eq!(Tile { width: 640, height: 360 }.useful(std::iter::empty()), 0);
    }
}
