//! Feedback of a peer that lies, on clocks that leap: an estimate stays within its limits, and so does what is probed for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_rtc::bwe::{
    BandwidthEstimator, DispersionConfig, EstimatorConfig, GoogCcConfig, LossReport, PacketResult, ProbeId, RembConfig,
};
use sfu_rtc::time::{Duration, Instant};
use sfu_rtc::twcc::{SendHistory, SendHistoryConfig};
use sfu_rtc::units::{Bitrate, DataSize};

const MIN: Bitrate = Bitrate::from_kbps(60);
const MAX: Bitrate = Bitrate::from_kbps(50_000);

// A byte for the estimator, then steps of eight: what happens, and seven bytes of how.
fuzz_target!(|data: &[u8]| {
    let Some((which, steps)) = data.split_first() else { return };
    let config = match which % 3 {
        0 => EstimatorConfig::GoogCc(GoogCcConfig { min: MIN, max: MAX, ..GoogCcConfig::default() }),
        1 => EstimatorConfig::Dispersion(DispersionConfig { min: MIN, max: MAX, ..DispersionConfig::default() }),
        _ => EstimatorConfig::Remb(RembConfig { min: MIN, max: MAX, ..RembConfig::default() }),
    };
    let mut now = Instant::from_millis(1_000);
    let mut peer = Peer {
        estimator: config.build(now),
        history: SendHistory::new(SendHistoryConfig { max_packets: 512, ..SendHistoryConfig::default() }),
        probe: None,
        results: Vec::new(),
    };
    for step in steps.chunks_exact(8) {
        now += Duration::from_micros(u64::from(u16::from_be_bytes([step[1], step[2]])) * 8);
        peer.step(now, step);
        let estimate = peer.estimator.estimate().expect("each of these has one");
        assert!(estimate >= MIN && estimate <= MAX, "{estimate}");
    }
});

struct Peer {
    estimator: Box<dyn BandwidthEstimator>,
    history: SendHistory,
    probe: Option<ProbeId>,
    results: Vec<PacketResult>,
}

impl Peer {
    fn step(&mut self, now: Instant, step: &[u8]) {
        let wide = u32::from_be_bytes([step[3], step[4], step[5], step[6]]);
        match step[0] % 9 {
            0 => (0..step[7]).for_each(|_| self.send(now, wide % 2_000)),
            1 => self.feedback(now, wide, step),
            2 => self.arbitrary(now, wide, step),
            3 => self.estimator.on_rtt(now, Duration::from_micros(u64::from(wide))),
            4 => self.estimator.on_loss(now, LossReport { fraction: f32::from(step[7]) / 255.0, packets: u64::from(wide) }),
            5 => self.estimator.on_remb(now, Bitrate::from_bps(u64::from(wide) << (step[7] % 33))),
            6 => self.estimator.set_demand((step[7] > 0).then(|| Bitrate::from_bps(u64::from(wide) << (step[7] % 33)))),
            7 => {
                if let Some(cluster) = self.estimator.poll_probe(now) {
                    assert!(cluster.bitrate <= MAX && cluster.bitrate > Bitrate::ZERO);
                    assert!(cluster.duration <= Duration::from_millis(100) && cluster.packets <= 20);
                    self.probe = Some(cluster.id);
                }
            }
            _ => {
                if self.estimator.poll_timeout().is_some_and(|at| at <= now) {
                    self.estimator.handle_timeout(now);
                }
                assert!(self.estimator.poll_timeout().is_none_or(|at| at > now));
            }
        }
    }

    fn send(&mut self, now: Instant, size: u32) {
        let size = DataSize::from_bytes(u64::from(size));
        self.history.on_sent(now, size, self.probe);
        self.estimator.on_sent(now, size);
    }

    /// On a run of packets from one of those sent lately, or of any number.
    fn feedback(&mut self, now: Instant, wide: u32, step: &[u8]) {
        let count = u16::from(step[7] & 0x3f);
        let first = self.history.next_seq().wrapping_sub(if wide & 1 == 0 { count } else { (wide >> 16) as u16 });
        let delta = i32::from(step[5] as i8) * i32::from(step[6]);
        let fate = |n: u16| (n % 8 != u16::from(step[4] % 16)).then_some(delta);
        let packets = (0..count).map(|n| (first.wrapping_add(n), fate(n)));
        let reference = if step[7] & 0x40 == 0 { (now.as_millis() / 64) as i32 } else { wide as i32 };
        self.history.on_feedback(reference, packets, &mut self.results);
        if !self.results.is_empty() {
            self.estimator.on_feedback(now, &self.results);
        }
    }

    /// What no history would say.
    fn arbitrary(&mut self, now: Instant, wide: u32, step: &[u8]) {
        let at = |shift: u8| Instant::from_nanos(u64::from(wide) << (shift % 40));
        let result = PacketResult {
            sent: at(step[4]),
            received: (step[5] > 60).then(|| at(step[6])),
            size: DataSize::from_bytes(u64::from(wide) << (step[7] % 33)),
            probe: self.probe.filter(|_| step[7] > 127),
        };
        self.estimator.on_feedback(now, &[result; 3]);
    }
}
