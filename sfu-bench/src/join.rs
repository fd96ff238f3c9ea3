//! Joining: from a participant's plan, over the server's signalling, to a peer that connects.

use crate::endpoint::Endpoint;
use crate::generator::{BenchClock, ImpairedPath, NewPeer};
use crate::media::VideoSource;
use crate::peer::description::{OfferPlan, read_answer};
use crate::peer::publisher::{Publisher, Turn};
use crate::peer::subscriber::{Expected, Subscriber};
use crate::scenario::{Group, ParticipantPlan};
use anyhow::{Context, Result};
use sfu_client::signal::{JoinOptions, NativeSession, WhipSession};
use sfu_net::{UdpConfig, UdpSocket};
use sfu_proto::v1::{Publish, Source};
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::ice::{ICE_ENTROPY, IceCredentials};
use sfu_rtc::ids::Ssrc;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Receive buffer of a peer: a keyframe of 1.5 Mbit/s video and a scheduling hiccup.
pub(crate) const SOCKET_BUFFER: usize = 512 * 1024;

/// Where participants go.
#[derive(Clone, Debug)]
pub enum Target {
    /// The native signalling: URL of the server, and a token that admits anybody.
    Native {
        /// `ws://…` or `wss://…`.
        server: String,
        /// Join token; may be empty on a `--dev` server.
        token: String,
    },
    /// WHIP and WHEP: URLs with `{room}` and `{stream}` to be filled in.
    Http {
        /// Where to publish.
        whip: String,
        /// Where to play.
        whep: String,
        /// Bearer token.
        token: Option<String>,
    },
}

impl Target {
    /// Where a server of the native signalling tells its metrics.
    pub fn metrics_url(&self) -> Option<String> {
        let Self::Native { server, .. } = self else { return None };
        let (scheme, rest) = server.split_once("://")?;
        let scheme = if scheme == "wss" { "https" } else { "http" };
        Some(format!("{scheme}://{}/metrics", rest.split('/').next()?))
    }
}

/// A session that lasts as long as it is kept.
pub enum Kept {
    /// Native signalling.
    Native(NativeKeeper),
    /// WHIP or WHEP.
    Http(WhipSession),
}

/// A task that takes whatever the server tells, so that the server need not wait for us, until it is told to leave.
pub struct NativeKeeper {
    leave: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl NativeKeeper {
    fn new(mut session: NativeSession) -> Self {
        let (leave, mut leaving) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = session.next_event() => if event.is_none() { return },
                    _ = &mut leaving => return session.leave("the bench is done").await,
                }
            }
        });
        Self { leave, task }
    }
}

impl Kept {
    /// Leaves in order.
    pub async fn leave(self) {
        match self {
            Self::Native(keeper) => {
                // The task may have ended, with the session.
                let _ = keeper.leave.send(());
                let _ = keeper.task.await;
            }
            // The server sees the media end as well.
            Self::Http(session) => drop(session.stop().await),
        }
    }
}

/// What all joins share.
pub struct Joiner {
    /// Where to.
    pub target: Target,
    /// The clock of the load.
    pub clock: BenchClock,
    /// One certificate serves all peers; making one per peer would cost more than the handshake.
    pub certificate: DtlsCertificate,
    next_source: AtomicU32,
    /// Spreads the first frames of publishers over a frame's time.
    spread: AtomicU32,
}

impl Joiner {
    /// For joins to `target`.
    pub fn new(target: Target, clock: BenchClock) -> Self {
        let certificate = DtlsCertificate::generate();
        Self { target, clock, certificate, next_source: AtomicU32::new(1), spread: AtomicU32::new(0) }
    }

    /// Whether each stream has a session of its own.
    pub fn per_stream(&self) -> bool {
        matches!(self.target, Target::Http { .. })
    }

