//! Parity as other servers send it: a fixed share of each frame, whatever the frame is worth and whatever the path loses.
//! What the planner is compared with.

use super::planner::ClassLoad;
use crate::frame_class::{CLASSES, FrameClass};
use sfu_rtc::transport::Protection;

/// Most parity packets of one frame: as many as the planner's blocks have.
const MAX_PARITY: f64 = 24.0;

/// A fixed share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FixedParity {
    /// Parity packets per hundred packets of a frame, rounded up for each frame.
    pub percent: u8,
    /// Of keyframes alone; else of all frames alike.
    pub keyframes_only: bool,
}

impl FixedParity {
    /// What each class of frames gets.
    pub(crate) fn protection(self, classes: &[ClassLoad; CLASSES]) -> [Protection; CLASSES] {
        FrameClass::ALL.map(|class| {
            let is_left_out = self.keyframes_only && class != FrameClass::Key;
            let percent = if is_left_out { 0.0 } else { f64::from(self.percent) };
            let packets = classes[class.index()].packets * percent / 100.0;
            Protection { parity: packets.ceil().min(MAX_PARITY) as u8, frames: 1 }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_gets_its_share_rounded_up() {
        let class = |packets| ClassLoad { packets, ..ClassLoad::default() };
        let classes = [class(40.0), class(8.0), class(3.2), class(0.0)];
        let parity = |percent, keyframes_only| {
            FixedParity { percent, keyframes_only }.protection(&classes).map(|group| (group.parity, group.frames))
        };
        assert_eq!(parity(25, false), [(10, 1), (2, 1), (1, 1), (0, 1)]);
        assert_eq!(parity(60, true), [(24, 1), (0, 1), (0, 1), (0, 1)]);
    }
}
