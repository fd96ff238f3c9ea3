//! A whole subscribing session: join, receive until told to stop, leave.

use crate::capture::SceneKind;
use crate::peer::{ConnectionState, MediaKind, Peer, PeerConfig, RemoteTrack};
use crate::publish::CONNECT_TIMEOUT;
use crate::receive::{LipSync, receive_audio, receive_video};
use crate::record::{AudioRecorder, CallRecording, Outlets, RecordSettings, VideoRecorder};
use crate::signal::{Session, SignalEvent, Target};
use crate::stats::{Awaited, Report, StreamStats};
use crate::subscriber::{Received, Tap};
use anyhow::{Context, Result, bail};
use sfu_proto::v1::{LayerLimit, ParticipantInfo, PauseReason, SlotAssignment, Subscribe, Tile};
use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// How often the wanted number of pictures is looked for.
const POLL: Duration = Duration::from_millis(5);

/// What to receive and from where.
#[derive(Clone, Debug)]
pub struct SubscribeOptions {
    /// Server.
    pub target: Target,
    /// Video streams at once.
    pub video_slots: usize,
    /// Audio streams at once.
    pub audio_slots: usize,
    /// Take parity for video (Reed-Solomon or FlexFEC-03), where the server sends it.
    pub fec: bool,
    /// Ask for packets of video that are missing.
    pub nack: bool,
    /// Width and height in pixels in which video is shown, of all streams: the server sends nothing larger than that needs.
    /// `None`: as large as it comes. Only by the native signalling.
    pub shown: Option<(u32, u32)>,
    /// Compare pictures with this scene, in this frame rate.
    pub original: Option<(SceneKind, f64)>,
    /// Where to record, if anywhere.
    pub record: Option<RecordSettings>,
    /// Where to record the whole call as received, if anywhere: one Matroska file.
    pub record_call: Option<PathBuf>,
    /// End after so many pictures.
    pub frames: Option<u64>,
    /// Time between two progress reports.
    pub interval: Duration,
    /// Where everything decoded goes, if anywhere; what it has no room for is left out.
    pub tap: Option<mpsc::Sender<Received>>,
}

impl SubscribeOptions {
    /// Up to four streams of each kind, of `target`, until stopped.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            video_slots: 4,
            audio_slots: 4,
            fec: true,
            nack: true,
            shown: None,
            original: None,
            record: None,
            record_call: None,
            frames: None,
            interval: Duration::from_secs(1),
            tap: None,
        }
    }
}

/// What a session came to.
#[derive(Clone, Debug)]
pub struct SubscribeSummary {
    /// Everything measured.
    pub report: Report,
    /// The steps of the join.
    pub timings: JoinTimings,
    /// Why the server ended the session, if it did.
    pub ended: Option<String>,
}

impl SubscribeSummary {
    /// Whether any frame came whole.
    pub fn received_anything(&self) -> bool {
        self.report.streams.iter().any(|stream| stream.frames_received > 0)
    }
}

/// The steps of a join, each from its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct JoinTimings {
    /// The offer was ready.
    pub offer: Duration,
    /// The server's answer was taken.
    pub answer: Duration,
    /// ICE and DTLS were done.
    pub connected: Duration,
    /// The first packet of video (of sound, where there is no video) came.
    pub first_packet: Option<Duration>,
    /// The first picture (sound, where there is no video) was decoded.
    pub first_frame: Option<Duration>,
}

/// Receives until `stop` completes, the wanted number of pictures has come, or the server ends the session.
///
/// # Errors
/// Where the server cannot be reached or refuses, media cannot be connected, or a recording not be written.
pub async fn subscribe(
    options: SubscribeOptions,
    stop: impl Future<Output = ()>,
    progress: impl FnMut(&Report),
) -> Result<SubscribeSummary> {
    let mut stop = pin!(stop);
    let running = tokio::select! {
        running = Running::start(&options) => running?,
        () = &mut stop => bail!("stopped before the join was complete"),
    };
    running.run(&options, stop, progress).await
}

/// A session whose media can flow.
pub(crate) struct Running {
    peer: Peer,
    session: Session,
    begun: Instant,
    timings: JoinTimings,
    streams: Vec<Arc<StreamStats>>,
    receivers: JoinSet<Result<()>>,
    labels: Labels,
    sync: LipSync,
    call: Option<CallRecording>,
    round_trip: Option<Duration>,
}

