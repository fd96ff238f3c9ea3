//! One play: who is there, what is on its way between them, and what comes of it.

use super::receiver::{Receiver, Shown};
use super::sender::{FPS, Sender};
use super::{Outcome, Plan, Recovery};
use crate::media::VideoCodec;
use crate::peer::description::OfferPlan;
use crate::simulation::server::{self, Server};
use crate::simulation::{Repair, START, Setup, VideoMode};
use anyhow::{Result, ensure};
use sfu_client::encode::{KeptPicture, ReferenceNews};
use sfu_client::frame::VideoFrame;
use sfu_core::ids::{PublicationId, RoomId, TransportId};
use sfu_rtc::bwe::EstimatorConfig;
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::ids::{SeqNo, Ssrc};
use sfu_rtc::net::TransmitBatch;
use sfu_rtc::time::{Duration, Instant};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// Everything happens at such moments.
const STEP: Duration = Duration::from_millis(1);
/// From the start: handshakes, and frames that everybody gets.
const BEGIN: Duration = Duration::from_secs(1);
const LOSSES: Duration = Duration::from_secs(4);
/// Pictures that are kept to compare with.
const COMPARED: usize = 60;
/// Of the pictures shown without a loss before, so many are left out of the comparison for each that is not.
const EACH: u16 = 10;

const SSRC: Ssrc = Ssrc(1);
const PUBLISHER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 1)), 5_000);

fn subscriber(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 2, number as u8, 1], 5_000))
}

/// Something on its way.
enum Letter {
    ToServer(SocketAddr, Vec<u8>),
    ToSender(Vec<u8>),
    ToSubscriber(usize, Vec<u8>),
    Kept(KeptPicture),
    News(ReferenceNews),
}

pub(super) struct World<'a> {
    plan: &'a Plan,
    recovery: Recovery,
    now: Instant,
    server: Server,
    publication: PublicationId,
    sender: Sender,
    receivers: Vec<Receiver>,
    letters: BTreeMap<(Instant, u64), Letter>,
    posted: u64,
    /// The pictures that were sent last, with their numbers.
    sources: VecDeque<(u16, VideoFrame)>,
    shown: u64,
    psnr: Mean,
    recovered: Mean,
}

/// A mean, and the least.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: u64,
    least: Option<f64>,
}

impl Mean {
    fn add(&mut self, value: f64) {
        (self.sum, self.count) = (self.sum + value, self.count + 1);
        self.least = Some(self.least.map_or(value, |least| least.min(value)));
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan, recovery: Recovery) -> Result<Self> {
        ensure!((1..=200).contains(&plan.subscribers), "1 to 200 subscribers");
        // The planner's feedback, but nobody who takes parity or asks for packets.
        let setup = Setup {
            estimator: EstimatorConfig::Fixed(None),
            video: VideoMode::Single,
            repair: Repair::Planner,
            playout_delay: Some(Duration::ZERO),
        };
        let mut server = Server::new(&setup, plan.seed);
        let certificate = DtlsCertificate::generate();
        let room = RoomId(1);
        server.open_room(START, room);
        let offer = OfferPlan {
            ice: server.credentials('p'),
            fingerprint: certificate.fingerprint().clone(),
            codec: VideoCodec::H264,
            audio: None,
            video: vec![SSRC],
            audio_slots: 0,
            video_slots: 0,
            flexfec: false,
            red: false,
        };
        let sender = server.join(START, room, &offer, (&certificate, PUBLISHER.ip()))?;
        let publisher: TransportId = sender.transport;
        let sender = Sender::new(plan, recovery, sender.endpoint, (SSRC, sender.answer.transport_cc))?;
        let mut receivers = Vec::new();
        for number in 0..plan.subscribers {
            let ice = server.credentials('c');
            let offer = OfferPlan { ice, video: Vec::new(), video_slots: 1, ..offer.clone() };
            let joined = server.join(START, room, &offer, (&certificate, subscriber(number).ip()))?;
            server.connect(START, publisher, joined.transport);
            receivers.push(Receiver::new(joined.endpoint, joined.answer.transport_cc, START)?);
        }
        let mut world = Self {
            plan,
            recovery,
            now: START,
            server,
            publication: server::publication(publisher, 0),
            sender,
            receivers,
            letters: BTreeMap::new(),
            posted: 0,
            sources: VecDeque::new(),
            shown: 0,
            psnr: Mean::default(),
            recovered: Mean::default(),
        };
        let losses = START + LOSSES;
        world.receivers.iter_mut().for_each(|receiver| receiver.freezes.count_from(losses));
        Ok(world)
    }

