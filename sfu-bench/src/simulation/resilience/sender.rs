//! The sender: a scene, our encoder and packetizer, and what the server tells of references.

use super::{Plan, Recovery};
use crate::endpoint::{Endpoint, Incoming};
use crate::peer::description::VIDEO;
use crate::peer::extension_id;
use anyhow::{Context, Result};
use sfu_client::capture::{Scene, VideoSource};
use sfu_client::encode::{
    Effort, EffortMode, EncoderConfig, KeptPicture, RateMode, ReferenceKeeper, ReferenceNews, VideoEncoder,
};
use sfu_client::frame::VideoFrame;
use sfu_client::peer::{SinkFormat, VideoCodec};
use sfu_client::send::Packetizer;
use sfu_rtc::ids::{PayloadType, SeqNo, Ssrc};
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::rtcp::{self, RtcpView};
use sfu_rtc::rtp::RtpHeader;
use sfu_rtc::rtp::extension::ExtensionKind;
use std::time::Duration;

/// Frames per second.
pub(super) const FPS: f64 = 30.0;

/// A frame that was sent.
#[derive(Clone, Copy)]
pub(super) struct SentFrame {
    pub(super) bytes: usize,
    pub(super) keyframe: bool,
    /// It recovers, and refers so many frames back.
    pub(super) recovers: Option<u16>,
}

pub(super) struct Sender {
    pub(super) endpoint: Endpoint,
    pub(super) sent: Vec<SentFrame>,
    ssrc: Ssrc,
    packetizer: Packetizer,
    encoder: VideoEncoder,
    keeper: ReferenceKeeper,
    keeps: bool,
    scene: Scene,
    /// The picture that was sent last.
    pub(super) source: VideoFrame,
    transport_cc: Option<u8>,
    next_wide: u16,
    next_seq: SeqNo,
}

impl Sender {
    pub(super) fn new(
        plan: &Plan,
        recovery: Recovery,
        endpoint: Endpoint,
        (ssrc, transport_cc): (Ssrc, Option<u8>),
    ) -> Result<Self> {
        let (width, height) = plan.size;
        let keeps = recovery == Recovery::LongTerm;
        let config = EncoderConfig {
            width,
            height,
            frame_rate: FPS,
            bitrate: plan.bitrate,
            long_term: keeps,
            ..EncoderConfig::default()
        };
        let (rate, effort) = (RateMode::default(), EffortMode::Fixed(Effort::Low));
        let kind = ExtensionKind::DependencyDescriptor;
        let format = SinkFormat::video(VideoCodec::H264, VIDEO, vec![(kind.uri().to_owned(), extension_id(kind))]);
        Ok(Self {
            endpoint,
            sent: Vec::new(),
            ssrc,
            packetizer: Packetizer::new(ssrc.0, &format),
            encoder: VideoEncoder::new(VideoCodec::H264, config, rate, effort)?,
            keeper: ReferenceKeeper::default(),
            keeps,
            scene: Scene::of(plan.scene, width, height, FPS)?,
            source: VideoFrame::new(width, height)?,
            transport_cc,
            next_wide: 0,
            next_seq: SeqNo(1_000),
        })
    }

    /// The server sends a datagram.
    pub(super) fn handle_datagram(&mut self, now: sfu_rtc::time::Instant, datagram: &mut [u8]) {
        let Incoming::Rtcp(compound) = self.endpoint.handle_datagram(now, datagram) else { return };
        let is_request = |packet: &RtcpView<'_>| matches!(packet, RtcpView::Pli(_) | RtcpView::Fir(_));
        if rtcp::compound(compound).flatten().any(|packet| is_request(&packet)) {
            self.encoder.force_keyframe();
        }
    }

    /// The server tells of references.
    pub(super) fn hear(&mut self, news: ReferenceNews) -> Result<()> {
        self.keeper.hear(&mut self.encoder, news).map(drop)
    }

    /// Draws, codes and sends the next picture; what is kept with it.
    pub(super) fn send_picture(&mut self, batch: &mut TransmitBatch) -> Result<Option<KeptPicture>> {
        let number = u32::try_from(self.sent.len())?;
        let elapsed = Duration::from_secs_f64(f64::from(number) / FPS);
        self.scene.draw(number, &mut self.source)?;
        self.keeper.before(&mut self.encoder, elapsed)?;
        let encoded = self.encoder.encode(&self.source, elapsed)?.context("a picture was left out")?;
        let kept = self.keeper.after(&encoded, elapsed).filter(|_| self.keeps);
        let references = encoded.references;
        self.sent.push(SentFrame {
            bytes: encoded.data.len(),
            keyframe: encoded.keyframe,
            recovers: references.recovers.then_some(references.refers),
        });
        let timestamp = number * (90_000.0 / FPS) as u32;
        for packet in self.packetizer.picture(
            VideoCodec::H264,
            &encoded,
            (self.source.width(), self.source.height()),
            timestamp,
        )? {
            let header = RtpHeader {
                payload_type: PayloadType(VIDEO),
                seq: self.next_seq.wire(),
                timestamp: packet.header.timestamp,
                ssrc: self.ssrc,
                marker: packet.header.marker,
            };
            let descriptor = extension_id(ExtensionKind::DependencyDescriptor);
            let value = packet.header.get_extension(descriptor).context("a packet without a descriptor")?;
            let wide = self.next_wide.to_be_bytes();
            let mut extensions = vec![(extension_id(ExtensionKind::Mid), &b"0"[..]), (descriptor, &value[..])];
            extensions.extend(self.transport_cc.map(|id| (id, &wide[..])));
            self.endpoint.send_rtp(header, self.next_seq, &extensions, &packet.payload, batch);
            (self.next_seq, self.next_wide) = (self.next_seq.next(), self.next_wide.wrapping_add(1));
        }
        Ok(kept)
    }
}
