//! What leaves when.

mod narrowing;

use super::*;
use crate::peer::stage::Staged;
use interceptor::{AttributedPacket, Interceptor, RTPHeaderExtension};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use sfu_rtc::ids::Ssrc;
use sfu_rtc::rtcp::{TwccFeedback, write_twcc};
use sfu_rtc::units::Bitrate;

const VIDEO: u32 = 1_000;
const VIDEO_RTX: u32 = 1_001;
const PARITY: u32 = 1_002;
const AUDIO: u32 = 2_000;
const TRANSPORT_CC: u8 = 3;
/// From frame to frame, at 30 per second.
const TICKS: u32 = 3_000;

struct Sender {
    pacing: Staged<Pacing>,
    uplink: SharedUplink,
    epoch: Instant,
    sequence_number: u16,
}

impl Sender {
    fn new() -> Self {
        let (epoch, uplink) = (Instant::now(), SharedUplink::new(MediaTime::ZERO));
        let mut pacing = Pacing::new(epoch, uplink.clone()).staged();
        let rtp_header_extensions =
            vec![RTPHeaderExtension { id: TRANSPORT_CC.into(), uri: ExtensionKind::TransportCc.uri().to_owned() }];
        let video = StreamInfo {
            ssrc: VIDEO,
            ssrc_rtx: Some(VIDEO_RTX),
            ssrc_fec: Some(PARITY),
            mime_type: "video/H264".to_owned(),
            rtp_header_extensions,
            ..Default::default()
        };
        pacing.bind_local_stream(&video);
        let (ssrc_rtx, ssrc_fec, mime_type) = (None, None, "audio/opus".to_owned());
        pacing.bind_local_stream(&StreamInfo { ssrc: AUDIO, ssrc_rtx, ssrc_fec, mime_type, ..video });
        Self { pacing, uplink, epoch, sequence_number: 0 }
    }

    fn send(&mut self, millis: u64, ssrc: u32, timestamp: u32, bytes: usize) {
        let sequence_number = self.sequence_number;
        self.sequence_number += 1;
        let header = rtp::Header { version: 2, ssrc, timestamp, sequence_number, ..Default::default() };
        let packet = Packet::Rtp(rtp::Packet { header, payload: vec![0; bytes].into() });
        let (now, transport) = (self.at(millis), TransportContext::default());
        let message = AttributedPacket::new(packet);
        self.pacing.handle_write(TaggedPacket { now, transport, message }).unwrap();
    }

    /// A frame of so many packets of 1,000 bytes.
    fn frame(&mut self, millis: u64, timestamp: u32, packets: usize) {
        (0..packets).for_each(|_| self.send(millis, VIDEO, timestamp, 1_000));
    }

    fn hear(&mut self, millis: u64, rtcp: &[u8]) {
        let packets = rtcp::packet::unmarshal(&mut Bytes::copy_from_slice(rtcp)).unwrap();
        let (now, transport) = (self.at(millis), TransportContext::default());
        let message = AttributedPacket::new(Packet::Rtcp(packets));
        self.pacing.handle_read(TaggedPacket { now, transport, message }).unwrap();
        assert!(self.pacing.poll_read().is_some(), "others read it too");
    }

    fn at(&self, millis: u64) -> Instant {
        self.epoch + Duration::from_millis(millis)
    }

    /// What leaves up to then: when, in milliseconds, whose, and its number.
    fn leaving(&mut self, until: u64) -> Vec<(u64, u32, u16)> {
        let mut left = Vec::new();
        loop {
            while let Some(message) = self.pacing.poll_write() {
                let Packet::Rtp(packet) = message.message.packet else { continue };
                let number = packet.header.get_extension(TRANSPORT_CC).expect("a number");
                let number = u16::from_be_bytes(number.as_ref().try_into().unwrap());
                left.push((message.now.duration_since(self.epoch).as_millis() as u64, packet.header.ssrc, number));
            }
            match self.pacing.poll_timeout().filter(|due| *due <= self.at(until)) {
                Some(due) => self.pacing.handle_timeout(due).unwrap(),
                None => return left,
            }
        }
    }
}

#[test]
fn a_frame_is_spread_over_its_own_interval_at_most() {
    let mut sender = Sender::new();
    for (frame, packets) in [(0, 12), (1, 2), (2, 12)] {
        let begun = u64::from(frame) * 33;
        sender.frame(begun, frame * TICKS, packets);
        let left = sender.leaving(begun + 33);
        assert_eq!(left.len(), packets, "all leave before the next frame: {left:?}");
        let first = left.iter().filter(|(at, ..)| *at == begun).count();
        assert!(packets < 5 || first < packets / 2, "no burst: {left:?}");
    }
    // Of pictures that come seldom none takes as long as they are apart.
    sender.frame(2_000, 182_000, 12);
    assert_eq!(sender.leaving(2_200).len(), 12);
}

#[test]
fn frames_that_come_all_at_once_are_spread_as_if_each_had_come_in_its_time() {
    let mut sender = Sender::new();
    (0..6).for_each(|frame| sender.frame(0, frame * 90, 4));
    let left = sender.leaving(500);
    assert_eq!(left.len(), 24);
    let soon = left.iter().filter(|(at, ..)| *at <= 33).count();
    assert!((4..12).contains(&soon), "{left:?}");
}

#[test]
fn sound_waits_for_nothing_and_retransmissions_go_before_video() {
    let mut sender = Sender::new();
    sender.frame(0, 0, 12);
    sender.send(0, PARITY, 0, 1_000);
    let before = sender.leaving(4).len();
    sender.send(4, AUDIO, 0, 60);
    sender.send(4, VIDEO_RTX, 0, 1_000);
    let left = sender.leaving(60);
    assert_eq!(before + left.len(), 15);
    assert_eq!((left[0].0, left[0].1, left[1].1), (4, AUDIO, VIDEO_RTX));
    assert_eq!(left.last().map(|(_, ssrc, _)| *ssrc), Some(PARITY));
}

#[test]
fn all_that_leaves_is_numbered_in_its_order() {
    let mut sender = Sender::new();
    sender.frame(0, 0, 8);
    sender.send(0, PARITY, 0, 1_000);
    sender.send(1, VIDEO_RTX, 0, 1_000);
    sender.send(2, AUDIO, 0, 60);
    let numbers: Vec<u16> = sender.leaving(100).into_iter().map(|(_, _, number)| number).collect();
    assert_eq!(numbers, (0..11).collect::<Vec<_>>());
}

#[test]
fn a_path_that_queues_is_paced_more_slowly() {
    let mut sender = Sender::new();
    let estimate = |sender: &Sender| sender.uplink.lock().estimate().unwrap();
    let start = estimate(&sender);
    // 300 kbit/s is what passes, of some 500.
    let mut free = 0;
    for frame in 0..60 {
        let begun = u64::from(frame) * 33;
        sender.frame(begun, frame * TICKS, 2);
        let left = sender.leaving(begun + 32);
        let first = left[0].2;
        let arrivals = left.iter().map(|(at, ..)| {
            free = free.max(at + 20) + 28;
            Some(MediaTime::from_millis(free))
        });
        let arrivals: Vec<_> = arrivals.collect();
        let (us, media) = (Ssrc(9), Ssrc(VIDEO));
        let feedback = TwccFeedback { sender: us, media, base_seq: first, fb_count: frame as u8, arrivals: &arrivals };
        let mut rtcp = Vec::new();
        write_twcc(&mut rtcp, &feedback);
        sender.hear(begun + 32, &rtcp);
    }
    let found = estimate(&sender);
    assert!(found < start && found < Bitrate::from_kbps(330), "{found:?}");
}
