//! What must have held.

use super::Conference;
use super::control::AUDIO;
use crate::scenario::is_clean;
use crate::sink::{Got, Sink};
use crate::timeline::without;
use sfu_core::event::WorkerStats;
use sfu_rtc::drop_reason::DropReason;
use sfu_rtc::ids::Ssrc;
use sfu_rtc::time::{Duration, Instant};

/// How a conference went.
#[derive(Clone, Default, Debug)]
pub struct Outcome {
    /// What must not be.
    pub faults: Vec<String>,
    /// Who took part.
    pub participants: usize,
    /// On how many workers it was.
    pub workers: usize,
    /// RTP packets that the server sent.
    pub packets: u64,
    /// RTP packets that a worker took from another.
    pub relayed: u64,
    /// Packets of pictures that were to reach a member.
    pub video_expected: u64,
    /// Of these, those that were lost for good on the way to the server.
    pub lost_up: u64,
    /// Of these, those that were lost for good on the way from the server.
    pub lost_down: u64,
}

/// A slot with a source must carry it after so long, keyframe request and repair included.
const WARM_UP: Duration = Duration::from_millis(2_500);
/// And then never be silent for so long: a lost keyframe is asked for again after half a second.
const LONGEST_SILENCE: Duration = Duration::from_millis(1_500);
/// Over clean links a peer is connected after so long: five round trips of at most 180 ms and some patience.
const CONNECT: Duration = Duration::from_millis(1_500);
/// Where datagrams are lost, str0m repeats the last part of a handshake after 2 s, 5 s, 8 s.
const CONNECT_LOSSY: Duration = Duration::from_millis(9_000);
/// A new address is noticed by the next check of consent; str0m checks every few seconds.
const FOLLOW: Duration = Duration::from_millis(8_000);
/// Largest share of packets that repair may fail to bring back.
const RESIDUAL: f64 = 0.01;
/// Who speaks is told after so long.
const SPEAKS: Duration = Duration::from_millis(3_000);
/// What was lost in a disturbance shows so long around it.
const RIPPLE: Duration = Duration::from_millis(1_000);
/// More packets than the histories of eight cameras and microphones hold is growth.
const MAX_POOL: u64 = 8 * 4 * 1_024;

impl Conference {
    pub(super) fn verdict(mut self, end: Instant, stats: &[WorkerStats]) -> Outcome {
        let (participants, workers) = (self.members.len(), self.servers.count());
        let relayed = stats.iter().map(|stats| stats.relayed_in).sum();
        let mut outcome = Outcome { participants, workers, relayed, ..Outcome::default() };
        let mut faults = std::mem::take(&mut self.faults);
        let clean = self.scenario.participants.iter().all(|drawn| is_clean(&drawn.up) && is_clean(&drawn.down));
        for index in 0..self.members.len() {
            let mut found = self.member_faults(index, end, &mut outcome);
            found.iter_mut().for_each(|fault| *fault = format!("member {index}: {fault}"));
            faults.append(&mut found);
        }
        let (up, down, all) = (outcome.lost_up, outcome.lost_down, outcome.video_expected as f64);
        if clean && up + down > 0 {
            faults.push(format!("{up} + {down} packets are missing though no link loses any"));
        }
        if up as f64 > RESIDUAL * all + 5.0 || down as f64 > RESIDUAL * all + 5.0 {
            faults.push(format!("of {all} packets, {up} were lost on the way up and {down} on the way down"));
        }
        let ignored: u64 = stats.iter().map(|stats| stats.ignored_commands).sum();
        if ignored > 0 {
            faults.push(format!("{ignored} orders were ignored"));
        }
        let reused: u64 = stats.iter().map(|stats| stats.drops.of(DropReason::SrtpIndexReused)).sum();
        if reused > 0 {
            faults.push(format!("{reused} packets had a number that was used before"));
        }
        if stats.iter().filter(|stats| stats.pool_packets <= MAX_POOL).count() != workers {
            faults.push(format!("the pool has grown: {stats:?}"));
        }
        if let Some((speaker, since)) = self.speaking {
            // Whoever has moved to another address is not heard before the server has followed.
            let cuts: Vec<_> = self.obstacles(speaker, end).collect();
            let long = without((since, end), &cuts).iter().any(|(from, to)| *to - *from > SPEAKS);
            let flows =
                self.members[speaker].sources[AUDIO].flows.spans(end).all(|(_, to, flows)| flows || to <= since);
            if long && flows && !self.heard.contains_key(&speaker) {
                faults.push(format!("nobody was told that member {speaker} speaks"));
            }
        }
        outcome.faults = faults;
        outcome
    }

    fn member_faults(&self, index: usize, end: Instant, outcome: &mut Outcome) -> Vec<String> {
        let member = &self.members[index];
        let mut faults = Vec::new();
        let Some(joined) = member.joined else { return faults };
        let drawn = &self.scenario.participants[index];
        let limit = if is_clean(&drawn.up) && is_clean(&drawn.down) { CONNECT } else { CONNECT_LOSSY };
        if member.connected_at.unwrap_or(end) - joined > limit && member.is_present() {
            let (after, server) = (member.connected_at.map(|at| at - joined), member.server_connected);
            faults.push(format!("connected only after {after:?} (the server: {server})"));
        }
        if member.moved.is_some_and(|at| member.is_present() && end - at > FOLLOW) {
            faults.push("the server did not follow to the new address".into());
        }
        if member.tap.repeated > 0 {
            faults.push(format!("{} sequence numbers were used twice", member.tap.repeated));
        }
        outcome.packets += member.tap.packets;
        for (slot, ssrc, video) in self.slot_sources(index) {
            let sink = &member.peer.slots[slot].sink;
            if video {
                outcome.video_expected += member.tap.sent(ssrc);
                self.count_losses(index, sink, ssrc, outcome);
            }
            let mut found = sink.faults(|before, got| self.was_empty(index, slot, before, got));
            found.extend(self.begins_with_a_key(sink, member.tap.first(ssrc), video));
            found.extend(sink.packets().iter().filter_map(|(seq, got)| self.stranger(index, slot, *seq, got)));
            found.extend(self.silences(index, slot, end));
            let name = if video { "picture" } else { "sound" };
            found.truncate(3);
            faults.extend(found.into_iter().map(|fault| format!("slot {slot} ({name}): {fault}")));
        }
        faults
    }

