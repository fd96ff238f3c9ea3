//! One WHIP or WHEP session: a str0m connection in RTP mode.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;
use str0m::change::SdpOffer;
use str0m::format::PayloadParams;
use str0m::media::{KeyframeRequestKind, MediaKind, Mid};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcError};

/// What a session does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Sends to us (WHIP).
    Publisher,
    /// Receives from us (WHEP).
    Player,
}

/// What a session has to say to the others of its stream.
pub(crate) enum Happening {
    /// A publisher's packet.
    Media(Box<Media>),
    /// A player needs a keyframe.
    WantsKeyframe,
}

/// One packet with what players must know of it.
pub(crate) struct Media {
    kind: MediaKind,
    params: PayloadParams,
    packet: RtpPacket,
}

/// Where packets of one kind go, in a player.
struct Outgoing {
    mid: Mid,
    kind: MediaKind,
    /// Of which publisher the numbers are, and what to add to them.
    source: Option<(u64, u64)>,
    next: u64,
}

/// First sequence number for a player, so that packets that were overtaken by the first have a number too.
const FIRST_SEQUENCE: u64 = 1_000;

pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) role: Role,
    pub(crate) stream: (String, String),
    rtc: Rtc,
    timeout: Instant,
    /// Of simulcast layers, the one that is forwarded: that which came first.
    forwarded: HashMap<Mid, Ssrc>,
    outgoing: Vec<Outgoing>,
}

impl Session {
    /// A session with its answer.
    pub(crate) fn accept(
        id: u64,
        role: Role,
        stream: (String, String),
        address: SocketAddr,
        offer: SdpOffer,
    ) -> Result<(Self, String), RtcError> {
        let now = Instant::now();
        let builder = Rtc::builder().set_rtp_mode(true).set_ice_lite(true).clear_codecs();
        let mut rtc = builder.enable_opus(true, false).enable_vp8(true).enable_h264(true).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp")?);
        let answer = rtc.sdp_api().accept_offer(offer)?.to_sdp_string();
        let mut session = Self { id, role, stream, rtc, timeout: now, forwarded: HashMap::new(), outgoing: Vec::new() };
        session.poll();
        Ok((session, answer))
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.rtc.is_alive()
    }

    pub(crate) fn timeout(&self) -> Instant {
        self.timeout
    }

    pub(crate) fn accepts(&self, input: &Input<'_>) -> bool {
        self.rtc.accepts(input)
    }

    pub(crate) fn handle(&mut self, input: Input<'_>) {
        if self.rtc.handle_input(input).is_err() {
            self.rtc.disconnect();
        }
    }

    /// What it has to say, and the datagrams it has to send.
    pub(crate) fn poll(&mut self) -> (Vec<Happening>, Vec<(SocketAddr, Vec<u8>)>) {
        let (mut happenings, mut datagrams) = (Vec::new(), Vec::new());
        while self.rtc.is_alive() {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.timeout = at;
                    break;
                }
                Ok(Output::Transmit(transmit)) => datagrams.push((transmit.destination, transmit.contents.into())),
                Ok(Output::Event(event)) => happenings.extend(self.on_event(event)),
                Err(_) => self.rtc.disconnect(),
            }
        }
        (happenings, datagrams)
    }

    fn on_event(&mut self, event: Event) -> Option<Happening> {
        match event {
            Event::MediaAdded(added) if self.role == Role::Player => {
                let (mid, kind) = (added.mid, added.kind);
                self.outgoing.push(Outgoing { mid, kind, source: None, next: FIRST_SEQUENCE });
                None
            }
            Event::Connected if self.role == Role::Player => Some(Happening::WantsKeyframe),
            Event::KeyframeRequest(_) => Some(Happening::WantsKeyframe),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                self.rtc.disconnect();
                None
            }
            Event::RtpPacket(packet) if self.role == Role::Publisher => self.take(packet).map(Happening::Media),
            _ => None,
        }
    }

    fn take(&mut self, packet: RtpPacket) -> Option<Box<Media>> {
        let ssrc = packet.header.ssrc;
        let mid = self.rtc.direct_api().stream_rx(&ssrc)?.mid();
        if *self.forwarded.entry(mid).or_insert(ssrc) != ssrc {
            return None;
        }
        let kind = self.rtc.media(mid)?.kind();
        let params = *self.rtc.codec_config().find(|params| params.pt() == packet.header.payload_type)?;
        Some(Box::new(Media { kind, params, packet }))
    }

    /// Sends a publisher's packet to this player; whether there was anything to send.
    pub(crate) fn send(&mut self, publisher: u64, media: &Media) -> bool {
        let Some(out) = self.outgoing.iter_mut().find(|out| out.kind == media.kind) else { return false };
        let Some(section) = self.rtc.media(out.mid) else { return false };
        // The player's number for the same codec, and for H.264 the same profile where it has that.
        let known =
            self.rtc.codec_config().params().iter().filter(|params| section.remote_pts().contains(&params.pt()));
        let same_codec = known.filter(|params| params.spec().codec == media.params.spec().codec);
        let best = same_codec.max_by_key(|params| params.spec().format == media.params.spec().format);
        let Some(payload_type) = best.map(PayloadParams::pt) else { return false };
        let sequence = *media.packet.seq_no;
        let offset = match out.source {
            Some((source, offset)) if source == publisher => offset,
            _ => out.next.wrapping_sub(sequence),
        };
        out.source = Some((publisher, offset));
        let number = sequence.wrapping_add(offset);
        out.next = out.next.max(number.wrapping_add(1));
        let header = &media.packet.header;
        let now = Instant::now();
        let extensions = ExtensionValues {
            audio_level: header.ext_vals.audio_level,
            voice_activity: header.ext_vals.voice_activity,
            ..ExtensionValues::default()
        };
        let write = RtpWrite::new(payload_type, number.into(), header.timestamp, now, media.packet.payload.clone());
        let write = write.marker(header.marker).nackable(media.kind == MediaKind::Video).ext_vals(extensions);
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(out.mid, None) else { return false };
        stream.write_rtp(write);
        self.handle(Input::Timeout(now));
        true
    }

    /// Asks this publisher for a keyframe; whether it sends a picture at all.
    pub(crate) fn request_keyframe(&mut self) -> bool {
        let mut asked = false;
        for (mid, ssrc) in &self.forwarded {
            if self.rtc.media(*mid).is_some_and(|media| media.kind() == MediaKind::Video)
                && let Some(stream) = self.rtc.direct_api().stream_rx(ssrc)
            {
                stream.request_keyframe(KeyframeRequestKind::Pli);
                asked = true;
            }
        }
        if asked {
            self.handle(Input::Timeout(Instant::now()));
        }
        asked
    }
}
