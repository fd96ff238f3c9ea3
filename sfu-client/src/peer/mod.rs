//! A peer connection of the `webrtc` crate, set up the way this client uses it.
//!
//! The crate is pre-1.0 and changes quickly, so the rest of the client sees only [`Peer`], [`RtpSink`] and
//! [`RemoteTrack`].

mod capture_clock;
mod fec;
mod keyframe_requests;
mod media;
mod names;
mod pacing;
mod protect;
mod reports;
mod runtime;
mod sink;
mod source;
mod stage;
mod uplink;

pub use media::{AUDIO_LEVEL, DEPENDENCY_DESCRIPTOR, VideoCodec};
pub use protect::ParityControl;
pub use reports::{FarReception, ReportWatch, SenderClock};
use sink::SinkHub;
pub(crate) use sink::random_u32;
pub use sink::{RtpSink, SinkFormat};
pub use source::{RemoteTrack, TrackFormat};

use anyhow::{Context, Result, bail};
use capture_clock::{CaptureClocks, CaptureReports};
use fec::FecInterceptor;
use keyframe_requests::KeyframeRequests;
use names::{EncodingNamer, EncodingNames};
use pacing::Pacing;
use protect::{ParityControls, ParitySender};
use reports::ReportInterceptor;
use sfu_rtc::time::Instant as MediaTime;
use sfu_rtc::units::Bitrate;
use stage::Stage;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use uplink::SharedUplink;
pub(crate) use uplink::UplinkUse;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    CipherSuiteId, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, Registry, SettingEngineBuilder,
    SrtpProtectionProfile, StatsSelector,
};

pub use media::MediaKind;

/// Longest wait for candidates; host candidates come at once, so this only bounds a fault.
const GATHERING_TIMEOUT: Duration = Duration::from_secs(3);

/// Time between two rounds of ICE checks. The crate waits for a round at each step of ICE and before its first DTLS
/// flight, so that its own 200 ms would cost every join three times that; RFC 8445 section 14 asks for at least 5 ms.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);
/// Checks of a pair before it counts as failed: five seconds of them.
const MAX_CHECKS: u16 = 500;

/// How to make a peer.
#[derive(Clone, Debug, Default)]
pub struct PeerConfig {
    /// Local addresses for media. A wildcard stands for every interface but loopback.
    pub bind: Vec<SocketAddr>,
    /// Take parity for received video (Reed-Solomon or FlexFEC-03), where the far side sends it, and offer to send parity
    /// (Reed-Solomon) beside ours.
    pub fec: bool,
    /// Be able to send one capture in several encodings ([`Peer::add_simulcast_sinks`]).
    pub simulcast: bool,
}

impl PeerConfig {
    /// Local addresses from which a server at `host` can be reached.
    ///
    /// # Errors
    /// Where `host` has no address.
    pub fn towards(host: &str, port: u16) -> Result<Self> {
        let target = (host, port)
            .to_socket_addrs()
            .with_context(|| format!("cannot resolve {host}"))?
            .next()
            .with_context(|| format!("{host} has no address"))?;
        // Connecting a UDP socket sends nothing; it makes the kernel choose the local address.
        let any: IpAddr = if target.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
        let socket = UdpSocket::bind((any, 0)).context("cannot open a UDP socket")?;
        socket.connect(target).with_context(|| format!("there is no route to {target}"))?;
        let local = socket.local_addr().context("cannot read a socket's address")?.ip();
        let mut bind = vec![SocketAddr::new(local, 0)];
        if local.is_loopback() {
            // A server on this machine may offer its other addresses only.
            bind.push(SocketAddr::new(any, 0));
        }
        Ok(Self { bind, ..Self::default() })
    }
}

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionState {
    /// ICE or DTLS has not finished.
    Connecting,
    /// Media can flow.
    Connected,
    /// The path is lost; it may come back.
    Disconnected,
    /// It will not come back.
    Ended,
}

/// How media travels.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MediaPath {
    /// SRTP protection profile.
    pub srtp_profile: String,
    /// Round trip of the last ICE check.
    pub round_trip: Option<Duration>,
}

/// One peer connection.
pub struct Peer {
    connection: Arc<dyn PeerConnection>,
    state: watch::Receiver<ConnectionState>,
    gathered: watch::Receiver<bool>,
    tracks: mpsc::UnboundedReceiver<Arc<dyn TrackRemote>>,
    /// Taken from `tracks`, not yet handed out.
    pending_track: Option<Arc<dyn TrackRemote>>,
    keyframe_requests: keyframe_requests::Watchers,
    fec: fec::FecWatch,
    reports: ReportWatch,
    /// Set where parity is offered.
    parity: Option<ParityControls>,
    names: EncodingNames,
    clocks: CaptureClocks,
    uplink: SharedUplink,
}

