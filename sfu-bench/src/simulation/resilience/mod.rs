//! What becomes of real pictures when frames are lost and nothing else repairs them: one sender, a real worker, many
//! subscribers with real decoders, under simulated time. Played once with keyframes for whoever has lost something, and
//! once with acknowledged long-term references, the same frames being lost.
//!
//! Each subscriber loses whole frames by chance, independently of the others; or all lose the same, on the way to the
//! server. They give transport-wide feedback, and ask for a keyframe when a frame comes that they cannot decode.

mod receiver;
mod sender;
mod world;

use anyhow::Result;
use serde::Serialize;
use sfu_client::capture::SceneKind;
use sfu_rtc::time::Duration;
use sfu_rtc::units::Bitrate;
use std::fmt::Write;

/// What is played.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    /// How many watch.
    pub subscribers: usize,
    /// Share of frames that are lost.
    pub loss: f64,
    /// Not whole frames are lost on the way to a subscriber, but packets: of a keyframe, which has several, more than of others.
    pub packets: bool,
    /// They are lost on the way to the server, by all subscribers.
    pub uplink: bool,
    /// How long, from when losses begin.
    pub length: Duration,
    /// From the sender to the server, and from there to each subscriber.
    pub one_way: Duration,
    /// Of the encoder.
    pub bitrate: Bitrate,
    /// Width and height.
    pub size: (usize, usize),
    /// What is shown.
    pub scene: SceneKind,
    /// Which frames are lost.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            subscribers: 20,
            loss: 0.05,
            packets: false,
            uplink: false,
            length: Duration::from_secs(60),
            one_way: Duration::from_millis(25),
            bitrate: Bitrate::from_kbps(600),
            size: (640, 360),
            scene: SceneKind::Talking,
            seed: 1,
        }
    }
}

/// How subscribers go on after a loss.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// With a keyframe.
    Keyframe,
    /// With a frame that refers to an acknowledged one.
    LongTerm,
}

/// What came of one play. Shares are of one; sizes in bytes; all from when losses begin.
#[derive(Clone, PartialEq, Serialize, Debug)]
pub struct Outcome {
    /// How subscribers went on.
    pub recovery: Recovery,
    /// Frames sent.
    pub frames: u64,
    /// Of these, keyframes, and per minute.
    pub keyframes: u64,
    /// The same per minute.
    pub keyframes_per_minute: f64,
    /// Frames that referred to an acknowledged one in order to recover.
    pub recoveries: u64,
    /// Mean size of frames that are neither.
    pub mean_frame: f64,
    /// Mean size of frames that recover, or of keyframes.
    pub mean_recovery: f64,
    /// The same in units of the mean frame.
    pub recovery_ratio: f64,
    /// How far back frames that recover refer, in frames, in the mean.
    pub mean_reference_age: f64,
    /// Bits per second.
    pub bitrate: f64,
    /// Share of the subscribers' time in which the picture stood still (freezes as in webrtc-stats).
    pub freeze_share: f64,
    /// Freezes of each subscriber per minute.
    pub freezes_per_minute: f64,
    /// Share of frames that were not shown, lost ones included.
    pub not_shown: f64,
    /// Frames that came whole and were to be decodable, but were not decoded.
    pub decode_errors: u64,
    /// Luma PSNR in dB of pictures as shown, and of those with which a subscriber went on after a loss; the worst of these.
    pub psnr: f64,
    /// See there.
    pub psnr_recovered: f64,
    /// See there.
    pub psnr_recovered_worst: f64,
    /// Requests for keyframes that subscribers sent.
    pub requests: u64,
}

/// Plays it both ways.
///
/// # Errors
/// Where somebody cannot join, or the encoder fails.
pub fn play(plan: &Plan, progress: &mut dyn FnMut(&str)) -> Result<[Outcome; 2]> {
    let mut play = |recovery, name: &str| {
        progress(&format!("{name}, {} subscribers", plan.subscribers));
        world::World::new(plan, recovery)?.play()
    };
    Ok([play(Recovery::Keyframe, "keyframes")?, play(Recovery::LongTerm, "acknowledged references")?])
}

/// Both side by side.
pub fn table([keyframe, long_term]: &[Outcome; 2]) -> String {
    let mut text = format!("{:38} {:>12} {:>14}\n", "", "keyframe", "acknowledged");
    let mut row = |name: &str, of: &dyn Fn(&Outcome) -> String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:38} {:>12} {:>14}", of(keyframe), of(long_term));
    };
    row("frames", &|o| o.frames.to_string());
    row("keyframes per minute", &|o| format!("{:.2}", o.keyframes_per_minute));
    row("frames that recover", &|o| o.recoveries.to_string());
    row("mean P frame, bytes", &|o| format!("{:.0}", o.mean_frame));
    row("mean recovery frame / mean P frame", &|o| format!("{:.2}", o.recovery_ratio));
    row("age of the reference, frames", &|o| format!("{:.1}", o.mean_reference_age));
    row("kbit/s", &|o| format!("{:.0}", o.bitrate / 1_000.0));
    row("frozen, % of the time", &|o| format!("{:.2}", 100.0 * o.freeze_share));
    row("freezes per minute and subscriber", &|o| format!("{:.2}", o.freezes_per_minute));
    row("frames not shown, %", &|o| format!("{:.2}", 100.0 * o.not_shown));
    row("decode errors", &|o| o.decode_errors.to_string());
    row("PSNR, dB", &|o| format!("{:.2}", o.psnr));
    row("PSNR of recovered pictures, dB", &|o| format!("{:.2}", o.psnr_recovered));
    row("the worst of them, dB", &|o| format!("{:.2}", o.psnr_recovered_worst));
    row("requests for keyframes", &|o| o.requests.to_string());
    let ratio = long_term.freeze_share / keyframe.freeze_share.max(1e-9);
    let _ = writeln!(text, "time frozen with acknowledged references, of that with keyframes: {ratio:.3}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_references_spare_keyframes_and_freezes() {
        for uplink in [false, true] {
            let length = Duration::from_secs(10);
            let plan = Plan { subscribers: 4, uplink, length, size: (320, 180), ..Plan::default() };
            let outcomes = play(&plan, &mut |_| {}).unwrap();
            let [keyframe, long_term] = &outcomes;
            let text = table(&outcomes);
            assert!(keyframe.keyframes >= 5 && long_term.keyframes == 0, "{text}");
            assert!(long_term.recoveries >= 5 && long_term.decode_errors + keyframe.decode_errors == 0, "{text}");
            // Where all lose the same, a keyframe is asked for at once, and nobody waits much longer for it.
            let most = if uplink { 1.0 } else { 1.0 / 3.0 };
            assert!(long_term.freeze_share <= keyframe.freeze_share * most, "{text}");
            assert!(long_term.recovery_ratio <= 1.5, "{text}");
            assert!(long_term.psnr_recovered_worst > 28.0, "{text}");
        }
    }
}
