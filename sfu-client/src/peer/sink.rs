//! A stream that we send.

use super::capture_clock::{CaptureClock, CaptureClocks};
use super::keyframe_requests::Watchers;
use super::media::{
    DEPENDENCY_DESCRIPTOR, MediaKind, RED_MIME, VideoCodec, audio_parameters, rs_fec_parameters, video_parameters,
};
use super::names::EncodingNames;
use super::protect::{ParityControl, ParityControls};
use anyhow::{Context, Result};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RTCRtpFecParameters, RTCRtpRtxParameters,
};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;
use webrtc::media_stream::MediaStreamTrack;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::PeerConnection;
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit, RtpSender, RtpTransceiver};

/// A stream of a sending section of a peer connection; without simulcast the only one.
pub struct RtpSink {
    track: Arc<TrackLocalStaticRTP>,
    transceiver: Arc<dyn RtpTransceiver>,
    sender: Arc<dyn RtpSender>,
    ssrc: u32,
    /// Its name, where it is one of several encodings.
    rid: String,
    keyframe_requests: Arc<AtomicU64>,
    names: EncodingNames,
    clocks: CaptureClocks,
    parity: Arc<ParityControl>,
}

/// What sinks share with the interceptors.
pub(super) struct SinkHub<'a> {
    pub(super) watchers: &'a Watchers,
    pub(super) names: &'a EncodingNames,
    pub(super) clocks: &'a CaptureClocks,
    /// Set where parity is offered.
    pub(super) parity: Option<&'a ParityControls>,
}

/// What was negotiated for a sink.
#[derive(Clone, Debug)]
pub struct SinkFormat {
    /// Payload type to send.
    pub payload_type: u8,
    /// Payload type for sound with redundancy (RFC 2198), where the far side takes that.
    pub red_payload_type: Option<u8>,
    /// Video codecs that the far side takes, with their payload types, the preferred one first.
    pub video: Vec<(VideoCodec, u8)>,
    extensions: Vec<(String, u8)>,
}

impl SinkFormat {
    /// Video of `codec` with this payload type and these header extensions, each a URI and its id, as negotiated by others.
    pub fn video(codec: VideoCodec, payload_type: u8, extensions: Vec<(String, u8)>) -> Self {
        Self { payload_type, red_payload_type: None, video: vec![(codec, payload_type)], extensions }
    }

    /// The id of the header extension `uri`, where it was negotiated.
    pub fn extension(&self, uri: &str) -> Option<u8> {
        self.extensions.iter().find(|(known, _)| known == uri).map(|(_, id)| *id)
    }
}

