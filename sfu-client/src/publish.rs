//! A whole publishing session: join, send until told to stop, leave.

mod directive;
mod parity;
mod references;
mod report;
mod sound;
mod uplink;

use crate::capture::{AudioSource, VideoSource};
use crate::peer::{ConnectionState, MediaKind, ParityControl, Peer, PeerConfig, RtpSink};
use crate::send::{AudioSender, AudioSettings, VideoSender, VideoSettings};
use crate::signal::{Session, SignalEvent, Target};
use anyhow::{Context, Result, bail, ensure};
use directive::{EncodingBase, Obeyed, apply};
pub use parity::protect;
use references::KeptReferences;
use report::sent_encodings;
pub use report::{Asked, PublishReport, QualityLimitation, SentEncoding};
use sfu_proto::v1::{
    AudioDirective, DirectiveOutcome, EncoderDirective, EncoderDirectiveAck, EncodingDirective, ParityDirective,
    Publish, Source,
};
use sound::audio_settings;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval, sleep};
pub(crate) use uplink::UplinkFit;

/// Longest wait for ICE and DTLS.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for the last packets, and those that are asked for again, to leave.
const DRAIN: Duration = Duration::from_millis(200);

/// What to publish and where.
pub struct PublishOptions {
    /// Server.
    pub target: Target,
    /// Pictures, if any.
    pub video: Option<(Box<dyn VideoSource>, VideoSettings)>,
    /// Sound, if any.
    pub audio: Option<(Box<dyn AudioSource>, AudioSettings)>,
}