    /// Plays it to its end.
    pub(super) fn play(mut self) -> Result<Outcome> {
        let end = START + LOSSES + self.plan.length;
        let mut pictures = 0;
        while self.now < end {
            while let Some(entry) = self.letters.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let letter = entry.remove();
                self.deliver(letter)?;
            }
            self.server.handle_timeout(self.now);
            if self.now >= START + BEGIN + Duration::from_secs(1).mul_f64(f64::from(pictures) / FPS) {
                pictures += 1;
                self.send_picture()?;
            }
            self.transmit();
            self.now += STEP;
        }
        self.receivers.iter_mut().for_each(|receiver| receiver.freezes.finish(end));
        Ok(self.outcome())
    }

    fn post(&mut self, letter: Letter) {
        self.posted += 1;
        self.letters.insert((self.now + self.plan.one_way, self.posted), letter);
    }

    fn send_picture(&mut self) -> Result<()> {
        let mut batch = TransmitBatch::default();
        let number = self.sender.sent.len() as u16;
        let kept = self.sender.send_picture(&mut batch)?;
        if self.sources.len() == COMPARED {
            self.sources.pop_front();
        }
        self.sources.push_back((number, self.sender.source.clone()));
        if !(self.plan.uplink && self.is_lost(0, number)) {
            self.post_batch(PUBLISHER, &batch);
        }
        if let Some(kept) = kept {
            // Signalling goes another way, and may be there before the frame, even before the first.
            self.deliver(Letter::Kept(kept))?;
        }
        Ok(())
    }

    fn post_batch(&mut self, from: SocketAddr, batch: &TransmitBatch) {
        for range in batch.transmits().iter().flat_map(|transmit| transmit.segments()) {
            self.post(Letter::ToServer(from, batch.datagram(range).to_vec()));
        }
    }

    /// Whether a subscriber is not to get a frame.
    fn is_lost(&self, subscriber: usize, number: u16) -> bool {
        is_lost(self.plan, subscriber, number, number.into())
    }

    fn deliver(&mut self, letter: Letter) -> Result<()> {
        match letter {
            Letter::ToServer(from, mut bytes) => self.server.handle_datagram(self.now, from, &mut bytes),
            Letter::ToSender(mut bytes) => self.sender.handle_datagram(self.now, &mut bytes),
            Letter::ToSubscriber(number, mut bytes) => {
                let plan = self.plan;
                let lost = |frame: u16, packet: SeqNo| {
                    let drawn = if plan.packets { packet.0 } else { frame.into() };
                    !plan.uplink && is_lost(plan, number, frame, drawn)
                };
                let shown = self.receivers[number].handle_datagram(self.now, &mut bytes, lost);
                if let Some(shown) = shown {
                    self.compare(&shown);
                }
            }
            Letter::Kept(kept) => self.server.mark_reference(self.now, self.publication, (kept.number, kept.by)),
            Letter::News(news) => self.sender.hear(news)?,
        }
        Ok(())
    }

    fn compare(&mut self, shown: &Shown) {
        if shown.at < START + LOSSES {
            return;
        }
        self.shown += 1;
        if !shown.recovers && !shown.number.is_multiple_of(EACH) {
            return;
        }
        let source = self.sources.iter().find(|(number, _)| *number == shown.number);
        let Some(psnr) = source.and_then(|(_, source)| source.luma_psnr(&shown.picture)) else { return };
        if shown.recovers {
            self.recovered.add(psnr);
        } else {
            self.psnr.add(psnr);
        }
    }

    fn transmit(&mut self) {
        let now = self.now;
        let mut batch = TransmitBatch::default();
        self.sender.endpoint.poll_transmit(now, &mut batch);
        self.post_batch(PUBLISHER, &batch);
        for number in 0..self.receivers.len() {
            batch.clear();
            let receiver = &mut self.receivers[number];
            receiver.endpoint.poll_transmit(now, &mut batch);
            receiver.report(now, &mut |endpoint, compound| endpoint.send_rtcp(compound, &mut batch));
            self.post_batch(subscriber(number), &batch);
        }
        let mut letters = Vec::new();
        self.server.transmit(now, |to, bytes| {
            let SocketAddr::V4(ip) = to else { return };
            letters.push(match ip.ip().octets() {
                [_, 1, ..] => Letter::ToSender(bytes.to_vec()),
                [_, _, number, _] => Letter::ToSubscriber(number.into(), bytes.to_vec()),
            });
        });
        letters.into_iter().for_each(|letter| self.post(letter));
        for news in self.server.take_news() {
            let sfu_core::event::ReferenceNews { acknowledged, refused, recover } = news;
            self.post(Letter::News(ReferenceNews { acknowledged, refused, recover }));
        }
    }

    fn outcome(self) -> Outcome {
        let first = ((LOSSES - BEGIN).as_secs_f64() * FPS) as usize;
        let sent = self.sender.sent.get(first..).unwrap_or_default();
        let minutes = self.plan.length.as_secs_f64() / 60.0;
        let subscribers = self.receivers.len() as f64;
        let (mut plain, mut recovery, mut age) = (Mean::default(), Mean::default(), Mean::default());
        let answers = |keyframe: bool, recovers: Option<u16>| match self.recovery {
            Recovery::Keyframe => keyframe,
            Recovery::LongTerm => recovers.is_some(),
        };
        for frame in sent {
            if answers(frame.keyframe, frame.recovers) {
                recovery.add(frame.bytes as f64);
            } else if !frame.keyframe {
                plain.add(frame.bytes as f64);
            }
            frame.recovers.into_iter().for_each(|back| age.add(back.into()));
        }
        let keyframes = sent.iter().filter(|frame| frame.keyframe).count() as u64;
        let bytes: usize = sent.iter().map(|frame| frame.bytes).sum();
        let frozen: f64 = self.receivers.iter().map(|receiver| receiver.freezes.time.as_secs_f64()).sum();
        let freezes: u64 = self.receivers.iter().map(|receiver| receiver.freezes.count).sum();
        Outcome {
            recovery: self.recovery,
            frames: sent.len() as u64,
            keyframes,
            keyframes_per_minute: keyframes as f64 / minutes,
            recoveries: age.count,
            mean_frame: plain.mean(),
            mean_recovery: recovery.mean(),
            recovery_ratio: recovery.mean() / plain.mean().max(1.0),
            mean_reference_age: age.mean(),
            bitrate: bytes as f64 * 8.0 / self.plan.length.as_secs_f64(),
            freeze_share: frozen / (subscribers * self.plan.length.as_secs_f64()),
            freezes_per_minute: freezes as f64 / subscribers / minutes,
            not_shown: 1.0 - self.shown as f64 / (subscribers * sent.len() as f64),
            decode_errors: self.receivers.iter().map(|receiver| receiver.errors).sum(),
            psnr: self.psnr.mean(),
            psnr_recovered: self.recovered.mean(),
            psnr_recovered_worst: self.recovered.least.unwrap_or(0.0),
            requests: self.receivers.iter().map(|receiver| receiver.requests).sum(),
        }
    }
}

/// By chance, but in every play the same: from when losses begin. It is drawn for what is `drawn`.
fn is_lost(plan: &Plan, subscriber: usize, number: u16, drawn: u64) -> bool {
    let first = (LOSSES - BEGIN).as_secs_f64() * FPS;
    // The finaliser of MurmurHash3: neighbours are nothing alike.
    let mut bits = plan.seed << 40 | (subscriber as u64) << 20 | drawn & 0xf_ffff;
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53_u64] {
        bits = (bits ^ bits >> 33).wrapping_mul(factor);
    }
    let share = (bits ^ bits >> 33) as f64 / u64::MAX as f64;
    f64::from(number) >= first && share < plan.loss
}
