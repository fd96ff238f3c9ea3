//! What losing a frame would cost, told without decoding it.
//!
//! Sources in order of trust: the dependency descriptor (for any codec, also where the payload is encrypted end to
//! end), then the payload header. [`sfu_rtc::codec::frame_facts`] has put them in that order already.

use sfu_rtc::codec::FrameFacts;
use sfu_rtc::time::Duration;

/// Frames that cost the same when lost; the first costs most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FrameClass {
    /// Decoding begins with it.
    Key,
    /// Of the lowest temporal layer: everything after it depends on it.
    Base,
    /// Some frames depend on it, until the next of a lower temporal layer.
    Enhancement,
    /// No frame depends on it.
    Discardable,
}

/// How many classes there are.
pub const CLASSES: usize = 4;

impl FrameClass {
    /// All, the most important first.
    pub const ALL: [Self; CLASSES] = [Self::Key, Self::Base, Self::Enhancement, Self::Discardable];

    /// As an index.
    pub fn index(self) -> usize {
        self as usize
    }

    fn of(frame: &FrameFacts) -> Self {
        match frame {
            FrameFacts { keyframe: true, .. } => Self::Key,
            FrameFacts { discardable: true, .. } => Self::Discardable,
            FrameFacts { temporal: 0, .. } => Self::Base,
            _ => Self::Enhancement,
        }
    }
}

/// Classifies a stream's packets. Some payload headers say on a frame's first packet only that it is a keyframe (VP8, AV1),
/// so the rest of the frame, known by its timestamp, follows the first.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct FrameClassifier {
    keyframe: Option<u32>,
}

impl FrameClassifier {
    /// The class of a packet's frame.
    pub(crate) fn classify(&mut self, frame: &FrameFacts, timestamp: u32) -> FrameClass {
        if frame.keyframe {
            self.keyframe = Some(timestamp);
        }
        if self.keyframe == Some(timestamp) { FrameClass::Key } else { FrameClass::of(frame) }
    }
}

/// How long the picture is damaged when a frame of this class is lost: as long as frames follow that depend on it, and
/// never longer than `refresh`, after which a keyframe (or another frame that depends on none lost) is there.
///
/// `layers`: temporal layers, of which each doubles the frame rate (L1T3 has three).
pub fn damage(class: FrameClass, frame_interval: Duration, layers: u8, refresh: Duration) -> Duration {
    match class {
        FrameClass::Key | FrameClass::Base => refresh.max(frame_interval),
        // The frames up to the next of the base layer are at most those.
        FrameClass::Enhancement => {
            let frames = 1_u32 << layers.saturating_sub(2).min(4);
            (frame_interval * frames).min(refresh.max(frame_interval))
        }
        FrameClass::Discardable => frame_interval,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(keyframe: bool, temporal: u8, discardable: bool) -> FrameFacts {
        FrameFacts { keyframe, temporal, discardable, ..FrameFacts::default() }
    }

    #[test]
    fn packets_after_a_keyframes_first_are_of_the_keyframe() {
        let mut classifier = FrameClassifier::default();
        let mut class = |facts: FrameFacts, timestamp| classifier.classify(&facts, timestamp);
        assert_eq!(class(facts(true, 0, false), 1), FrameClass::Key);
        assert_eq!(class(facts(false, 0, false), 1), FrameClass::Key);
        assert_eq!(class(facts(false, 0, false), 2), FrameClass::Base);
        assert_eq!(class(facts(false, 1, false), 3), FrameClass::Enhancement);
        assert_eq!(class(facts(false, 2, true), 4), FrameClass::Discardable);
        assert_eq!(class(facts(false, 0, true), 5), FrameClass::Discardable);
    }

    #[test]
    fn damage_falls_from_class_to_class() {
        let (interval, refresh) = (Duration::from_millis(33), Duration::from_millis(600));
        for layers in 1..=4 {
            let damages = FrameClass::ALL.map(|class| damage(class, interval, layers, refresh));
            assert!(damages.is_sorted_by(|a, b| a >= b), "{damages:?}");
            assert_eq!((damages[0], damages[3]), (refresh, interval));
        }
        assert_eq!(
            damage(FrameClass::Enhancement, interval, 3, refresh),
            interval * 2,
            "T1 of L1T3 and the T2 after it"
        );
    }
}
