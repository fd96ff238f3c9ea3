//! One participant with its links, its transport, and what the checks must know of it.

use super::tap::Tap;
use super::{Conference, START, servers, since_start};
use crate::peer::{Peer, PeerConfig};
use crate::rng::Rng;
use crate::timeline::Timeline;
use netsim::{Link, LinkConfig, Loss, Payload};
use sfu_core::ids::{PublicationId, TransportId};
use sfu_rtc::ice::IceCredentials;
use sfu_rtc::media::MediaSection;
use sfu_rtc::net::DatagramKind;
use sfu_rtc::time::{Duration, Instant};
use std::net::SocketAddr;

/// How long after a disturbance (a new address, a restart) media may be missing.
const RECOVERY: Duration = Duration::from_millis(2_500);

/// A participant.
pub(super) struct Member {
    pub(super) peer: Peer,
    pub(super) transport: TransportId,
    /// Number of its worker, once it has joined.
    pub(super) server: usize,
    pub(super) up: Link<Parcel>,
    pub(super) down: Link<Parcel>,
    /// Every address that it ever had, as the server sees it.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) seen_as: SocketAddr,
    /// When it will join; `None` once it has.
    pub(super) joins_at: Option<Instant>,
    pub(super) joined: Option<Instant>,
    /// Gone without a word.
    pub(super) gone: bool,
    /// Left in good order.
    pub(super) left: bool,
    pub(super) server_connected: bool,
    /// When media began to flow on its side.
    pub(super) connected_at: Option<Instant>,
    pub(super) sections: Vec<MediaSection>,
    pub(super) answers: u64,
    pub(super) local_ice: Option<IceCredentials>,
    /// Microphone and camera: publication, and whether it flows.
    pub(super) sources: [Source; 2],
    /// What each of the peer's slots carries.
    pub(super) slots: Vec<SlotState>,
    /// What the links (up, down) become with the connection.
    storms: Option<[LinkConfig; 2]>,
    /// When media may be missing.
    pub(super) disturbed: Vec<(Instant, Instant)>,
    /// When it moved to its present address, until the server followed.
    pub(super) moved: Option<Instant>,
    pub(super) tap: Tap,
}

/// A datagram under way with the member's address at the time.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) address: SocketAddr,
    bytes: Vec<u8>,
    /// Leading bytes as they were, which damage leaves alone. Of what is not media all: elsewhere the checksum of UDP
    /// sees to it, and str0m does not recover from a damaged handshake.
    intact: Vec<u8>,
}

impl Parcel {
    /// One to the server.
    pub(super) fn up(address: SocketAddr, bytes: Vec<u8>) -> Self {
        Self::new(address, bytes, 0)
    }

    /// One from the server. str0m takes the source from a header before it knows who wrote it, and then no longer
    /// from the right one; so the fixed header of media stays whole.
    pub(super) fn down(address: SocketAddr, bytes: Vec<u8>) -> Self {
        Self::new(address, bytes, 12)
    }

    fn new(address: SocketAddr, bytes: Vec<u8>, header: usize) -> Self {
        let is_media = DatagramKind::of(&bytes).is_some_and(DatagramKind::is_media);
        let intact = bytes.iter().copied().take(if is_media { header } else { bytes.len() }).collect();
        Self { address, bytes, intact }
    }

    pub(super) fn content(&mut self) -> &mut [u8] {
        self.bytes[..self.intact.len()].copy_from_slice(&self.intact);
        &mut self.bytes
    }
}

impl Payload for Parcel {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// A microphone or camera as the server knows it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) publication: Option<PublicationId>,
    pub(super) muted: bool,
    /// Whether it is published and not muted.
    pub(super) flows: Timeline<bool>,
}

/// A slot as assigned.
#[derive(Debug)]
pub(super) struct SlotState {
    pub(super) video: bool,
    /// Member whose source it carries.
    pub(super) shows: Timeline<Option<usize>>,
    pub(super) paused: Timeline<bool>,
    pub(super) quality: sfu_core::command::Quality,
}

