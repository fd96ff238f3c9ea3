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

#[test]
fn what_our_control_loses_is_told_beside_the_codecs_own_and_drawn() {
    let options = RateOptions { seconds: 2, width: 320, height: 180, ..options("talking", "") };
    let results = measure(&options, |_| ()).unwrap();
    assert_eq!(results.iter().map(|result| result.control).collect::<Vec<_>>(), CONTROLS);
    for result in &results {
        let loss = result.control.starts_with("own").then(|| results[0].psnr - result.psnr);
        assert_eq!(result.psnr_loss, loss);
        let svg = plot(result);
        assert_eq!(svg.matches("<rect").count(), 2 + 2 * 60, "{svg}");
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }
    assert_eq!(table(&results).lines().count(), 6);
}
