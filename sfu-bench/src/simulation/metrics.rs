//! What a record comes to: one number per question.

use super::catalogue::Scenario;
use super::record::{FlowRecord, FlowSample, Kind, QUEUE_SAMPLE, Record, SAMPLE};
use std::collections::BTreeMap;
use std::time::Duration;

/// One question about a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Metric {
    /// Media that arrived, in % of what could and was wanted: the least of capacity and demand.
    Utilisation,
    /// How long packets waited at the bottleneck, in ms: half of the time less than this.
    QueueP50,
    /// The same, 95 % of the time.
    QueueP95,
    /// The same, 99 % of the time.
    QueueP99,
    /// Longest time from a fall of the capacity until the queue is below 50 ms, in s.
    DrainTime,
    /// Longest time from a rise of the capacity until 90 % of it, or of the demand, arrive, in s.
    RiseTime,
    /// Time frozen in %, of the flow that has most.
    FreezeShare,
    /// Freezes as in webrtc-stats, of the flow that has most.
    Freezes,
    /// Of these, such as are longer than 0.36 s: a single one costs the quality that is called good.
    LongFreezes,
    /// Longest freeze, in ms.
    LongestFreeze,
    /// Time without a picture after the longest outage, in ms.
    Recovery,
    /// Frames per second, weighed by how long each is seen (time / sum of squared gaps), of the worst flow.
    HarmonicFps,
    /// Quality of audio as the E-model (ITU-T G.107) has it from delay and loss, 1 to 4.5, of the worst flow.
    AudioMos,
    /// Packets of audio that came neither by themselves nor with a later one, in %, of the flow that has most.
    AudioLoss,
    /// One-way delay from publisher to subscriber in ms: half of the packets take less.
    DelayP50,
    /// The same, 95 % of the packets.
    DelayP95,
    /// The same, 99 % of the packets.
    DelayP99,
    /// Jain's index of what the flows got while all were there.
    Jain,
    /// Share of media in what passed, in %, beside TCP-like flows.
    ShareOfLink,
    /// Time after a pause until the flow has 90 % of its fair share, in s.
    ResumeTime,
    /// Utilisation in % of that without the flow in the other direction.
    OfOneWay,
    /// Retransmissions, padding among them, in % of the bytes sent.
    RtxShare,
    /// Parity, in % of the bytes sent.
    FecShare,
    /// RTCP, ICE and the rest, in % of the bytes sent.
    ControlShare,
    /// Packets that the bottleneck dropped or lost, of all flows.
    PacketsLost,
    /// Packets of video that came neither again nor by parity, in %, of the flow that has most.
    ResidualLoss,
    /// Keyframes that a subscriber asked for, per minute.
    KeyframeRequests,
}

impl Metric {
    /// Name and unit.
    pub fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::Utilisation => ("utilisation", "%"),
            Self::QueueP50 => ("queue delay p50", "ms"),
            Self::QueueP95 => ("queue delay p95", "ms"),
            Self::QueueP99 => ("queue delay p99", "ms"),
            Self::DrainTime => ("queue < 50 ms after a fall", "s"),
            Self::RiseTime => ("90 % after a rise", "s"),
            Self::FreezeShare => ("frozen", "%"),
            Self::Freezes => ("freezes", ""),
            Self::LongFreezes => ("freezes > 0.36 s", ""),
            Self::LongestFreeze => ("longest freeze", "ms"),
            Self::Recovery => ("picture after an outage", "ms"),
            Self::HarmonicFps => ("harmonic frame rate", "fps"),
            Self::AudioMos => ("audio MOS", ""),
            Self::AudioLoss => ("audio lost after repair", "%"),
            Self::DelayP50 => ("one-way delay p50", "ms"),
            Self::DelayP95 => ("one-way delay p95", "ms"),
            Self::DelayP99 => ("one-way delay p99", "ms"),
            Self::Jain => ("Jain's index", ""),
            Self::ShareOfLink => ("share beside TCP", "%"),
            Self::ResumeTime => ("fair share after a pause", "s"),
            Self::OfOneWay => ("of the one-way case", "%"),
            Self::RtxShare => ("retransmissions", "%"),
            Self::FecShare => ("parity", "%"),
            Self::ControlShare => ("RTCP and ICE", "%"),
            Self::PacketsLost => ("packets lost", ""),
            Self::ResidualLoss => ("video lost after repair", "%"),
            Self::KeyframeRequests => ("keyframe requests", "/min"),
        }
    }
}

/// Answers that a run has.
pub type Metrics = BTreeMap<Metric, f64>;

/// A bound of a metric.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bound {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
}

