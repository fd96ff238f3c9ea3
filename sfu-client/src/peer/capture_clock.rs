//! Sender reports (RFC 3550 section 6.4.1) that tell when what is sent was captured. Those of the crate tell when a packet
//! was written: sound by then as old as its packet is long, pictures as long as it took to code them, so that a receiver
//! which plays both in step by the reports would play them out of step.

use super::stage::{Passed, Stage};
use interceptor::{Packet, Slot, TaggedPacket};
use rtc::shared::error::Error;
use rtcp::sender_report::SenderReport;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Behind what makes the reports.
pub(super) const SLOT: Slot = Slot::Custom(10_900);

/// When a timestamp was captured, and ticks per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct CaptureClock {
    pub(super) begun: Instant,
    pub(super) timestamp: u32,
    pub(super) rate: u32,
}

impl CaptureClock {
    /// The timestamp of what is captured at `now`.
    fn timestamp(self, now: Instant) -> u32 {
        let nanos = now.saturating_duration_since(self.begun).as_nanos();
        // Timestamps are a circle.
        self.timestamp.wrapping_add((nanos * u128::from(self.rate) / 1_000_000_000) as u32)
    }
}

/// By SSRC.
#[derive(Clone, Default)]
pub(super) struct CaptureClocks(Arc<Mutex<HashMap<u32, CaptureClock>>>);

impl CaptureClocks {
    /// The stream `ssrc` is captured by this clock.
    pub(super) fn set(&self, ssrc: u32, clock: CaptureClock) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ssrc, clock);
    }

    fn correct(&self, now: Instant, report: &SenderReport) -> Option<SenderReport> {
        let clock = *self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&report.ssrc)?;
        Some(SenderReport { rtp_time: clock.timestamp(now), ..report.clone() })
    }
}

/// The interceptor: it corrects reports that leave.
pub(super) struct CaptureReports {
    clocks: CaptureClocks,
}

impl CaptureReports {
    pub(super) fn new(clocks: CaptureClocks) -> Self {
        Self { clocks }
    }
}

impl Stage for CaptureReports {
    fn write(&mut self, mut message: TaggedPacket, passed: &mut Passed) -> Result<(), Error> {
        let now = message.now;
        if let Packet::Rtcp(packets) = &mut message.message.packet {
            for packet in packets {
                let report = packet.as_any().downcast_ref::<SenderReport>();
                if let Some(corrected) = report.and_then(|report| self.clocks.correct(now, report)) {
                    *packet = Box::new(corrected);
                }
            }
        }
        passed.write.push_back(message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use interceptor::AttributedPacket;
    use rtc::sansio::Protocol;
    use rtc::shared::TransportContext;
    use std::time::Duration;

    #[test]
    fn reports_that_leave_tell_of_capture_where_it_is_known() {
        let clocks = CaptureClocks::default();
        let mut reports = CaptureReports::new(clocks.clone()).staged();
        let begun = Instant::now();
        // Longer than the circle of timestamps is.
        let now = begun + Duration::from_secs(100_000);
        clocks.set(1, CaptureClock { begun, timestamp: 1_000, rate: 48_000 });
        let report = |ssrc| Box::new(SenderReport { ssrc, ntp_time: 5, rtp_time: 7, ..Default::default() }) as _;
        let message = AttributedPacket::new(Packet::Rtcp(vec![report(1), report(2)]));
        reports.handle_write(TaggedPacket { now, transport: TransportContext::default(), message }).unwrap();
        let Some(TaggedPacket { message, .. }) = reports.poll_write() else { panic!("it was swallowed") };
        let Packet::Rtcp(packets) = message.packet else { panic!("no RTCP") };
        let told = packets.iter().map(|packet| {
            let report = packet.as_any().downcast_ref::<SenderReport>().unwrap();
            (report.ssrc, report.ntp_time, report.rtp_time)
        });
        assert_eq!(told.collect::<Vec<_>>(), [(1, 5, 4_800_001_000_u64 as u32), (2, 5, 7)]);
    }
}