impl SlotState {
    pub(super) fn new(at: Instant, video: bool) -> Self {
        let quality = sfu_core::command::Quality::High;
        Self { video, shows: Timeline::new(at, None), paused: Timeline::new(at, false), quality }
    }
}

impl Conference {
    pub(super) fn new_member(&mut self, index: usize) -> Member {
        let drawn = self.scenario.participants[index].clone();
        let mut rng = self.rng.fork();
        let address = SocketAddr::from(([10, 0, 1, index as u8 + 1], 40_000));
        let config = PeerConfig {
            id: index as u32,
            address,
            layers: drawn.layers,
            video_slots: drawn.slots,
            audio_slots: drawn.slots,
        };
        let joins = START + drawn.joins;
        let source = || Source { publication: None, muted: false, flows: Timeline::new(START, false) };
        Member {
            peer: Peer::new(config, self.clock, joins, rng.fork()),
            transport: TransportId(index as u64 + 1),
            server: 0,
            up: Link::new(calm(&drawn.up), rng.bits()),
            down: Link::new(calm(&drawn.down), rng.bits()),
            addresses: vec![address],
            seen_as: address,
            joins_at: Some(joins),
            joined: None,
            gone: false,
            left: false,
            server_connected: false,
            connected_at: None,
            sections: Vec::new(),
            answers: 0,
            local_ice: None,
            sources: [source(), source()],
            slots: Vec::new(),
            storms: Some([drawn.up, drawn.down]),
            disturbed: Vec::new(),
            moved: None,
            tap: Tap::default(),
        }
    }
}

/// A link during the handshake. A burst of losses is counted in packets; among the few packets of a handshake it
/// would last for seconds.
fn calm(drawn: &LinkConfig) -> LinkConfig {
    let loss = match drawn.loss {
        Loss::GilbertElliott { .. } => Loss::Random(0.05),
        other => other,
    };
    LinkConfig { loss, ..drawn.clone() }
}

impl Member {
    /// Whether it is in the room and can be reached.
    pub(super) fn is_present(&self) -> bool {
        self.joined.is_some() && !self.gone && !self.left
    }

    pub(super) fn had_address(&self, address: SocketAddr) -> bool {
        self.addresses.contains(&address)
    }

    pub(super) fn next_event(&self) -> Option<Instant> {
        let links = [self.up.next_timeout(), self.down.next_timeout()].into_iter().flatten();
        let own = match self.joins_at {
            _ if self.gone || self.left => None,
            Some(joins) => Some(joins),
            None => Some(self.peer.poll_timeout()),
        };
        links.map(|elapsed| Instant::ZERO + elapsed).chain(own).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.is_present() && self.peer.poll_timeout() <= now {
            self.peer.handle_timeout(now);
        }
        if self.connected_at.is_none() && self.peer.connected && self.server_connected {
            self.connected_at = Some(now);
            if let Some([up, down]) = self.storms.take() {
                self.up.set_config(since_start(now), up);
                self.down.set_config(since_start(now), down);
            }
        }
    }

    /// Puts what the peer sends on its way.
    pub(super) fn drain(&mut self, now: Instant) {
        for (to, bytes) in self.peer.take_outbox() {
            if to != servers::address(self.server) || self.gone || self.left {
                continue;
            }
            self.up.send(since_start(now), Parcel::up(self.seen_as, bytes));
        }
    }

    /// Its address changes under its feet.
    pub(super) fn move_to(&mut self, now: Instant, rng: &mut Rng) {
        let port = 41_000 + rng.between(0, 20_000) as u16;
        self.seen_as = SocketAddr::new(self.seen_as.ip(), port);
        self.addresses.push(self.seen_as);
        self.moved = Some(now);
        // Until the server follows; the end is set when it does.
        self.disturbed.push((now, Instant::NEVER));
    }

    pub(super) fn path_changed(&mut self, now: Instant, to: SocketAddr) {
        if to != self.seen_as || self.moved.take().is_none() {
            return;
        }
        if let Some(last) = self.disturbed.last_mut() {
            last.1 = now + RECOVERY;
        }
    }

    pub(super) fn disturb(&mut self, now: Instant) {
        self.disturbed.push((now, now + RECOVERY));
    }
}
