//! A whole publishing session: join, send until told to stop, leave.

mod parity;
mod references;

use crate::capture::{AudioSource, VideoSource};
use crate::encode::PacketTime;
use crate::peer::{ConnectionState, FarReception, MediaKind, ParityControl, Peer, PeerConfig, RtpSink, VideoCodec};
use crate::send::{AudioSender, AudioSettings, Sent, VideoControl, VideoSender, VideoSettings, VideoStats};
use crate::signal::{Session, SignalEvent, Target};
use anyhow::{Context, Result, bail, ensure};
pub use parity::protect;
use references::KeptReferences;
use serde_json::{Value, json};
use sfu_proto::v1::{
    AudioDirective, DirectiveOutcome, EncoderDirective, EncoderDirectiveAck, EncodingDirective, ParityDirective,
    Publish, ReferenceStructure, Source,
};
use sfu_rtc::units::Bitrate;
use std::fmt;
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
    /// The pictures are those of a screen, not of a camera.
    pub is_screen: bool,
}

impl PublishOptions {
    /// Nothing yet, to `target`.
    pub fn new(target: Target) -> Self {
        Self { target, video: None, audio: None, is_screen: false }
    }

    /// Publishes these pictures.
    pub fn video(self, source: Box<dyn VideoSource>, settings: VideoSettings) -> Self {
        Self { video: Some((source, settings)), ..self }
    }

    /// Publishes this sound.
    pub fn audio(self, source: Box<dyn AudioSource>, settings: AudioSettings) -> Self {
        Self { audio: Some((source, settings)), ..self }
    }
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
    /// Parity packets sent beside the pictures.
    pub parity: u64,
    /// What the path to the far side carries, by its feedback.
    pub available_outgoing_bitrate: Option<Bitrate>,
    /// What was done to pictures.
    pub pipeline: VideoStats,
    /// How pictures arrive, by the far side's last report.
    pub video_reception: Option<FarReception>,
    /// The same of sound.
    pub audio_reception: Option<FarReception>,
    /// What the server asks for of pictures, while it does.
    pub asked: Option<Asked>,
}

/// What a directive asks for of the one encoding.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Asked {
    /// False: nobody watches.
    pub active: bool,
    /// Most bits per second; zero: as the user has it.
    pub bitrate: Bitrate,
    /// Most pictures per second; zero: as the user has it.
    pub frame_rate: f32,
    /// How much smaller each side is to be; one or less: not at all.
    pub scale: f32,
}