impl PublishOptions {
    /// Nothing yet, to `target`.
    pub fn new(target: Target) -> Self {
        Self { target, video: None, audio: None }
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

/// A session whose media flows.
pub(crate) struct Running {
    peer: Peer,
    session: Session,
    video: Option<VideoSender>,
    audio: Option<AudioSender>,
    /// Of each encoding.
    keyframe_requests: Vec<Arc<AtomicU64>>,
    bases: Vec<EncodingBase>,
    /// SSRCs of pictures (of the largest encoding) and sound.
    ssrcs: [Option<u32>; 2],
    asked: Option<Asked>,
    /// The last directive for video, until it lapses, and what the machine could follow when that was answered.
    directive: Option<EncoderDirective>,
    told_load: Option<(f32, f32)>,
    references: KeptReferences,
    parity: Arc<ParityControl>,
    base_audio: AudioSettings,
    fit: UplinkFit,
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
        let simulcast = options.video.as_ref().is_some_and(|(_, settings)| settings.encodings().len() > 1);
        // Only the native signalling says how much parity is wanted.
        let fec = matches!(options.target, Target::Native(_)) && !simulcast;
        let peer = Peer::new(PeerConfig { fec, simulcast, ..options.target.peer_config()? }).await?;
        let stream = "sfu-client";
        let video_sinks = match &options.video {
            Some((_, settings)) => video_sinks(&peer, stream, settings).await?,
            None => Vec::new(),
        };
        let audio_sink = match &options.audio {
            Some(_) => Some(peer.add_sink(MediaKind::Audio, stream).await?),
            None => None,
        };
        let offer = peer.offer().await?;
        let source = if options.video.as_ref().is_some_and(|(_, settings)| settings.screen) {
            Source::Screen
        } else {
            Source::Camera
        };
        let largest = video_sinks.last();
        let sinks = [(largest, source), (audio_sink.as_ref(), Source::Microphone)];
        let session = options.target.start(&peer, offer, announcements(sinks).await?).await?;
        if let Err(error) = peer.connected(CONNECT_TIMEOUT).await {
            session.stop().await;
            return Err(error);
        }
        let connected = Instant::now();
        let bases = options.video.as_ref().map(|(_, settings)| EncodingBase::all(settings)).unwrap_or_default();
        let base_audio = options.audio.as_ref().map(|(_, settings)| settings.clone()).unwrap_or_default();
        let keyframe_requests = video_sinks.iter().map(RtpSink::keyframe_requests).collect();
        let ssrcs = [largest, audio_sink.as_ref()].map(|sink| sink.map(RtpSink::ssrc));
        let parity = largest.map(RtpSink::parity).unwrap_or_default();
        let mut video = match options.video {
            Some((source, settings)) => Some(VideoSender::start_encodings(video_sinks, source, settings).await?),
            None => None,
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
            bases,
            ssrcs,
            asked: None,
            directive: None,
            told_load: None,
            references,
            parity,
            base_audio,
            fit: UplinkFit::default(),
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
        let mut looks = interval(uplink::TICK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut state = self.peer.state();
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                _ = ticks.tick() => progress(&self.report()),
                _ = looks.tick() => {
                    self.fit_to_uplink();
                    self.tell_load().await;
                }
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

    fn fit_to_uplink(&mut self) {
        if let Some(video) = &self.video {
            self.fit.fit(Instant::now(), self.peer.uplink(), video.encodings());
        }
    }

    pub(crate) fn report(&self) -> PublishReport {
        let reports = self.peer.reports();
        let [video_reception, audio_reception] = self.ssrcs.map(|ssrc| reports.reception(ssrc?));
        PublishReport {
            elapsed: self.connected.elapsed(),
            join: self.join,
            video: self.video.as_ref().map(VideoSender::sent).unwrap_or_default(),
            encodings: self.video.as_ref().map(sent_encodings).unwrap_or_default(),
            audio: self.audio.as_ref().map(|audio| audio.counters().read()).unwrap_or_default(),
            keyframe_requests: self.keyframe_requests.iter().map(|count| count.load(Ordering::Relaxed)).sum(),
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
        if self.obey_video(directive.clone()).await {
            self.lapse = lapse_of(&directive);
            let mut wanted = directive.encodings.iter().rev();
            self.asked = wanted.find(|encoding| encoding.active).or(directive.encodings.first()).map(Asked::of);
            self.directive = Some(directive);
        }
    }

    /// Tells anew what holds of the last directive, where the machine follows less of it, or more, than when that was told.
    async fn tell_load(&mut self) {
        if self.load() != self.told_load
            && let Some(directive) = self.directive.clone()
        {
            self.obey_video(directive).await;
        }
    }

    /// Of what is wanted, the share of pictures that the machine can follow, and how much smaller they are.
    fn load(&self) -> Option<(f32, f32)> {
        self.video.as_ref().map(|video| video.control().load())
    }

    /// Carries it out as far as that can be, and says how far; false where nothing of it can.
    async fn obey_video(&mut self, directive: EncoderDirective) -> bool {
        self.told_load = self.load();
        let mut obeyed = match &self.video {
            Some(video) => apply(&directive, video.encodings(), &self.bases),
            None => Obeyed::unsupported("there is no video"),
        };
        let mut applied_parity = Vec::new();
        if obeyed.outcome != DirectiveOutcome::Unsupported {
            let (applied, clamped) = protect(&self.parity, &directive.parity);
            clamped.into_iter().for_each(|why| obeyed.clamp(why));
            applied_parity = applied;
        }
        let Obeyed { outcome, detail, applied } = obeyed;
        self.acknowledge(directive, outcome, detail, (applied, applied_parity)).await;
        outcome != DirectiveOutcome::Unsupported
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
        (self.lapse, self.asked, self.directive) = (None, None, None);
        self.parity.protect(Default::default());
        if let Some(video) = &self.video {
            let encodings = video.encodings().iter().zip(&self.bases);
            encodings.for_each(|(encoding, base)| base.restore(&encoding.control));
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

/// Waits for the pictures to end; for the sound, where there are no pictures. Either may fail.
async fn finished(video: &mut Option<VideoSender>, audio: &mut Option<AudioSender>) -> Result<()> {
    match (video, audio) {
        (Some(video), Some(audio)) => tokio::select! {
            result = video.finished() => result,
            error = failed(audio) => Err(error),
        },
        (Some(video), None) => video.finished().await,
        (None, Some(audio)) => audio.finished().await,
        (None, None) => std::future::pending().await,
    }
}

/// Waits for the sound to fail; that it ends is no failure.
async fn failed(audio: &mut AudioSender) -> anyhow::Error {
    match audio.finished().await {
        Err(error) => error,
        Ok(()) => std::future::pending().await,
    }
}

/// A sink for each encoding, smallest first.
async fn video_sinks(peer: &Peer, stream: &str, settings: &VideoSettings) -> Result<Vec<RtpSink>> {
    settings.codec.require()?;
    let rids: Vec<&str> = settings.encodings().iter().map(|encoding| encoding.rid).collect();
    if rids.len() > 1 {
        return peer.add_simulcast_sinks(&settings.codecs(), stream, &rids).await;
    }
    Ok(vec![peer.add_video_sink(&settings.codecs(), stream).await?])
}

async fn announcements(sinks: [(Option<&RtpSink>, Source); 2]) -> Result<Vec<Publish>> {
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