impl RtpSink {
    /// A section with a stream for each of `rids`, in their order; one without a name is alone.
    pub(super) async fn new(
        connection: &dyn PeerConnection,
        video: Option<&[VideoCodec]>,
        (stream, rids): (&str, &[&str]),
        hub: SinkHub<'_>,
    ) -> Result<Vec<Self>> {
        let kind = if video.is_some() { MediaKind::Video } else { MediaKind::Audio };
        let parity = hub.parity.filter(|_| kind == MediaKind::Video);
        let mut codecs: Vec<RTCRtpCodecParameters> = match video {
            None => audio_parameters().to_vec(),
            Some(codecs) => codecs.iter().flat_map(|codec| video_parameters(*codec)).collect(),
        };
        let first = codecs.first().context("a sending section needs a codec")?.rtp_codec.clone();
        codecs.extend(parity.map(|_| rs_fec_parameters()));
        let encoding = |rid: &&str| RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                rid: (*rid).to_owned(),
                ssrc: Some(random_u32()),
                rtx: (kind == MediaKind::Video).then(|| RTCRtpRtxParameters { ssrc: random_u32() }),
                fec: parity.map(|_| RTCRtpFecParameters { ssrc: random_u32() }),
            },
            codec: first.clone(),
            ..Default::default()
        };
        let encodings: Vec<_> = rids.iter().map(encoding).collect();
        let name = if kind == MediaKind::Audio { "audio" } else { "video" };
        let track = Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
            stream.to_owned(),
            format!("{stream}-{name}"),
            name.to_owned(),
            kind.into(),
            encodings.clone(),
        )));
        let init = RTCRtpTransceiverInit {
            direction: RTCRtpTransceiverDirection::Sendonly,
            streams: vec![stream.to_owned()],
            send_encodings: encodings.clone(),
        };
        let transceiver = connection
            .add_transceiver_from_track(Arc::clone(&track) as Arc<dyn TrackLocal>, Some(init))
            .await
            .context("cannot add a sending section")?;
        transceiver.set_codec_preferences(codecs).await.context("cannot choose a codec")?;
        let sender = transceiver.sender().await?.context("a sending section has no sender")?;
        let sink = |encoding: RTCRtpEncodingParameters| {
            let RTCRtpCodingParameters { rid, ssrc, .. } = encoding.rtp_coding_parameters;
            let ssrc = ssrc.unwrap_or_default();
            Self {
                track: Arc::clone(&track),
                transceiver: Arc::clone(&transceiver),
                sender: Arc::clone(&sender),
                ssrc,
                rid,
                keyframe_requests: hub.watchers.watch(ssrc),
                names: hub.names.clone(),
                clocks: hub.clocks.clone(),
                parity: parity.map(|controls| controls.of(ssrc)).unwrap_or_default(),
            }
        };
        Ok(encodings.into_iter().map(sink).collect())
    }

    /// The section's mid; known once an offer was made.
    ///
    /// # Errors
    /// Before that.
    pub async fn mid(&self) -> Result<String> {
        self.transceiver.mid().await?.context("the section has no mid yet")
    }

    /// SSRC of the stream.
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// What the far side agreed to.
    ///
    /// # Errors
    /// Where the far side rejected the section.
    pub async fn format(&self) -> Result<SinkFormat> {
        let parameters = self.sender.get_parameters().await?.rtp_parameters;
        let is_red = |codec: &&RTCRtpCodecParameters| codec.rtp_codec.mime_type.eq_ignore_ascii_case(RED_MIME);
        let red = parameters.codecs.iter().find(is_red);
        let codec = parameters.codecs.iter().find(|codec| !is_red(codec)).context("the server rejected the codec")?;
        let video = parameters
            .codecs
            .iter()
            .filter_map(|codec| Some((VideoCodec::from_mime(&codec.rtp_codec.mime_type)?, codec.payload_type)));
        let video = video.collect();
        // Each encoding would number its frames by itself, and whoever is switched between them would see them jump.
        let is_usable = |uri: &str| self.rid.is_empty() || uri != DEPENDENCY_DESCRIPTOR;
        if !self.rid.is_empty() {
            self.names.name(self.ssrc, &self.mid().await?, &self.rid);
        }
        let extensions = parameters
            .header_extensions
            .iter()
            .filter(|extension| is_usable(&extension.uri))
            .filter_map(|extension| Some((extension.uri.clone(), u8::try_from(extension.id).ok()?)))
            .collect();
        Ok(SinkFormat {
            payload_type: codec.payload_type,
            red_payload_type: red.map(|red| red.payload_type),
            video,
            extensions,
        })
    }

    /// Counts how often the far side has asked for a keyframe.
    pub fn keyframe_requests(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.keyframe_requests)
    }

    /// What has `timestamp` was captured when this `begun`; there are `rate` ticks per second. Sender reports tell so.
    pub fn captured_from(&self, begun: Instant, timestamp: u32, rate: u32) {
        self.clocks.set(self.ssrc, CaptureClock { begun, timestamp, rate });
    }

    /// How what it sends is protected, where the far side takes parity.
    pub fn parity(&self) -> Arc<ParityControl> {
        Arc::clone(&self.parity)
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// Once the connection is closed.
    pub async fn write(&self, packet: rtp::Packet) -> Result<()> {
        self.track.write_rtp(packet).await.context("the media connection is closed")
    }
}

/// A random number from the hasher that the standard library seeds from the system.
pub(crate) fn random_u32() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    let hash = RandomState::new().hash_one(std::time::Instant::now());
    (hash >> 32) as u32
}
