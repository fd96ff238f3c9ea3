//! Echo cancellation without devices: a loudspeaker's sound goes through a room that is made up, comes back to the
//! microphone, and is to be taken out again.

mod room;
mod table;

use crate::capture::{AudioSource, SAMPLE_RATE, Voice, WavReader};
use crate::record::{AudioRecorder, Outlets, RecordSettings};
use crate::voice::{STEP_SAMPLES, VoiceConfig, VoiceProcessor};
use anyhow::{Result, ensure};
use room::Room;
use std::path::PathBuf;
use std::time::{Duration, Instant};
pub use table::table;

/// Loudness of the voices: 24 dB below overload.
const LEVEL: f64 = 2_000.0;
/// Seconds after a path begins, or changes, that are not measured: the canceller has to learn it.
const LEARNING: usize = 5;
/// Seconds for which the near voice speaks, and then is silent.
const TURN: usize = 2;

/// What to measure.
#[derive(Clone, Debug, Default)]
pub struct EchoOptions {
    /// A WAV file for the loudspeaker, over and over, instead of the generated voice.
    pub wav: Option<PathBuf>,
    /// Seconds of sound of each room, at least 10.
    pub seconds: usize,
    /// Only rooms whose name contains this.
    pub room: String,
    /// Where to write what each microphone heard, and what was left of it, as WAV.
    pub save: Option<PathBuf>,
}

/// A situation to measure.
struct Case {
    name: &'static str,
    /// From the loudspeaker to the first echo, devices included, in milliseconds.
    delay: usize,
    /// Until the echo has faded by 60 dB, in milliseconds.
    decay: usize,
    /// Half way through, the path is another.
    moves: bool,
    /// Somebody speaks at the microphone, in turns.
    voice: bool,
}

const CASES: [Case; 5] = [
    Case { name: "small", delay: 20, decay: 80, moves: false, voice: false },
    Case { name: "large", delay: 60, decay: 300, moves: false, voice: false },
    Case { name: "late", delay: 200, decay: 100, moves: false, voice: false },
    Case { name: "moves", delay: 40, decay: 100, moves: true, voice: false },
    Case { name: "both-speak", delay: 40, decay: 100, moves: false, voice: true },
];

/// What came of one room.
#[derive(Clone, Copy, Debug)]
pub struct EchoResult {
    /// Room.
    pub room: &'static str,
    /// Echo at the microphone in dB below overload, where nobody speaks there.
    pub echo_dbfs: f64,
    /// What is left of it.
    pub left_dbfs: f64,
    /// How much louder the voice at the microphone is behind the canceller, in dB; none where nobody speaks.
    pub voice_db: Option<f64>,
    /// Time that it took, for a second of sound.
    pub time: Duration,
}

impl EchoResult {
    /// Echo return loss enhancement in dB (ITU-T G.168): echo before over echo after.
    pub fn erle_db(&self) -> f64 {
        self.echo_dbfs - self.left_dbfs
    }
}

/// Measures every room.
///
/// # Errors
/// Where the file cannot be read, the options make no sense, or a file not be written.
pub fn measure(options: &EchoOptions, mut progress: impl FnMut(&EchoResult)) -> Result<Vec<EchoResult>> {
    ensure!((10..=3_600).contains(&options.seconds), "between 10 and 3600 seconds can be measured");
    let mut results = Vec::new();
    for case in CASES.iter().filter(|case| case.name.contains(&options.room)) {
        let result = measure_case(case, options)?;
        progress(&result);
        results.push(result);
    }
    ensure!(!results.is_empty(), "there is no room whose name contains {:?}", options.room);
    Ok(results)
}

