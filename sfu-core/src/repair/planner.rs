//! How much repair, and of what kind.
//!
//! Retransmission is the cheapest repair where there is time for it, so it comes first: a second copy where the last one
//! could be lost too, parity where no copy can be in time. Parity goes where a byte of it saves the most damage, class
//! by class, until the damage that remains is small or the budget is spent.
//!
//! Time can be had too: a receiver that plays a round trip later has all that was sent again. Of the plans with the
//! time that there is, and with time for some rounds of retransmission, the one that costs the viewer least is taken.

use super::block::{Code, Worth, unprotected};
use super::copies::last_copy_after;
use crate::frame_class::{CLASSES, FrameClass};
use sfu_rtc::loss::GilbertLoss;
use sfu_rtc::time::Duration;
use sfu_rtc::transport::Protection;
use sfu_rtc::units::{Bitrate, DataSize};

/// Most frames that one block of parity covers. Lossy episodes of radio links last about a frame.
const MAX_WINDOW: u8 = 5;
/// Most packets of one block.
const MAX_BLOCK: usize = 48;
/// Of the span of a block, what its frames may fill where they are as large as in the mean: some are larger.
const SPAN_FILLED: f64 = 0.8;
/// Most copies of a retransmission.
const MAX_COPIES: u8 = 4;
/// From the packet that shows a gap to the retransmission's arrival, beyond the round trips: both ends work in steps.
const REPAIR_STEPS: Duration = Duration::from_millis(7);
/// From frame to frame, where nothing is known of a stream.
const USUAL_INTERVAL: Duration = Duration::from_millis(33);
/// Of a stream that comes more seldom, waiting would cost more than it saves.
const LONGEST_INTERVAL: Duration = Duration::from_millis(200);
/// Most rounds of retransmission that are waited for.
const MAX_ROUNDS: u32 = 3;
/// For so many copies of the last round there is time where a receiver is asked for some: it may be the last that arrives.
const AWAITED_COPIES: [u8; 2] = [2, 3];
/// A second of delay is as bad as this much damage per second: 100 ms more are as bad as 0.2 % of the time frozen.
const DELAY_PRICE: f64 = 0.02;
/// As many bytes of repair as of video are as bad as this much damage per second.
const OVERHEAD_PRICE: f64 = 0.02;

/// What a subscriber's stream and path are like.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// Loss on the path, without what a queue of ours caused.
    pub loss: GilbertLoss,
    /// Share of the copies that are lost where the one before was lost, at least that of all packets.
    pub lost_again: f64,
    /// The path is overused: whatever is sent more makes it worse.
    pub congested: bool,
    /// Round trip.
    pub rtt: Duration,
    /// What packets are late by at most, but for one of twenty.
    pub jitter: Duration,
    /// How much later than a packet of usual delay arrives it is played, so that repair may take so long.
    pub slack: Duration,
    /// The longest that this may be made; zero for a receiver that takes no such requests.
    pub max_slack: Duration,
    /// The subscriber asks for what is missing.
    pub nack: bool,
    /// How parity can be made for it; `None` where it takes none.
    pub code: Option<Code>,
    /// Packets of the stream, of whatever class, that one block may reach over. A longer one is made as several, each with all
    /// of a block's parity.
    pub span: u16,
    /// From frame to frame.
    pub frame_interval: Duration,
    /// A packet of media.
    pub packet_size: DataSize,
    /// What repair may take.
    pub budget: Bitrate,
    /// By class.
    pub classes: [ClassLoad; CLASSES],
    /// Damage that is accepted: seconds per second.
    pub target: f64,
}

/// What is sent of one class.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct ClassLoad {
    /// Frames per second.
    pub frames: f64,
    /// Packets of one frame.
    pub packets: f64,
    /// What one lost frame damages.
    pub damage: Duration,
}

