//! Where much waits, a keyframe replaces what came before it.

use super::*;
use crate::bwe::EstimatorConfig;
use crate::units::Bitrate;

const FRAME: u32 = 3_000;

/// A subscriber whose path carries so little that what it is sent waits.
struct Subscriber {
    pair: Pair,
    frames: u32,
}

impl Subscriber {
    fn behind(kbps: u64) -> Self {
        let estimator = EstimatorConfig::Fixed(Some(Bitrate::from_kbps(kbps)));
        let config = TransportConfig { estimator, ..TransportConfig::default() };
        let mut pair = Pair::with(config, vec![section("0", Direction::Receive), section("1", Direction::Send)]);
        pair.connect();
        Self { pair, frames: 0 }
    }

    /// The next frame, of one packet of a kilobyte.
    fn frame(&mut self, keyframe: bool) {
        let packet = self.pair.pool.take(|data| {
            data.frame = FrameFacts { keyframe, start_of_frame: true, end_of_frame: true, ..FrameFacts::default() };
            data.set_bytes(&[0; 1_012], 12..1_012)
        });
        self.frames += 1;
        let out = self.out(self.frames);
        self.pair.server.queue_rtp(self.pair.now, &packet.unwrap(), out).unwrap();
    }

    fn out(&self, frame: u32) -> RtpOut {
        // Timestamps wrap on the way.
        let timestamp = frame.wrapping_mul(FRAME).wrapping_sub(5 * FRAME);
        RtpOut { timestamp, ..self.pair.out(u64::from(frame)) }
    }

    /// A frame is sent again.
    fn repeat(&mut self, frame: u32) -> Result<Handover, DropReason> {
        let out = self.out(frame);
        let (ssrc, payload_type) = (SLOT.rtx.unwrap(), VP8_RTX);
        let packet = self.pair.packet(&[0; 1_000], CarriedExtensions::default(), &[]);
        let again = RtpOut { ssrc, payload_type, class: PacketClass::Rtx, ..out };
        self.pair.server.queue_rtp(self.pair.now, &packet, again)
    }

    fn superseded(&self) -> u64 {
        self.pair.server.drops().of(DropReason::Superseded)
    }
}

#[test]
fn what_is_lost_and_what_follows_gives_way_to_a_keyframe() {
    let mut subscriber = Subscriber::behind(40);
    (0..10).for_each(|_| subscriber.frame(false));
    (1..=3).for_each(|frame| assert!(subscriber.repeat(frame).is_ok()));
    subscriber.frame(true);
    assert_eq!(subscriber.superseded(), 13);
    assert_eq!(subscriber.repeat(4).unwrap_err(), DropReason::Superseded);
    assert!(subscriber.repeat(11).is_ok(), "the keyframe itself is repaired");
    subscriber.frame(false);
    let sent: Vec<_> = subscriber.pair.pass(2_000).rtp.iter().map(|(_, seq)| *seq).collect();
    assert_eq!(sent.len(), 3, "{sent:?}");
}

#[test]
fn a_picture_that_nothing_is_missing_of_is_shown_first() {
    let mut subscriber = Subscriber::behind(80);
    (0..10).for_each(|_| subscriber.frame(false));
    subscriber.frame(true);
    assert_eq!(subscriber.superseded(), 0);
}

#[test]
fn where_little_waits_nothing_is_dropped() {
    let mut subscriber = Subscriber::behind(8_000);
    (0..10).for_each(|_| subscriber.frame(false));
    (1..=3).for_each(|frame| assert!(subscriber.repeat(frame).is_ok()));
    subscriber.frame(true);
    assert!(subscriber.repeat(4).is_ok());
    assert_eq!(subscriber.superseded(), 0);
}
