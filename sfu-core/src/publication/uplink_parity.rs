//! How much parity a publisher is to send beside its video, where it can: planned as for a subscriber, from what is lost on
//! the way to us. What comes back by it comes back for all who watch.

use crate::frame_class::CLASSES;
use crate::repair::{Code, LoadMeter, RepairConfig, Snapshot, plan};
use sfu_rtc::fec::Scheme;
use sfu_rtc::loss::GilbertLoss;
use sfu_rtc::packet::Packet;
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::transport::Protection;
use sfu_rtc::units::Bitrate;

/// A keyframe is there so long after it was asked for, on top of the round trip.
const KEYFRAME_DELAY: Duration = Duration::from_millis(300);
/// A path that loses more has no room for what is sent already, and parity would take more of it.
const MAX_LOSS: f64 = 0.4;

/// The plan for one publication of video in one layer.
#[derive(Debug, Default)]
pub(crate) struct UplinkParity {
    load: LoadMeter,
    due: Instant,
    wanted: [Protection; CLASSES],
}

impl UplinkParity {
    /// A packet came, or came back.
    pub(super) fn on_packet(&mut self, now: Instant, packet: &Packet) {
        self.load.on_packet(now, &packet.frame, packet.timestamp, packet.payload().len());
    }

    /// Whether it is time for [`Self::plan`].
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    /// What is wanted, as planned last: parity by class of frame.
    pub(crate) fn wanted(&self) -> [Protection; CLASSES] {
        self.wanted
    }

    /// Plans anew, for a way that loses as said.
    pub(crate) fn plan(&mut self, now: Instant, (loss, rtt): (GilbertLoss, Duration), config: &RepairConfig) {
        self.due = now + config.interval;
        let Some(load) = self.load.load(now, rtt + KEYFRAME_DELAY) else { return };
        let packets: f64 = load.classes.iter().map(|class| class.frames * class.packets).sum();
        let rate = packets * load.packet_size.as_bytes() as f64 * 8.0;
        let plan = plan(&Snapshot {
            loss,
            lost_again: loss.share,
            congested: loss.share > MAX_LOSS,
            rtt,
            jitter: Duration::ZERO,
            slack: config.slack,
            max_slack: Duration::ZERO,
            nack: true,
            code: Some(Code::ReedSolomon),
            span: Scheme::ReedSolomon.span(1),
            frame_interval: load.frame_interval,
            packet_size: load.packet_size,
            budget: Bitrate::from_bps((rate * config.max_overhead) as u64),
            classes: load.classes,
            target: config.target,
        });
        self.wanted = plan.protection();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sfu_rtc::codec::FrameFacts;
    use sfu_rtc::packet::PacketPool;

    /// What is wanted after two seconds of 30 frames per second, four packets each.
    fn wanted(share: f64, rtt: u64) -> [Protection; CLASSES] {
        let mut pool = PacketPool::new(4);
        let mut parity = UplinkParity::default();
        for frame in 0..60_u32 {
            let now = Instant::from_millis(u64::from(frame) * 33);
            for _ in 0..4 {
                let fill = |data: &mut sfu_rtc::packet::PacketData| {
                    data.frame = FrameFacts { keyframe: frame == 0, ..FrameFacts::default() };
                    data.timestamp = frame * 3_000;
                    data.set_bytes(&[0; 1_000], 0..1_000)
                };
                parity.on_packet(now, &pool.take(fill).unwrap());
            }
            if parity.is_due(now) {
                let loss = GilbertLoss { share, burst: 1.0 };
                parity.plan(now, (loss, Duration::from_millis(rtt)), &RepairConfig::default());
            }
        }
        parity.wanted()
    }

    #[test]
    fn a_way_that_loses_is_protected_where_asking_again_takes_too_long() {
        assert_eq!(wanted(0.0, 80).map(|class| class.parity), [0; CLASSES]);
        let far = wanted(0.1, 80);
        assert!(far[1].parity >= 2 && far[1].frames > 1, "{far:?}");
        assert!(far[0].parity > 0 && far[0].frames == 1, "{far:?}");
        let near = wanted(0.01, 10);
        assert!(near[1].parity < far[1].parity, "{near:?}");
        assert_eq!(wanted(0.6, 80).map(|class| class.parity), [0; CLASSES], "there is no room");
    }
}
