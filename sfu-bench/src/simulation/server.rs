//! The server: a real worker, and of the control plane as much as it takes to join.

use super::Setup;
use crate::endpoint::Endpoint;
use crate::peer::description::{OfferPlan, ServerAnswer, read_answer};
use anyhow::{Context, Result};
use netsim::Random;
use sfu_core::command::{Command, EncoderTarget, LayerPreference, TransportParams};
use sfu_core::config::WorkerConfig;
use sfu_core::event::{Event, ReferenceNews, TransportStats};
use sfu_core::ids::{PublicationId, RoomId, TransportId};
use sfu_core::worker::Worker;
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::ice::{Candidate, CandidateProtocol, ICE_ENTROPY, IceCredentials};
use sfu_rtc::ids::{Mid, Ssrc};
use sfu_rtc::net::{NetworkPath, Protocol, TransmitBatch};
use sfu_rtc::sdp::{self, AnswerParams, MediaPolicy, Offer};
use sfu_rtc::time::{Duration, Instant, WallClock};
use sfu_rtc::transport::{RtcpSource, TransportConfig};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where it is.
pub(super) const ADDRESS: ([u8; 4], u16) = ([10, 0, 0, 1], 7_881);
/// Wall-clock time when the monotonic clock begins.
const UNIX_START: Duration = Duration::from_secs(1_800_000_000);
const CNAME: &str = "sim";

/// Name of what a publisher sends in a section.
pub(super) fn publication(publisher: TransportId, section: u64) -> PublicationId {
    PublicationId(publisher.0 * 2 + section)
}

/// One worker.
pub(super) struct Server {
    worker: Worker,
    certificate: Arc<DtlsCertificate>,
    clock: WallClock,
    policy: MediaPolicy,
    batch: TransmitBatch,
    random: Random,
    transports: u64,
    ssrcs: u32,
    /// What senders are to be told of their references.
    news: Vec<ReferenceNews>,
}

/// Somebody who has joined.
pub(super) struct Joined {
    pub(super) endpoint: Endpoint,
    pub(super) transport: TransportId,
    pub(super) answer: ServerAnswer,
}

impl Server {
    pub(super) fn new(Setup { estimator, repair, playout_delay, .. }: &Setup, seed: u64) -> Self {
        let certificate = Arc::new(DtlsCertificate::generate());
        let clock = WallClock::new(Instant::ZERO, UNIX_START);
        let repair = repair.config(*playout_delay);
        let planner = repair.planner;
        let transport =
            TransportConfig { estimator: estimator.clone(), measure_path: planner, ..TransportConfig::default() };
        let config = WorkerConfig { transport, repair, ..WorkerConfig::default() };
        let slot_feedback = estimator.wants_feedback() || planner;
        let policy = MediaPolicy { slot_feedback, parity: planner, ..MediaPolicy::default() };
        Self {
            worker: Worker::new(config, Arc::clone(&certificate), clock, seed),
            certificate,
            clock,
            policy,
            batch: TransmitBatch::default(),
            random: Random::new(seed),
            transports: 0,
            ssrcs: 0x1000_0000,
            news: Vec::new(),
        }
    }

    pub(super) fn clock(&self) -> WallClock {
        self.clock
    }

    pub(super) fn open_room(&mut self, now: Instant, room: RoomId) {
        self.worker.handle_command(now, Command::OpenRoom { room });
    }

    /// Ice credentials of a peer.
    pub(super) fn credentials(&mut self, prefix: char) -> IceCredentials {
        let mut bytes = [0; ICE_ENTROPY];
        bytes.fill_with(|| self.random.bits() as u8);
        IceCredentials::from_entropy(prefix, &bytes)
    }

