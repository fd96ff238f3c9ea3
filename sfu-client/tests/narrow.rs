//! A call goes on where next to nothing passes: 50 kbit/s for voice, picture and all headers, 400 ms of round trip, 2 % loss.
//!
//! Prints what it measures (`-- --nocapture`); with the feature `pesq` the voice is marked too.

#[expect(dead_code, reason = "other tests use more of it")]
mod real;
mod relayed;

use netsim::{LinkConfig, Loss, QueueLimit, Rate};
use real::Server;
use relayed::{join, peer};
use sfu_client::capture::{AudioSource, SAMPLE_RATE, Scene, SceneKind, Voice};
use sfu_client::encode::{OpusConfig, PacketTime};
use sfu_client::peer::{MediaKind, Peer};
use sfu_client::receive::{receive_audio, receive_video};
use sfu_client::record::{AudioRecorder, Outlets, VideoRecorder};
use sfu_client::send::{AudioSender, AudioSettings, RedConfig, VideoSender, VideoSettings};
use sfu_client::stats::StreamStats;
use sfu_client::subscriber::{Media, Received, Tap};
use sfu_proto::v1::{Publish, Source};
use sfu_rtc::units::Bitrate;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(60);
/// Room, and what losses follow from.
const PLACE: (&str, u64) = ("narrow", 7);
/// How long it is measured.
const WATCHED: Duration = Duration::from_secs(24);
/// Not counted: what it takes to find the buffer's delay.
const SETTLING: Duration = Duration::from_secs(6);
/// Pictures per second that are sent.
const FRAME_RATE: f64 = 6.5;

fn narrow() -> LinkConfig {
    LinkConfig {
        rate: Some(Rate::from_kbps(50)),
        queue: QueueLimit::Time(Duration::from_millis(500)),
        loss: Loss::Random(0.02),
        ..LinkConfig::delayed(Duration::from_millis(200))
    }
}

/// Words, with pauses.
struct Words {
    voice: Voice,
    said: usize,
}

impl Words {
    fn new() -> Self {
        Self { voice: Voice::new(1_640.0), said: 0 }
    }
}

impl AudioSource for Words {
    fn fill(&mut self, samples: &mut [i16]) -> anyhow::Result<bool> {
        self.voice.fill(samples)?;
        for sample in samples {
            if self.said as f64 / f64::from(SAMPLE_RATE) % 2.4 > 2.0 {
                *sample = 0;
            }
            self.said += 1;
        }
        Ok(true)
    }
}

/// What was seen and heard.
#[derive(Default)]
struct Watched {
    pictures: Vec<Instant>,
    heard: Vec<i16>,
}

async fn watch(receiver: &mut Peer) -> Watched {
    let (out, mut media) = mpsc::channel::<Received>(64);
    for _ in 0..2 {
        let track = tokio::time::timeout(LIMIT, receiver.next_track()).await.unwrap().unwrap();
        let stats = Arc::new(StreamStats::new(track.mid.clone(), track.kind));
        let outlets = Outlets { call: None, tap: Some(Tap::new(out.clone(), Arc::clone(&stats))) };
        if track.kind == MediaKind::Video {
            tokio::spawn(receive_video(track, stats, None, Some(VideoRecorder::new(None, "", outlets))));
        } else {
            tokio::spawn(receive_audio(track, stats, None, Some(AudioRecorder::new(None, "", outlets).unwrap())));
        }
    }
    let mut watched = Watched::default();
    let watching = async {
        while let Some(received) = media.recv().await {
            match received.media {
                Media::Picture(_) => watched.pictures.push(Instant::now()),
                Media::Sound(samples) => watched.heard.extend(samples),
            }
        }
    };
    let _ = tokio::time::timeout(WATCHED, watching).await;
    watched
}

