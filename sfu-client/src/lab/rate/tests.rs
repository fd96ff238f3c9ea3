//! The lab itself, and what it shows of our rate control on generated scenes.

use super::*;

fn options(scene: &str, control: &str) -> RateOptions {
    RateOptions { scene: scene.to_owned(), control: control.to_owned(), seconds: 6, ..Default::default() }
}

#[test]
fn every_second_and_half_second_carries_its_share() {
    for scene in ["talking", "rush"] {
        let result = measure(&options(scene, "own"), |_| ()).unwrap().remove(0);
        assert_eq!(result.control, "own");
        assert!(result.seconds.worst() <= 0.03, "{result:?}");
        assert!(result.halves.worst() <= 0.1, "{result:?}");
        assert!(result.largest_delta <= 3.0 && result.largest_keyframe <= 2.5, "{result:?}");
    }
}
