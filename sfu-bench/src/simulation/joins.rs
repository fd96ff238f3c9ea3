//! Many who join one stream within a short time, over paths that lose packets: what that costs the publisher, and when
//! each has a picture.

use super::estimators::ESTIMATORS;
use super::receiver::Receiver;
use super::record::{FlowRecord, Kind};
use super::server::{self, Server};
use super::{Repair, START, Setup, VideoMode};
use crate::endpoint::{Endpoint, Incoming};
use crate::media::{VideoCodec, VideoSource};
use crate::peer::description::OfferPlan;
use crate::peer::publisher::{Publisher, SentVideo};
use anyhow::{Context, Result};
use netsim::{Datagram, LinkConfig, Loss, Network, Random, Rate};
use serde_json::{Value, json};
use sfu_core::ids::{RoomId, TransportId};
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::ids::Ssrc;
use sfu_rtc::net::{DatagramKind, TransmitBatch};
use sfu_rtc::time::{Duration, Instant};
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

/// From one look at everybody to the next.
const STEP: Duration = Duration::from_millis(1);
/// The call goes on for so long before the first joins, and after the last has.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(2);
const FPS: f64 = 30.0;
const SIZE: (u16, u16) = (1_280, 720);
/// Queue of a viewer's path.
const QUEUE: Duration = Duration::from_millis(300);
const ROOM: RoomId = RoomId(1);
/// The publisher's number; viewers have those from 1 on.
const PUBLISHER: u8 = 0;

/// Targets: shortest time between two requests, most of the bytes in keyframes, and the time to a picture, median and 95 %.
const LEAST_APART: Duration = Duration::from_millis(500);
const MOST_IN_KEYFRAMES: f64 = 15.0;
const PICTURE_P50: Duration = Duration::from_millis(300);
const PICTURE_P95: Duration = Duration::from_millis(600);

/// What is played.
#[derive(Clone, PartialEq, Debug)]
pub struct JoinsPlan {
    /// How many join; 250 at most, by their addresses.
    pub viewers: u8,
    /// From the first to the last of them.
    pub within: Duration,
    /// Share of packets lost on the way to each and back, from 0 to 1.
    pub loss: f64,
    /// Round trip of the publisher and of each viewer.
    pub round_trip: Duration,
    /// What the path to each viewer carries, in bits per second.
    pub path: u64,
    /// Bits per second of the video.
    pub video: u64,
    /// Keyframes are so many times the mean frame.
    pub keyframe_size: f64,
    /// How often it is played, each time with other losses.
    pub seeds: u64,
}

/// What one run came to.
#[derive(Clone, PartialEq, Debug)]
pub struct JoinsRun {
    /// When the publisher was asked for keyframes, from the first join on.
    pub requests: Vec<Duration>,
    /// Percent of the publisher's bytes in keyframes, from the first join on to the end.
    pub in_keyframes: f64,
    /// How long each viewer waited for its picture once it was connected; `None` where none came.
    pub pictures: Vec<Option<Duration>>,
    /// Percent of what went to viewers that was sent again.
    pub sent_again: f64,
}

/// All runs of a plan.
#[derive(Clone, PartialEq, Debug)]
pub struct Joins {
    /// What was played.
    pub plan: JoinsPlan,
    /// One for each seed.
    pub runs: Vec<JoinsRun>,
}

/// Plays a plan.
///
/// # Errors
/// Where somebody cannot join.
pub fn joins(plan: &JoinsPlan, progress: &mut dyn FnMut(&str)) -> Result<Joins> {
    let play = |seed| {
        progress(&format!("seed {seed} of {}", plan.seeds));
        World::new(plan, seed)?.play()
    };
    Ok(Joins { plan: plan.clone(), runs: (1..=plan.seeds).map(play).collect::<Result<_>>()? })
}

impl JoinsRun {
    /// The shortest time from one request to the next; `None` where there were not two.
    pub fn least_apart(&self) -> Option<Duration> {
        self.requests.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min()
    }

    /// The time after which a share of the viewers had a picture; `None` where they had none.
    pub fn picture_after(&self, share: f64) -> Option<Duration> {
        let mut waits: Vec<_> = self.pictures.iter().map(|picture| picture.unwrap_or(Duration::MAX)).collect();
        waits.sort_unstable();
        let index = ((waits.len() as f64 * share) as usize).min(waits.len().saturating_sub(1));
        waits.get(index).copied().filter(|wait| *wait < Duration::MAX)
    }
}

