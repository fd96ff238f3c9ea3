//! What the far side reports by RTCP (RFC 3550 section 6.4): the clock of the streams that it sends, and how ours arrive.

use super::stage::{Passed, Stage};
use crate::clock::unix_now;
use interceptor::{Packet, Slot, TaggedPacket};
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Right behind [`super::keyframe_requests`], which changes nothing either.
pub(super) const SLOT: Slot = Slot::Custom(13_900);
/// Streams that are remembered: more than any peer of ours has; a far side that makes up others fills no memory.
const MOST: usize = 256;
/// Seconds from 1900, where NTP begins, to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// Which wall-clock time a timestamp of a received stream belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderClock {
    /// NTP time: seconds since 1900 in the upper 32 bits, their fraction in the lower. On the far side's clock.
    pub ntp: u64,
    /// The RTP timestamp at that time.
    pub rtp: u32,
}

impl SenderClock {
    /// When what has this timestamp was captured, on the far side's clock: nanoseconds since 1900.
    pub(crate) fn captured(self, timestamp: u32, clock_rate: u32) -> i128 {
        let seconds = i128::from(self.ntp >> 32) * 1_000_000_000;
        let fraction = (i128::from(self.ntp & 0xffff_ffff) * 1_000_000_000) >> 32;
        let ticks = i128::from(timestamp.wrapping_sub(self.rtp).cast_signed());
        seconds + fraction + ticks * 1_000_000_000 / i128::from(clock_rate)
    }
}

/// How a stream of ours arrives, from the newest report.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct FarReception {
    /// Share of packets lost since the report before, 0 to 1.
    pub loss: f64,
    /// Packets lost in all.
    pub lost: u32,
    /// Interarrival jitter in ticks of the stream's clock.
    pub jitter: u32,
    /// Round trip; none before the far side has had a report of ours.
    pub round_trip: Option<Duration>,
}

impl FarReception {
    /// For programs, named as in W3C webrtc-stats (RTCRemoteInboundRtpStreamStats).
    pub fn to_json(&self, clock_rate: u32) -> Value {
        json!({
            "fractionLost": self.loss,
            "packetsLost": self.lost,
            "jitter": f64::from(self.jitter) / f64::from(clock_rate),
            "roundTripTime": self.round_trip.map(|time| time.as_secs_f64()),
        })
    }
}

#[derive(Default)]
struct Reports {
    clocks: HashMap<u32, SenderClock>,
    receptions: HashMap<u32, FarReception>,
}

/// The newest reports, by SSRC.
#[derive(Clone, Default)]
pub struct ReportWatch(Arc<Mutex<Reports>>);

impl ReportWatch {
    /// The clock of the received stream `ssrc`, once it was reported.
    pub fn clock(&self, ssrc: u32) -> Option<SenderClock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clocks.get(&ssrc).copied()
    }

    /// How our stream `ssrc` arrives, once it was reported.
    pub fn reception(&self, ssrc: u32) -> Option<FarReception> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).receptions.get(&ssrc).copied()
    }

    pub(crate) fn on_sender_report(&self, report: &SenderReport) {
        let clock = SenderClock { ntp: report.ntp_time, rtp: report.rtp_time };
        remember(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).clocks, report.ssrc, clock);
    }

    fn on_receptions(&self, blocks: &[ReceptionReport], now: Duration) {
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for block in blocks {
            let reception = FarReception {
                loss: f64::from(block.fraction_lost) / 256.0,
                lost: block.total_lost,
                jitter: block.jitter,
                round_trip: round_trip(block, now),
            };
            remember(&mut reports.receptions, block.ssrc, reception);
        }
    }
}

fn remember<T>(known: &mut HashMap<u32, T>, ssrc: u32, value: T) {
    if known.len() < MOST || known.contains_key(&ssrc) {
        known.insert(ssrc, value);
    }
}

/// RFC 3550 section 6.4.1: now, less the time of our report, less how long the far side has had it, all in units of
/// 1/65536 s. A clock that was set meanwhile makes it negative, or minutes: none.
fn round_trip(block: &ReceptionReport, now: Duration) -> Option<Duration> {
    if block.last_sender_report == 0 {
        return None;
    }
    let units = ntp_middle(now).wrapping_sub(block.last_sender_report).wrapping_sub(block.delay);
    let round_trip = Duration::from_secs_f64(f64::from(units) / 65_536.0);
    (round_trip < Duration::from_secs(60)).then_some(round_trip)
}

/// The middle 32 bits of the NTP time.
fn ntp_middle(unix: Duration) -> u32 {
    let seconds = (unix.as_secs() + NTP_TO_UNIX) & 0xffff;
    let fraction = u64::from(unix.subsec_nanos()) * 65_536 / 1_000_000_000;
    (seconds << 16 | fraction) as u32
}

/// The interceptor: it looks at incoming RTCP and changes nothing.
pub(super) struct ReportInterceptor {
    watch: ReportWatch,
}

impl ReportInterceptor {
    pub(super) fn new(watch: ReportWatch) -> Self {
        Self { watch }
    }
}

impl Stage for ReportInterceptor {
    fn read(&mut self, message: TaggedPacket, passed: &mut Passed) {
        if let Packet::Rtcp(packets) = &message.message.packet {
            for packet in packets {
                let packet = packet.as_any();
                if let Some(report) = packet.downcast_ref::<SenderReport>() {
                    self.watch.on_sender_report(report);
                    self.watch.on_receptions(&report.reports, unix_now());
                } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
                    self.watch.on_receptions(&report.reports, unix_now());
                }
            }
        }
        passed.read.push_back(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_is_what_is_left_of_the_time_since_our_report() {
        let sent = Duration::from_millis(1_795_000_000_250);
        let block = |last_sender_report, delay| ReceptionReport { last_sender_report, delay, ..Default::default() };
        let later = sent + Duration::from_millis(80);
        let found = round_trip(&block(ntp_middle(sent), 65_536 * 30 / 1_000), later).unwrap();
        assert!(found.abs_diff(Duration::from_millis(50)) < Duration::from_millis(1), "{found:?}");
        assert_eq!(round_trip(&block(0, 0), later), None, "no report of ours has come");
        assert_eq!(round_trip(&block(ntp_middle(later), 65_536), later), None, "the clock was set");
    }

    #[test]
    fn made_up_streams_fill_no_memory() {
        let watch = ReportWatch::default();
        for ssrc in 0..10_000 {
            watch.on_sender_report(&SenderReport { ssrc, ntp_time: 1, ..Default::default() });
        }
        watch.on_sender_report(&SenderReport { ssrc: 7, ntp_time: 2, rtp_time: 3, ..Default::default() });
        assert_eq!(watch.clock(7), Some(SenderClock { ntp: 2, rtp: 3 }));
        assert_eq!(watch.clock(9_999), None);
        watch.on_receptions(&[ReceptionReport { ssrc: 1, fraction_lost: 64, ..Default::default() }], Duration::ZERO);
        assert_eq!(watch.reception(1).map(|reception| reception.loss), Some(0.25));
    }
}