impl Asked {
    fn of(encoding: &EncodingDirective) -> Self {
        Self {
            active: encoding.active,
            bitrate: Bitrate::from_bps(encoding.max_bitrate_bps),
            frame_rate: encoding.max_framerate,
            scale: encoding.scale_resolution_down_by,
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.active {
            return f.write_str("send nothing, nobody watches");
        }
        let mut parts = Vec::new();
        if self.bitrate > Bitrate::ZERO {
            parts.push(format!("{} kbit/s", self.bitrate.as_bps() / 1_000));
        }
        if self.frame_rate > 0.0 {
            parts.push(format!("{} fps", self.frame_rate));
        }
        if self.scale > 1.0 {
            parts.push(format!("1/{:.1} of the size", self.scale));
        }
        f.write_str(&if parts.is_empty() { "as it is".to_owned() } else { format!("at most {}", parts.join(", ")) })
    }
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
            "remote_video": self.video_reception.map(|reception| reception.to_json(90_000)),
            "remote_audio": self.audio_reception.map(|reception| reception.to_json(48_000)),
            "asked": self.asked.map(|asked| asked.to_string()),
            "parity_packets": self.parity,
            "availableOutgoingBitrate": self.available_outgoing_bitrate.map(Bitrate::as_bps),
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
                "recovered": self.pipeline.encoder.recovered,
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
    progress: impl FnMut(&PublishReport),
) -> Result<PublishReport> {
    let mut stop = pin!(stop);
    let running = tokio::select! {
        running = Running::start(options) => running?,
        () = &mut stop => return Ok(PublishReport::default()),
    };
    running.run(stop, progress).await
}

/// What the user asked for: what holds without a directive, and where one says nothing.
#[derive(Clone, Copy)]
struct VideoBase {
    bitrate: Bitrate,
    codec: VideoCodec,
    temporal_layers: u8,
    long_term: bool,
}

impl VideoBase {
    fn new(settings: &VideoSettings) -> Self {
        let VideoSettings { bitrate, codec, temporal_layers, long_term, .. } = *settings;
        Self { bitrate, codec, temporal_layers, long_term }
    }
}

/// A session whose media flows.
pub(crate) struct Running {
    peer: Peer,
    session: Session,
    video: Option<VideoSender>,
    audio: Option<AudioSender>,
    keyframe_requests: Option<Arc<AtomicU64>>,
    base: VideoBase,
    /// SSRCs of pictures and sound.
    ssrcs: [Option<u32>; 2],
    asked: Option<Asked>,
    references: KeptReferences,
    parity: Arc<ParityControl>,
    base_audio: AudioSettings,
    /// When the last directive for video lapses.
    lapse: Option<tokio::time::Instant>,
    /// When the last directive for sound lapses.
    audio_lapse: Option<tokio::time::Instant>,
    connected: Instant,
    join: Duration,
}

impl Running {
    pub(crate) async fn start(options: PublishOptions) -> Result<Self> {
        ensure!(options.video.is_some() || options.audio.is_some(), "there is nothing to publish");
        let begun = Instant::now();
        // Only the native signalling says how much parity is wanted.
        let fec = matches!(options.target, Target::Native(_));
        let peer = Peer::new(PeerConfig { fec, ..options.target.peer_config()? }).await?;
        let stream = "sfu-client";
        let video_sink = match &options.video {
            Some((_, settings)) => {
                settings.codec.require()?;
                Some(peer.add_video_sink(&settings.codecs(), stream).await?)
            }
            None => None,
        };
        let audio_sink = match &options.audio {
            Some(_) => Some(peer.add_sink(MediaKind::Audio, stream).await?),
            None => None,
        };
        let offer = peer.offer().await?;
        let source = if options.is_screen { Source::Screen } else { Source::Camera };
        let sinks = [(&video_sink, source), (&audio_sink, Source::Microphone)];
        let session = options.target.start(&peer, offer, announcements(sinks).await?).await?;
        if let Err(error) = peer.connected(CONNECT_TIMEOUT).await {
            session.stop().await;
            return Err(error);
        }
        let connected = Instant::now();
        let base = options.video.as_ref().map(|(_, settings)| VideoBase::new(settings));
        let base = base.unwrap_or_else(|| VideoBase::new(&VideoSettings::default()));
        let base_audio = options.audio.as_ref().map(|(_, settings)| settings.clone()).unwrap_or_default();
        let keyframe_requests = video_sink.as_ref().map(RtpSink::keyframe_requests);
        let ssrcs = [&video_sink, &audio_sink].map(|sink| sink.as_ref().map(RtpSink::ssrc));
        let parity = video_sink.as_ref().map(RtpSink::parity).unwrap_or_default();
        let mut video = match (video_sink, options.video) {
            (Some(sink), Some((source, settings))) => Some(VideoSender::start(sink, source, settings).await?),
            _ => None,
        };
        let audio = match (audio_sink, options.audio) {
            (Some(sink), Some((source, settings))) => Some(AudioSender::start(sink, source, settings).await?),
            _ => None,
        };
        let join = connected - begun;
        let references = KeptReferences::new(&session, video.as_mut());
        Ok(Self {
            peer,
            session,
            video,
            audio,
            keyframe_requests,
            base,
            ssrcs,
            asked: None,
            references,
            parity,
            base_audio,
            lapse: None,
            audio_lapse: None,
            connected,
            join,
        })
    }