impl Joins {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        let ms = |time: Option<Duration>| time.map(|time| time.as_millis());
        let run = |run: &JoinsRun| {
            json!({
                "requests_ms": run.requests.iter().map(Duration::as_millis).collect::<Vec<_>>(),
                "least_apart_ms": ms(run.least_apart()),
                "in_keyframes_percent": run.in_keyframes,
                "picture_p50_ms": ms(run.picture_after(0.5)),
                "picture_p95_ms": ms(run.picture_after(0.95)),
                "picture_last_ms": ms(run.picture_after(1.0)),
                "sent_again_percent": run.sent_again,
            })
        };
        json!({
            "viewers": self.plan.viewers,
            "within_ms": self.plan.within.as_millis(),
            "loss": self.plan.loss,
            "round_trip_ms": self.plan.round_trip.as_millis(),
            "path_bps": self.plan.path,
            "video_bps": self.plan.video,
            "keyframe_size": self.plan.keyframe_size,
            "runs": self.runs.iter().map(run).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Joins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JoinsPlan { viewers, within, loss, round_trip, .. } = &self.plan;
        let (within, round_trip) = (within.as_millis(), round_trip.as_millis());
        writeln!(
            f,
            "{viewers} join within {within} ms, {:.0} % lost, RTT {round_trip} ms; ! target missed",
            loss * 100.0
        )?;
        writeln!(f, "seed  requests  least apart   keyframes  picture p50       p95      last  sent again")?;
        writeln!(f, "                  >= 500 ms     <= 15 %    <= 300 ms  <= 600 ms")?;
        for (seed, run) in self.runs.iter().enumerate() {
            let time = |time: Option<Duration>| time.map_or("-".to_owned(), |time| format!("{} ms", time.as_millis()));
            let mark = |met: bool| if met { ' ' } else { '!' };
            let [median, p95, last] = [0.5, 0.95, 1.0].map(|share| run.picture_after(share));
            let within = |wait: Option<Duration>, most| mark(wait.is_some_and(|wait| wait <= most));
            write!(f, "{:>4}{:>10}", seed + 1, run.requests.len())?;
            let is_apart = run.least_apart().is_none_or(|apart| apart >= LEAST_APART);
            write!(f, "{:>12}{}", time(run.least_apart()), mark(is_apart))?;
            write!(f, "{:>10.1} %{}", run.in_keyframes, mark(run.in_keyframes <= MOST_IN_KEYFRAMES))?;
            write!(f, "{:>11}{}", time(median), within(median, PICTURE_P50))?;
            write!(f, "{:>9}{}{:>10}", time(p95), within(p95, PICTURE_P95), time(last))?;
            writeln!(f, "{:>10.1} %", run.sent_again)?;
        }
        Ok(())
    }
}

/// A call under way.
struct World<'a> {
    plan: &'a JoinsPlan,
    now: Instant,
    network: Network,
    server: Server,
    certificate: DtlsCertificate,
    publisher: Endpoint,
    transport: TransportId,
    source: Publisher,
    /// It is connected, and sends.
    sends: bool,
    viewers: Vec<Viewer>,
    /// What passes outside of the network: handshakes.
    direct: VecDeque<Datagram>,
    batch: TransmitBatch,
    requests: Vec<Duration>,
    sent_before: SentVideo,
}

struct Viewer {
    /// When it was connected.
    connected: Option<Instant>,
    endpoint: Endpoint,
    receiver: Receiver,
    record: FlowRecord,
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 1, number, 1], 5_000))
}

fn offer(server: &mut Server, certificate: &DtlsCertificate, publishes: bool) -> OfferPlan {
    OfferPlan {
        ice: server.credentials(if publishes { 'p' } else { 'c' }),
        fingerprint: certificate.fingerprint().clone(),
        codec: VideoCodec::Vp8,
        audio: publishes.then_some(Ssrc(1)),
        video: if publishes { vec![Ssrc(2)] } else { Vec::new() },
        audio_slots: usize::from(!publishes),
        video_slots: usize::from(!publishes),
        flexfec: true,
        red: true,
    }
}

impl<'a> World<'a> {
    fn new(plan: &'a JoinsPlan, seed: u64) -> Result<Self> {
        let mut random = Random::new(seed);
        let mut network = Network::new(random.bits());
        let delay = plan.round_trip / 2;
        network.add_host(server::ADDRESS.0.into(), LinkConfig::default(), LinkConfig::default());
        network.add_host(address(PUBLISHER).ip(), LinkConfig::delayed(delay), LinkConfig::delayed(delay));
        let lossy = || LinkConfig { loss: Loss::Random(plan.loss), ..LinkConfig::delayed(delay) };
        for number in 1..=plan.viewers {
            let down = LinkConfig { rate: Some(Rate::from_bps(plan.path)), ..lossy() };
            network.add_host(
                address(number).ip(),
                lossy(),
                LinkConfig { queue: netsim::QueueLimit::Time(QUEUE), ..down },
            );
        }
        let (_, estimator) = ESTIMATORS.last().context("there are no estimators")?;
        let (video, repair) = (VideoMode::Single, Repair::Planner);
        let setup = Setup { estimator: estimator(), video, repair, playout_delay: None };
        let mut server = Server::new(&setup, random.bits());
        server.open_room(START, ROOM);
        let certificate = DtlsCertificate::generate();
        let offer = offer(&mut server, &certificate, true);
        let joined = server.join(START, ROOM, &offer, (&certificate, address(PUBLISHER).ip()))?;
        server.publish(START, joined.transport);
        let mut source = Publisher::new(START, 0.0, joined.answer.transport_cc);
        let camera = VideoSource::new(VideoCodec::Vp8, random.bits() as u32, plan.video, FPS, SIZE);
        source.add_video(1, vec![(Ssrc(2), camera.with_keyframes_of(plan.keyframe_size))], None);
        source.keep_history();
        Ok(Self {
            plan,
            now: START,
            network,
            server,
            certificate,
            publisher: joined.endpoint,
            transport: joined.transport,
            source,
            sends: false,
            viewers: Vec::new(),
            direct: VecDeque::new(),
            batch: TransmitBatch::default(),
            requests: Vec::new(),
            sent_before: SentVideo::default(),
        })
    }

