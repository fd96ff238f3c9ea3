//! What losing a frame would cost, by its class.

pub use sfu_rtc::codec::frame_class::{CLASSES, FrameClass, FrameClassifier};
use sfu_rtc::time::Duration;

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