/// What is done about loss.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    /// How often a retransmission is sent, by class.
    pub copies: [u8; CLASSES],
    /// Frames, of whatever class, in which a block is complete; a keyframe is a block of its own.
    pub window: u8,
    /// Parity packets per block, by class.
    pub parity: [u8; CLASSES],
    /// What slack the receiver is to have; zero for what it has by itself.
    pub slack: Duration,
    /// Damage that is expected nevertheless: seconds per second.
    pub damage: f64,
    /// What the repair takes.
    pub rate: Bitrate,
}

impl Plan {
    /// Its parity, by class.
    pub(crate) fn protection(&self) -> [Protection; CLASSES] {
        let mut groups = self.parity.map(|parity| Protection { parity, frames: self.window });
        // A keyframe is many packets, and what follows waits for it.
        groups[FrameClass::Key.index()].frames = 1;
        groups
    }
}

/// The slack that a receiver is asked for while nothing is known of its path but the round trip: what one round of
/// retransmission takes, as far as `most` allows it. Zero where the round trip is shorter than what it keeps by itself
/// (`kept`), or too long.
pub(crate) fn first_slack(rtt: Duration, kept: Duration, most: Duration) -> Duration {
    let slack = rtt + repair_margin(USUAL_INTERVAL) + last_copy_after(AWAITED_COPIES[0]);
    if rtt > kept && slack <= most { slack } else { Duration::ZERO }
}

/// From a packet's loss to its retransmission's arrival, beyond the round trips: it is the next frame that shows the loss of
/// one of a single packet, or of a frame's last.
fn repair_margin(frame_interval: Duration) -> Duration {
    frame_interval.min(LONGEST_INTERVAL) + REPAIR_STEPS
}

/// What serves the subscriber best within its budget.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let mut worth = Worth::new(snapshot.code.unwrap_or(Code::ReedSolomon), snapshot.loss);
    let soon = plan_within(snapshot, snapshot.slack, &mut worth);
    if !snapshot.nack || snapshot.loss.share == 0.0 {
        return soon;
    }
    let margin = repair_margin(snapshot.frame_interval);
    let until = |rounds, copies| snapshot.rtt * rounds + margin + last_copy_after(copies) + snapshot.jitter;
    let slacks = (1..=MAX_ROUNDS).flat_map(|rounds| AWAITED_COPIES.map(|copies| until(rounds, copies)));
    let slacks = slacks.filter(|slack| (snapshot.slack..=snapshot.max_slack).contains(slack));
    let later = slacks.map(|slack| Plan { slack, ..plan_within(snapshot, slack, &mut worth) });
    later.fold(soon, |best, plan| if cost(snapshot, &plan) < cost(snapshot, &best) { plan } else { best })
}

/// What a plan costs the viewer: damage, or what is as bad, in seconds per second.
fn cost(snapshot: &Snapshot, plan: &Plan) -> f64 {
    let delay = plan.slack.saturating_sub(snapshot.slack).as_secs_f64();
    let overhead = plan.rate.as_bps() as f64 / media_rate(snapshot).max(1.0);
    plan.damage + delay * DELAY_PRICE + overhead * OVERHEAD_PRICE
}

/// What serves best where repair may take `slack`, and parity has this `worth`.
fn plan_within(snapshot: &Snapshot, slack: Duration, worth: &mut Worth) -> Plan {
    let slack = slack.saturating_sub(snapshot.jitter);
    let window = periods(slack, snapshot.frame_interval).min(frames_in_span(snapshot)).clamp(1, MAX_WINDOW.into());
    let mut blocks = FrameClass::ALL.map(|class| Block::new(snapshot, class, window));
    let (copies, missed) = retransmissions(snapshot, &blocks, slack);
    let mut budget = snapshot.budget.as_bps() as f64 - copies_rate(snapshot, &copies);
    if !snapshot.congested && snapshot.code.is_some() {
        protect(&mut blocks, &missed, snapshot.target, &mut budget, worth);
    }
    Plan {
        copies,
        window: u8::try_from(window).unwrap_or(MAX_WINDOW),
        parity: blocks.each_ref().map(|block| u8::try_from(block.parity).unwrap_or(u8::MAX)),
        slack: Duration::ZERO,
        damage: damage(&blocks, &missed),
        rate: Bitrate::from_bps((snapshot.budget.as_bps() as f64 - budget).max(0.0) as u64),
    }
}