/// What is to be reached.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Target {
    /// Of what.
    pub metric: Metric,
    /// How much.
    pub bound: Bound,
}

impl Target {
    /// Whether `value` reaches it.
    pub fn is_met(&self, value: f64) -> bool {
        match self.bound {
            Bound::AtLeast(least) => value >= least,
            Bound::AtMost(most) => value <= most,
        }
    }
}

/// A queue of so much is empty enough.
const SHORT_QUEUE: Duration = Duration::from_millis(50);
/// Share of the capacity, or of the fair share, that counts as reached.
const REACHED: f64 = 0.9;
/// Over how many samples what arrives is taken, where it is to be reached.
const SMOOTH: usize = 5;
/// A picture may take so long to come back after an outage, which [`Metric::Recovery`] tells.
const RETURN: Duration = Duration::from_secs(1);
/// A freeze that is remembered.
const LONG_FREEZE: Duration = Duration::from_millis(360);
/// What is left of a freeze counts from here on.
const SHORTEST_FREEZE: Duration = Duration::from_millis(150);
/// Samples over which capacity and demand are compared: what waits for a moment can pass in the next.
const SECOND: usize = 10;
/// Newcomers are not compared with the others before so long.
const SETTLE: Duration = Duration::from_secs(5);

/// The answers of a run.
pub fn metrics(scenario: &Scenario, record: &Record) -> Metrics {
    use Metric::*;
    let mut found = Metrics::new();
    let delays = record.flows.iter().flat_map(|flow| flow.video_delays.iter().chain(&flow.audio_delays).copied());
    let delays = quantiles(delays.collect());
    let began = record.flows.iter().map(|flow| flow.began).min().unwrap_or_default();
    let queue = quantiles(record.queue.iter().skip(index(began, QUEUE_SAMPLE)).copied().collect());
    found.extend([(QueueP50, queue[0]), (QueueP95, queue[1]), (QueueP99, queue[2])]);
    found.extend([(DelayP50, delays[0]), (DelayP95, delays[1]), (DelayP99, delays[2])]);
    found.insert(PacketsLost, (record.dropped + record.lost) as f64);
    let worst = |value: &dyn Fn(&FlowRecord) -> f64| record.flows.iter().map(value).fold(0.0, f64::max);
    found.insert(FreezeShare, worst(&|flow| 100.0 * frozen(scenario, record, flow)));
    found.insert(Freezes, worst(&|flow| counted_freezes(scenario, flow).count() as f64));
    let long = |flow: &FlowRecord| counted_freezes(scenario, flow).filter(|(_, time)| *time > LONG_FREEZE).count();
    found.insert(LongFreezes, worst(&|flow| long(flow) as f64));
    let longest = |flow: &FlowRecord| counted_freezes(scenario, flow).map(|(_, time)| time).max().unwrap_or_default();
    found.insert(LongestFreeze, worst(&|flow| millis(longest(flow))));
    found.insert(HarmonicFps, record.flows.iter().map(|f| harmonic_fps(record, f)).fold(f64::INFINITY, f64::min));
    found.insert(AudioMos, record.flows.iter().map(audio_mos).fold(f64::INFINITY, f64::min));
    let residual = |lost: u64, came: usize| 100.0 * lost as f64 / (lost as f64 + came as f64).max(1.0);
    found.insert(ResidualLoss, worst(&|flow| residual(flow.video_lost, flow.video_delays.len())));
    found.insert(AudioLoss, worst(&|flow| residual(flow.audio_lost, flow.audio_delays.len())));
    let minutes = |flow: &FlowRecord| (record.length - flow.began).as_secs_f64() / 60.0;
    found.insert(KeyframeRequests, worst(&|flow| flow.keyframe_requests as f64 / minutes(flow)));
    let sent = |kinds: &[Kind]| -> u64 {
        record.flows.iter().map(|flow| kinds.iter().map(|kind| flow.sent[*kind as usize]).sum::<u64>()).sum()
    };
    let all = record.flows.iter().flat_map(|flow| flow.sent).sum::<u64>().max(1) as f64;
    found.insert(RtxShare, 100.0 * sent(&[Kind::Rtx]) as f64 / all);
    found.insert(FecShare, 100.0 * sent(&[Kind::Fec]) as f64 / all);
    found.insert(ControlShare, 100.0 * sent(&[Kind::Rtcp, Kind::Other]) as f64 / all);
    found.insert(Utilisation, 100.0 * utilisation(record));
    found.extend(drain_time(record).map(|time| (DrainTime, time)));
    if scenario.flows.len() == 1 && scenario.tcp.is_empty() {
        found.extend(rise_time(record).map(|time| (RiseTime, time)));
    }
    if record.flows.len() > 1 {
        found.insert(Jain, jain(record));
    }
    if !scenario.tcp.is_empty() {
        found.insert(ShareOfLink, 100.0 * share_of_link(record));
    }
    found.extend(resume_time(record).map(|time| (ResumeTime, time)));
    found.extend(recovery(scenario, record).map(|time| (Recovery, time)));
    found
}