    fn play(mut self) -> Result<JoinsRun> {
        let end = START + BEFORE + self.plan.within + AFTER;
        while self.now <= end {
            self.join()?;
            while let Some(datagram) = self.network.poll(self.now - START) {
                self.deliver(datagram);
            }
            self.server.handle_timeout(self.now);
            while self.flush() {}
            self.now += STEP;
        }
        let sent = self.source.sent_video();
        let since = |now: u64, before: u64| (now - before) as f64;
        let all = since(sent.bytes, self.sent_before.bytes);
        let mut run = JoinsRun {
            requests: self.requests,
            in_keyframes: 100.0 * since(sent.keyframes, self.sent_before.keyframes) / all.max(1.0),
            pictures: Vec::new(),
            sent_again: 0.0,
        };
        let mut bytes = [0; 2];
        for viewer in &mut self.viewers {
            let picture = viewer.receiver.finish(end, &mut viewer.record);
            let connected = viewer.connected.unwrap_or(end);
            run.pictures.push(picture.shown.first().map(|shown| *shown - connected));
            // Handshakes differ in length.
            bytes[0] +=
                [Kind::Video, Kind::Rtx, Kind::Fec].iter().map(|kind| viewer.record.sent[*kind as usize]).sum::<u64>();
            bytes[1] += viewer.record.sent[Kind::Rtx as usize];
        }
        run.sent_again = 100.0 * bytes[1] as f64 / (bytes[0] as f64).max(1.0);
        Ok(run)
    }

    /// Lets those join whose time has come.
    fn join(&mut self) -> Result<()> {
        let Self { plan, now, server, certificate, .. } = self;
        let begin = START + BEFORE;
        if *now <= begin {
            self.sent_before = self.source.sent_video();
        }
        while self.viewers.len() < usize::from(plan.viewers)
            && begin + plan.within * self.viewers.len() as u32 / u32::from(plan.viewers) <= *now
        {
            let number = self.viewers.len() as u8 + 1;
            let offer = offer(server, certificate, false);
            let joined = server.join(*now, ROOM, &offer, (&*certificate, address(number).ip()))?;
            server.watch(*now, self.transport, joined.transport);
            let mut receiver = Receiver::new(&joined.answer, true, plan.round_trip / 2, *now);
            receiver.may_begin_in_the_past();
            let record = FlowRecord::default();
            self.viewers.push(Viewer { connected: None, endpoint: joined.endpoint, receiver, record });
        }
        Ok(())
    }

    fn deliver(&mut self, mut datagram: Datagram) {
        let SocketAddr::V4(to) = datagram.to else { return };
        let [_, who, number, _] = to.ip().octets();
        let (now, bytes) = (self.now, &mut datagram.bytes);
        if who == 0 {
            self.server.handle_datagram(now, datagram.from, bytes);
        } else if number == PUBLISHER {
            if let Incoming::Rtcp(compound) = self.publisher.handle_datagram(now, bytes)
                && self.source.handle_rtcp(compound) > 0
                && now >= START + BEFORE
            {
                self.requests.push(now - (START + BEFORE));
            }
        } else if let Some(viewer) = self.viewers.get_mut(usize::from(number) - 1) {
            let size = bytes.len();
            match viewer.endpoint.handle_datagram(now, bytes) {
                Incoming::Rtp(packet, seq) => {
                    viewer.receiver.handle_rtp(now, packet, seq, size, &mut viewer.record);
                }
                Incoming::Rtcp(compound) => viewer.receiver.handle_rtcp(now, compound),
                Incoming::Other => {}
            }
        }
    }

