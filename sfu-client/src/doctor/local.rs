//! What this build and this machine can do.

use super::Finding;
use crate::capture::{Scene, VideoSource};
use crate::decode::{OpusDecoder, open_decoder};
use crate::encode::{EncoderConfig, FRAME_SAMPLES, OpusConfig, OpusEncoder, open_encoder};
use crate::frame::VideoFrame;
use crate::peer::VideoCodec;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const BUILD: &str = "build";
const DEVICES: &str = "devices";
const PROGRAMS: &str = "programs";

/// Pictures that are coded to see how fast that is.
const PICTURES: u32 = 15;
/// Time between two pictures of 30 per second.
const INTERVAL: Duration = Duration::from_micros(33_333);

pub(super) fn examine() -> Vec<Finding> {
    let mut findings: Vec<_> = VideoCodec::ALL.map(video).into();
    findings.push(opus());
    findings.push(if cfg!(feature = "pesq") {
        Finding::good(BUILD, "PESQ", "marks of voice in `lab voice`".to_owned())
    } else {
        let detail = "not in this build: `lab voice` gives no marks".to_owned();
        Finding::note(BUILD, "PESQ", detail, "build with --features pesq")
    });
    findings.push(cameras());
    findings.push(sound_cards());
    findings.push(ffmpeg());
    findings
}

fn video(codec: VideoCodec) -> Finding {
    let name = codec.name();
    if !codec.is_built_in() {
        let remedy = format!("build with {}", codec.build_option());
        return Finding::note(BUILD, name, "not in this build".to_owned(), &remedy);
    }
    match code_pictures(codec) {
        Ok(slowest) if slowest < INTERVAL => {
            let millis = slowest.as_secs_f64() * 1_000.0;
            Finding::good(BUILD, name, format!("encodes and decodes; 640x360 takes {millis:.1} ms at most"))
        }
        Ok(slowest) => {
            let detail = format!("a picture of 640x360 takes up to {} ms to encode", slowest.as_millis());
            let remedy = "publish smaller (--width, --height) or slower (--fps), and use a release build";
            Finding::note(BUILD, name, detail, remedy)
        }
        Err(error) => {
            Finding::problem(BUILD, name, format!("{error:#}"), "build the client anew; this is a fault of it")
        }
    }
}

/// The longest time that a picture took to encode.
fn code_pictures(codec: VideoCodec) -> Result<Duration> {
    let (width, height) = (640, 360);
    let mut scene = Scene::new(width, height, 30.0)?;
    let mut encoder = open_encoder(codec, EncoderConfig { width, height, ..Default::default() })?;
    let mut decoder = open_decoder(codec)?;
    let mut picture = VideoFrame::new(width, height)?;
    let mut slowest = Duration::ZERO;
    for frame in 0..PICTURES {
        scene.draw(frame, &mut picture)?;
        let begun = Instant::now();
        let coded = encoder.encode(&picture, i64::from(frame) * 33)?.context("the encoder left a picture out")?;
        slowest = slowest.max(begun.elapsed());
        let decoded = decoder.decode(&coded.data)?.context("the decoder gives no picture")?;
        ensure!((decoded.width(), decoded.height()) == (width, height), "the decoder gives another size");
    }
    Ok(slowest)
}

fn opus() -> Finding {
    let coded = || -> Result<usize> {
        let packet = OpusEncoder::new(&OpusConfig::default())?.encode(&[100; FRAME_SAMPLES])?;
        Ok(OpusDecoder::new()?.decode(&packet)?.len())
    };
    match coded() {
        Ok(FRAME_SAMPLES) => Finding::good(BUILD, "Opus", "encodes and decodes".to_owned()),
        Ok(samples) => {
            let detail = format!("{samples} samples came of {FRAME_SAMPLES}");
            Finding::problem(BUILD, "Opus", detail, "build the client anew; this is a fault of it")
        }
        Err(error) => {
            Finding::problem(BUILD, "Opus", format!("{error:#}"), "build the client anew; this is a fault of it")
        }
    }
}

fn cameras() -> Finding {
    let names = fs::read_dir("/sys/class/video4linux").into_iter().flatten().flatten();
    let names: Vec<_> = names.filter_map(|entry| fs::read_to_string(entry.path().join("name")).ok()).collect();
    let found = if names.is_empty() { "none found".to_owned() } else { names.join(", ").replace('\n', "") };
    let detail = format!("{found}; this client captures none itself");
    Finding::note(DEVICES, "cameras", detail, "publish a file (--file, --y4m) or the generated scene")
}

fn sound_cards() -> Finding {
    let cards = fs::read_to_string("/proc/asound/cards").unwrap_or_default();
    // Two lines for each card: number, id and name; then the long name.
    let names: Vec<_> = cards.lines().filter_map(|line| line.split_once("]: ")).map(|(_, name)| name).collect();
    let found = if names.is_empty() { "none found".to_owned() } else { names.join(", ") };
    let detail = format!("{found}; this client captures and plays none itself");
    Finding::note(
        DEVICES,
        "sound cards",
        detail,
        "publish a WAV file (--wav) or the generated voice, record what comes",
    )
}

fn ffmpeg() -> Finding {
    let output = Command::new("ffmpeg").arg("-version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let version = output.ok().filter(|output| output.status.success()).and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().map(str::to_owned)
    });
    match version {
        Some(version) => Finding::good(PROGRAMS, "ffmpeg", version),
        None => {
            let detail = "not found: --file plays nothing but Y4M".to_owned();
            Finding::note(PROGRAMS, "ffmpeg", detail, "install it: apt-get install ffmpeg")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn the_codecs_of_this_build_work() {
        let findings = examine();
        let status = |name| findings.iter().find(|finding| finding.name == name).unwrap().status;
        assert_eq!(status("Opus"), Status::Good);
        for codec in VideoCodec::ALL {
            assert_ne!(status(codec.name()), Status::Problem);
        }
        assert!(findings.iter().all(|finding| finding.status == Status::Good || finding.remedy.is_some()));
    }
}