fn periods(time: Duration, period: Duration) -> u32 {
    let periods = time.as_nanos() / period.as_nanos().max(1);
    u32::try_from(periods).unwrap_or(u32::MAX)
}

/// Frames of the mean size that a block has room for.
fn frames_in_span(snapshot: &Snapshot) -> u32 {
    let frames: f64 = snapshot.classes.iter().map(|class| class.frames).sum();
    (f64::from(snapshot.span) * SPAN_FILLED * frames / packet_rate(snapshot).max(1e-9)) as u32
}

/// Packets that belong to one decision, and what parity is worth for them.
struct Block {
    /// Per second.
    rate: f64,
    damage: f64,
    /// Bits of one parity packet, per second.
    price: f64,
    /// Packets of media.
    media: usize,
    parity: usize,
    /// The probability that it is not whole at the receiver.
    failure: f64,
}

impl Block {
    fn new(snapshot: &Snapshot, class: FrameClass, window: u32) -> Self {
        let load = snapshot.classes[class.index()];
        let all: f64 = snapshot.classes.iter().map(|class| class.frames).sum();
        // Of a window's frames, some are of this class.
        let frames = if class == FrameClass::Key { 1.0 } else { (f64::from(window) * load.frames / all).max(1.0) };
        let media = ((load.packets * frames).round() as usize).clamp(1, MAX_BLOCK);
        let rate = load.frames / frames;
        // One frame may be too much for a block.
        let parts = (load.packets / f64::from(snapshot.span.max(1))).ceil().max(1.0);
        Self {
            rate,
            damage: load.damage.as_secs_f64(),
            price: rate * parts * snapshot.packet_size.as_bytes() as f64 * 8.0,
            media,
            parity: 0,
            failure: unprotected(snapshot.loss, media),
        }
    }

    /// Damage per second that is left, where nothing is retransmitted.
    fn damage(&self) -> f64 {
        self.rate * self.damage * self.failure.max(0.0)
    }

    /// The number of parity packets, more than now, of which each saves the most, and what that is per bit.
    /// Against bursts the first alone saves little, so several are looked at together.
    fn best_step(&self, budget: f64, worth: &mut Worth) -> Option<(f64, usize)> {
        let failures = worth.of(self.media);
        let value = |parity: usize| {
            let bits = self.price * (parity - self.parity) as f64;
            let saved = self.rate * self.damage * (self.failure - failures[parity]);
            (saved / bits, parity, bits)
        };
        (self.parity + 1..failures.len())
            .map(value)
            .filter(|(value, _, bits)| *value > 0.0 && *bits <= budget)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(value, parity, _)| (value, parity))
    }
}

/// Damage per second that is left.
fn damage(blocks: &[Block; CLASSES], missed: &[f64; CLASSES]) -> f64 {
    blocks.iter().zip(missed).map(|(block, missed)| block.damage() * missed).sum()
}

