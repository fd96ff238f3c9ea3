//! A publication as a value: it runs until it is stopped or dropped.

use crate::publish::{PublishOptions, PublishReport, Running};
use anyhow::{Context, Result};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// A running publication.
///
/// Needs a Tokio runtime. Dropping it ends the session in order, in the background.
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// use sfu_client::capture::Scene;
/// use sfu_client::publish::PublishOptions;
/// use sfu_client::publisher::Publisher;
/// use sfu_client::send::VideoSettings;
/// use sfu_client::signal::{JoinOptions, Target};
///
/// let target = Target::Native(JoinOptions::new("ws://127.0.0.1:7880", "demo", "ada"));
/// let scene = Box::new(Scene::new(640, 360, 30.0)?);
/// let publisher = Publisher::start(PublishOptions::new(target).video(scene, VideoSettings::default())).await?;
/// tokio::time::sleep(std::time::Duration::from_secs(10)).await;
/// let report = publisher.stop().await?;
/// println!("{} pictures were sent", report.video.frames);
/// # Ok(())
/// # }
/// ```
pub struct Publisher {
    stop: oneshot::Sender<()>,
    reports: watch::Receiver<PublishReport>,
    task: JoinHandle<Result<PublishReport>>,
}

impl Publisher {
    /// Joins; returns once media flows.
    ///
    /// # Errors
    /// Where there is nothing to publish, the server cannot be reached or refuses, or media cannot be connected.
    pub async fn start(options: PublishOptions) -> Result<Self> {
        let running = Running::start(options).await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (reports_out, reports) = watch::channel(running.report());
        let task = tokio::spawn(async move {
            let progress = |report: &PublishReport| {
                reports_out.send_replace(*report);
            };
            running.run(async { drop(stopped.await) }, progress).await
        });
        Ok(Self { stop, reports, task })
    }

    /// What has been sent, at most a second ago.
    pub fn report(&self) -> PublishReport {
        *self.reports.borrow()
    }

    /// Waits for the end of what is published; leaves.
    ///
    /// # Errors
    /// Where a source or the connection fails, or the server ends the session.
    pub async fn finished(self) -> Result<PublishReport> {
        let Self { stop, task, .. } = self;
        let result = task.await.context("the publisher broke down")?;
        drop(stop);
        result
    }

    /// Leaves.
    ///
    /// # Errors
    /// Where it had failed before.
    pub async fn stop(self) -> Result<PublishReport> {
        // It may have ended by itself.
        let _ = self.stop.send(());
        self.task.await.context("the publisher broke down")?
    }
}
