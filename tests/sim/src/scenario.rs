//! What a seed draws: who takes part, over which links, and what happens.

use crate::rng::Rng;
use netsim::{LinkConfig, Loss, QueueLimit, Rate};
use sfu_rtc::time::Duration;

/// One participant as drawn.
#[derive(Clone, Debug)]
pub struct Participant {
    /// When it joins.
    pub joins: Duration,
    /// Simulcast layers of its camera.
    pub layers: usize,
    /// Slots for pictures, and as many for sound.
    pub slots: usize,
    /// Its way to the server.
    pub up: LinkConfig,
    /// Its way from the server.
    pub down: LinkConfig,
}

/// Something that happens to a participant; those that do not apply when their time comes are passed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// One of its slots shows another source, or nothing.
    SwitchSlot,
    /// It mutes its camera or microphone, or unmutes it.
    ToggleMute,
    /// It unmutes what it has muted.
    Unmute,
    /// One of its slots wants another quality, or is paused or resumed.
    ChangePreference,
    /// It restarts ICE.
    RestartIce,
    /// Its address as the server sees it changes.
    MoveAddress,
    /// It offers one more slot.
    AddSlot,
    /// It offers one of its slots as inactive, and as receiving again at once.
    ToggleSection,
    /// It ends a publication and publishes it again.
    Republish,
    /// Another speaks from now on.
    Speak,
    /// It leaves in good order.
    Leave,
    /// It is gone without a word.
    Vanish,
}

/// A conference as drawn.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Who takes part.
    pub participants: Vec<Participant>,
    /// What happens: when, to whom, what.
    pub actions: Vec<(Duration, usize, Action)>,
    /// How long it lasts.
    pub length: Duration,
}

/// Actions with their weights.
const ACTIONS: [(Action, u64); 11] = [
    (Action::SwitchSlot, 30),
    (Action::ToggleMute, 12),
    (Action::ChangePreference, 14),
    (Action::RestartIce, 7),
    (Action::MoveAddress, 7),
    (Action::AddSlot, 7),
    (Action::ToggleSection, 10),
    (Action::Republish, 7),
    (Action::Speak, 8),
    (Action::Leave, 5),
    (Action::Vanish, 3),
];

impl Scenario {
    /// Draws a conference of 3 to 8.
    pub fn draw(rng: &mut Rng) -> Self {
        let count = rng.between(3, 8) as usize;
        // A third of the conferences is on clean links, where nothing at all may be missing.
        let clean = rng.chance(0.33);
        let length = Duration::from_millis(rng.between(9_000, 12_000));
        let participants = (0..count).map(|index| participant(rng, index, count, clean)).collect();
        let latest = length.as_millis() as u64 - 1_000;
        let mut actions: Vec<_> = (0..rng.between(4, 14))
            .map(|_| {
                let at = Duration::from_millis(rng.between(1_500, latest));
                (at, rng.between(0, count as u64 - 1) as usize, action(rng))
            })
            .collect();
        actions.sort_by_key(|(at, ..)| *at);
        Self { participants, actions, length }
    }
}

fn participant(rng: &mut Rng, index: usize, count: usize, clean: bool) -> Participant {
    let late = index >= 2 && rng.chance(0.5);
    Participant {
        joins: Duration::from_millis(if late { rng.between(500, 5_000) } else { rng.between(0, 400) }),
        layers: if rng.chance(0.7) { 3 } else { 1 },
        slots: rng.between(1, (count as u64 - 1).min(4)) as usize,
        up: link(rng, clean),
        down: link(rng, clean),
    }
}

fn link(rng: &mut Rng, clean: bool) -> LinkConfig {
    let delay = Duration::from_millis(rng.between(1, 90));
    if clean {
        return LinkConfig::delayed(delay);
    }
    let share = *rng.pick(&[0.0, 0.005, 0.02, 0.05]).unwrap_or(&0.0);
    LinkConfig {
        // Wide enough for all that is sent, so that a queue stands only for moments.
        rate: rng.chance(0.5).then(|| Rate::from_kbps(rng.between(3_000, 20_000))),
        queue: QueueLimit::Time(Duration::from_millis(300)),
        delay,
        jitter: Duration::from_millis(rng.between(0, 30)),
        loss: if rng.chance(0.3) { Loss::bursts(share, 3.0) } else { Loss::Random(share) },
        reorder: if rng.chance(0.4) { 0.02 } else { 0.0 },
        reorder_delay: Duration::from_millis(rng.between(1, 25)),
        duplicate: if rng.chance(0.3) { 0.01 } else { 0.0 },
        corrupt: if rng.chance(0.3) { 0.002 } else { 0.0 },
        ..LinkConfig::default()
    }
}

/// Whether everything arrives, once and in order.
pub fn is_clean(link: &LinkConfig) -> bool {
    *link == LinkConfig::delayed(link.delay)
}

fn action(rng: &mut Rng) -> Action {
    let total = ACTIONS.iter().map(|(_, weight)| weight).sum::<u64>();
    let mut drawn = rng.between(0, total - 1);
    for (action, weight) in ACTIONS {
        if drawn < weight {
            return action;
        }
        drawn -= weight;
    }
    Action::SwitchSlot
}