/// How often each retransmission is sent, and the share of losses that no retransmission heals in time, by class. Copies
/// go where a byte of them saves most: those of a frame on which nothing depends take as much as those of the base layer.
fn retransmissions(snapshot: &Snapshot, blocks: &[Block; CLASSES], slack: Duration) -> ([u8; CLASSES], [f64; CLASSES]) {
    let mut copies = [1; CLASSES];
    let time = slack.saturating_sub(repair_margin(snapshot.frame_interval));
    let rounds = if snapshot.nack { periods(time, snapshot.rtt) } else { 0 };
    if rounds == 0 {
        return (copies, [1.0; CLASSES]);
    }
    // Rounds are far enough apart to be independent. Copies of one round are not.
    let mut missed = [snapshot.loss.share.powi(i32::try_from(rounds).unwrap_or(i32::MAX)); CLASSES];
    // One that comes too late heals nothing.
    let left = time.saturating_sub(snapshot.rtt * rounds);
    let in_time = (1..=MAX_COPIES).rev().find(|copies| last_copy_after(*copies) <= left).unwrap_or(1);
    let most = if snapshot.congested { 1 } else { in_time };
    let mut budget = snapshot.budget.as_bps() as f64;
    while damage(blocks, &missed) > snapshot.target {
        let steps = FrameClass::ALL.map(FrameClass::index).into_iter().filter_map(|class| {
            let bits = copy_rate(snapshot, class);
            let saved = blocks[class].damage() * missed[class] * (1.0 - snapshot.lost_again);
            (copies[class] < most && saved > 0.0 && bits <= budget).then_some((saved / bits.max(1e-9), class, bits))
        });
        let Some((_, class, bits)) = steps.max_by(|a, b| a.0.total_cmp(&b.0)) else { break };
        copies[class] += 1;
        missed[class] *= snapshot.lost_again;
        budget -= bits;
    }
    (copies, missed)
}

/// What one more copy of each retransmission of a class takes.
fn copy_rate(snapshot: &Snapshot, class: usize) -> f64 {
    let load = &snapshot.classes[class];
    load.frames * load.packets * snapshot.packet_size.as_bytes() as f64 * 8.0 * snapshot.loss.share
}

/// What the copies beyond the first take.
fn copies_rate(snapshot: &Snapshot, copies: &[u8; CLASSES]) -> f64 {
    copies.iter().enumerate().map(|(class, copies)| copy_rate(snapshot, class) * f64::from(copies - 1)).sum()
}

/// Packets of video per second.
fn packet_rate(snapshot: &Snapshot) -> f64 {
    snapshot.classes.iter().map(|class| class.frames * class.packets).sum()
}

/// Bits of video per second.
fn media_rate(snapshot: &Snapshot) -> f64 {
    packet_rate(snapshot) * snapshot.packet_size.as_bytes() as f64 * 8.0
}

/// Parity where it saves most, until the damage is small enough.
fn protect(blocks: &mut [Block; CLASSES], missed: &[f64; CLASSES], target: f64, budget: &mut f64, worth: &mut Worth) {
    while damage(blocks, missed) > target {
        let steps = blocks.iter().zip(missed).enumerate().filter_map(|(n, (block, missed))| {
            let (value, parity) = block.best_step(*budget, worth)?;
            Some((n, (value * missed, parity)))
        });
        let Some((n, (_, parity))) = steps.max_by(|a, b| a.1.0.total_cmp(&b.1.0)) else { return };
        *budget -= blocks[n].price * (parity - blocks[n].parity) as f64;
        blocks[n].parity = parity;
        blocks[n].failure = worth.of(blocks[n].media)[parity];
    }
}

#[cfg(test)]
mod tests {
    use super::super::RepairConfig;
    use super::*;
    use proptest::prelude::*;
    use sfu_rtc::fec::{MutableExtensions, ProtectedGroups, Scheme};
    use sfu_rtc::ids::{PayloadType, Ssrc};
    use sfu_rtc::rtp::{HeaderWriter, RtpHeader};

    /// 720p at 30 frames per second and 1.5 Mbit/s in three temporal layers, with a keyframe each 10 s.
    fn snapshot(share: f64, burst: f64, rtt: u64) -> Snapshot {
        let ms = Duration::from_millis;
        let class = |frames, packets, damage| ClassLoad { frames, packets, damage: ms(damage) };
        Snapshot {
            loss: GilbertLoss { share, burst },
            lost_again: share,
            congested: false,
            rtt: ms(rtt),
            jitter: ms(10),
            slack: ms(150),
            max_slack: Duration::ZERO,
            nack: true,
            code: Some(Code::ReedSolomon),
            span: Scheme::ReedSolomon.span(1),
            frame_interval: ms(33),
            packet_size: DataSize::from_bytes(1_100),
            budget: Bitrate::from_kbps(500),
            classes: [class(0.1, 40.0, 600), class(7.5, 8.0, 600), class(7.5, 5.0, 66), class(15.0, 4.0, 33)],
            target: 0.001,
        }
    }