fn index(time: Duration, step: Duration) -> usize {
    (time.as_nanos() / step.as_nanos()) as usize
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// 50, 95 and 99 % of the times, in ms.
fn quantiles(mut times: Vec<Duration>) -> [f64; 3] {
    times.sort_unstable();
    [0.5, 0.95, 0.99].map(|share| {
        let last = times.len().saturating_sub(1) as f64;
        times.get((last * share).ceil() as usize).map_or(0.0, |time| millis(*time))
    })
}

/// Whether the flow sends in this sample's time.
fn is_active(flow: &FlowRecord, sample: usize) -> bool {
    let at = SAMPLE * sample as u32;
    at >= flow.began && flow.pause.is_none_or(|(from, until)| !(from..until).contains(&at))
}

fn active(record: &Record, sample: usize) -> usize {
    record.flows.iter().filter(|flow| is_active(flow, sample)).count()
}

fn received(flow: &FlowRecord) -> f64 {
    flow.samples.iter().map(|sample| sample.received).sum()
}

fn utilisation(record: &Record) -> f64 {
    let possible = |(second, capacity): (usize, &[f64])| {
        let wanted: usize = (0..capacity.len()).map(|n| active(record, SECOND * second + n)).sum();
        capacity.iter().sum::<f64>().min(record.demand * wanted as f64)
    };
    let possible: f64 = record.capacity.chunks(SECOND).enumerate().map(possible).sum();
    record.flows.iter().map(received).sum::<f64>() / possible.max(1.0)
}

/// What of the freezes no outage explains: neither it nor the time after it in which the picture may come back.
fn counted_freezes<'a>(
    scenario: &'a Scenario,
    flow: &'a FlowRecord,
) -> impl Iterator<Item = (Duration, Duration)> + 'a {
    let explained = |from: Duration, until: Duration| -> Duration {
        let within = |(begin, end): &(Duration, Duration)| (*end + RETURN).min(until).saturating_sub(from.max(*begin));
        scenario.outages.iter().map(within).sum()
    };
    let counted = flow.freezes.iter().map(move |(from, time)| (*from, *time - explained(*from, *from + *time)));
    counted.filter(|(_, time)| *time >= SHORTEST_FREEZE)
}

fn frozen(scenario: &Scenario, record: &Record, flow: &FlowRecord) -> f64 {
    let time: Duration = counted_freezes(scenario, flow).map(|(_, time)| time).sum();
    let pause = flow.pause.map_or(Duration::ZERO, |(from, until)| until - from);
    time.as_secs_f64() / record.length.saturating_sub(flow.began + pause).as_secs_f64().max(1e-9)
}

fn harmonic_fps(record: &Record, flow: &FlowRecord) -> f64 {
    let gaps = flow.frames.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
    let last = flow.frames.last().map_or(flow.began, |last| *last);
    let pause = flow.pause.map_or(0.0, |(from, until)| (until - from).as_secs_f64());
    // A pause is no gap.
    let gaps: Vec<f64> = gaps.chain([(record.length - last).as_secs_f64()]).collect();
    let longest = if pause > 0.0 { gaps.iter().copied().fold(0.0, f64::max) } else { 0.0 };
    let squares = gaps.iter().map(|gap| gap * gap).sum::<f64>() - longest * longest;
    (gaps.iter().sum::<f64>() - longest) / squares.max(1e-9)
}

/// The E-model with what Opus does not change left at its default, loss as G.113 has it for a codec with concealment,
/// and a playout buffer that waits for 95 % of the packets.
fn audio_mos(flow: &FlowRecord) -> f64 {
    /// Capture, coding and playout, in ms.
    const ENDS: f64 = 40.0;
    /// Robustness against loss, of G.711 with concealment (ITU-T G.113 table I.4).
    const ROBUSTNESS: f64 = 25.1;
    let came = flow.audio_delays.len() as f64;
    if came == 0.0 {
        return 1.0;
    }
    let delay = quantiles(flow.audio_delays.clone())[1] + ENDS;
    let loss = 100.0 * flow.audio_lost as f64 / (came + flow.audio_lost as f64);
    let by_delay = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
    let rating = (93.2 - by_delay - 95.0 * loss / (loss + ROBUSTNESS)).clamp(0.0, 100.0);
    1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6
}

