//! A whole subscribing session: join, receive until told to stop, leave.

use crate::peer::{ConnectionState, MediaKind, Peer, PeerConfig, RemoteTrack};
use crate::publish::CONNECT_TIMEOUT;
use crate::receive::{receive_audio, receive_video};
use crate::record::{AudioRecorder, RecordSettings, VideoRecorder};
use crate::signal::{Session, SignalEvent, Target};
use crate::stats::{Report, StreamStats};
use anyhow::{Context, Result, bail};
use sfu_proto::v1::{ParticipantInfo, SlotAssignment};
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
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
    /// Take parity for video (FlexFEC-03), where the server sends it.
    pub fec: bool,
    /// Where to record, if anywhere.
    pub record: Option<RecordSettings>,
    /// End after so many pictures.
    pub frames: Option<u64>,
    /// Time between two progress reports.
    pub interval: Duration,
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
    mut progress: impl FnMut(&Report),
) -> Result<SubscribeSummary> {
    let mut stop = pin!(stop);
    let mut running = tokio::select! {
        running = Running::start(&options) => running?,
        () = &mut stop => bail!("stopped before the join was complete"),
    };
    let ended = running.serve(&options, stop, &mut progress).await;
    running.end(ended).await
}

struct Running {
    peer: Peer,
    session: Session,
    begun: Instant,
    timings: JoinTimings,
    streams: Vec<Arc<StreamStats>>,
    receivers: JoinSet<Result<()>>,
    labels: Labels,
}

impl Running {
    async fn start(options: &SubscribeOptions) -> Result<Self> {
        let begun = Instant::now();
        let peer = Peer::new(PeerConfig { fec: options.fec, ..options.target.peer_config()? }).await?;
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
        labels.on_slots(slots);
        let receivers = JoinSet::new();
        Ok(Self { peer, session, begun, timings, streams: Vec::new(), receivers, labels })
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

    fn receive(&mut self, track: RemoteTrack, options: &SubscribeOptions) -> Result<()> {
        let stats = Arc::new(StreamStats::new(track.mid.clone(), track.kind));
        self.streams.push(Arc::clone(&stats));
        self.streams.sort_by_key(|stream| stream.mid().parse::<u32>().unwrap_or(u32::MAX));
        self.labels.apply(&self.streams);
        let name = format!("mid{}", track.mid);
        match track.kind {
            MediaKind::Video => {
                let recorder = options.record.clone().map(|settings| VideoRecorder::new(settings, &name));
                self.receivers.spawn(receive_video(track, stats, recorder));
            }
            MediaKind::Audio => {
                let recorder = options.record.as_ref().map(|settings| AudioRecorder::new(settings, &name));
                self.receivers.spawn(receive_audio(track, stats, recorder.transpose()?));
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: SignalEvent) {
        match event {
            SignalEvent::Roster(roster) => self.labels.on_participants(&roster.participants, &roster.left),
            SignalEvent::Slots(slots) => self.labels.on_slots(slots),
            SignalEvent::Resumed | SignalEvent::Directive(_) | SignalEvent::Ended(_) => return,
        }
        self.labels.apply(&self.streams);
    }

    fn pictures(&self) -> u64 {
        let video = self.streams.iter().filter(|stream| stream.kind() == MediaKind::Video);
        video.map(|stream| stream.frames_decoded()).sum()
    }

    fn report(&self, read: impl Fn(&StreamStats) -> crate::stats::StreamReport) -> Report {
        Report {
            elapsed: self.begun.elapsed(),
            join_to_first_frame: self.first(StreamStats::first_decoded),
            streams: self.streams.iter().map(|stream| read(stream)).collect(),
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
        Ok(SubscribeSummary { report, timings: self.timings, ended: ended? })
    }
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

    fn apply(&self, streams: &[Arc<StreamStats>]) {
        for stream in streams {
            let slot = self.slots.iter().find(|slot| slot.mid == stream.mid());
            let name = slot.and_then(|slot| self.names.get(&slot.participant_id));
            stream.set_label(name.map_or("", String::as_str));
        }
    }
}
