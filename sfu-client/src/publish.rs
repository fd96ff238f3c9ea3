//! A whole publishing session: join, send until told to stop, leave.

use crate::capture::{AudioSource, VideoSource};
use crate::peer::{ConnectionState, MediaKind, Peer, RtpSink};
use crate::send::{AudioSender, AudioSettings, Sent, VideoControl, VideoSender, VideoSettings, VideoStats};
use crate::signal::{Session, SignalEvent, Target};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sfu_proto::v1::{
    AudioDirective, DirectiveOutcome, EncoderDirective, EncoderDirectiveAck, EncodingDirective, Publish, Source,
};
use sfu_rtc::units::Bitrate;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Longest wait for ICE and DTLS.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for the last packets, and those that are asked for again, to leave.
const DRAIN: Duration = Duration::from_millis(200);

/// Least bits per second of Opus.
const MIN_AUDIO_BITRATE: u32 = 6_000;

/// What to publish and where.
pub struct PublishOptions {
    /// Server.
    pub target: Target,
    /// Pictures, if any.
    pub video: Option<(Box<dyn VideoSource>, VideoSettings)>,
    /// Sound, if any.
    pub audio: Option<(Box<dyn AudioSource>, AudioSettings)>,
}

/// What has been published so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishReport {
    /// Time since media began to flow.
    pub elapsed: Duration,
    /// From the start of the join until media could flow.
    pub join: Duration,
    /// Pictures.
    pub video: Sent,
    /// Sound.
    pub audio: Sent,
    /// Keyframes that the far side asked for.
    pub keyframe_requests: u64,
    /// What was done to pictures.
    pub pipeline: VideoStats,
}

impl PublishReport {
    /// For programs; `event` says what the line is.
    pub fn to_json(&self, event: &str) -> Value {
        let sent = |sent: Sent| {
            json!({
                "frames": sent.frames, "packets": sent.packets, "bytes": sent.bytes, "keyframes": sent.keyframes,
            })
        };
        json!({
            "event": event,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "join_ms": self.join.as_secs_f64() * 1000.0,
            "video": sent(self.video),
            "audio": sent(self.audio),
            "keyframe_requests": self.keyframe_requests,
            "pipeline": {
                "frame_width": self.pipeline.size.0,
                "frame_height": self.pipeline.size.1,
                "pictures": self.pipeline.preprocess.pictures,
                "denoised": self.pipeline.preprocess.denoised,
                "brightened": self.pipeline.preprocess.brightened,
                "skipped": self.pipeline.encoder.skipped,
                "coded_again": self.pipeline.encoder.coded_again,
                "quantizer_sum": self.pipeline.encoder.quantizer_sum,
                "encode_time_s": self.pipeline.encoder.encode_time.as_secs_f64(),
                "slowest_encode_ms": self.pipeline.encoder.slowest.as_secs_f64() * 1000.0,
                "effort_changes": self.pipeline.encoder.effort_changes,
            },
        })
    }
}

/// Publishes until `stop` completes, the pictures end, or the server ends the session.
///
/// # Errors
/// Where the server cannot be reached, refuses, or ends the session, and where a source fails.
pub async fn publish(
    options: PublishOptions,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(&PublishReport),
) -> Result<PublishReport> {
    ensure!(options.video.is_some() || options.audio.is_some(), "there is nothing to publish");
    let begun = Instant::now();
    let mut stop = pin!(stop);
    let mut running = tokio::select! {
        running = Running::start(options, begun) => running?,
        () = &mut stop => return Ok(PublishReport::default()),
    };
    let result = running.serve(stop, &mut progress).await;
    let report = running.report();
    if result.is_ok() {
        sleep(DRAIN).await;
    }
    running.end().await;
    result.map(|()| report)
}

struct Running {
    peer: Peer,
    session: Session,
    video: Option<VideoSender>,
    audio: Option<AudioSender>,
    keyframe_requests: Option<Arc<AtomicU64>>,
    base_bitrate: Bitrate,
    base_audio: AudioSettings,
    /// When the last directive for video lapses.
    lapse: Option<tokio::time::Instant>,
    /// When the last directive for sound lapses.
    audio_lapse: Option<tokio::time::Instant>,
    connected: Instant,
    join: Duration,
}

