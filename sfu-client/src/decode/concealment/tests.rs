//! What concealment sounds like, in figures.

use super::*;
use crate::capture::voice::{Voice, rms};
use crate::capture::{AudioSource, Tone};

const FRAME: usize = 20 * MS;

fn sound(source: &mut impl AudioSource, samples: usize) -> Vec<i16> {
    let mut sound = vec![0; samples];
    source.fill(&mut sound).unwrap();
    sound
}

/// What is played of `sound` when the frames from `start` to `end` are lost.
fn played(sound: &[i16], start: usize, end: usize) -> Vec<i16> {
    let mut concealment = Concealment::new();
    let mut played = sound.to_vec();
    for (number, frame) in played.chunks_mut(FRAME).enumerate() {
        if (start..end).contains(&number) { concealment.conceal(frame) } else { concealment.accept(frame) }
    }
    played
}

fn largest_step(samples: &[i16]) -> i32 {
    samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap()
}

#[test]
fn what_is_not_lost_is_not_touched() {
    let voice = sound(&mut Voice::new(2000.0), 20 * FRAME);
    assert_eq!(played(&voice, 0, 0), voice);
    let gappy = played(&voice, 10, 11);
    assert_eq!(gappy[..10 * FRAME], voice[..10 * FRAME]);
    assert_eq!(gappy[11 * FRAME + DISCARDED + JOIN..], voice[11 * FRAME + DISCARDED + JOIN..]);
}

#[test]
fn what_is_made_up_is_no_louder_than_its_neighbours_and_fades() {
    let voice = sound(&mut Voice::new(2000.0), 200 * FRAME);
    let frame = |sound: &[i16], number: usize| rms(&sound[number * FRAME..][..FRAME]);
    for start in 10..190 {
        let gappy = played(&voice, start, start + 5);
        // The sound may just have changed: what counts is its last half, or its louder one.
        let halves = voice[(start - 1) * FRAME..][..FRAME].chunks(FRAME / 2).map(rms);
        let (last, before) = halves.fold((0.0, 0.0_f64), |(_, loudest), half| (half, loudest.max(half)));
        assert!(frame(&gappy, start) > 0.6 * last, "frame {start} goes on as loud as what was before");
        for number in start..start + 5 {
            // More periods may begin in a made-up frame than did in the last.
            assert!(frame(&gappy, number) <= 1.3 * before, "frame {number} of a gap at {start}");
        }
        let bound = 1.3 * before.max(frame(&voice, start + 5));
        assert!(frame(&gappy, start + 5) <= bound, "the frame after a gap at {start}");
        assert!(gappy[start * FRAME + SILENCE..(start + 5) * FRAME].iter().all(|sample| *sample == 0));
    }
}

#[test]
fn both_ends_of_a_gap_are_continuous() {
    for frequency in [97.0, 220.0, 441.0] {
        let tone = sound(&mut Tone::new(frequency), 30 * FRAME);
        for (start, end) in [(10, 11), (11, 14), (12, 20)] {
            let gappy = played(&tone, start, end);
            let (step, natural) = (largest_step(&gappy[start * FRAME - 10..]), largest_step(&tone));
            // A blend of two waves that differ in phase, 9000 high, climbs by their difference as well.
            let blend = 2 * 9000 / JOIN as i32;
            assert!(step <= 2 * natural + blend, "{frequency} Hz, {start} to {end}: {step} of {natural}");
        }
    }
}

#[test]
fn the_pitch_is_kept() {
    let tone = sound(&mut Tone::new(210.0), 20 * FRAME);
    let gappy = played(&tone, 10, 11);
    let (true_sound, made) = (&tone[10 * FRAME..][..SUSTAIN], &gappy[10 * FRAME..][..SUSTAIN]);
    let error: Vec<i16> = true_sound.iter().zip(made).map(|(a, b)| a - b).collect();
    assert!(rms(&error) < 0.1 * rms(true_sound), "{} of {}", rms(&error), rms(true_sound));
}

#[test]
fn a_gap_sounds_the_same_each_time() {
    let voice = sound(&mut Voice::new(2000.0), 20 * FRAME);
    assert_eq!(played(&voice, 10, 12), played(&voice, 10, 12));
}

#[test]
fn a_gap_before_any_sound_is_silent() {
    let mut samples = [1; FRAME];
    Concealment::new().conceal(&mut samples);
    assert_eq!(samples, [0; FRAME]);
}

#[test]
fn short_frames_are_joined_one_after_the_other() {
    let tone = sound(&mut Tone::new(220.0), 40 * FRAME);
    let mut concealment = Concealment::new();
    let mut gappy = tone.clone();
    for (number, frame) in gappy.chunks_mut(5 * MS / 2).enumerate() {
        if (80..84).contains(&number) { concealment.conceal(frame) } else { concealment.accept(frame) }
    }
    assert!(largest_step(&gappy) <= 2 * largest_step(&tone) + 2 * 9000 / JOIN as i32);
    assert_eq!(gappy[90 * FRAME / 8..], tone[90 * FRAME / 8..]);
}