impl Running {
    pub(crate) async fn start(options: &SubscribeOptions) -> Result<Self> {
        let begun = Instant::now();
        let peer = Peer::new(PeerConfig { fec: options.fec, ..options.target.peer_config()? }).await?;
        let call = options.record_call.as_ref().map(|path| CallRecording::create(path, peer.reports())).transpose()?;
        for _ in 0..options.video_slots {
            peer.add_receiver(MediaKind::Video).await?;
        }
        for _ in 0..options.audio_slots {
            peer.add_receiver(MediaKind::Audio).await?;
        }
        let offer = peer.offer().await?;
        let mut timings = JoinTimings { offer: begun.elapsed(), ..Default::default() };
        let session = options.target.start(&peer, offer, Vec::new()).await?;
        timings.answer = begun.elapsed();
        if let Err(error) = peer.connected(CONNECT_TIMEOUT).await {
            session.stop().await;
            return Err(error);
        }
        timings.connected = begun.elapsed();
        let (participants, slots) = session.welcome();
        let mut labels = Labels::default();
        labels.on_participants(&participants, &[]);
        if let Some(shown) = options.shown {
            // Those of video go before those of sound, as they were offered.
            let video = slots.iter().take(options.video_slots);
            for slot in video {
                session.subscribe(tile(&slot.mid, shown)).await;
            }
        }
        labels.on_slots(slots);
        let (streams, receivers) = (Vec::new(), JoinSet::new());
        let sync = LipSync::new(peer.reports());
        Ok(Self { peer, session, begun, timings, streams, receivers, labels, sync, call, round_trip: None })
    }

    /// Receives until `stop` completes, the wanted number of pictures has come, or the server ends the session; leaves.
    pub(crate) async fn run(
        mut self,
        options: &SubscribeOptions,
        stop: impl Future<Output = ()>,
        mut progress: impl FnMut(&Report),
    ) -> Result<SubscribeSummary> {
        let ended = self.serve(options, pin!(stop), &mut progress).await;
        self.end(ended).await
    }