impl Running {
    async fn start(options: PublishOptions, begun: Instant) -> Result<Self> {
        let peer = Peer::new(options.target.peer_config()?).await?;
        let stream = "sfu-client";
        let video_sink = match &options.video {
            Some(_) => Some(peer.add_sink(MediaKind::Video, stream).await?),
            None => None,
        };
        let audio_sink = match &options.audio {
            Some(_) => Some(peer.add_sink(MediaKind::Audio, stream).await?),
            None => None,
        };
        let offer = peer.offer().await?;
        let sinks = [(&video_sink, Source::Camera), (&audio_sink, Source::Microphone)];
        let session = options.target.start(&peer, offer, announcements(sinks).await?).await?;
        if let Err(error) = peer.connected(CONNECT_TIMEOUT).await {
            session.stop().await;
            return Err(error);
        }
        let connected = Instant::now();
        let base_bitrate = options.video.as_ref().map_or(Bitrate::ZERO, |(_, settings)| settings.bitrate);
        let base_audio = options.audio.as_ref().map(|(_, settings)| settings.clone()).unwrap_or_default();
        let keyframe_requests = video_sink.as_ref().map(RtpSink::keyframe_requests);
        let video = match (video_sink, options.video) {
            (Some(sink), Some((source, settings))) => Some(VideoSender::start(sink, source, settings).await?),
            _ => None,
        };
        let audio = match (audio_sink, options.audio) {
            (Some(sink), Some((source, settings))) => Some(AudioSender::start(sink, source, settings).await?),
            _ => None,
        };
        let join = connected - begun;
        Ok(Self {
            peer,
            session,
            video,
            audio,
            keyframe_requests,
            base_bitrate,
            base_audio,
            lapse: None,
            audio_lapse: None,
            connected,
            join,
        })
    }

    async fn serve(
        &mut self,
        mut stop: impl Future<Output = ()> + Unpin,
        progress: &mut impl FnMut(&PublishReport),
    ) -> Result<()> {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks.tick().await;
        let mut state = self.peer.state();
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                _ = ticks.tick() => progress(&self.report()),
                () = lapsed(self.lapse) => self.lapse(),
                () = lapsed(self.audio_lapse) => self.lapse_audio(),
                result = finished(&mut self.video, &mut self.audio) => return result,
                event = self.session.next_event() => match event {
                    Some(SignalEvent::Directive(directive)) => self.obey(directive).await,
                    Some(SignalEvent::Ended(reason)) => bail!("the session is over: {reason}"),
                    Some(_) => {}
                    None => bail!("the session is over"),
                },
                changed = state.changed() => {
                    if changed.is_err() || *state.borrow() == ConnectionState::Ended {
                        bail!("the media connection was lost");
                    }
                }
            }
        }
    }

    fn report(&self) -> PublishReport {
        PublishReport {
            elapsed: self.connected.elapsed(),
            join: self.join,
            video: self.video.as_ref().map(|video| video.counters().read()).unwrap_or_default(),
            audio: self.audio.as_ref().map(|audio| audio.counters().read()).unwrap_or_default(),
            keyframe_requests: self.keyframe_requests.as_ref().map_or(0, |count| count.load(Ordering::Relaxed)),
            pipeline: self.video.as_ref().map(VideoSender::stats).unwrap_or_default(),
        }
    }

    async fn obey(&mut self, directive: EncoderDirective) {
        if let Some(audio) = directive.audio {
            return self.obey_audio(directive, audio).await;
        }
        let (outcome, detail) = match &self.video {
            Some(video) => apply(&directive, &video.control(), self.base_bitrate),
            None => (DirectiveOutcome::Unsupported, "there is no video"),
        };
        let is_obeyed = outcome != DirectiveOutcome::Unsupported;
        if is_obeyed {
            self.lapse = lapse_of(&directive);
        }
        let applied = if is_obeyed { applied(&directive, self.base_bitrate) } else { Vec::new() };
        self.acknowledge(directive, outcome, detail, applied).await;
    }

    async fn obey_audio(&mut self, directive: EncoderDirective, wanted: AudioDirective) {
        let Some(audio) = &self.audio else {
            let outcome = DirectiveOutcome::Unsupported;
            return self.acknowledge(directive, outcome, "there is no sound", Vec::new()).await;
        };
        let control = audio.control();
        let (settings, clamped) = audio_settings(&wanted, directive.fec_ratio, &self.base_audio, control.takes_red());
        let max_bitrate_bps = u64::from(settings.opus.bitrate);
        control.set(settings);
        self.audio_lapse = lapse_of(&directive);
        let applied = vec![EncodingDirective { active: true, max_bitrate_bps, ..Default::default() }];
        let outcome = if clamped.is_some() { DirectiveOutcome::Clamped } else { DirectiveOutcome::Applied };
        self.acknowledge(directive, outcome, clamped.unwrap_or_default(), applied).await;
    }

    async fn acknowledge(
        &mut self,
        directive: EncoderDirective,
        outcome: DirectiveOutcome,
        detail: &str,
        applied: Vec<EncodingDirective>,
    ) {
        let ack = EncoderDirectiveAck {
            publication_id: directive.publication_id,
            version: directive.version,
            outcome: outcome.into(),
            detail: detail.to_owned(),
            applied,
        };
        self.session.acknowledge(ack).await;
    }

    /// The last directive was not renewed: back to what the user asked for.
    fn lapse(&mut self) {
        self.lapse = None;
        if let Some(video) = &self.video {
            let own = EncodingDirective { active: true, ..Default::default() };
            carry_out(&own, &video.control(), self.base_bitrate);
        }
    }

    /// The same for sound.
    fn lapse_audio(&mut self) {
        self.audio_lapse = None;
        if let Some(audio) = &self.audio {
            audio.control().set(self.base_audio.clone());
        }
    }

    async fn end(self) {
        drop((self.video, self.audio));
        self.session.stop().await;
        self.peer.close().await;
    }
}