impl Peer {
    /// A peer connection without media.
    ///
    /// # Errors
    /// Where no socket can be bound.
    pub async fn new(config: PeerConfig) -> Result<Self> {
        let mut media = media::engine(config.fec, config.simulcast)?;
        let fec = fec::FecWatch::default();
        let keyframe_requests = keyframe_requests::Watchers::default();
        let parity = ParityControls::default();
        let reports = ReportWatch::default();
        let names = EncodingNames::default();
        let clocks = CaptureClocks::default();
        let uplink = SharedUplink::new(MediaTime::ZERO);
        let registry = media::interceptors(Registry::new(), &mut media)?
            .with(keyframe_requests::SLOT, KeyframeRequests::new(keyframe_requests.clone()).staged())
            .with(capture_clock::SLOT, CaptureReports::new(clocks.clone()).staged())
            .with(reports::SLOT, ReportInterceptor::new(reports.clone()).staged())
            .with(fec::SLOT, FecInterceptor::new(fec.clone()).staged())
            .with(protect::SLOT, ParitySender::new(parity.clone()).staged())
            .with(names::SLOT, EncodingNamer::new(names.clone()).staged())
            .with(pacing::SLOT, Pacing::new(Instant::now(), uplink.clone()).staged());
        let (state_out, state) = watch::channel(ConnectionState::Connecting);
        let (gathered_out, gathered) = watch::channel(false);
        let (tracks_out, tracks) = mpsc::unbounded_channel();
        let settings = SettingEngineBuilder::new()
            .with_srtp_protection_profiles(vec![
                // GCM costs a fifth of the others.
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_dtls_cipher_suites(vec![
                // Our certificate is ECDSA; a peer that chose RSA suites would stall.
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_256_Cbc_Sha,
            ])
            .with_include_loopback_candidate(true)
            .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(MAX_CHECKS))
            .build();
        let connection = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(media)
            .with_setting_engine(settings)
            .with_interceptor_registry(registry)
            .with_runtime(runtime::HandshakeFirst::new())
            .with_handler(Arc::new(Handler { state: state_out, gathered: gathered_out, tracks: tracks_out }))
            .with_udp_addrs(config.bind)
            .build()
            .await
            .context("cannot make a peer connection")?;
        Ok(Self {
            connection: Arc::new(connection),
            state,
            gathered,
            tracks,
            pending_track: None,
            keyframe_requests,
            fec,
            reports,
            parity: config.fec.then_some(parity),
            names,
            clocks,
            uplink,
        })
    }

    /// Adds a section that sends one stream, pictures as H.264.
    ///
    /// # Errors
    /// Where the crate refuses.
    pub async fn add_sink(&self, kind: MediaKind, stream: &str) -> Result<RtpSink> {
        let video: Option<&[VideoCodec]> = (kind == MediaKind::Video).then_some(&[VideoCodec::H264]);
        self.sink(video, stream).await
    }

    /// Adds a section that sends pictures in any of these codecs, the first one if the far side takes it.
    ///
    /// # Errors
    /// Where there is no codec, or the crate refuses.
    pub async fn add_video_sink(&self, codecs: &[VideoCodec], stream: &str) -> Result<RtpSink> {
        self.sink(Some(codecs), stream).await
    }

    /// Adds a section that sends the same pictures in several encodings (RFC 8853), named by `rids`, smallest first. A sink
    /// for each, in their order.
    ///
    /// # Errors
    /// Where there is no codec or no encoding, or the crate refuses.
    pub async fn add_simulcast_sinks(
        &self,
        codecs: &[VideoCodec],
        stream: &str,
        rids: &[&str],
    ) -> Result<Vec<RtpSink>> {
        // One source's parity protects a section of one source.
        let hub = SinkHub { parity: None, ..self.hub() };
        RtpSink::new(&*self.connection, Some(codecs), (stream, rids), hub).await
    }

    async fn sink(&self, video: Option<&[VideoCodec]>, stream: &str) -> Result<RtpSink> {
        let sinks = RtpSink::new(&*self.connection, video, (stream, &[""]), self.hub()).await?;
        sinks.into_iter().next().context("a sending section has no stream")
    }

    fn hub(&self) -> SinkHub<'_> {
        SinkHub {
            watchers: &self.keyframe_requests,
            names: &self.names,
            clocks: &self.clocks,
            parity: self.parity.as_ref(),
        }
    }

    /// Adds a section that receives.
    ///
    /// # Errors
    /// Where the crate refuses.
    pub async fn add_receiver(&self, kind: MediaKind) -> Result<()> {
        media::add_receiver(&*self.connection, kind).await
    }