    /// Puts on its way what everybody has to send. Whether some of it has arrived already.
    fn flush(&mut self) -> bool {
        let Self { server, publisher, source, viewers, network, direct, batch, now, .. } = self;
        let elapsed = *now - START;
        let mut post = |from: SocketAddr, to: SocketAddr, bytes: &[u8]| {
            let datagram = Datagram { from, to, bytes: bytes.to_vec() };
            if DatagramKind::of(bytes) == Some(DatagramKind::Dtls) {
                direct.push_back(datagram);
            } else {
                network.send(elapsed, datagram);
            }
        };
        let mut post_all = |number: u8, batch: &mut TransmitBatch| {
            let ranges = batch.transmits().iter().flat_map(|transmit| transmit.segments());
            ranges.for_each(|range| post(address(number), server::ADDRESS.into(), batch.datagram(range)));
            batch.clear();
        };
        publisher.poll_transmit(*now, batch);
        if !self.sends && publisher.is_connected() && server.is_answered(*now, &[self.transport]) {
            self.sends = true;
            source.skip_to(*now);
        }
        if self.sends {
            source.poll(*now, publisher, batch);
            let ntp = server.clock().ntp(*now);
            source.report(*now, ntp, &mut Vec::new(), &mut |compound| publisher.send_rtcp(compound, batch));
        }
        post_all(PUBLISHER, batch);
        for (number, viewer) in (1..).zip(viewers.iter_mut()) {
            let Viewer { endpoint, receiver, connected, .. } = viewer;
            if endpoint.poll_timeout() > *now && receiver.poll_timeout() > *now && !endpoint.wants_service() {
                continue;
            }
            endpoint.poll_transmit(*now, batch);
            if endpoint.is_connected() {
                connected.get_or_insert(*now);
                receiver.report(*now, &mut |compound| endpoint.send_rtcp(compound, batch));
            }
            post_all(number, batch);
        }
        server.transmit(*now, |to, bytes| {
            let SocketAddr::V4(ip) = to else { return };
            let [_, _, number, _] = ip.ip().octets();
            if let Some(viewer) = usize::from(number).checked_sub(1).and_then(|index| viewers.get_mut(index)) {
                viewer.record.on_sent(super::flow::kind(bytes), bytes.len());
            }
            post(server::ADDRESS.into(), to, bytes);
        });
        let arrived = !self.direct.is_empty();
        while let Some(datagram) = self.direct.pop_front() {
            self.deliver(datagram);
        }
        arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(viewers: u8) -> JoinsPlan {
        JoinsPlan {
            viewers,
            within: Duration::from_secs(2),
            loss: 0.05,
            round_trip: Duration::from_millis(50),
            path: 10_000_000,
            video: 500_000,
            keyframe_size: 10.0,
            seeds: 1,
        }
    }

    #[test]
    fn who_join_share_keyframes_and_have_a_picture_soon() {
        let joins = joins(&plan(60), &mut |_| ()).unwrap();
        let run = &joins.runs[0];
        assert_eq!(run.pictures.len(), 60);
        assert!(!run.requests.is_empty() && run.least_apart().is_none_or(|apart| apart >= LEAST_APART), "{joins}");
        assert!(run.in_keyframes <= MOST_IN_KEYFRAMES, "{joins}");
        assert!(run.picture_after(0.5).is_some_and(|wait| wait <= PICTURE_P50), "{joins}");
        // Who loses the first probe of its path gets video with the next one.
        assert!(run.picture_after(0.9).is_some_and(|wait| wait <= PICTURE_P95), "{joins}");
        assert!(run.sent_again > 0.0);
    }

    /// The one layer is more than a path is believed to carry at first, and some lose the probe that would show it.
    #[test]
    fn who_join_a_stream_above_the_start_rate_have_a_picture_soon() {
        let joins = joins(&JoinsPlan { video: 1_500_000, ..plan(100) }, &mut |_| ()).unwrap();
        let run = &joins.runs[0];
        assert!(run.picture_after(0.5).is_some_and(|wait| wait <= PICTURE_P50), "{joins}");
        assert!(run.picture_after(0.95).is_some_and(|wait| wait <= PICTURE_P95), "{joins}");
    }

    #[test]
    fn a_plan_repeats_from_its_seed() {
        let play = || joins(&plan(5), &mut |_| ()).unwrap();
        assert_eq!(play(), play());
    }

    #[test]
    fn who_has_no_picture_counts_as_the_last() {
        let ms = Duration::from_millis;
        let pictures = vec![Some(ms(30)), None, Some(ms(10)), Some(ms(20))];
        let run = JoinsRun { requests: vec![ms(5), ms(900), ms(1_500)], in_keyframes: 0.0, pictures, sent_again: 0.0 };
        assert_eq!(
            [0.0, 0.5, 0.75, 1.0].map(|share| run.picture_after(share)),
            [Some(ms(10)), Some(ms(30)), None, None]
        );
        assert_eq!(run.least_apart(), Some(ms(600)));
    }
}