    /// Joins one participant.
    ///
    /// # Errors
    /// Where the server cannot be reached, refuses, or answers with something unusable.
    pub async fn join(&self, plan: &ParticipantPlan, group: &Group) -> Result<(Kept, NewPeer)> {
        let joined = self.clock.now();
        let offer = self.offer(plan, group)?;
        let (kept, answer) = self.signal(plan, &offer).await?;
        let answer = read_answer(&answer, offer.ice.clone())?;
        let loopback = answer.params.path.remote.ip().is_loopback();
        let local = if loopback { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        // Ordinary receivers, as browsers are: without UDP_GRO.
        let config = UdpConfig {
            recv_buffer: SOCKET_BUFFER,
            send_buffer: SOCKET_BUFFER,
            gro: false,
            timestamps: true,
            ..UdpConfig::default()
        };
        let socket = UdpSocket::bind(SocketAddr::new(IpAddr::V4(local), 0), &config)
            .context("cannot open a socket for a peer (ulimit -n?)")?;
        if !plan.reads {
            socket.drop_media().context("cannot filter a peer's media")?;
        }
        let endpoint = Endpoint::new(answer.params, &self.certificate, self.clock.now());
        let mut publisher = self.publisher(&offer, plan, group, answer.transport_cc);
        let expected = Expected {
            codec: group.codec,
            transport_cc: answer.transport_cc,
            repairs: answer.repairs,
            keyframe_interval: group.keyframe_interval(),
            media: plan.reads && plan.video_slots + plan.audio_slots > 0,
        };
        let subscriber = Subscriber::new(expected, joined);
        if group.impairment.is_some() {
            publisher.keep_history();
        }
        let link = group.impairment.as_ref().and_then(|impairment| impairment.link(plan.number));
        let impaired = link.map(|link| Box::new(ImpairedPath::new(&link, plan.number)));
        Ok((kept, NewPeer { socket, endpoint, publisher, subscriber, impaired, joined }))
    }

    fn offer(&self, plan: &ParticipantPlan, group: &Group) -> Result<OfferPlan> {
        let mut entropy = [0; ICE_ENTROPY];
        aws_lc_rs::rand::fill(&mut entropy).ok().context("the operating system gives randomness")?;
        let source = || Ssrc(self.next_source.fetch_add(1, Ordering::Relaxed));
        let video =
            if plan.publishes && group.video { (0..group.layers).map(|_| source()).collect() } else { Vec::new() };
        Ok(OfferPlan {
            ice: IceCredentials::from_entropy('b', &entropy),
            fingerprint: self.certificate.fingerprint().clone(),
            codec: group.codec,
            audio: (plan.publishes && group.audio).then(source),
            video,
            audio_slots: plan.audio_slots,
            video_slots: plan.video_slots,
            flexfec: false,
            red: false,
        })
    }

    async fn signal(&self, plan: &ParticipantPlan, offer: &OfferPlan) -> Result<(Kept, String)> {
        let sdp = offer.to_sdp();
        match &self.target {
            Target::Native { server, token } => {
                let (room, name) = (plan.room.clone(), plan.name.clone());
                let options = JoinOptions { server: server.clone(), room, name, token: token.clone() };
                let publish = |mid: Option<usize>, source: Source| {
                    mid.map(|mid| Publish { mid: mid.to_string(), source: source.into(), ..Publish::default() })
                };
                let audio = publish(offer.audio_mid(), Source::Microphone);
                let video = publish(offer.video_mid(), Source::Camera);
                let list = audio.into_iter().chain(video).collect();
                let (session, answer) = NativeSession::join(&options, sdp, list).await?;
                Ok((Kept::Native(NativeKeeper::new(session)), answer))
            }
            Target::Http { whip, whep, token } => {
                let template = if plan.publishes { whip } else { whep };
                let stream = plan.stream.as_ref().unwrap_or(&plan.name);
                let url = template.replace("{room}", &plan.room).replace("{stream}", stream);
                let (session, answer) = WhipSession::start(&url, token.as_deref(), sdp).await?;
                Ok((Kept::Http(session), answer))
            }
        }
    }

    fn publisher(
        &self,
        offer: &OfferPlan,
        plan: &ParticipantPlan,
        group: &Group,
        transport_cc: Option<u8>,
    ) -> Publisher {
        /// Publishers begin this far apart within a frame's time, so that their frames do not coincide.
        const STEPS: u32 = 16;
        let step = self.spread.fetch_add(1, Ordering::Relaxed) % STEPS;
        let offset = Duration::from_secs_f64(f64::from(step) / f64::from(STEPS) / group.fps);
        let mut publisher = Publisher::new(self.clock.now() + offset, group.spread, transport_cc);
        if let (Some(ssrc), Some(mid)) = (offer.audio, offer.audio_mid()) {
            let length = Duration::from_secs_f64(group.speaker_interval);
            let turn = Turn { index: plan.turn, of: group.publishers, length };
            publisher.add_audio(ssrc, mid, group.audio_bitrate, (!length.is_zero()).then_some(turn));
        }
        if let Some(mid) = offer.video_mid() {
            let layers = offer.video.iter().zip(group.layer_bitrates()).enumerate().map(|(index, (ssrc, bitrate))| {
                let down = offer.video.len() - 1 - index;
                let size = (1_280 >> down, 720 >> down);
                let source = VideoSource::new(group.codec, ssrc.0, bitrate, group.fps, size);
                (*ssrc, if group.even { source.even() } else { source })
            });
            publisher.add_video(mid, layers.collect(), group.pulse());
        }
        publisher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_stand_beside_the_signalling() {
        let url = |server: &str| Target::Native { server: server.into(), token: String::new() }.metrics_url();
        assert_eq!(url("ws://127.0.0.1:7880").unwrap(), "http://127.0.0.1:7880/metrics");
        assert_eq!(url("wss://sfu.example/v1/join").unwrap(), "https://sfu.example/metrics");
        let http = Target::Http { whip: "http://a/w".into(), whep: "http://a/w".into(), token: None };
        assert_eq!(http.metrics_url(), None);
    }
}
