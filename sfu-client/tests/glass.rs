//! From glass to glass and from lips to ears: how late pictures and sound are that both know when they were captured, with
//! 50 ms of round trip between either client and the server.
//!
//! Prints what it measures (`-- --nocapture`); docs/client.md has figures.

#[expect(dead_code, reason = "other tests use more of it")]
mod real;
mod relayed;

use netsim::LinkConfig;
use real::Server;
use relayed::{join, peer};
use sfu_client::capture::{AudioSource, SAMPLE_RATE, Scene};
use sfu_client::clock::unix_now;
use sfu_client::overlay::Overlay;
use sfu_client::peer::MediaKind;
use sfu_client::receive::{receive_audio, receive_video};
use sfu_client::record::{AudioRecorder, Outlets, VideoRecorder};
use sfu_client::send::{AudioSender, AudioSettings, VideoSender, VideoSettings};
use sfu_client::stats::StreamStats;
use sfu_client::subscriber::{Media, Received, Tap};
use sfu_proto::v1::{Publish, Source};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(60);
/// Room, and what the relay draws from.
const PLACE: (&str, u64) = ("glass", 3);
/// How long it is measured.
const WATCHED: Duration = Duration::from_secs(15);
/// Each way, between either client and the server.
const ONE_WAY: Duration = Duration::from_millis(25);
/// Time between two ticks; no sound is as late as that.
const TICK_MICROS: u64 = 500_000;

/// Clicks whenever the wall clock passes a multiple of [`TICK_MICROS`]. As a microphone does, it hands out what was heard
/// in the time before.
struct Ticks;

impl AudioSource for Ticks {
    fn fill(&mut self, samples: &mut [i16]) -> anyhow::Result<bool> {
        let micros = |samples: usize| samples as u64 * 1_000_000 / u64::from(SAMPLE_RATE);
        let begun = unix_now().as_micros() as u64 - micros(samples.len());
        for (index, sample) in samples.iter_mut().enumerate() {
            let since = (begun + micros(index)) % TICK_MICROS;
            // 10 ms of 1 kHz.
            let wave = (since as f64 / 1_000.0 * std::f64::consts::TAU).sin() * 16_000.0;
            *sample = if since < 10_000 { wave as i16 } else { 0 };
        }
        Ok(true)
    }
}

/// When clicks were heard, in microseconds since they were captured.
#[derive(Default)]
struct Ear {
    quiet: usize,
    late: Vec<(u64, u64)>,
}

impl Ear {
    fn hear(&mut self, now: u64, samples: &[i16]) {
        for (index, sample) in samples.iter().enumerate() {
            if sample.unsigned_abs() < 2_000 {
                self.quiet += 1;
            } else {
                let at = now + index as u64 * 1_000_000 / u64::from(SAMPLE_RATE);
                if self.quiet > SAMPLE_RATE as usize / 10 {
                    self.late.push((now, at % TICK_MICROS));
                }
                self.quiet = 0;
            }
        }
    }
}

fn percentile(values: &[u64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[((values.len() - 1) as f64 * share) as usize] as f64 / 1_000.0
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_and_sound_are_timed_from_capture_to_display() {
    let server = Server::start_with("glass", 1, &[("SFU_MEDIA__NODE_IPS", "127.0.0.1")]);
    let (sender, mut receiver) = (peer().await, peer().await);
    for kind in [MediaKind::Video, MediaKind::Audio] {
        receiver.add_receiver(kind).await.unwrap();
    }
    let watching = join(&server, PLACE, "bob", &receiver, Vec::new()).await;
    let video = sender.add_sink(MediaKind::Video, "glass").await.unwrap();
    let audio = sender.add_sink(MediaKind::Audio, "glass").await.unwrap();
    let mids = ["0", "1"].into_iter().zip([Source::Camera, Source::Microphone]);
    let publish =
        mids.map(|(mid, source)| Publish { mid: mid.to_owned(), source: source.into(), ..Default::default() });
    let sending = join(&server, PLACE, "ada", &sender, publish.collect()).await;
    for (_, relay) in [&watching, &sending] {
        relay.set_links(LinkConfig::delayed(ONE_WAY), LinkConfig::delayed(ONE_WAY));
    }
    let scene = Box::new(Scene::new(640, 360, 30.0).unwrap());
    let _video = VideoSender::start(video, scene, VideoSettings::default()).await.unwrap();
    let _audio = AudioSender::start(audio, Box::new(Ticks), AudioSettings::default()).await.unwrap();

    let (out, mut media) = mpsc::channel::<Received>(64);
    for _ in 0..2 {
        let track = tokio::time::timeout(LIMIT, receiver.next_track()).await.unwrap().unwrap();
        let stats = Arc::new(StreamStats::new(track.mid.clone(), track.kind));
        let outlets = Outlets { call: None, tap: Some(Tap::new(out.clone(), Arc::clone(&stats))) };
        if track.kind == MediaKind::Video {
            tokio::spawn(receive_video(track, stats, Some(VideoRecorder::new(None, "", outlets))));
        } else {
            tokio::spawn(receive_audio(track, stats, Some(AudioRecorder::new(None, "", outlets).unwrap())));
        }
    }
    let (mut seen, mut ear) = (Vec::new(), Ear::default());
    let watch = async {
        while let Some(received) = media.recv().await {
            let now = unix_now();
            match received.media {
                Media::Picture(picture) => {
                    let overlay = Overlay::read(&picture).expect("an overlay");
                    seen.push((now.as_micros() as u64, overlay.age(now).as_micros() as u64));
                }
                Media::Sound(samples) => ear.hear(now.as_micros() as u64, &samples),
            }
        }
    };
    let _ = tokio::time::timeout(WATCHED, watch).await;
    // The sound's buffer has found its delay by then.
    let settled = seen[0].0 + 5_000_000;
    let late =
        |all: &[(u64, u64)]| all.iter().filter(|(at, _)| *at > settled).map(|(_, late)| *late).collect::<Vec<_>>();
    let (pictures, ticks) = (late(&seen), late(&ear.late));
    assert!(pictures.len() > 100 && ticks.len() > 10, "{} pictures, {} ticks", pictures.len(), ticks.len());
    println!(
        "pictures after {:.1} ms (p50), {:.1} ms (p90), {:.1} ms (p95); sound after {:.1} ms (p50), {:.1} ms (p95); sound \
         behind the lips by {:+.1} ms",
        percentile(&pictures, 0.5),
        percentile(&pictures, 0.9),
        percentile(&pictures, 0.95),
        percentile(&ticks, 0.5),
        percentile(&ticks, 0.95),
        percentile(&ticks, 0.5) - percentile(&pictures, 0.5),
    );
    // Neither can be earlier than the network.
    assert!(percentile(&pictures, 0.0) >= 50.0 && percentile(&ticks, 0.0) >= 50.0);
    for ((session, relay), peer) in [(sending, sender), (watching, receiver)] {
        assert_eq!(relay.counts().unwrap().down.lost, 0);
        session.leave("done").await;
        peer.close().await;
    }
}