    /// Makes an offer with all candidates and takes it as local description.
    ///
    /// # Errors
    /// Where the crate refuses.
    pub async fn offer(&self) -> Result<String> {
        let offer = self.connection.create_offer(None).await.context("cannot make an offer")?;
        self.connection.set_local_description(offer).await.context("cannot set the own offer")?;
        self.gathered_description().await
    }

    /// Takes the server's answer to [`Self::offer`].
    ///
    /// # Errors
    /// Where it is not SDP, or does not answer the offer.
    pub async fn accept_answer(&self, sdp: String) -> Result<()> {
        let answer = RTCSessionDescription::answer(media::from_wire(&sdp)).context("the server's answer is not SDP")?;
        self.connection.set_remote_description(answer).await.context("the server's answer does not fit the offer")
    }

    /// Answers another peer's offer: the far side of a call without a server.
    ///
    /// # Errors
    /// Where it is not SDP, or cannot be answered.
    pub async fn answer(&self, offer: String) -> Result<String> {
        let offer = RTCSessionDescription::offer(media::from_wire(&offer)).context("the offer is not SDP")?;
        self.connection.set_remote_description(offer).await.context("the offer cannot be taken")?;
        let answer = self.connection.create_answer(None).await.context("cannot make an answer")?;
        self.connection.set_local_description(answer).await.context("cannot set the own answer")?;
        self.gathered_description().await
    }

    async fn gathered_description(&self) -> Result<String> {
        let mut gathered = self.gathered.clone();
        let all = tokio::time::timeout(GATHERING_TIMEOUT, gathered.wait_for(|done| *done)).await;
        all.context("no candidates could be gathered")?.context("the peer connection has ended")?;
        let description = self.connection.local_description().await.context("there is no local description")?;
        Ok(media::to_wire(&description.sdp))
    }

    /// What the far side reports.
    pub fn reports(&self) -> ReportWatch {
        self.reports.clone()
    }

    /// What the path to the far side carries, by its feedback, as in webrtc-stats (availableOutgoingBitrate).
    pub fn available_outgoing_bitrate(&self) -> Option<Bitrate> {
        self.uplink.lock().estimate()
    }

    /// The path to the far side, and what takes of it beside video.
    pub(crate) fn uplink(&self) -> UplinkUse {
        self.uplink.lock().usage()
    }

    /// Where the connection stands, to wait on.
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.clone()
    }

    /// Waits until media can flow.
    ///
    /// # Errors
    /// Where the connection fails, or `timeout` passes.
    pub async fn connected(&self, timeout: Duration) -> Result<()> {
        let mut state = self.state.clone();
        let wait = state.wait_for(|state| matches!(state, ConnectionState::Connected | ConnectionState::Ended));
        match tokio::time::timeout(timeout, wait).await {
            Ok(Ok(state)) if *state == ConnectionState::Connected => Ok(()),
            Ok(_) => bail!("the media connection failed: no candidate of the server could be reached"),
            Err(_) => bail!("the media connection was not up after {} s", timeout.as_secs()),
        }
    }

    /// The next track of the far side; `None` once the connection is closed. A track comes up with its first packet.
    /// Nothing is lost where the future is dropped.
    pub async fn next_track(&mut self) -> Option<RemoteTrack> {
        let track = match &self.pending_track {
            Some(track) => Arc::clone(track),
            None => Arc::clone(self.pending_track.insert(self.tracks.recv().await?)),
        };
        let track = RemoteTrack::new(&*self.connection, track, self.fec.clone()).await;
        self.pending_track = None;
        Some(track)
    }

    /// How media travels; empty before the connection is up.
    pub async fn path(&self) -> MediaPath {
        let stats = self.connection.get_stats(Instant::now(), StatsSelector::None).await;
        let Some(transport) = stats.transport() else { return MediaPath::default() };
        let pair = stats.candidate_pairs().find(|pair| pair.nominated);
        MediaPath {
            srtp_profile: transport.srtp_cipher.clone(),
            round_trip: pair.map(|pair| Duration::from_secs_f64(pair.current_round_trip_time.max(0.0))),
        }
    }

    /// Ends the connection.
    pub async fn close(&self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "closing the peer connection failed");
        }
    }
}

struct Handler {
    state: watch::Sender<ConnectionState>,
    gathered: watch::Sender<bool>,
    tracks: mpsc::UnboundedSender<Arc<dyn TrackRemote>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        tracing::debug!(%state, "peer connection");
        self.state.send_replace(match state {
            RTCPeerConnectionState::Connected => ConnectionState::Connected,
            RTCPeerConnectionState::Disconnected => ConnectionState::Disconnected,
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => ConnectionState::Ended,
            _ => ConnectionState::Connecting,
        });
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        // The receiver is gone only while the peer is being dropped.
        let _ = self.tracks.send(track);
    }
}
