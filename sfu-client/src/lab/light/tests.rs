//! The lab itself, and what it shows of the stages on generated scenes.

use super::*;

fn options(scene: &str, stage: &str) -> LightOptions {
    let (scene, stage) = (scene.to_owned(), stage.to_owned());
    LightOptions { scene, stage, width: 320, height: 180, seconds: 2, ..Default::default() }
}

#[test]
fn a_dark_clip_gets_light_and_contrast_without_flicker_or_a_cast() {
    let result = measure(&options("dark", "low-light"), |_| ()).unwrap().remove(0);
    assert_eq!((result.pictures, result.bypassed, result.identical), (60, 0, 0));
    assert!(result.after.luma > 1.5 * result.before.luma, "{result:?}");
    assert!(result.after.contrast > 1.5 * result.before.contrast, "{result:?}");
    assert!(result.after.flicker <= 1.1 * result.before.flicker, "{result:?}");
    assert!(result.cast() <= 0.02, "{result:?}");
}

#[test]
fn well_lit_clips_pass_untouched() {
    for scene in ["moving", "talking", "rush", "cuts"] {
        let result = measure(&options(scene, "low-light"), |_| ()).unwrap().remove(0);
        assert_eq!((result.bypassed, result.identical), (60, 60), "{result:?}");
    }
}

#[test]
fn tables_json_and_pictures_are_made() {
    let folder = std::env::temp_dir().join(format!("sfu-client-light-{}", std::process::id()));
    let options = LightOptions { seconds: 1, passes: 2, save: Some(folder.clone()), ..options("dark", "") };
    let mut lines = 0;
    let results = measure(&options, |_| lines += 1).unwrap();
    assert_eq!((results.len(), lines), (STAGES.len(), STAGES.len()));
    assert_eq!(table(&results).lines().count(), 1 + STAGES.len());
    assert!(results[0].to_json()["after"]["luma"].as_f64().unwrap() > 0.0);
    for (stage, _) in STAGES {
        let file = fs::read(folder.join(format!("dark-{stage}.png"))).unwrap();
        assert!(file.starts_with(b"\x89PNG"));
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn options_without_sense_are_refused() {
    for options in [
        LightOptions { seconds: 0, ..Default::default() },
        LightOptions { passes: 0, ..Default::default() },
        LightOptions { dim: 2.0, ..Default::default() },
        LightOptions { width: 3, ..Default::default() },
    ] {
        assert!(measure(&options, |_| ()).is_err(), "{options:?}");
    }
}
