//! Classes of frames by what depends on them, told without decoding them.
//!
//! Sources in order of trust: the dependency descriptor (for any codec, also where the payload is encrypted end to
//! end), then the payload header. [`super::frame_facts`] has put them in that order already.

use super::FrameFacts;

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
pub struct FrameClassifier {
    keyframe: Option<u32>,
}

impl FrameClassifier {
    /// The class of a packet's frame.
    pub fn classify(&mut self, frame: &FrameFacts, timestamp: u32) -> FrameClass {
        if frame.keyframe {
            self.keyframe = Some(timestamp);
        }
        self.class_of(frame, timestamp)
    }

    /// The class of a packet of a frame that was classified before.
    pub fn class_of(&self, frame: &FrameFacts, timestamp: u32) -> FrameClass {
        if self.keyframe == Some(timestamp) { FrameClass::Key } else { FrameClass::of(frame) }
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
}
