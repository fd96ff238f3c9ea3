//! One direction of a path.

use crate::config::{LinkConfig, Loss, QueueLimit};
use crate::random::Random;
use crate::trace::OPPORTUNITY;
use std::collections::{BTreeMap, VecDeque};
use std::ops::AddAssign;
use std::time::Duration;

/// What can pass a link.
pub trait Payload: Clone {
    /// Its bytes.
    fn bytes(&self) -> &[u8];
    /// Its bytes, to change one.
    fn bytes_mut(&mut self) -> &mut [u8];
}

impl Payload for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// What happened on a link: `sent + duplicated = delivered + lost + dropped + Link::queued()`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkStats {
    /// Packets handed in.
    pub sent: u64,
    /// Bytes handed in.
    pub bytes_sent: u64,
    /// Packets handed out.
    pub delivered: u64,
    /// Bytes handed out.
    pub bytes_delivered: u64,
    /// Packets lost at random.
    pub lost: u64,
    /// Packets dropped because the queue was full.
    pub dropped: u64,
    /// Packets copied.
    pub duplicated: u64,
    /// Packets of which a byte was changed.
    pub corrupted: u64,
    /// Packets held back.
    pub reordered: u64,
}

impl AddAssign for LinkStats {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.bytes_sent += other.bytes_sent;
        self.delivered += other.delivered;
        self.bytes_delivered += other.bytes_delivered;
        self.lost += other.lost;
        self.dropped += other.dropped;
        self.duplicated += other.duplicated;
        self.corrupted += other.corrupted;
        self.reordered += other.reordered;
    }
}

/// One direction of a path under some clock that the caller keeps. Time never goes back.
#[derive(Clone, Debug)]
pub struct Link<P: Payload = Vec<u8>> {
    config: LinkConfig,
    random: Random,
    /// Whether the loss model is in its bad state.
    bad: bool,
    waiting: VecDeque<P>,
    waiting_bytes: usize,
    /// What of the first waiting packet has not passed the bottleneck.
    head_bits: u64,
    /// Until when the bottleneck's work is accounted for.
    served_until: Duration,
    /// The trace's next opportunity that is not used up.
    opportunity: u64,
    /// Past the bottleneck, by arrival and order.
    flying: BTreeMap<(Duration, u64), P>,
    next_order: u64,
    last_arrival: Duration,
    stats: LinkStats,
}

