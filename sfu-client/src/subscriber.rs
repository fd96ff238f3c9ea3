//! A subscription as a value: it hands out pictures and sound until it is stopped or dropped.

use crate::frame::VideoFrame;
use crate::stats::{Report, StreamStats};
use crate::subscribe::{Running, SubscribeOptions, SubscribeSummary};
use anyhow::{Context, Result};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// What may wait for [`Subscriber::next`]: half a second of pictures and sound of one sender. Of more, what comes next is
/// left out, so that one that is slow sees what is new.
const QUEUE: usize = 64;

/// Something decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// Section that carries its stream.
    pub mid: String,
    /// Who sends it; empty where that is not known.
    pub from: String,
    /// What it is.
    pub media: Media,
}

/// Picture or sound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Media {
    /// A picture.
    Picture(VideoFrame),
    /// 10 ms of sound: mono, 48 kHz.
    Sound(Vec<i16>),
}

/// Where decoded media of one stream goes.
pub struct Tap {
    out: mpsc::Sender<Received>,
    stats: Arc<StreamStats>,
}

impl Tap {
    /// Into `out`, as what `stats` measures.
    pub fn new(out: mpsc::Sender<Received>, stats: Arc<StreamStats>) -> Self {
        Self { out, stats }
    }

    /// Hands `media` over, where somebody takes it; it is only made then.
    pub(crate) fn take(&self, media: impl FnOnce() -> Media) {
        if let Ok(place) = self.out.try_reserve() {
            let (mid, from) = (self.stats.mid().to_owned(), self.stats.label());
            place.send(Received { mid, from, media: media() });
        }
    }
}

/// A running subscription.
///
/// Needs a Tokio runtime. Dropping it ends the session in order, in the background.
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// use sfu_client::signal::{JoinOptions, Target};
/// use sfu_client::subscribe::SubscribeOptions;
/// use sfu_client::subscriber::{Media, Subscriber};
///
/// let target = Target::Native(JoinOptions::new("ws://127.0.0.1:7880", "demo", "bob"));
/// let mut subscriber = Subscriber::start(SubscribeOptions::new(target)).await?;
/// while let Some(received) = subscriber.next().await {
///     if let Media::Picture(picture) = received.media {
///         println!("{}: {}x{}", received.from, picture.width(), picture.height());
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Subscriber {
    media: mpsc::Receiver<Received>,
    reports: watch::Receiver<Report>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<SubscribeSummary>>,
}

impl Subscriber {
    /// Joins; returns once media can flow.
    ///
    /// # Errors
    /// Where the server cannot be reached or refuses, media cannot be connected, or a recording not be made.
    pub async fn start(mut options: SubscribeOptions) -> Result<Self> {
        let (media_out, media) = mpsc::channel(QUEUE);
        options.tap = Some(media_out);
        let running = Running::start(&options).await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (reports_out, reports) = watch::channel(Report::default());
        let task = tokio::spawn(async move {
            let progress = |report: &Report| drop(reports_out.send_replace(report.clone()));
            running.run(&options, async { drop(stopped.await) }, progress).await
        });
        Ok(Self { media, reports, stop, task })
    }

    /// The next picture or sound of any stream; `None` once the session is over.
    pub async fn next(&mut self) -> Option<Received> {
        self.media.recv().await
    }

    /// What is measured, as of the last [`SubscribeOptions::interval`].
    pub fn report(&self) -> Report {
        self.reports.borrow().clone()
    }

    /// Leaves.
    ///
    /// # Errors
    /// Where the session or a recording had failed before.
    pub async fn stop(self) -> Result<SubscribeSummary> {
        // It may have ended by itself.
        let _ = self.stop.send(());
        self.task.await.context("the subscriber broke down")?
    }
}