    /// Answers an offer from an address and makes the transport; the peer has the answer at once.
    ///
    /// # Errors
    /// Where the peer and the server do not understand each other.
    pub(super) fn join(
        &mut self,
        now: Instant,
        room: RoomId,
        plan: &OfferPlan,
        (certificate, client): (&DtlsCertificate, IpAddr),
    ) -> Result<Joined> {
        let local_ice = self.credentials('s');
        let offer = Offer::parse(&plan.to_sdp()).context("the server cannot read the offer")?;
        let (address, ssrcs) = (SocketAddr::from(ADDRESS), &mut self.ssrcs);
        let params = AnswerParams {
            ice: &local_ice,
            fingerprint: self.certificate.fingerprint(),
            candidates: &[Candidate::host(CandidateProtocol::Udp, address, 1)],
            policy: &self.policy,
            session: 1,
            version: 1,
            previous: &[],
            dtls_role: None,
            cname: CNAME,
            streams: &|mid| format!("slot-{mid}"),
        };
        let answer = sdp::answer(&offer, &params, &mut || {
            *ssrcs += 1;
            Ssrc(*ssrcs)
        });
        let answer = answer.context("the server refuses the offer")?;
        self.transports += 1;
        let transport = TransportId(self.transports);
        let params = TransportParams {
            local_ice,
            remote_ice: offer.ice,
            remote_fingerprints: offer.fingerprints,
            dtls_role: answer.dtls_role,
            sections: answer.sections,
            rtcp: RtcpSource { ssrc: Ssrc(0x0a11_ce00), cname: CNAME.to_owned() },
            signalled_from: Some(client),
            candidates: Vec::new(),
        };
        self.worker.handle_command(now, Command::AddTransport { room, transport, params: Box::new(params) });
        let answer = read_answer(&answer.sdp, plan.ice.clone())?;
        let endpoint = Endpoint::new(answer.params.clone(), certificate, now);
        Ok(Joined { endpoint, transport, answer })
    }

    /// Publishes sections 0 and 1 of one peer, and puts them into slots 0 and 1 of another.
    pub(super) fn connect(&mut self, now: Instant, publisher: TransportId, subscriber: TransportId) {
        self.publish(now, publisher);
        self.watch(now, publisher, subscriber);
    }

    /// Publishes sections 0 and 1 of a peer.
    pub(super) fn publish(&mut self, now: Instant, publisher: TransportId) {
        for (index, mid) in ["0", "1"].into_iter().enumerate() {
            let Some(mid) = Mid::new(mid) else { continue };
            let publication = publication(publisher, index as u64);
            self.worker.handle_command(now, Command::Publish { publication, transport: publisher, mid });
        }
    }

    /// Puts what one peer publishes into slots 0 and 1 of another.
    pub(super) fn watch(&mut self, now: Instant, publisher: TransportId, subscriber: TransportId) {
        for (index, mid) in ["0", "1"].into_iter().enumerate() {
            let Some(mid) = Mid::new(mid) else { continue };
            let source = Some(publication(publisher, index as u64));
            let preference = LayerPreference::default();
            self.worker.handle_command(now, Command::AssignSlot { transport: subscriber, mid, source, preference });
        }
    }

    /// A sender was asked to send something else.
    pub(super) fn set_encoder_target(&mut self, now: Instant, publication: PublicationId, target: EncoderTarget) {
        self.worker.handle_command(now, Command::SetEncoderTarget { publication, target: Box::new(target) });
    }

    /// A sender keeps a frame for long.
    #[cfg(feature = "media")]
    pub(super) fn mark_reference(&mut self, now: Instant, publication: PublicationId, (frame, by): (u16, u16)) {
        self.worker.handle_command(now, Command::MarkReference { publication, frame, by });
    }

    /// What the sender is to be told of its references since this was asked last.
    #[cfg(feature = "media")]
    pub(super) fn take_news(&mut self) -> Vec<ReferenceNews> {
        std::mem::take(&mut self.news)
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, remote: SocketAddr, datagram: &mut [u8]) {
        let path = NetworkPath { remote, local: ADDRESS.0.into(), protocol: Protocol::Udp };
        self.worker.handle_datagram(now, &path, datagram);
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.worker.poll_timeout().unwrap_or(Instant::NEVER)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout() <= now {
            self.worker.handle_timeout(now);
        }
    }

    /// Takes all that it sends: destination and bytes.
    pub(super) fn transmit(&mut self, now: Instant, mut send: impl FnMut(SocketAddr, &[u8])) {
        loop {
            self.batch.clear();
            self.worker.poll_transmit(now, &mut self.batch);
            while let Some(event) = self.worker.poll_event() {
                if let Event::References { news, .. } = event {
                    self.news.push(news);
                }
            }
            if self.batch.is_empty() {
                return;
            }
            for transmit in self.batch.transmits() {
                transmit.segments().for_each(|range| send(transmit.path.remote, self.batch.datagram(range)));
            }
        }
    }

    /// Whether these peers have answered its checks.
    pub(super) fn is_answered(&self, now: Instant, transports: &[TransportId]) -> bool {
        let stats = self.stats(now);
        let answered = |id: &TransportId| stats.iter().any(|stats| stats.transport == *id && stats.rtt.is_some());
        transports.iter().all(answered)
    }

    /// The figures of each transport.
    pub(super) fn stats(&self, now: Instant) -> Vec<TransportStats> {
        self.worker.stats(now).transports
    }
}