impl<P: Payload> Link<P> {
    /// A link whose accidents come from `seed`.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            random: Random::new(seed),
            bad: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            head_bits: 0,
            served_until: Duration::ZERO,
            opportunity: 0,
            flying: BTreeMap::new(),
            next_order: 0,
            last_arrival: Duration::ZERO,
            stats: LinkStats::default(),
        }
    }

    /// Changes what the link does from now on. What waits stays, what is past the bottleneck arrives as planned.
    pub fn set_config(&mut self, now: Duration, config: LinkConfig) {
        self.advance(now);
        if let (None, Some(rate)) = (&self.config.trace, self.config.rate) {
            let passed = rate.bits_in(now.saturating_sub(self.served_until));
            self.head_bits = self.head_bits.saturating_sub(passed);
        }
        self.served_until = now;
        self.config = config;
        self.opportunity = self.config.trace.as_ref().map_or(0, |trace| trace.first_from(now));
        self.advance(now);
    }

    /// What the link does.
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Hands a packet in.
    pub fn send(&mut self, now: Duration, packet: P) {
        self.advance(now);
        let bytes = packet.bytes().len();
        self.stats.sent += 1;
        self.stats.bytes_sent += bytes as u64;
        if !self.has_room(now, bytes) {
            self.stats.dropped += 1;
            return;
        }
        if self.waiting.is_empty() {
            self.head_bits = bits(bytes);
            self.served_until = now;
            let first = self.config.trace.as_ref().map_or(0, |trace| trace.first_from(now));
            self.opportunity = self.opportunity.max(first);
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(packet);
        self.advance(now);
    }

    /// Hands out what has arrived, one packet at a time.
    pub fn poll(&mut self, now: Duration) -> Option<P> {
        self.advance(now);
        let first = self.flying.first_entry().filter(|first| first.key().0 <= now)?;
        let packet = first.remove();
        self.stats.delivered += 1;
        self.stats.bytes_delivered += packet.bytes().len() as u64;
        Some(packet)
    }

    /// When something happens next.
    pub fn next_timeout(&self) -> Option<Duration> {
        let arrival = self.flying.first_key_value().map(|((arrival, _), _)| *arrival);
        let departure = self.next_departure().filter(|&departure| departure != Duration::MAX);
        arrival.into_iter().chain(departure).min()
    }

    /// How many packets are between the ends.
    pub fn queued(&self) -> usize {
        self.waiting.len() + self.flying.len()
    }

    /// How many bytes wait for the bottleneck.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// How long what waits for the bottleneck takes to pass it, and so how long a packet that is handed in now waits;
    /// hundreds of years where nothing passes.
    pub fn queue_delay(&self, now: Duration) -> Duration {
        self.drained_at(now).saturating_sub(now)
    }

    /// What happened so far.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    fn has_room(&self, now: Duration, bytes: usize) -> bool {
        match self.config.queue {
            QueueLimit::None => true,
            QueueLimit::Bytes(limit) => self.waiting_bytes + bytes <= limit,
            QueueLimit::Time(limit) => self.queue_delay(now) <= limit,
        }
    }

    /// When all that waits will have passed the bottleneck.
    fn drained_at(&self, now: Duration) -> Duration {
        let Some(first) = self.waiting.front() else { return now };
        let backlog = bits(self.waiting_bytes - first.bytes().len()) + self.head_bits;
        match (&self.config.trace, self.config.rate) {
            (Some(trace), _) => {
                let opportunities = backlog.div_ceil(OPPORTUNITY * 8);
                trace.time(self.opportunity.saturating_add(opportunities.saturating_sub(1)))
            }
            (None, Some(rate)) => self.served_until.saturating_add(rate.time_for(backlog)),
            (None, None) => now,
        }
    }

    /// When the first waiting packet, or for a trace the next piece of it, passes.
    fn next_departure(&self) -> Option<Duration> {
        self.waiting.front()?;
        Some(match (&self.config.trace, self.config.rate) {
            (Some(trace), _) => trace.time(self.opportunity),
            (None, Some(rate)) => self.served_until.saturating_add(rate.time_for(self.head_bits)),
            (None, None) => self.served_until,
        })
    }

    /// Lets pass the bottleneck what passes until `now`.
    fn advance(&mut self, now: Duration) {
        while let Some(at) = self.next_departure().filter(|&at| at <= now) {
            if self.config.trace.is_some() {
                self.opportunity += 1;
                let mut room = OPPORTUNITY * 8;
                while !self.waiting.is_empty() && room > 0 {
                    let passed = self.head_bits.min(room);
                    room -= passed;
                    self.head_bits -= passed;
                    if self.head_bits == 0 {
                        self.depart(at);
                    }
                }
            } else {
                self.depart(at);
            }
            self.served_until = at;
        }
    }

    /// The first waiting packet has passed the bottleneck.
    fn depart(&mut self, at: Duration) {
        let Some(mut packet) = self.waiting.pop_front() else { return };
        self.waiting_bytes -= packet.bytes().len();
        self.head_bits = self.waiting.front().map_or(0, |next| bits(next.bytes().len()));
        if self.is_lost() {
            self.stats.lost += 1;
            return;
        }
        if self.random.chance(self.config.corrupt) && !packet.bytes().is_empty() {
            self.stats.corrupted += 1;
            let index = self.random.below(packet.bytes().len() as u64) as usize;
            packet.bytes_mut()[index] ^= 1 + self.random.below(255) as u8;
        }
        if self.random.chance(self.config.duplicate) {
            self.stats.duplicated += 1;
            self.fly(at, packet.clone());
        }
        self.fly(at, packet);
    }

    fn is_lost(&mut self) -> bool {
        match self.config.loss {
            Loss::None => false,
            Loss::Random(probability) => self.random.chance(probability),
            Loss::GilbertElliott { enter_bad, leave_bad, loss_in_good, loss_in_bad } => {
                let change = if self.bad { leave_bad } else { enter_bad };
                self.bad ^= self.random.chance(change);
                self.random.chance(if self.bad { loss_in_bad } else { loss_in_good })
            }
        }
    }

    fn fly(&mut self, at: Duration, packet: P) {
        let jitter =
            self.config.jitter.mul_f64(if self.config.jitter.is_zero() { 0.0 } else { self.random.fraction() });
        let arrival = at.saturating_add(self.config.delay).saturating_add(jitter);
        let arrival = if self.random.chance(self.config.reorder) {
            self.stats.reordered += 1;
            arrival.saturating_add(self.config.reorder_delay)
        } else {
            // Neither jitter nor a shorter delay lets a packet overtake another.
            self.last_arrival = self.last_arrival.max(arrival);
            self.last_arrival
        };
        self.flying.insert((arrival, self.next_order), packet);
        self.next_order += 1;
    }
}

fn bits(bytes: usize) -> u64 {
    bytes as u64 * 8
}

#[cfg(test)]
mod tests;
