//! What the stages do to noise, to voices, and to what they should leave alone.

use super::*;
use crate::capture::voice::rms;
use crate::capture::{AudioSource, Voice};

/// White noise with this RMS.
fn noise(samples: usize, level: f64) -> Vec<i16> {
    let mut seed = 7u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(seed >> 8) / f64::from(1 << 23) - 1.0
    };
    (0..samples).map(|_| (next() * level * 3f64.sqrt()) as i16).collect()
}

fn processed(config: VoiceConfig, sound: &[i16]) -> Vec<i16> {
    let mut sound = sound.to_vec();
    VoiceProcessor::new(config).process(&mut sound, &[]).unwrap();
    sound
}

fn change_db(before: &[i16], after: &[i16]) -> f64 {
    20.0 * (rms(after) / rms(before)).log10()
}

#[test]
fn what_is_off_leaves_every_sample_as_it_is() {
    let sound = noise(48_000, 1_000.0);
    assert_eq!(processed(VoiceConfig::default(), &sound), sound);
}

#[test]
fn noise_goes_and_a_voice_stays() {
    let config = VoiceConfig { noise: true, ..Default::default() };
    let hiss = noise(8 * 48_000, 200.0);
    let quiet = processed(config, &hiss);
    let tail = 5 * 48_000..;
    let change = change_db(&hiss[tail.clone()], &quiet[tail.clone()]);
    assert!(change < -12.0, "{change} dB");
    let mut voice = vec![0; 8 * 48_000];
    Voice::new(2_000.0).fill(&mut voice).unwrap();
    let change = change_db(&voice[tail.clone()], &processed(config, &voice)[tail]);
    // Its consonants are hiss, too.
    assert!(change.abs() < 6.0, "{change} dB");
}

#[test]
fn a_quiet_voice_becomes_louder_and_a_loud_one_stays_below_overload() {
    let config = VoiceConfig { gain: true, ..Default::default() };
    let levels = [100.0, 6_000.0].map(|level| {
        let mut voice = vec![0; 20 * 48_000];
        Voice::new(level).fill(&mut voice).unwrap();
        let tail = 15 * 48_000..;
        change_db(&voice[tail.clone()], &processed(config, &voice)[tail])
    });
    assert!(levels[0] > 10.0 && levels[1] < 6.0, "{levels:?} dB");
}

#[test]
fn stages_are_switched_while_they_run() {
    let sound = noise(10 * 48_000, 200.0);
    let mut processor = VoiceProcessor::new(VoiceConfig::default());
    let (mut off, mut on) = (sound.clone(), sound.clone());
    processor.process(&mut off, &[]).unwrap();
    assert_eq!(off, sound);
    processor.configure(VoiceConfig { noise: true, ..Default::default() });
    processor.process(&mut on, &[]).unwrap();
    assert!(change_db(&sound[5 * 48_000..], &on[5 * 48_000..]) < -12.0);
    processor.configure(VoiceConfig::default());
    let mut again = sound.clone();
    processor.process(&mut again, &[]).unwrap();
    assert_eq!(again, sound);
}

#[test]
fn any_length_is_taken() {
    let config = VoiceConfig { echo: true, noise: true, gain: true };
    for length in [0, 1, 479, 481, 1_000] {
        let mut sound = noise(length, 1_000.0);
        VoiceProcessor::new(config).process(&mut sound, &noise(100, 1.0)).unwrap();
    }
}