    fn bits(snapshot: &Snapshot, plan: &Plan) -> f64 {
        let parity = FrameClass::ALL.map(|class| Block::new(snapshot, class, plan.window.into()).price);
        let parity: f64 = parity.iter().zip(plan.parity).map(|(price, parity)| price * f64::from(parity)).sum();
        parity + copies_rate(snapshot, &plan.copies)
    }

    #[test]
    fn nothing_is_spent_on_a_path_without_loss() {
        let plan = plan(&snapshot(0.0, 1.0, 250));
        assert_eq!((plan.copies, plan.parity, plan.rate), ([1; CLASSES], [0; CLASSES], Bitrate::ZERO));
        assert_eq!(plan.damage, 0.0);
    }

    #[test]
    fn a_near_peer_gets_no_parity() {
        let plan = plan(&snapshot(0.05, 1.05, 20));
        assert_eq!((plan.copies, plan.parity), ([1; CLASSES], [0; CLASSES]));
        assert!(plan.damage < 0.001, "{plan:?}");
    }

    #[test]
    fn where_one_round_is_left_it_is_sent_twice() {
        let plan = plan(&Snapshot { target: 0.01, slack: Duration::from_millis(200), ..snapshot(0.05, 1.05, 120) });
        assert!(plan.copies[FrameClass::Base.index()] >= 2, "{plan:?}");
        assert_eq!(plan.copies[FrameClass::Discardable.index()], 1, "nothing depends on it: {plan:?}");
        assert_eq!(plan.parity, [0; CLASSES]);
    }

    /// A queue of 300 ms that a TCP flow fills: each packet that it costs is a freeze of a round trip without time for it.
    #[test]
    fn behind_a_queue_of_others_there_is_time_for_a_retransmission() {
        let max_slack = RepairConfig::default().max_playout_delay;
        let path = Snapshot { congested: true, code: None, max_slack, ..snapshot(0.003, 1.0, 400) };
        let plan = plan(&path);
        assert!(plan.slack > path.rtt && plan.damage < 0.002, "{plan:?}");
    }

    #[test]
    fn no_copy_is_sent_that_comes_too_late() {
        let copies = |slack| {
            let path = Snapshot { slack: Duration::from_millis(slack), ..snapshot(0.2, 1.05, 120) };
            plan(&path).copies[FrameClass::Base.index()]
        };
        assert_eq!([170, 194, 195, 244, 245].map(copies), [1, 1, 2, 2, 3]);
    }

    #[test]
    fn where_copies_are_lost_together_there_are_more() {
        let apart = Snapshot { target: 0.01, slack: Duration::from_millis(200), ..snapshot(0.05, 1.05, 120) };
        let together = Snapshot { lost_again: 0.3, ..apart.clone() };
        let (apart, together) = (plan(&apart), plan(&together));
        assert!(together.copies > apart.copies, "{apart:?} {together:?}");
    }

    #[test]
    fn a_far_peer_gets_parity_and_keyframes_and_base_layer_most() {
        let snapshot = snapshot(0.05, 3.0, 250);
        let plan = plan(&snapshot);
        assert_eq!(plan.window, 4, "the playout delay has time for so many frames");
        let share = |class: FrameClass| {
            let load = snapshot.classes[class.index()];
            f64::from(plan.parity[class.index()]) / (load.packets * (4.0 * load.frames / 30.0).max(1.0))
        };
        assert!(share(FrameClass::Base) > share(FrameClass::Enhancement), "{plan:?}");
        assert!(share(FrameClass::Enhancement) >= share(FrameClass::Discardable), "{plan:?}");
        assert!(plan.parity[0] > 0 && plan.rate <= snapshot.budget, "{plan:?}");
        let without = super::plan(&Snapshot { code: None, ..snapshot });
        assert!(plan.damage < without.damage / 4.0, "{} of {}", plan.damage, without.damage);
    }

