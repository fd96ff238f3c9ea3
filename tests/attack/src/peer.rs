//! A participant with media, all of whose datagrams the attacker may look at, keep and send from elsewhere.

use crate::client::{Socket, Target};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use sfu_bench::endpoint::{Endpoint, Incoming};
use sfu_bench::generator::BenchClock;
use sfu_bench::media::VideoCodec;
use sfu_bench::peer::description::{OfferPlan, read_answer};
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::ice::stun::{IceRole, StunClass, StunKey, StunWriter};
use sfu_rtc::ice::{ICE_ENTROPY, IceCredentials};
use sfu_rtc::ids::Ssrc;
use sfu_rtc::net::TransmitBatch;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often the peer's own timers are looked at.
const TICK: Duration = Duration::from_millis(5);

/// What a peer offers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Offer {
    /// Source of the video that it sends, in section 0.
    pub(crate) video: Option<Ssrc>,
    /// Slots for video.
    pub(crate) video_slots: usize,
    /// Offers H.264 as payload type 98 beside VP8.
    pub(crate) second_codec: bool,
}

impl Offer {
    /// Written out, with new credentials.
    pub(crate) fn plan(self, certificate: &DtlsCertificate) -> OfferPlan {
        let mut entropy = [0; ICE_ENTROPY];
        fastrand::fill(&mut entropy);
        OfferPlan {
            ice: IceCredentials::from_entropy('b', &entropy),
            fingerprint: certificate.fingerprint().clone(),
            codec: VideoCodec::Vp8,
            audio: None,
            video: self.video.into_iter().collect(),
            audio_slots: 0,
            video_slots: self.video_slots,
            flexfec: false,
            red: false,
        }
    }
}

/// Payload type of the second codec.
pub(crate) const SECOND_VIDEO: u8 = 98;
const SECOND_CODEC: &str = "a=rtpmap:98 H264/90000\r\n\
    a=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";

/// One participant.
pub(crate) struct Peer {
    /// Its signalling; it ends with this value.
    _signalling: Socket,
    pub(crate) endpoint: Endpoint,
    /// Address of the server's media.
    pub(crate) server: SocketAddr,
    /// Media packets that came.
    pub(crate) received: u64,
    /// The last STUN message that it sent.
    pub(crate) last_check: Vec<u8>,
    socket: UdpSocket,
    clock: BenchClock,
    batch: TransmitBatch,
    local: IceCredentials,
    remote: IceCredentials,
}

impl Peer {
    /// Joins a room, and connects nothing yet.
    pub(crate) async fn join(target: &Target, room: &str, offer: Offer) -> Result<Self> {
        let certificate = DtlsCertificate::generate();
        let plan = offer.plan(&certificate);
        let mut sdp = plan.to_sdp();
        if offer.second_codec {
            sdp = sdp.replace("SAVPF 96 97", &format!("SAVPF 96 97 {SECOND_VIDEO}"));
            sdp = sdp.replace("a=fmtp:97 apt=96\r\n", &format!("a=fmtp:97 apt=96\r\n{SECOND_CODEC}"));
        }
        let publish = offer.video.map(|_| json!([{ "mid": "0", "source": "SOURCE_CAMERA" }])).unwrap_or(json!([]));
        let (signalling, joined) = target.join(room, json!({ "offer": { "sdp": sdp, "publish": publish } })).await?;
        let answer = joined["answer"]["sdp"].as_str().context("the server answered without SDP")?;
        let answer = read_answer(answer, plan.ice.clone())?;
        let clock = BenchClock::start();
        let (server, remote) = (answer.params.path.remote, answer.params.remote_ice.clone());
        Ok(Self {
            _signalling: signalling,
            endpoint: Endpoint::new(answer.params, &certificate, clock.now()),
            server,
            received: 0,
            last_check: Vec::new(),
            socket: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?,
            clock,
            batch: TransmitBatch::default(),
            local: plan.ice,
            remote,
        })
    }

    /// Lets it run until media may flow.
    pub(crate) async fn connect(&mut self) -> Result<()> {
        let end = Instant::now() + CONNECT_LIMIT;
        while !self.endpoint.is_connected() && Instant::now() < end {
            self.run(TICK).await?;
        }
        ensure!(self.endpoint.is_connected(), "a peer does not connect");
        Ok(())
    }

    /// Lets it run for a while.
    pub(crate) async fn run(&mut self, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        let mut buf = [0; 2_048];
        loop {
            self.endpoint.poll_transmit(self.clock.now(), &mut self.batch);
            self.flush().await?;
            let wait = end.min(Instant::now() + TICK);
            match timeout_at(wait, self.socket.recv(&mut buf)).await {
                Ok(received) => {
                    let len = received?;
                    let now = self.clock.now();
                    let media = matches!(self.endpoint.handle_datagram(now, &mut buf[..len]), Incoming::Rtp(..));
                    self.received += u64::from(media);
                }
                Err(_) if Instant::now() >= end => return Ok(()),
                Err(_) => {}
            }
        }
    }

    /// Hands the endpoint and a batch to `write`, and sends what is written.
    pub(crate) async fn send(&mut self, write: impl FnOnce(&mut Endpoint, &mut TransmitBatch)) -> Result<()> {
        write(&mut self.endpoint, &mut self.batch);
        self.flush().await
    }

    /// Sends bytes as they are from the peer's own address.
    pub(crate) async fn send_raw(&self, datagram: &[u8]) -> Result<()> {
        self.socket.send_to(datagram, self.server).await?;
        Ok(())
    }

    /// A check as the peer's own, with a transaction id of its own.
    pub(crate) fn check(&self, nominates: bool) -> Vec<u8> {
        let mut transaction = [0; 12];
        fastrand::fill(&mut transaction);
        let writer = StunWriter::new(StunClass::Request, &transaction)
            .username(&self.remote.ufrag, &self.local.ufrag)
            .priority(1)
            .role(IceRole::Controlling(1));
        let writer = if nominates { writer.use_candidate() } else { writer };
        writer.finish(&StunKey::new(&self.remote.pwd))
    }

    /// The server's user name fragment.
    pub(crate) fn server_ufrag(&self) -> &str {
        &self.remote.ufrag
    }

    async fn flush(&mut self) -> Result<()> {
        for transmit in self.batch.transmits() {
            for range in transmit.segments() {
                let datagram = self.batch.datagram(range);
                if datagram.first().is_some_and(|first| *first < 4) {
                    self.last_check = datagram.to_vec();
                }
                self.socket.send_to(datagram, self.server).await?;
            }
        }
        self.batch.clear();
        Ok(())
    }
}

/// Reads everything that comes to a socket within a while; how many datagrams and bytes.
pub(crate) async fn drain(socket: &UdpSocket, duration: Duration) -> Result<(u64, u64)> {
    let (mut datagrams, mut bytes) = (0, 0);
    let mut buf = [0; 65_536];
    let reading = async {
        loop {
            bytes += socket.recv(&mut buf).await? as u64;
            datagrams += 1;
        }
        #[expect(unreachable_code, reason = "says the type of the block")]
        anyhow::Ok(())
    };
    if let Ok(failed) = timeout(duration, reading).await {
        failed?;
    }
    Ok((datagrams, bytes))
}