/// Samples in which the capacity becomes another, with what it was and is.
fn changes(record: &Record) -> impl Iterator<Item = (usize, f64, f64)> + '_ {
    let differs = |(sample, pair): (usize, &[f64])| {
        let ratio = pair[1] / pair[0];
        (!(0.8..=1.25).contains(&ratio)).then_some((sample + 1, pair[0], pair[1]))
    };
    // A recording changes all the time; there it is no event.
    let count = record.capacity.windows(2).enumerate().filter_map(differs).count();
    record.capacity.windows(2).enumerate().filter_map(differs).filter(move |_| count <= 20)
}

fn drain_time(record: &Record) -> Option<f64> {
    let falls = changes(record).filter(|(_, before, after)| after < before);
    let drained = falls.map(|(sample, ..)| {
        let from = index(SAMPLE * sample as u32, QUEUE_SAMPLE);
        let queue = &record.queue[from.min(record.queue.len())..];
        // The queue grows first, so that the last time that it was long within the next ten seconds counts.
        let ten = index(Duration::from_secs(10), QUEUE_SAMPLE).min(queue.len());
        let long = queue[..ten].iter().rposition(|delay| *delay >= SHORT_QUEUE);
        (QUEUE_SAMPLE * long.map_or(0, |at| at + 1) as u32).as_secs_f64()
    });
    drained.reduce(f64::max)
}

/// What arrived, over the last samples.
fn smoothed(samples: &[FlowSample], at: usize) -> f64 {
    let from = (at + 1).saturating_sub(SMOOTH);
    let window = samples.get(from..=at).unwrap_or_default();
    window.iter().map(|sample| sample.received).sum::<f64>() / window.len().max(1) as f64
}

/// Samples from `from` on until `wanted` arrives; all, where it never does.
fn reached(flow: &FlowRecord, from: usize, until: usize, wanted: f64) -> f64 {
    let at = (from..until).find(|at| smoothed(&flow.samples, *at) >= REACHED * wanted);
    (SAMPLE * (at.unwrap_or(until) - from) as u32).as_secs_f64()
}

fn rise_time(record: &Record) -> Option<f64> {
    let flow = record.flows.first()?;
    let ends: Vec<usize> = changes(record).map(|(sample, ..)| sample).chain([record.capacity.len()]).collect();
    let rises = changes(record)
        .zip(ends.iter().skip(1))
        .filter(|((_, before, after), _)| after > before && *before < record.demand);
    rises.map(|((from, _, after), until)| reached(flow, from, *until, after.min(record.demand))).reduce(f64::max)
}

fn jain(record: &Record) -> f64 {
    let settled = record.flows.iter().map(|flow| flow.began).max().unwrap_or_default() + SETTLE;
    let all = (index(settled, SAMPLE)..record.capacity.len()).filter(|at| active(record, *at) == record.flows.len());
    let all: Vec<usize> = all.collect();
    let got = |flow: &FlowRecord| all.iter().filter_map(|at| flow.samples.get(*at)).map(|s| s.received).sum::<f64>();
    let got: Vec<f64> = record.flows.iter().map(got).collect();
    let squares: f64 = got.iter().map(|rate| rate * rate).sum();
    got.iter().sum::<f64>().powi(2) / (got.len() as f64 * squares).max(1e-9)
}

fn share_of_link(record: &Record) -> f64 {
    let from = record.flows.iter().map(|flow| index(flow.began, SAMPLE)).max().unwrap_or(0);
    let tcp: f64 = record.tcp.iter().skip(from).sum();
    let media: f64 = record.flows.iter().flat_map(|flow| flow.samples.iter().skip(from)).map(|s| s.received).sum();
    media / (media + tcp).max(1.0)
}

fn resume_time(record: &Record) -> Option<f64> {
    let (flow, (_, until)) = record.flows.iter().find_map(|flow| Some((flow, flow.pause?)))?;
    let from = index(until, SAMPLE);
    let fair = record.capacity.get(from)? / active(record, from).max(1) as f64;
    Some(reached(flow, from, record.capacity.len(), fair.min(record.demand)))
}

/// From the end of each outage to the next frame that is shown.
fn recovery(scenario: &Scenario, record: &Record) -> Option<f64> {
    let flow = record.flows.first()?;
    let next = |end: Duration| flow.frames.iter().find(|at| **at >= end).copied().unwrap_or(record.length);
    let over = scenario.outages.iter().map(|(_, end)| *end).filter(|end| *end < record.length);
    over.map(|end| millis(next(end) - end)).reduce(f64::max)
}

#[cfg(test)]
mod tests;
