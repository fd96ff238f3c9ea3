//! A stream that we receive.

use super::fec::FecWatch;
use super::media::{DEPENDENCY_DESCRIPTOR, MediaKind, RED_MIME, VideoCodec};
use anyhow::{Context, Result};
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers};
use sfu_rtc::fec::DecoderStats;
use std::sync::Arc;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::PeerConnection;
use webrtc::rtp_transceiver::RtpReceiver;

/// A receiving section of a peer connection, once its first packet has come.
pub struct RemoteTrack {
    track: Arc<dyn TrackRemote>,
    /// Section; empty where the crate does not know it.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// Packets of video that are missing are asked for.
    pub nack: bool,
    formats: Vec<(u8, TrackFormat)>,
    /// Id of the dependency descriptor, where it was negotiated.
    descriptor: Option<u8>,
    fec: FecWatch,
}

/// What a payload type carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrackFormat {
    /// Pictures.
    Video(VideoCodec),
    /// Opus sound.
    Opus,
    /// Opus sound with older sound before it (RFC 2198).
    OpusRed,
}

impl TrackFormat {
    /// Its name as in SDP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Video(codec) => codec.name(),
            Self::Opus | Self::OpusRed => "opus",
        }
    }
}

impl RemoteTrack {
    pub(super) async fn new(connection: &dyn PeerConnection, track: Arc<dyn TrackRemote>, fec: FecWatch) -> Self {
        let kind = match track.kind().await {
            rtc::rtp_transceiver::rtp_sender::RtpCodecKind::Audio => MediaKind::Audio,
            _ => MediaKind::Video,
        };
        let (mut mid, mut formats, mut descriptor) = (String::new(), Vec::new(), None);
        for transceiver in connection.get_transceivers().await {
            let Ok(Some(receiver)) = transceiver.receiver().await else { continue };
            if Arc::ptr_eq(receiver.track(), &track) {
                mid = transceiver.mid().await.ok().flatten().unwrap_or_default();
                (formats, descriptor) = receiver_formats(&*receiver).await.unwrap_or_default();
            }
        }
        Self { track, mid, kind, nack: true, formats, descriptor, fec }
    }

    /// What `payload_type` carries here.
    pub fn format(&self, payload_type: u8) -> Option<TrackFormat> {
        self.formats.iter().find(|(known, _)| *known == payload_type).map(|(_, format)| *format)
    }

    /// The packet's dependency descriptor, if it has one.
    pub fn descriptor(&self, packet: &rtp::Packet) -> Option<bytes::Bytes> {
        packet.header.get_extension(self.descriptor?)
    }

    /// The next packet, retransmissions undone and losses recovered; `None` once the track has ended.
    pub async fn read(&self) -> Option<rtp::Packet> {
        loop {
            match self.track.poll().await? {
                TrackRemoteEvent::OnRtpPacket(packet) => return Some(packet),
                TrackRemoteEvent::OnEnded | TrackRemoteEvent::OnError => return None,
                _ => {}
            }
        }
    }

    /// What came of the parity for the stream `ssrc` so far.
    pub fn fec(&self, ssrc: u32) -> DecoderStats {
        self.fec.read(ssrc)
    }

    /// Asks the sender for a keyframe.
    ///
    /// # Errors
    /// Once the connection is closed.
    pub async fn request_keyframe(&self, media_ssrc: u32) -> Result<()> {
        let pli = PictureLossIndication { sender_ssrc: 0, media_ssrc };
        self.track.write_rtcp(vec![Box::new(pli)]).await.context("the media connection is closed")
    }

    /// Asks the sender to repeat packets; `sequence_numbers` ascend.
    ///
    /// # Errors
    /// Once the connection is closed.
    pub async fn request_packets(&self, media_ssrc: u32, sequence_numbers: &[u16]) -> Result<()> {
        let nacks = nack_pairs_from_sequence_numbers(sequence_numbers);
        let nack = TransportLayerNack { sender_ssrc: 0, media_ssrc, nacks };
        self.track.write_rtcp(vec![Box::new(nack)]).await.context("the media connection is closed")
    }
}

/// What its payload types carry, and the id of the dependency descriptor.
async fn receiver_formats(receiver: &dyn RtpReceiver) -> Result<(Vec<(u8, TrackFormat)>, Option<u8>)> {
    let parameters = receiver.get_parameters().await?.rtp_parameters;
    let formats = parameters.codecs.iter().filter_map(|codec| {
        let mime = codec.rtp_codec.mime_type.as_str();
        let format = if mime.eq_ignore_ascii_case("audio/opus") {
            TrackFormat::Opus
        } else if mime.eq_ignore_ascii_case(RED_MIME) {
            TrackFormat::OpusRed
        } else {
            TrackFormat::Video(VideoCodec::from_mime(mime)?)
        };
        Some((codec.payload_type, format))
    });
    let descriptor = parameters.header_extensions.iter().find(|extension| extension.uri == DEPENDENCY_DESCRIPTOR);
    Ok((formats.collect(), descriptor.and_then(|extension| u8::try_from(extension.id).ok())))
}