    #[test]
    fn where_a_round_trip_is_short_time_is_cheaper_than_parity() {
        let ms = Duration::from_millis;
        let near = Snapshot { max_slack: ms(300), slack: ms(100), ..snapshot(0.05, 1.05, 100) };
        let plan = super::plan(&near);
        assert_eq!((plan.parity, plan.slack), ([0; CLASSES], ms(225)), "the third copy comes 75 ms after the first");
        assert_eq!(plan.copies[FrameClass::Base.index()], 3, "{plan:?}");
        assert!(plan.damage < 0.002, "{plan:?}");
        let far = super::plan(&Snapshot { rtt: ms(600), ..near.clone() });
        assert!(far.slack == Duration::ZERO && far.parity[1] > 0, "longer than is allowed: {far:?}");
        let whole = super::plan(&Snapshot { loss: GilbertLoss { share: 0.0, burst: 1.0 }, ..near });
        assert_eq!(whole.slack, Duration::ZERO);
    }

    /// Six in a room each send a packet or two 15 times per second: only the next frame shows that one was lost.
    #[test]
    fn where_frames_come_seldom_there_is_time_until_the_next_shows_a_gap() {
        let ms = Duration::from_millis;
        let near = Snapshot { max_slack: ms(1_000), slack: ms(100), ..snapshot(0.03, 1.05, 100) };
        let slow = super::plan(&Snapshot { frame_interval: ms(67), ..near.clone() });
        assert!(slow.slack >= ms(67 + 100), "{slow:?}");
        assert!(slow.slack >= super::plan(&near).slack + ms(30), "{slow:?}");
    }

    #[test]
    fn of_a_path_that_is_not_known_the_round_trip_decides() {
        let ms = Duration::from_millis;
        let first = [20, 100, 101, 250, 335, 336].map(|rtt| first_slack(ms(rtt), ms(100), ms(400)));
        assert_eq!(first, [0, 0, 166, 315, 400, 0].map(ms));
    }

    /// Parity of ten seconds in three temporal layers, 30 frames per second of `packets` packets each, as a transport makes it
    /// by the plan; in bits per second.
    fn made(snapshot: &Snapshot, plan: &Plan, scheme: Scheme, packets: u16) -> f64 {
        let ssrc = Ssrc(1);
        let mut groups = ProtectedGroups::new(scheme, ssrc, MutableExtensions::new());
        groups.protect(&plan.protection());
        let layers = [FrameClass::Base, FrameClass::Discardable, FrameClass::Enhancement, FrameClass::Discardable];
        let (mut seq, mut count, mut parity) = (0, 0, Vec::new());
        for (frame, class) in layers.into_iter().cycle().take(300).enumerate() {
            let timestamp = frame as u32 * 3_000;
            for n in 1..=packets {
                let marker = n == packets;
                let mut packet = Vec::new();
                let header = RtpHeader { payload_type: PayloadType(96), seq, timestamp, ssrc, marker };
                HeaderWriter::new(&mut packet, header).finish();
                groups.on_media(&packet, (timestamp, marker), Some(class.index() as u8));
                seq = seq.wrapping_add(1);
                count += std::iter::from_fn(|| groups.poll_parity(&mut parity)).count();
            }
        }
        count as f64 / 10.0 * snapshot.packet_size.as_bytes() as f64 * 8.0
    }