/// Waits for the pictures to end; for the sound, where there are no pictures.
async fn finished(video: &mut Option<VideoSender>, audio: &mut Option<AudioSender>) -> Result<()> {
    match (video, audio) {
        (Some(video), _) => video.finished().await,
        (None, Some(audio)) => audio.finished().await,
        (None, None) => std::future::pending().await,
    }
}

async fn announcements(sinks: [(&Option<RtpSink>, Source); 2]) -> Result<Vec<Publish>> {
    let mut publish = Vec::new();
    for (sink, source) in sinks {
        let Some(sink) = sink else { continue };
        let mid = sink.mid().await.context("the offer lacks a section")?;
        publish.push(Publish { mid, source: source.into(), ..Default::default() });
    }
    Ok(publish)
}

/// When `directive` lapses, if it does.
fn lapse_of(directive: &EncoderDirective) -> Option<tokio::time::Instant> {
    let ttl = Duration::from_millis(u64::from(directive.ttl_ms));
    (ttl > Duration::ZERO).then(|| tokio::time::Instant::now() + ttl)
}

/// Waits until a directive lapses, if there is one.
async fn lapsed(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Lets the encoder run as `encoding` says, and as the user asked for where it says nothing.
fn carry_out(encoding: &EncodingDirective, control: &VideoControl, base: Bitrate) {
    control.set_active(encoding.active);
    control.set_bitrate(bitrate(encoding, base));
    control.set_scale(encoding.scale_resolution_down_by);
    control.set_max_frame_rate(Some(encoding.max_framerate).filter(|rate| *rate > 0.0));
}

/// Never above the user's.
fn bitrate(encoding: &EncodingDirective, base: Bitrate) -> Bitrate {
    let wanted = Bitrate::from_bps(encoding.max_bitrate_bps);
    if wanted > Bitrate::ZERO { wanted.min(base) } else { base }
}

/// What holds of a directive that was obeyed.
fn applied(directive: &EncoderDirective, base: Bitrate) -> Vec<EncodingDirective> {
    let holds = |encoding: &EncodingDirective| EncodingDirective {
        rid: encoding.rid.clone(),
        active: encoding.active,
        max_bitrate_bps: bitrate(encoding, base).as_bps(),
        max_framerate: encoding.max_framerate,
        scale_resolution_down_by: encoding.scale_resolution_down_by,
        ..Default::default()
    };
    directive.encodings.iter().map(holds).collect()
}

/// What a directive for sound comes to, and what of it cannot be done.
///
/// A copy of every packet is a share of FEC of 1; the directive's stops there, so half of it asks for one copy and more
/// for two. The bitrate is never above the user's, and never below what Opus takes.
fn audio_settings(
    wanted: &AudioDirective,
    fec_ratio: f32,
    base: &AudioSettings,
    takes_red: bool,
) -> (AudioSettings, Option<&'static str>) {
    let mut settings = base.clone();
    let mut clamped = None;
    if wanted.bitrate_bps > 0 {
        settings.opus.bitrate = wanted.bitrate_bps.clamp(MIN_AUDIO_BITRATE.min(base.opus.bitrate), base.opus.bitrate);
        if settings.opus.bitrate != wanted.bitrate_bps {
            clamped = Some("the bitrate stays within bounds");
        }
    }
    settings.opus.fec = wanted.fec;
    settings.opus.dtx = wanted.dtx;
    settings.red.generations = if fec_ratio > 0.5 {
        2
    } else if fec_ratio > 0.0 {
        1
    } else {
        0
    };
    if settings.red.generations > 0 && !takes_red {
        clamped = Some("the server takes no redundant sound");
    }
    if !matches!(wanted.packet_time_ms, 0 | 20) {
        clamped = Some("the packet time stays at 20 ms");
    }
    (settings, clamped)
}

/// Carries a directive out as far as one encoding can: active, bitrate (never above the user's), frame rate, size.
fn apply(directive: &EncoderDirective, control: &VideoControl, base: Bitrate) -> (DirectiveOutcome, &'static str) {
    let [encoding] = directive.encodings.as_slice() else {
        return (DirectiveOutcome::Unsupported, "this client sends one encoding");
    };
    carry_out(encoding, control, base);
    if Bitrate::from_bps(encoding.max_bitrate_bps) > base {
        return (DirectiveOutcome::Clamped, "the bitrate stays at the user's bound");
    }
    if !encoding.scalability_mode.is_empty() || !directive.codec.is_empty() {
        return (DirectiveOutcome::Clamped, "layers and codec stay as they are");
    }
    (DirectiveOutcome::Applied, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::OpusConfig;
    use crate::send::RedConfig;

    fn base() -> AudioSettings {
        let opus = OpusConfig { bitrate: 32_000, fec: true, expected_loss: 10, dtx: false };
        AudioSettings { opus, red: RedConfig { generations: 0, spacing: 3 } }
    }

    #[test]
    fn a_directive_for_sound_is_carried_out() {
        let wanted = AudioDirective { bitrate_bps: 16_000, fec: false, dtx: true, packet_time_ms: 20 };
        for (fec_ratio, generations) in [(0.0, 0), (0.5, 1), (1.0, 2), (f32::NAN, 0)] {
            let (settings, clamped) = audio_settings(&wanted, fec_ratio, &base(), true);
            let opus = OpusConfig { bitrate: 16_000, fec: false, expected_loss: 10, dtx: true };
            assert_eq!(settings, AudioSettings { opus, red: RedConfig { generations, spacing: 3 } });
            assert_eq!(clamped, None);
        }
    }

    #[test]
    fn what_a_directive_for_sound_asks_beyond_bounds_is_said() {
        for (bitrate_bps, bitrate) in [(0, 32_000), (1, 6_000), (510_000, 32_000)] {
            let wanted = AudioDirective { bitrate_bps, fec: true, ..Default::default() };
            let (settings, clamped) = audio_settings(&wanted, 0.0, &base(), true);
            assert_eq!((settings.opus.bitrate, clamped.is_some()), (bitrate, bitrate_bps != 0));
        }
        let wanted = AudioDirective { packet_time_ms: 60, ..Default::default() };
        assert!(audio_settings(&wanted, 0.0, &base(), true).1.is_some());
        assert!(audio_settings(&AudioDirective::default(), 1.0, &base(), false).1.is_some());
    }
}
