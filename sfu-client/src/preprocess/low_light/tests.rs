//! Dark rooms become lighter without flicker, lit ones stay as they are.

use super::*;
use crate::capture::{Scene, SceneKind, VideoSource};

fn play(kind: SceneKind, frames: u32, mut each: impl FnMut(u32, &VideoFrame, &VideoFrame, bool)) {
    let mut scene = Scene::of(kind, 320, 180, 30.0).unwrap();
    let mut picture = VideoFrame::new(320, 180).unwrap();
    let mut stage = LowLight::new();
    for frame in 0..frames {
        scene.draw(frame, &mut picture).unwrap();
        let source = picture.clone();
        let done = stage.process(&mut picture);
        each(frame, &source, &picture, done);
    }
}

fn mean(picture: &VideoFrame) -> f64 {
    Histogram::of(picture).mean()
}

#[test]
fn a_dark_room_becomes_lighter_and_flickers_no_more_than_before() {
    let (mut source_change, mut change, mut before) = (0.0, 0.0, None);
    play(SceneKind::Dark, 90, |frame, source, picture, done| {
        assert!(done, "frame {frame}");
        assert!(mean(picture) > 1.6 * mean(source), "{} of {}", mean(picture), mean(source));
        assert!(Histogram::of(picture).deviation() > 1.5 * Histogram::of(source).deviation());
        assert_eq!(source.planes().1, picture.planes().1);
        if let Some((source_before, mean_before)) = before {
            let change_of_source: f64 = mean(source) - source_before;
            source_change += change_of_source.abs();
            change += f64::abs(mean(picture) - mean_before);
        }
        before = Some((mean(source), mean(picture)));
    });
    assert!(source_change > 1.0 && change <= 1.1 * source_change, "{change} of {source_change}");
}

#[test]
fn lit_rooms_are_left_alone() {
    for kind in [SceneKind::Moving, SceneKind::Talking, SceneKind::Rush, SceneKind::Cuts] {
        play(kind, 100, |frame, source, picture, done| {
            assert!(!done && source == picture, "frame {frame} of {kind:?}");
        });
    }
}

/// A lit picture with all its luma a share of what it was.
fn dimmed(lit: &VideoFrame, share: f64) -> VideoFrame {
    let mut picture = lit.clone();
    for luma in picture.planes_mut().0 {
        *luma = (BLACK + (f64::from(*luma) - BLACK) * share).round() as u8;
    }
    picture
}

/// Where next to nothing changes, rounding would be seen.
#[test]
fn a_still_dark_room_flickers_no_more_than_before() {
    let mut scene = Scene::of(SceneKind::Talking, 320, 180, 30.0).unwrap();
    let mut lit = VideoFrame::new(320, 180).unwrap();
    let mut stage = LowLight::new();
    let (mut source_change, mut change, mut before) = (0.0, 0.0, None);
    for frame in 0..90 {
        scene.draw(frame, &mut lit).unwrap();
        let source = dimmed(&lit, 0.3);
        let mut picture = source.clone();
        assert!(stage.process(&mut picture));
        let means = (mean(&source), mean(&picture));
        if let Some(before) = before.replace(means) {
            let before: (f64, f64) = before;
            source_change += (means.0 - before.0).abs();
            change += (means.1 - before.1).abs();
        }
    }
    assert!(source_change > 0.1 && change <= 1.1 * source_change, "{change} of {source_change}");
}

#[test]
fn light_goes_on_and_off_slowly_in_a_running_scene() {
    let mut lit = VideoFrame::new(320, 180).unwrap();
    Scene::of(SceneKind::Talking, 320, 180, 30.0).unwrap().draw(0, &mut lit).unwrap();
    let mut stage = LowLight::new();
    // 4 s of dusk, 20 s of night, 4 s of dawn, 20 s of day.
    let light = |frame: u32| match frame {
        0..120 => 1.0 - 0.75 * f64::from(frame) / 120.0,
        120..720 => 0.25,
        720..840 => 0.25 + 0.75 * f64::from(frame - 720) / 120.0,
        _ => 1.0,
    };
    let mut before: Option<(f64, f64)> = None;
    let mut states = Vec::new();
    for frame in 0..1_440 {
        let source = dimmed(&lit, light(frame));
        let mut picture = source.clone();
        states.push(stage.process(&mut picture));
        let means = (mean(&source), mean(&picture));
        if let Some(before) = before {
            let (source_change, change) = (means.0 - before.0, means.1 - before.1);
            assert!((change - source_change).abs() < 1.5, "frame {frame}: {change} of {source_change}");
        }
        if frame == 719 {
            assert!(means.1 > 1.8 * means.0, "{means:?}");
        }
        before = Some(means);
    }
    assert!(!states[0] && states[719] && !states[1_439]);
    assert_eq!(states.windows(2).filter(|pair| pair[0] != pair[1]).count(), 2);
}

#[test]
fn a_cut_binds_nothing() {
    let mut lit = VideoFrame::new(320, 180).unwrap();
    Scene::of(SceneKind::Talking, 320, 180, 30.0).unwrap().draw(0, &mut lit).unwrap();
    let dark = dimmed(&lit, 0.2);
    let mut stage = LowLight::new();
    let mut process = |picture: &VideoFrame| {
        let mut picture = picture.clone();
        (stage.process(&mut picture), picture)
    };
    assert_eq!(process(&lit), (false, lit.clone()));
    let (done, first) = process(&dark);
    assert!(done && mean(&first) > 1.5 * mean(&dark));
    assert_eq!(process(&lit), (false, lit.clone()));
}

#[test]
fn the_curve_is_monotone_and_keeps_black_and_white() {
    for at in [20.0, 40.0, 60.0, 120.0, 231.0] {
        for mean in [16.0, 30.0, 90.0, 200.0, 235.0] {
            for slope in [0.0, 1.0, 2.2, 9.0] {
                let table = hermite(at, Goal { mean, slope });
                assert!(table.is_sorted(), "{at} {mean} {slope}");
                assert_eq!((table[16], table[235], table[0], table[255]), (16, 235, 0, 255));
            }
        }
    }
}

#[test]
fn black_and_flat_pictures_do_no_harm() {
    for luma in [0, 16, 17, 40, 255] {
        let mut picture = VideoFrame::new(64, 64).unwrap();
        picture.fill_grey(0, 0, 64, 64, luma);
        let mut stage = LowLight::new();
        for _ in 0..3 {
            let mut output = picture.clone();
            stage.process(&mut output);
            assert!(output.planes().0.iter().all(|out| *out >= luma), "{luma}");
        }
    }
}