fn measure_case(case: &Case, options: &EchoOptions) -> Result<EchoResult> {
    let samples = options.seconds * SAMPLE_RATE as usize;
    let mut played = vec![0; samples];
    match &options.wav {
        Some(path) => WavReader::open(path)?.fill(&mut played)?,
        None => Voice::new(LEVEL).fill(&mut played)?,
    };
    let near = if case.voice { near_voice(samples)? } else { vec![0; samples] };
    let changes_at = if case.moves { samples / 2 } else { samples };
    let echo = echo(case, &played, changes_at);
    let heard: Vec<i16> = echo
        .iter()
        .zip(&near)
        .map(|(echo, near)| (*echo as i32 + i32::from(*near)).clamp(-32_768, 32_767) as i16)
        .collect();
    let mut left = heard.clone();
    let mut processor = VoiceProcessor::new(VoiceConfig { echo: true, ..Default::default() });
    let begun = Instant::now();
    for (step, played) in left.chunks_exact_mut(STEP_SAMPLES).zip(played.chunks_exact(STEP_SAMPLES)) {
        processor.process(step, played)?;
    }
    let time = begun.elapsed() / u32::try_from(options.seconds).unwrap_or(u32::MAX);
    save(options, &format!("{}-heard", case.name), &heard)?;
    save(options, &format!("{}-left", case.name), &left)?;

    let learned = |at: usize| {
        let since = if at >= changes_at { at - changes_at } else { at };
        since >= LEARNING * SAMPLE_RATE as usize
    };
    let silent = |at: usize| learned(at) && (!case.voice || only_echo(at));
    let level = |sound: &[i16], counts: &dyn Fn(usize) -> bool| loudness(sound, counts);
    let voice_db = case.voice.then(|| {
        let said = |at: usize| learned(at) && speaks(at);
        level(&left, &said) - level(&near, &said)
    });
    Ok(EchoResult {
        room: case.name,
        echo_dbfs: level(&heard, &silent),
        left_dbfs: level(&left, &silent),
        voice_db,
        time,
    })
}

/// Another person than the loudspeaker's: the same voice a third higher and a while later, in turns.
fn near_voice(samples: usize) -> Result<Vec<i16>> {
    let (later, faster) = (SAMPLE_RATE as usize * 337 / 100, 1.35);
    let mut voice = vec![0; later + (samples as f64 * faster) as usize + 2];
    Voice::new(LEVEL).fill(&mut voice)?;
    let between = |at: f64| {
        let (before, share) = (at as usize, at.fract());
        f64::from(voice[before]) * (1.0 - share) + f64::from(voice[before + 1]) * share
    };
    let mut sound: Vec<i16> = (0..samples).map(|at| between(later as f64 + at as f64 * faster) as i16).collect();
    for (at, sample) in sound.iter_mut().enumerate() {
        if !speaks(at) {
            *sample = 0;
        }
    }
    Ok(sound)
}

/// Whether it is the near voice's turn.
fn speaks(at: usize) -> bool {
    at / (TURN * SAMPLE_RATE as usize) % 2 == 1
}

/// Whether only the loudspeaker is heard: the voice comes out of the canceller a little later than it went in, so that a
/// tenth of a second after it counts to neither.
fn only_echo(at: usize) -> bool {
    !speaks(at) && at % (TURN * SAMPLE_RATE as usize) >= SAMPLE_RATE as usize / 10
}

fn echo(case: &Case, played: &[i16], changes_at: usize) -> Vec<f32> {
    let rooms = [Room::new(1, case.delay, case.decay), Room::new(2, case.delay + 15, case.decay)];
    let mut echo = rooms[0].echo(&played[..changes_at]);
    let moved = rooms[1].echo(played);
    echo.extend(&moved[changes_at..]);
    echo
}

/// RMS of the samples that count, in dB below overload. Digital silence is a third of the smallest step.
fn loudness(sound: &[i16], counts: &dyn Fn(usize) -> bool) -> f64 {
    let (mut squares, mut count) = (0.0, 0u64);
    for (_, sample) in sound.iter().enumerate().filter(|(at, _)| counts(*at)) {
        squares += f64::from(*sample).powi(2);
        count += 1;
    }
    let rms = (squares / count.max(1) as f64).sqrt().max(1.0 / 3.0);
    20.0 * (rms / 32_767.0).log10()
}

/// Writes `sound` as `name`.wav, where that is wanted.
fn save(options: &EchoOptions, name: &str, sound: &[i16]) -> Result<()> {
    let Some(folder) = options.save.clone() else { return Ok(()) };
    let settings = RecordSettings { folder, coded: false, frame_rate: 0.0 };
    settings.prepare()?;
    let mut recorder = AudioRecorder::new(Some(&settings), name, Outlets::default())?;
    recorder.write_sound(sound)?;
    recorder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echo_is_35_db_quieter_and_a_voice_stays() {
        let options = EchoOptions { seconds: 20, ..Default::default() };
        let results = measure(&options, |result| println!("{}", result.to_json())).unwrap();
        let of = |room| results.iter().find(|result| result.room == room).unwrap();
        for room in ["small", "large", "late", "moves"] {
            assert!(of(room).erle_db() >= 35.0, "{:?}", of(room));
        }
        let voice = of("both-speak").voice_db.unwrap();
        assert!(voice.abs() < 6.0, "{voice} dB");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let measured =
            |seconds, room: &str| measure(&EchoOptions { seconds, room: room.into(), ..Default::default() }, |_| {});
        assert!(measured(9, "").is_err());
        assert!(measured(20, "cellar").unwrap_err().to_string().contains("cellar"));
    }
}