    #[test]
    fn of_large_frames_no_more_parity_is_made_than_is_planned() {
        let schemes = [(Scheme::ReedSolomon, Code::ReedSolomon), (Scheme::FlexFec03, Code::Xor)];
        for ((scheme, code), packets) in
            schemes.into_iter().flat_map(|scheme| [10, 20, 30, 60, 150].map(|n| (scheme, n)))
        {
            let (slack, span) = (Duration::from_millis(200), scheme.span(1));
            let mut large = Snapshot { slack, span, code: Some(code), ..snapshot(0.05, 3.0, 250) };
            large.classes.iter_mut().skip(1).for_each(|class| class.packets = packets.into());
            large.budget = Bitrate::from_bps((media_rate(&large) / 3.0) as u64);
            let plan = plan(&large);
            let made = made(&large, &plan, scheme, packets);
            let planned = plan.rate.as_bps() as f64;
            assert!(made > 0.0 && made <= planned * 1.05, "{scheme:?}, {packets}: {made} of {planned}, {plan:?}");
        }
    }

    #[test]
    fn an_overused_path_gets_nothing_more() {
        let plan = plan(&Snapshot { congested: true, ..snapshot(0.2, 3.0, 250) });
        assert_eq!((plan.copies, plan.parity), ([1; CLASSES], [0; CLASSES]));
    }

    prop_compose! {
        fn any_snapshot()(
            share in 0.0..0.5f64, again in 0.0..0.5f64, burst in 1.0..10.0f64, rtt in 0u64..1_000, slack in 0u64..1_500, budget in 0u64..3_000,
            loads in prop::array::uniform4((0.0..60.0f64, 0.0..80.0f64, 0u64..2_000)), nack: bool, xor: bool,
        ) -> Snapshot {
            let ms = Duration::from_millis;
            Snapshot {
                loss: GilbertLoss { share, burst },
                lost_again: share + again,
                slack: ms(slack),
                rtt: ms(rtt),
                nack,
                code: Some(if xor { Code::Xor } else { Code::ReedSolomon }),
                budget: Bitrate::from_kbps(budget),
                classes: loads.map(|(frames, packets, damage)| ClassLoad { frames, packets, damage: ms(damage) }),
                ..snapshot(share, burst, rtt)
            }
        }
    }

    proptest! {
        #[test]
        fn the_budget_holds(snapshot in any_snapshot()) {
            let plan = plan(&snapshot);
            prop_assert!(bits(&snapshot, &plan) <= snapshot.budget.as_bps() as f64 + 1.0, "{:?}", plan);
            prop_assert!(plan.copies.iter().all(|copies| (1..=MAX_COPIES).contains(copies)));
            prop_assert!((1..=MAX_WINDOW).contains(&plan.window));
            prop_assert!(plan.damage.is_finite() && plan.damage >= 0.0);
        }

        #[test]
        fn more_loss_never_gets_less_where_there_is_room(snapshot in any_snapshot(), more in 1.0..2.0f64) {
            let roomy = Snapshot { budget: Bitrate::from_kbps(1_000_000), code: Some(Code::ReedSolomon), ..snapshot };
            let loss = GilbertLoss { share: roomy.loss.share * more, ..roomy.loss };
            let worse = Snapshot { loss, lost_again: roomy.lost_again.max(loss.share).min(1.0), ..roomy.clone() };
            let (plan, worse_plan) = (plan(&roomy), plan(&worse));
            let [more, less] = [&worse_plan, &plan].map(|plan| plan.copies);
            prop_assert!(more.iter().zip(less).all(|(more, less)| *more >= less), "{:?} {:?}", plan, worse_plan);
            if worse_plan.damage <= worse.target {
                prop_assert!(bits(&worse, &worse_plan) >= bits(&roomy, &plan) * 0.8 - 1.0, "{:?} {:?}", plan, worse_plan);
            }
        }

        #[test]
        fn a_class_that_matters_more_never_gets_less(snapshot in any_snapshot(), class in 0usize..CLASSES, more in 1u32..4) {
            let mut heavier = snapshot.clone();
            heavier.classes[class].damage *= more;
            let (plan, heavier) = (plan(&snapshot), plan(&heavier));
            if plan.copies == heavier.copies {
                prop_assert!(heavier.parity[class] >= plan.parity[class], "{:?} {:?}", plan, heavier);
            }
        }
    }
}
