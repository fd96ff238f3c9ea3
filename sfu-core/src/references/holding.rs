//! What one subscriber has of a publication's frames, as its feedback tells.

use super::{Fate, MAX_PACKETS, References, View, WINDOW, place};
use sfu_rtc::time::{Duration, Instant};

/// Requests for a keyframe that nothing explains, from so many on, each so long after the one before, mean that the
/// subscriber cannot decode what it has: a keyframe it is then.
const UNEXPLAINED: u8 = 3;
const APART: Duration = Duration::from_millis(150);
/// A request may be about a frame so many before the newest.
const BEFORE: u64 = 15;
/// A frame of which nothing was told for so long after it came to us counts as lost: it was left out, or the feedback was
/// lost.
const UNTOLD: Duration = Duration::from_secs(1);

/// What of one frame is known to have come, or not: a bit for each packet.
#[derive(Clone, Copy, Default, Debug)]
struct Told {
    number: u64,
    arrived: u64,
    lost: u64,
}

/// One subscriber's frames.
#[derive(Debug)]
pub(crate) struct Holding {
    told: Box<[Told; WINDOW]>,
    /// The newest frame of which anything is known.
    newest: u64,
    /// The acknowledged frame, if it holds that.
    has: Option<u64>,
    asked: Asked,
}

/// A subscriber's requests for keyframes that nothing explains.
#[derive(Clone, Copy, Default, Debug)]
struct Asked {
    count: u8,
    last: Option<Instant>,
    /// What was lost from this frame on would explain the next.
    since: u64,
}

impl Default for Holding {
    fn default() -> Self {
        Self { told: Box::new([Told::default(); WINDOW]), newest: 0, has: None, asked: Asked::default() }
    }
}

/// The frames of the window that a subscriber can decode.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Decodable([u64; WINDOW / 64]);

impl Decodable {
    /// Whether it can decode the frame, which must be in the window.
    pub(super) fn has(&self, number: u64) -> bool {
        self.0[place(number) / 64] >> (place(number) % 64) & 1 == 1
    }

    fn add(&mut self, number: u64) {
        self.0[place(number) / 64] |= 1 << (place(number) % 64);
    }
}

impl Holding {
    /// Feedback on a packet of a frame, by the publisher's numbers. What was never sent is not taken. What was lost and came
    /// later than `view.patience` after it had come to us, or after a frame that recovers, is of no use: its receiver has
    /// gone on without it.
    pub(crate) fn on_told(&mut self, view: View<'_>, (frame, seq): (u16, u16), arrived: bool) {
        let View { references, now, patience } = view;
        let number = references.newest.extend(frame).0;
        let Some(frame) = references.frame(number) else { return };
        let Some(first) = frame.first else { return };
        let Some(index) = first.extend(seq).0.checked_sub(first.0).filter(|index| *index < MAX_PACKETS) else { return };
        let told = &mut self.told[place(number)];
        if told.number > number {
            return;
        }
        if told.number < number {
            *told = Told { number, ..Told::default() };
        }
        let is_passed = number < references.recovery || now.saturating_since(frame.at) > patience;
        let is_late = told.lost >> index & 1 == 1 && is_passed;
        if arrived && !is_late {
            told.arrived |= 1 << index;
        } else if !arrived {
            told.lost |= 1 << index;
        }
        self.newest = self.newest.max(number);
    }

    /// The acknowledged frame, if it holds that.
    pub(crate) fn has(&self) -> Option<u64> {
        self.has
    }

    /// It holds the frame that is acknowledged now.
    pub(crate) fn hold(&mut self, acknowledged: Option<u64>) {
        self.has = acknowledged;
    }

    pub(super) fn fate(&self, View { references, now, patience }: View<'_>, number: u64) -> Fate {
        let Some(frame) = references.frame(number) else {
            // Forgotten, or it never came to us, in which case later frames are there.
            return if number < references.newest.0 { Fate::Lost } else { Fate::Unknown };
        };
        let told = Some(self.told[place(number)]).filter(|told| told.number == number).unwrap_or_default();
        let age = now.saturating_since(frame.at);
        match frame.packets() {
            Some(all) if told.arrived & all == all => Fate::Arrived,
            _ if told.lost & !told.arrived != 0 && age >= patience || age >= UNTOLD.max(patience) => Fate::Lost,
            _ => Fate::Unknown,
        }
    }

    /// What it can decode: of each frame all has come, and it refers to one that it can decode, or to the acknowledged one.
    pub(super) fn decodable(&self, references: &References) -> Decodable {
        let mut decodable = Decodable::default();
        let oldest = (references.newest.0 + 1).saturating_sub(WINDOW as u64);
        for number in oldest..=references.newest.0 {
            let Some(frame) = references.frame(number) else { continue };
            let told = self.told[place(number)];
            let is_whole = told.number == number && frame.packets().is_some_and(|all| told.arrived & all == all);
            let stands = frame.refers == number
                || frame.refers > 0 && self.has == Some(frame.refers)
                || frame.refers >= oldest && frame.refers < number && decodable.has(frame.refers);
            if is_whole && stands {
                decodable.add(number);
            }
        }
        decodable
    }

    /// Whether nothing before the frame, back to what recovers, can still come: then it cannot be decoded any more.
    pub(super) fn is_settled(&self, view: View<'_>, number: u64) -> bool {
        let mut at = number;
        for _ in 0..WINDOW {
            match self.fate(view, at) {
                Fate::Unknown => return false,
                Fate::Lost => return true,
                Fate::Arrived => {}
            }
            let Some(frame) = view.references.frame(at).filter(|frame| frame.refers > 0 && frame.refers < at) else {
                return true;
            };
            at = frame.refers;
        }
        true
    }

    /// Whether it waits for a frame that recovers: the newest frame whose fate is known cannot be decoded, and the last that
    /// recovers was not after that.
    pub(super) fn waits(&self, view: View<'_>, decodable: &Decodable) -> bool {
        let references = view.references;
        let oldest = (references.newest.0 + 1).saturating_sub(WINDOW as u64).max(references.recovery);
        let fate = |number: &u64| self.fate(view, *number);
        let known = (oldest..=self.newest.min(references.newest.0)).rev().find(|number| fate(number) != Fate::Unknown);
        known.is_some_and(|number| {
            !decodable.has(number) && (fate(&number) == Fate::Lost || self.is_settled(view, number))
        })
    }

    /// It asks for a keyframe. Whether a frame that recovers may be the answer: not where it asks again and again though
    /// nothing was lost.
    pub(crate) fn on_keyframe_request(&mut self, references: &References, now: Instant) -> bool {
        let view = View { references, now, patience: Duration::ZERO };
        let newest = references.newest.0;
        let Asked { count, last, since } = self.asked;
        if last.is_some_and(|last| now - last < APART) {
            return true;
        }
        // Feedback is on its way longer than the request that a loss causes.
        let has_lost = (since.max(references.keyframe)..=newest).any(|number| self.fate(view, number) == Fate::Lost);
        let goes_on = last.is_some_and(|last| now - last <= APART * 10) && !has_lost;
        let count = if goes_on { count + 1 } else { 1 };
        self.asked = Asked { count, last: Some(now), since: newest.saturating_sub(BEFORE) };
        if count >= UNEXPLAINED {
            self.asked = Asked::default();
        }
        count < UNEXPLAINED
    }
}
