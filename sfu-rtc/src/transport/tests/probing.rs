//! Probes: padding of recent packets, in one row with true retransmissions, recognised in the feedback.

use super::*;
use crate::bwe::{DispersionConfig, EstimatorConfig, GoogCcConfig};
use crate::rtcp::{self, TwccFeedback};

const FRAME: u64 = 33;

/// A subscriber behind a path that carries all, with feedback each 66 ms.
struct Subscriber {
    pair: Pair,
    seq: u64,
    /// Transport-wide number and time of what arrived and is not reported yet.
    arrived: Vec<(u16, Instant)>,
    /// Number, payload type and payload of each retransmission.
    rtx: Vec<(SeqNo, PayloadType, Vec<u8>)>,
}

impl Subscriber {
    fn new(estimator: EstimatorConfig, slot: MediaSection) -> Self {
        let config = TransportConfig { estimator, ..TransportConfig::default() };
        let mut pair = Pair::with(config, vec![section("0", Direction::Receive), slot]);
        pair.connect();
        Self { pair, seq: 100, arrived: Vec::new(), rtx: Vec::new() }
    }

    fn take(&mut self, answers: Answers) {
        for (packet, seq) in answers.rtp {
            let view = RtpView::parse(&packet).unwrap();
            let number = view.extension(TCC_ID).unwrap();
            self.arrived.push((u16::from_be_bytes([number[0], number[1]]), self.pair.now));
            if Some(view.ssrc()) == SLOT.rtx {
                self.rtx.push((seq, view.payload_type(), view.payload().to_vec()));
            }
        }
    }

    /// Two frames of `packets` packets, and the feedback on all that came.
    fn round(&mut self, packets: u64) {
        for _ in 0..2 {
            for _ in 0..packets {
                let payload = self.seq.to_be_bytes().repeat(125);
                let packet = self.pair.packet(&payload, CarriedExtensions::default(), &[]);
                let out = self.pair.out(self.seq);
                self.seq += 1;
                self.pair.server.queue_rtp(self.pair.now, &packet, out).unwrap();
            }
            let answers = self.pair.drain();
            self.take(answers);
            for _ in 0..FRAME {
                let answers = self.pair.pass(1);
                self.take(answers);
            }
        }
        let Some((first, _)) = self.arrived.first().copied() else { return };
        let arrivals: Vec<_> = self.arrived.drain(..).map(|(_, at)| Some(at)).collect();
        let feedback =
            TwccFeedback { sender: MEDIA, media: SLOT.media, base_seq: first, fb_count: 0, arrivals: &arrivals };
        let sealed = self.pair.seal_rtcp(|out| assert_eq!(rtcp::write_twcc(out, &feedback), arrivals.len()));
        self.pair.give(sealed);
        let answers = self.pair.drain();
        self.take(answers);
    }

    fn estimate(&self) -> u64 {
        self.pair.server.estimate().unwrap().as_kbps()
    }
}

fn estimators() -> [EstimatorConfig; 2] {
    [EstimatorConfig::GoogCc(GoogCcConfig::default()), EstimatorConfig::Dispersion(DispersionConfig::default())]
}

#[test]
fn probes_are_filled_with_recent_packets_and_raise_the_estimate() {
    for estimator in estimators() {
        let mut subscriber = Subscriber::new(estimator, section("1", Direction::Send));
        let start = subscriber.estimate();
        (0..20).for_each(|_| subscriber.round(2));
        assert!(subscriber.estimate() > 3 * start, "{} kbit/s", subscriber.estimate());
        let padding = subscriber.pair.server.counters().padding_out;
        assert!((5..1_000).contains(&padding) && padding as usize == subscriber.rtx.len(), "{padding}");
        for (_, payload_type, payload) in &subscriber.rtx {
            let original = u64::from(u16::from_be_bytes([payload[0], payload[1]]));
            assert_eq!((*payload_type, &payload[2..10]), (VP8_RTX, &original.to_be_bytes()[..]));
        }
    }
}

#[test]
fn padding_and_retransmissions_are_numbered_in_one_row() {
    let [estimator, _] = estimators();
    let mut subscriber = Subscriber::new(estimator, section("1", Direction::Send));
    for _ in 0..10 {
        subscriber.round(2);
        let ssrc = SLOT.rtx.unwrap();
        let repaired = RtpOut { ssrc, payload_type: VP8_RTX, class: PacketClass::Rtx, ..subscriber.pair.out(7) };
        subscriber.pair.queue(repaired).unwrap();
    }
    let numbers: Vec<u64> = subscriber.rtx.iter().map(|(seq, ..)| seq.0).collect();
    assert!(numbers.len() > 10 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert_eq!(subscriber.pair.server.counters().rtx_out, 9, "the last still waits");
}

/// Where the peer could be sent more than it is estimated to receive, and nothing of it fits, nothing else would ever
/// raise the estimate.
#[test]
fn before_the_first_packet_of_video_padding_is_empty_retransmissions() {
    for estimator in estimators() {
        let mut subscriber = Subscriber::new(estimator, section("1", Direction::Send));
        let start = subscriber.estimate();
        let demand = Bitrate::from_kbps(4 * start);
        subscriber.pair.server.set_demand(Some(demand));
        for _ in 0..20 {
            let audio = RtpOut { class: PacketClass::Audio, ..subscriber.pair.out(subscriber.seq) };
            subscriber.seq += 1;
            subscriber.pair.queue(audio).unwrap();
            subscriber.round(0);
        }
        assert!(subscriber.estimate() > 2 * start, "{} of {start} kbit/s", subscriber.estimate());
        assert!(!subscriber.rtx.is_empty());
        for (_, payload_type, payload) in &subscriber.rtx {
            assert_eq!((*payload_type, payload.len()), (VP8_RTX, 0));
        }
    }
}

#[test]
fn a_peer_that_cannot_tell_what_arrives_is_not_probed() {
    for estimator in estimators() {
        let mut slot = section("1", Direction::Send);
        slot.extensions = ExtensionMap::default();
        let mut subscriber = Subscriber::new(estimator, slot);
        subscriber.pair.server.set_demand(Some(Bitrate::from_kbps(5_000)));
        for seq in 0..60 {
            let audio = RtpOut { class: PacketClass::Audio, ..subscriber.pair.out(seq) };
            subscriber.pair.queue(audio).unwrap();
            subscriber.pair.drain();
            subscriber.pair.pass(FRAME);
        }
        assert_eq!(subscriber.pair.server.counters().padding_out, 0);
    }
}

#[test]
fn without_media_or_retransmissions_a_request_waits() {
    for estimator in estimators() {
        let mut subscriber = Subscriber::new(estimator.clone(), section("1", Direction::Send));
        subscriber.pair.pass(3_000);
        assert_eq!(subscriber.pair.server.counters().padding_out, 0);
        (0..10).for_each(|_| subscriber.round(2));
        assert!(subscriber.pair.server.counters().padding_out > 0, "it was not lost");

        let mut slot = section("1", Direction::Send);
        Arc::make_mut(&mut slot.formats)[0].rtx = None;
        let mut subscriber = Subscriber::new(estimator, slot);
        (0..20).for_each(|_| subscriber.round(2));
        assert_eq!(subscriber.pair.server.counters().padding_out, 0);
    }
}