    /// Receives; the result is why the server ended the session, if it did.
    async fn serve(
        &mut self,
        options: &SubscribeOptions,
        mut stop: impl Future<Output = ()> + Unpin,
        progress: &mut impl FnMut(&Report),
    ) -> Result<Option<String>> {
        let mut ticks = interval(options.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks.tick().await;
        let mut polls = interval(POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut state = self.peer.state();
        loop {
            tokio::select! {
                () = &mut stop => return Ok(None),
                _ = ticks.tick() => {
                    self.round_trip = self.peer.path().await.round_trip;
                    progress(&self.report(StreamStats::report));
                    self.streams.iter().for_each(|stream| stream.next_window());
                }
                _ = polls.tick(), if options.frames.is_some() => {
                    if options.frames.is_some_and(|wanted| self.pictures() >= wanted) {
                        return Ok(None);
                    }
                }
                track = self.peer.next_track() => match track {
                    Some(track) => self.receive(track, options)?,
                    None => return Ok(Some("the media connection is closed".to_owned())),
                },
                Some(ended) = self.receivers.join_next() => ended.context("a receiver broke down")??,
                event = self.session.next_event() => match event {
                    Some(SignalEvent::Ended(reason)) => return Ok(Some(reason)),
                    Some(event) => self.on_event(event),
                    None => return Ok(Some("the server ended the session".to_owned())),
                },
                changed = state.changed() => {
                    if changed.is_err() || *state.borrow() == ConnectionState::Ended {
                        return Ok(Some("the media connection was lost".to_owned()));
                    }
                }
            }
        }
    }

    fn receive(&mut self, mut track: RemoteTrack, options: &SubscribeOptions) -> Result<()> {
        track.nack = options.nack;
        let stats = Arc::new(StreamStats::new(track.mid.clone(), track.kind));
        if let Some((kind, frame_rate)) = options.original {
            stats.compare_with(kind, frame_rate);
        }
        self.streams.push(Arc::clone(&stats));
        self.streams.sort_by_key(|stream| stream.mid().parse::<u32>().unwrap_or(u32::MAX));
        let sync = Some(self.sync.stream(&track.mid, track.kind));
        self.labels.apply(&self.streams, &self.sync);
        let name = format!("mid{}", track.mid);
        let outlets = Outlets {
            call: self.call.as_ref().map(|call| call.track(Arc::clone(&stats))),
            tap: options.tap.clone().map(|out| Tap::new(out, Arc::clone(&stats))),
        };
        let is_taken = options.record.is_some() || outlets.call.is_some() || outlets.tap.is_some();
        match track.kind {
            MediaKind::Video => {
                let recorder = is_taken.then(|| VideoRecorder::new(options.record.clone(), &name, outlets));
                self.receivers.spawn(receive_video(track, stats, sync, recorder));
            }
            MediaKind::Audio => {
                let recorder = is_taken.then(|| AudioRecorder::new(options.record.as_ref(), &name, outlets));
                self.receivers.spawn(receive_audio(track, stats, sync, recorder.transpose()?));
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: SignalEvent) {
        match event {
            SignalEvent::Roster(roster) => self.labels.on_participants(&roster.participants, &roster.left),
            SignalEvent::Slots(slots) => self.labels.on_slots(slots),
            SignalEvent::Resumed | SignalEvent::Directive(_) | SignalEvent::References(_) | SignalEvent::Ended(_) => {
                return;
            }
        }
        self.labels.apply(&self.streams, &self.sync);
    }

    fn pictures(&self) -> u64 {
        let video = self.streams.iter().filter(|stream| stream.kind() == MediaKind::Video);
        video.map(|stream| stream.frames_decoded()).sum()
    }

    fn report(&self, read: impl Fn(&StreamStats) -> crate::stats::StreamReport) -> Report {
        Report {
            elapsed: self.begun.elapsed(),
            join_to_first_frame: self.first(StreamStats::first_decoded),
            round_trip: self.round_trip,
            streams: self.streams.iter().map(|stream| read(stream)).collect(),
            awaited: self.labels.awaited(&self.streams),
        }
    }

    /// The first of something: of video, or of sound where there is no video.
    fn first(&self, of: impl Fn(&StreamStats) -> Option<Instant>) -> Option<Duration> {
        let first = |kind| self.streams.iter().filter(|s| s.kind() == kind).filter_map(|s| of(s)).min();
        let has_video = self.streams.iter().any(|stream| stream.kind() == MediaKind::Video);
        let kind = if has_video { MediaKind::Video } else { MediaKind::Audio };
        first(kind).map(|at| at.saturating_duration_since(self.begun))
    }

    async fn end(mut self, ended: Result<Option<String>>) -> Result<SubscribeSummary> {
        let report = self.report(StreamStats::total);
        self.timings.first_packet = self.first(StreamStats::first_packet);
        self.timings.first_frame = report.join_to_first_frame;
        self.session.stop().await;
        self.peer.close().await;
        // The tracks end with the connection; the receivers complete their files.
        while let Some(receiver) = self.receivers.join_next().await {
            receiver.context("a receiver broke down")??;
        }
        if let Some(call) = &self.call {
            call.finish()?;
        }
        Ok(SubscribeSummary { report, timings: self.timings, ended: ended? })
    }
}

/// How large the slot `mid` is shown.
fn tile(mid: &str, (width, height): (u32, u32)) -> Subscribe {
    Subscribe { mid: mid.to_owned(), tile: Some(Tile { width, height, ..Default::default() }), ..Default::default() }
}

/// Who is in which slot.
#[derive(Default)]
struct Labels {
    names: HashMap<String, String>,
    slots: Vec<SlotAssignment>,
}

impl Labels {
    fn on_participants(&mut self, participants: &[ParticipantInfo], left: &[String]) {
        for participant in participants {
            let name = if participant.name.is_empty() { &participant.identity } else { &participant.name };
            self.names.insert(participant.id.clone(), name.clone());
        }
        for id in left {
            self.names.remove(id);
        }
    }

    fn on_slots(&mut self, slots: Vec<SlotAssignment>) {
        self.slots = slots;
    }

    /// What the server says of slots of which nothing has come.
    fn awaited(&self, streams: &[Arc<StreamStats>]) -> Vec<Awaited> {
        let is_silent = |slot: &&SlotAssignment| !streams.iter().any(|stream| stream.mid() == slot.mid);
        let slots = self.slots.iter().filter(is_silent).filter(|slot| !slot.participant_id.is_empty());
        let awaited = slots.map(|slot| Awaited {
            mid: slot.mid.clone(),
            label: self.names.get(&slot.participant_id).cloned().unwrap_or_default(),
            limit: limit(slot),
        });
        awaited.filter(|awaited| !awaited.limit.is_empty()).collect()
    }

    fn apply(&self, streams: &[Arc<StreamStats>], sync: &LipSync) {
        let slot = |mid: &str| self.slots.iter().find(|slot| slot.mid == mid);
        sync.set_senders(|mid| slot(mid).map(|slot| slot.participant_id.clone()).unwrap_or_default());
        for stream in streams {
            let slot = slot(stream.mid());
            let name = slot.and_then(|slot| self.names.get(&slot.participant_id));
            stream.set_label(name.map_or("", String::as_str));
            stream.set_limit(slot.map_or("", limit));
        }
    }
}

/// Why the server sends no more in a slot.
fn limit(slot: &SlotAssignment) -> &'static str {
    match slot.pause_reason() {
        PauseReason::Codec => "nothing comes: its codec is none of this section's",
        PauseReason::NotVisible => "nothing comes: it is not shown here",
        PauseReason::Bandwidth => "nothing comes: no room on this connection",
        PauseReason::NoLayer => "nothing comes: its publisher sends nothing",
        PauseReason::Unspecified => match slot.layer_limit() {
            LayerLimit::Unspecified => "",
            LayerLimit::Wanted => "no better layer: none is wanted",
            LayerLimit::Bandwidth => "no better layer: no room on this connection",
            LayerLimit::Sender => "no better layer: its publisher sends none now",
            LayerLimit::Cap => "no better layer: not allowed",
            LayerLimit::Overload => "no better layer: the server has no time",
        },
    }
}
