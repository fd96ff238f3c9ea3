//! Marks of listening quality: PESQ for wide band (ITU-T P.862.2) and for a telephone's (P.862.1), by the crate `pesq`.

use crate::capture::SAMPLE_RATE;

/// Sound that is marked at a time: P.862.3 asks for 8 to 12 s.
const PIECE: usize = 8 * RATE;
/// What PESQ-WB takes.
const RATE: usize = 16_000;
/// From our rate to that.
const FACTOR: usize = SAMPLE_RATE as usize / RATE;
/// Longest delay of what was heard.
const LONGEST: usize = RATE;
/// Step in which the delay is looked for; PESQ aligns the rest.
const ENVELOPE: usize = RATE / 250;

/// The mean marks (MOS-LQO, 1 to 4.64; for wide band, then for narrow band) of what was `heard` of what was `said`, both at 48 kHz, from second `from` on.
/// `None` where there is too little speech.
pub fn mark(said: &[i16], heard: &[i16], from: usize) -> Option<(f64, f64)> {
    let (said, heard) = (decimate(said), decimate(heard));
    let said = said.get(from * RATE..)?;
    let heard = heard.get(from * RATE..)?;
    let mut marks = Vec::new();
    for (piece, start) in said.chunks_exact(PIECE).zip((0..).step_by(PIECE)) {
        let delay = delay(piece, heard.get(start..)?);
        let Some(heard) = heard.get(start + delay..start + delay + PIECE) else { break };
        marks.push((f64::from(pesq::pesq_wb(piece, heard).ok()?), narrow(piece, heard)?));
    }
    let mean = |of: fn(&(f64, f64)) -> f64| marks.iter().map(of).sum::<f64>() / marks.len() as f64;
    (!marks.is_empty()).then(|| (mean(|mark| mark.0), mean(|mark| mark.1)))
}

/// The mark for a telephone's band.
fn narrow(said: &[i16], heard: &[i16]) -> Option<f64> {
    let raw = pesq::pesq(said, heard).ok()?;
    Some(f64::from(pesq::score::mos_lqo(f64::from(raw))))
}

/// Where in `heard` the envelope is most like that of `said`.
fn delay(said: &[i16], heard: &[i16]) -> usize {
    let envelope = |samples: &[i16]| -> Vec<f64> {
        let loudness = |piece: &[i16]| piece.iter().map(|sample| f64::from(*sample).abs()).sum::<f64>();
        samples.chunks_exact(ENVELOPE).map(loudness).collect()
    };
    let (said, heard) = (envelope(said), envelope(&heard[..heard.len().min(said.len() + LONGEST)]));
    let likeness = |delay: usize| -> f64 {
        let pairs = said.iter().zip(heard.get(delay..).unwrap_or_default());
        pairs.map(|(a, b)| a * b).sum()
    };
    let delays = 0..=LONGEST / ENVELOPE;
    let likest = delays.map(|delay| (delay, likeness(delay))).max_by(|a, b| a.1.total_cmp(&b.1));
    likest.map_or(0, |(delay, _)| delay * ENVELOPE)
}

/// Every third sample, of what is below 7.2 kHz: a sinc in a Hann window.
fn decimate(samples: &[i16]) -> Vec<i16> {
    const TAPS: usize = 97;
    let cut = 7_200.0 / f64::from(SAMPLE_RATE);
    let taps: Vec<f64> = (0..TAPS)
        .map(|i| {
            let x = (i as f64 - (TAPS - 1) as f64 / 2.0) * std::f64::consts::TAU * cut;
            let sinc = if x == 0.0 { 1.0 } else { x.sin() / x };
            let window = 0.5 - 0.5 * (std::f64::consts::TAU * (i as f64 + 0.5) / TAPS as f64).cos();
            2.0 * cut * sinc * window
        })
        .collect();
    samples
        .windows(TAPS)
        .step_by(FACTOR)
        .map(|window| window.iter().zip(&taps).map(|(sample, tap)| f64::from(*sample) * tap).sum::<f64>() as i16)
        .collect()
}