    /// Sends until `stop` completes or the sources end; leaves.
    pub(crate) async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        mut progress: impl FnMut(&PublishReport),
    ) -> Result<PublishReport> {
        let result = self.serve(pin!(stop), &mut progress).await;
        let report = self.report();
        if result.is_ok() {
            sleep(DRAIN).await;
        }
        self.end().await;
        result.map(|()| report)
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
                kept = self.references.next() => self.references.announce(&self.session, kept).await,
                event = self.session.next_event() => match event {
                    Some(SignalEvent::Directive(directive)) => self.obey(directive).await,
                    Some(SignalEvent::References(directive)) => {
                        self.references.obey(&self.session, self.video.as_ref(), directive).await;
                    }
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

    pub(crate) fn report(&self) -> PublishReport {
        let reports = self.peer.reports();
        let [video_reception, audio_reception] = self.ssrcs.map(|ssrc| reports.reception(ssrc?));
        PublishReport {
            elapsed: self.connected.elapsed(),
            join: self.join,
            video: self.video.as_ref().map(|video| video.counters().read()).unwrap_or_default(),
            audio: self.audio.as_ref().map(|audio| audio.counters().read()).unwrap_or_default(),
            keyframe_requests: self.keyframe_requests.as_ref().map_or(0, |count| count.load(Ordering::Relaxed)),
            parity: self.parity.sent(),
            available_outgoing_bitrate: self.peer.available_outgoing_bitrate(),
            pipeline: self.video.as_ref().map(VideoSender::stats).unwrap_or_default(),
            video_reception,
            audio_reception,
            asked: self.asked,
        }
    }

    async fn obey(&mut self, directive: EncoderDirective) {
        if let Some(audio) = directive.audio {
            return self.obey_audio(directive, audio).await;
        }
        let (mut outcome, mut detail) = match &self.video {
            Some(video) => apply(&directive, &video.control(), self.base),
            None => (DirectiveOutcome::Unsupported, "there is no video"),
        };
        let is_obeyed = outcome != DirectiveOutcome::Unsupported;
        let mut applied_parity = Vec::new();
        if is_obeyed {
            let (applied, clamped) = protect(&self.parity, &directive.parity);
            if let Some(why) = clamped {
                (outcome, detail) = (DirectiveOutcome::Clamped, why);
            }
            applied_parity = applied;
        }
        if is_obeyed {
            self.lapse = lapse_of(&directive);
            self.asked = directive.encodings.first().map(Asked::of);
        }
        let applied = match &self.video {
            Some(video) if is_obeyed => applied(&directive, &video.control(), self.base.bitrate),
            _ => Vec::new(),
        };
        self.acknowledge(directive, outcome, detail, (applied, applied_parity)).await;
    }

    async fn obey_audio(&mut self, directive: EncoderDirective, wanted: AudioDirective) {
        let Some(audio) = &self.audio else {
            let outcome = DirectiveOutcome::Unsupported;
            return self.acknowledge(directive, outcome, "there is no sound", Default::default()).await;
        };
        let control = audio.control();
        let (settings, clamped) = audio_settings(&wanted, directive.fec_ratio, &self.base_audio, control.takes_red());
        let max_bitrate_bps = u64::from(settings.opus.bitrate);
        control.set(settings);
        self.audio_lapse = lapse_of(&directive);
        let applied = vec![EncodingDirective { active: true, max_bitrate_bps, ..Default::default() }];
        let outcome = if clamped.is_some() { DirectiveOutcome::Clamped } else { DirectiveOutcome::Applied };
        self.acknowledge(directive, outcome, clamped.unwrap_or_default(), (applied, Vec::new())).await;
    }

    async fn acknowledge(
        &mut self,
        directive: EncoderDirective,
        outcome: DirectiveOutcome,
        detail: &str,
        (applied, applied_parity): (Vec<EncodingDirective>, Vec<ParityDirective>),
    ) {
        let ack = EncoderDirectiveAck {
            publication_id: directive.publication_id,
            version: directive.version,
            outcome: outcome.into(),
            detail: detail.to_owned(),
            applied,
            applied_parity,
        };
        self.session.acknowledge(ack).await;
    }

    /// The last directive was not renewed: back to what the user asked for.
    fn lapse(&mut self) {
        self.lapse = None;
        self.asked = None;
        self.parity.protect(Default::default());
        if let Some(video) = &self.video {
            let own = EncodingDirective { active: true, ..Default::default() };
            carry_out(&own, &video.control(), self.base);
            video.control().set_codec(self.base.codec);
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

/// Lets the encoder run as `encoding` says, and as the user asked for where it says nothing; false where it cannot make
/// the layers.
fn carry_out(encoding: &EncodingDirective, control: &VideoControl, base: VideoBase) -> bool {
    control.set_active(encoding.active);
    control.set_long_term(match encoding.references() {
        ReferenceStructure::Unspecified => base.long_term,
        ReferenceStructure::Previous => false,
        ReferenceStructure::LongTerm => true,
    });
    control.set_bitrate(bitrate(encoding, base.bitrate));
    control.set_scale(encoding.scale_resolution_down_by);
    control.set_max_frame_rate(Some(encoding.max_framerate).filter(|rate| *rate > 0.0));
    let has_layers = match temporal_layers(&encoding.scalability_mode) {
        _ if encoding.scalability_mode.is_empty() => control.set_temporal_layers(base.temporal_layers),
        Some(layers) => control.set_temporal_layers(layers),
        None => false,
    };
    // With layers, or another codec, there are no references to keep.
    has_layers && (encoding.references() != ReferenceStructure::LongTerm || control.keeps_references())
}

/// Of a mode without spatial layers, such as L1T3.
fn temporal_layers(scalability_mode: &str) -> Option<u8> {
    scalability_mode.strip_prefix("L1T")?.parse().ok()
}

/// Never above the user's.
fn bitrate(encoding: &EncodingDirective, base: Bitrate) -> Bitrate {
    let wanted = Bitrate::from_bps(encoding.max_bitrate_bps);
    if wanted > Bitrate::ZERO { wanted.min(base) } else { base }
}

/// What holds of a directive that was obeyed.
fn applied(directive: &EncoderDirective, control: &VideoControl, base: Bitrate) -> Vec<EncodingDirective> {
    let holds = |encoding: &EncodingDirective| EncodingDirective {
        rid: encoding.rid.clone(),
        active: encoding.active,
        max_bitrate_bps: bitrate(encoding, base).as_bps(),
        max_framerate: encoding.max_framerate,
        scale_resolution_down_by: encoding.scale_resolution_down_by,
        scalability_mode: format!("L1T{}", control.temporal_layers()),
        references: match control.keeps_references() {
            true => ReferenceStructure::LongTerm.into(),
            false => ReferenceStructure::Previous.into(),
        },
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
    settings.red.generations = usize::from(fec_ratio > 0.0) + usize::from(fec_ratio > 0.5);
    if settings.red.generations > 0 && !takes_red {
        clamped = Some("the server takes no redundant sound");
    }
    if wanted.packet_time_ms > 0 {
        settings.opus.packet_time = PacketTime::up_to_millis(wanted.packet_time_ms);
        if settings.opus.packet_time.millis() != wanted.packet_time_ms {
            clamped = Some("packets are of 20, 40 or 60 ms");
        }
    }
    (settings, clamped)
}

/// Carries a directive out as far as one encoding can: active, bitrate (never above the user's), frame rate, size,
/// temporal layers, and a codec that both sides have.
fn apply(directive: &EncoderDirective, control: &VideoControl, base: VideoBase) -> (DirectiveOutcome, &'static str) {
    let [encoding] = directive.encodings.as_slice() else {
        return (DirectiveOutcome::Unsupported, "this client sends one encoding");
    };
    let has_layers = carry_out(encoding, control, base);
    let codec = VideoCodec::from_name(&directive.codec);
    if !directive.codec.is_empty() && !codec.is_some_and(|codec| control.set_codec(codec)) {
        return (DirectiveOutcome::Clamped, "the codec stays as it is");
    }
    if !has_layers {
        return (DirectiveOutcome::Clamped, "the layers or references stay as they are");
    }
    if Bitrate::from_bps(encoding.max_bitrate_bps) > base.bitrate {
        return (DirectiveOutcome::Clamped, "the bitrate stays at the user's bound");
    }
    (DirectiveOutcome::Applied, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::OpusConfig;
    use crate::send::RedConfig;

    fn base() -> AudioSettings {
        let opus = OpusConfig { bitrate: 32_000, fec: true, expected_loss: 10, ..Default::default() };
        AudioSettings { opus, red: RedConfig { generations: 0, spacing: 3 }, ..Default::default() }
    }

    #[test]
    fn a_directive_for_sound_is_carried_out() {
        let wanted = AudioDirective { bitrate_bps: 16_000, fec: false, dtx: true, packet_time_ms: 60 };
        for (fec_ratio, generations) in [(0.0, 0), (0.5, 1), (1.0, 2), (f32::NAN, 0)] {
            let (settings, clamped) = audio_settings(&wanted, fec_ratio, &base(), true);
            let packet_time = PacketTime::Ms60;
            let opus = OpusConfig { bitrate: 16_000, fec: false, expected_loss: 10, dtx: true, packet_time };
            let red = RedConfig { generations, spacing: 3 };
            assert_eq!(settings, AudioSettings { opus, red, ..Default::default() });
            assert_eq!(clamped, None);
        }
    }

    #[test]
    fn layers_are_read_from_modes() {
        let modes = ["L1T1", "L1T3", "L1T9", "L3T3", "S2T1", "L1T", ""];
        assert_eq!(modes.map(temporal_layers), [Some(1), Some(3), Some(9), None, None, None, None]);
    }

    #[test]
    fn what_a_directive_for_sound_asks_beyond_bounds_is_said() {
        for (bitrate_bps, bitrate) in [(0, 32_000), (1, 6_000), (510_000, 32_000)] {
            let wanted = AudioDirective { bitrate_bps, fec: true, ..Default::default() };
            let (settings, clamped) = audio_settings(&wanted, 0.0, &base(), true);
            assert_eq!((settings.opus.bitrate, clamped.is_some()), (bitrate, bitrate_bps != 0));
        }
        for (packet_time_ms, applied) in [(10, 20), (30, 20), (50, 40), (120, 60)] {
            let wanted = AudioDirective { packet_time_ms, ..Default::default() };
            let (settings, clamped) = audio_settings(&wanted, 0.0, &base(), true);
            assert_eq!((settings.opus.packet_time.millis(), clamped.is_some()), (applied, true));
        }
        assert!(audio_settings(&AudioDirective::default(), 1.0, &base(), false).1.is_some());
    }
}