#[tokio::test(flavor = "multi_thread")]
async fn voice_and_pictures_pass_where_there_are_50_kilobits() {
    let server = Server::start_with("narrow", 1, &[("SFU_MEDIA__NODE_IPS", "127.0.0.1")]);
    let (sender, mut receiver) = (peer().await, peer().await);
    for kind in [MediaKind::Video, MediaKind::Audio] {
        receiver.add_receiver(kind).await.unwrap();
    }
    let watching = join(&server, PLACE, "bob", &receiver, Vec::new()).await;
    let video = sender.add_sink(MediaKind::Video, "narrow").await.unwrap();
    let audio = sender.add_sink(MediaKind::Audio, "narrow").await.unwrap();
    let mids = ["0", "1"].into_iter().zip([Source::Camera, Source::Microphone]);
    let publish =
        mids.map(|(mid, source)| Publish { mid: mid.to_owned(), source: source.into(), ..Default::default() });
    let (session, relay) = join(&server, PLACE, "ada", &sender, publish.collect()).await;
    relay.set_links(narrow(), LinkConfig { rate: None, ..narrow() });
    let before = relay.counts().unwrap().up;
    let begun = Instant::now();
    let opus = OpusConfig { bitrate: 8_000, fec: false, packet_time: PacketTime::Ms60, ..Default::default() };
    let red = RedConfig { generations: 1, spacing: 1 };
    let sound = AudioSettings { opus, red, ..Default::default() };
    let scene = Box::new(Scene::of(SceneKind::Talking, 320, 180, FRAME_RATE).unwrap());
    let pictures = VideoSettings { bitrate: Bitrate::from_kbps(16), ..Default::default() };
    let _audio = AudioSender::start(audio, Box::new(Words::new()), sound).await.unwrap();
    let video = VideoSender::start(video, scene, pictures).await.unwrap();

    let watched = watch(&mut receiver).await;
    let (elapsed, up) = (begun.elapsed().as_secs_f64(), relay.counts().unwrap().up);
    let settled: Vec<_> = watched.pictures.iter().filter(|at| at.duration_since(begun) > SETTLING).collect();
    let seconds = settled[settled.len() - 1].duration_since(*settled[0]).as_secs_f64();
    let frame_rate = (settled.len() - 1) as f64 / seconds;
    let longest = settled.windows(2).map(|pair| pair[1].duration_since(*pair[0])).max().unwrap();
    let sent = (up.bytes_sent - before.bytes_sent) as f64 * 8.0 / 1_000.0 / elapsed;
    let quiet = watched.heard.chunks_exact(480).filter(|step| step.iter().all(|sample| sample.unsigned_abs() < 30));
    let spoken = 1.0 - quiet.count() as f64 / (watched.heard.len() / 480) as f64;
    println!(
        "sent {sent:.1} kbit/s ({} lost, {} dropped); {frame_rate:.2} pictures per second, {} ms between two at most; \
         sound in {:.0} % of the time; mark {:?}; {:?}",
        up.lost,
        up.dropped,
        longest.as_millis(),
        spoken * 100.0,
        mark(&watched.heard),
        video.sent()
    );
    assert!(up.lost > 0, "nothing was lost, the test shows nothing");
    // How many, and the voice's mark, depends on when a busy machine sends: docs/client.md has figures.
    assert!(frame_rate >= 1.0, "{frame_rate} pictures per second");
    // Five of six parts are words.
    assert!(spoken > 0.5, "{spoken} of the time there is sound");
    for ((session, _relay), peer) in [((session, relay), sender), (watching, receiver)] {
        session.leave("done").await;
        peer.close().await;
    }
}

/// PESQ of what was heard, for wide and narrow band.
#[cfg(feature = "pesq")]
fn mark(heard: &[i16]) -> Option<(f64, f64)> {
    let mut said = vec![0; heard.len()];
    Words::new().fill(&mut said).unwrap();
    // Where the first packet was lost, what was heard is ahead.
    let silence = SAMPLE_RATE as usize / 2;
    let heard: Vec<i16> = std::iter::repeat_n(0, silence).chain(heard.iter().copied()).collect();
    sfu_client::lab::pesq::mark(&said, &heard, 8)
}

#[cfg(not(feature = "pesq"))]
fn mark(_: &[i16]) -> Option<(f64, f64)> {
    None
}