    /// Counts the packets that are missing between two that came, unless somebody was between two addresses then.
    fn count_losses(&self, index: usize, sink: &Sink, ssrc: Ssrc, outcome: &mut Outcome) {
        let member = &self.members[index];
        for ((before_seq, before), (seq, got)) in sink.packets().iter().zip(sink.packets().iter().skip(1)) {
            let disturbed = [Some(member), self.members.get(got.stamp.source as usize)]
                .into_iter()
                .flatten()
                .any(|m| m.disturbed.iter().any(|(from, to)| *from <= got.at + RIPPLE && *to + RIPPLE >= before.at));
            if disturbed {
                continue;
            }
            for missing in before_seq + 1..*seq {
                let on_the_way_down = member.tap.has_sent(ssrc, missing);
                let count = if on_the_way_down { &mut outcome.lost_down } else { &mut outcome.lost_up };
                *count += 1;
            }
        }
    }

    fn begins_with_a_key(&self, sink: &Sink, first: Option<u64>, video: bool) -> Option<String> {
        let (seq, got) = sink.packets().first_key_value()?;
        // The low 16 bits: str0m and we may count the turns differently.
        let is_first = first.is_some_and(|first| first & 0xffff == seq & 0xffff);
        let right = got.stamp.key && got.stamp.index == 0;
        (video && is_first && !right).then(|| format!("does not begin with a keyframe: {got:?}"))
    }

    /// Whether the slot showed nothing between two packets, as where a source was published anew.
    fn was_empty(&self, index: usize, slot: usize, before: &Got, got: &Got) -> bool {
        let state = self.members[index].slots.get(slot);
        state.is_some_and(|state| state.shows.held_within(Instant::from_millis(before.stamp.captured_ms), got.at, None))
    }

    /// A packet of a source that the slot did not show, that was muted, or while the slot was paused, at any moment
    /// between its capture and its arrival.
    fn stranger(&self, index: usize, slot: usize, seq: u64, got: &Got) -> Option<String> {
        let state = self.members[index].slots.get(slot)?;
        let source = got.stamp.source as usize;
        let (from, to) = (Instant::from_millis(got.stamp.captured_ms), got.at);
        let flows = &self.members.get(source)?.sources[usize::from(state.video)].flows;
        let allowed = state.shows.held_within(from, to, Some(source))
            && state.paused.held_within(from, to, false)
            && flows.held_within(from, to, true);
        (!allowed).then(|| format!("nobody assigned what came at {seq}: {got:?}"))
    }

    /// Stretches in which a slot should have carried something and did not.
    fn silences(&self, index: usize, slot: usize, end: Instant) -> Vec<String> {
        let member = &self.members[index];
        let Some(state) = member.slots.get(slot) else { return Vec::new() };
        let mut silences = Vec::new();
        for (from, to, shows) in state.shows.spans(end) {
            let Some(source) = shows else { continue };
            let mut cuts: Vec<_> = self.obstacles(index, end).chain(self.obstacles(source, end)).collect();
            let flows = &self.members[source].sources[usize::from(state.video)].flows;
            cuts.extend(flows.spans(end).filter(|(.., flows)| !flows).map(|(from, to, _)| (from, to)));
            cuts.extend(state.paused.spans(end).filter(|(.., paused)| *paused).map(|(from, to, _)| (from, to)));
            for (from, to) in without((from, to), &cuts) {
                let from = from + WARM_UP;
                if from < to {
                    let sink = &member.peer.slots[slot].sink;
                    silences.extend(silence(sink, source, from, to));
                }
            }
        }
        silences
    }

    /// When a member could neither send nor receive.
    fn obstacles(&self, index: usize, end: Instant) -> impl Iterator<Item = (Instant, Instant)> + '_ {
        let member = &self.members[index];
        let connected = member.connected_at.unwrap_or(end);
        let absent = !member.is_present();
        let tail = absent.then(|| {
            let gone = member.sources[AUDIO].flows.spans(end).last();
            (gone.map_or(Instant::ZERO, |(from, ..)| from), end)
        });
        member.disturbed.iter().copied().chain([(Instant::ZERO, connected)]).chain(tail)
    }
}

/// The longest time between two packets of `source`, if it is too long.
fn silence(sink: &Sink, source: usize, from: Instant, to: Instant) -> Option<String> {
    let mut times: Vec<Instant> =
        sink.packets().values().filter(|got| got.stamp.source as usize == source).map(|got| got.at).collect();
    times.push(to);
    times.sort_unstable();
    let mut before = from;
    for at in times.into_iter().filter(|at| *at > from && *at <= to) {
        if at - before > LONGEST_SILENCE {
            let (after, length) = (before - super::START, at - before);
            return Some(format!("nothing of member {source} for {length:?} from {after:?}"));
        }
        before = at;
    }
    None
}
