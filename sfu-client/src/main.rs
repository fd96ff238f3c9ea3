//! The `sfu-client` program.

mod cli;
mod dashboard;
mod log;

use anyhow::{Context, Result};
use clap::Parser;
use cli::{
    Cli, Command, DoctorArgs, JoinTimeArgs, LabCommand, LabEchoArgs, LabGlassArgs, LabLightArgs, LabRateArgs,
    LabSpeedArgs, LabVoiceArgs, OutputArgs, PublishArgs, SubscribeArgs,
};
use dashboard::{PublishView, Screen, SubscribeView};
use sfu_client::display::Window;
use sfu_client::lab::{echo, glass, light, rate, speed, voice};
use sfu_client::publish::{PublishReport, publish};
use sfu_client::stats::{Report, table};
use sfu_client::subscribe::{SubscribeOptions, SubscribeSummary, subscribe};
use sfu_client::subscriber::{Media, Received};
use sfu_client::{doctor, join_time};
use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::EnvFilter;

/// What is written to the log unless `RUST_LOG` says otherwise: the media stack is chatty about packets that come
/// before a track or after its end.
const DEFAULT_LOG: &str = "warn,rtc=off,webrtc=off,rtc_ice=off,rtc_dtls=off,rtc_srtp=off";

/// Time between two pictures on the terminal, which are many bytes.
const PICTURE_INTERVAL: Duration = Duration::from_millis(100);
/// Size of the window, unless it is said how large pictures are shown.
const WINDOW_SIZE: (u32, u32) = (960, 540);
/// Pictures and sound that may wait to be drawn, or passed over.
const PICTURE_QUEUE: usize = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(log::LogWriter).init();
    let result = match &cli.command {
        Command::Publish(args) => run_publish(args).await,
        Command::Subscribe(args) => run_subscribe(args).await,
        Command::JoinTime(args) => run_join_time(args).await,
        Command::Doctor(args) => Ok(run_doctor(args).await),
        Command::Lab(LabCommand::Voice(args)) => run_lab_voice(args),
        Command::Lab(LabCommand::Rate(args)) => run_lab_rate(args),
        Command::Lab(LabCommand::Light(args)) => run_lab_light(args),
        Command::Lab(LabCommand::Speed(args)) => run_lab_speed(args),
        Command::Lab(LabCommand::Echo(args)) => run_lab_echo(args),
        Command::Lab(LabCommand::Glass(args)) => run_lab_glass(args).await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run_publish(args: &PublishArgs) -> Result<ExitCode> {
    let json = args.output.json;
    let mut before = PublishReport::default();
    let (mut screen, mut view) = (Show::new(&args.output), PublishView::default());
    let progress = move |report: &PublishReport| {
        if json {
            print_line(&report.to_json("progress").to_string());
        } else if let Some(screen) = screen.get() {
            screen.show(view.update(report));
        } else {
            print_line(&publish_line(report, &before));
        }
        before = *report;
    };
    let report = publish(args.options()?, stop(&args.output), progress).await?;
    if json {
        print_line(&report.to_json("summary").to_string());
    } else {
        let seconds = report.elapsed.as_secs_f64();
        print_line(&format!(
            "sent {} pictures ({} keyframes), {} packets of sound in {seconds:.1} s; joined in {:.0} ms",
            report.video.frames,
            report.video.keyframes,
            report.audio.packets,
            report.join.as_secs_f64() * 1000.0
        ));
    }
    let sent = report.video.frames + report.audio.frames;
    Ok(if sent > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The dashboard of what is received: both reports and pictures draw on it.
struct Live {
    show: Show,
    view: SubscribeView,
}

impl Live {
    fn new(output: &OutputArgs) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { show: Show::new(output), view: SubscribeView::default() }))
    }
}

/// Draws the pictures of the first stream that has some.
async fn show_pictures(live: Arc<Mutex<Live>>, mut media: mpsc::Receiver<Received>) {
    let (mut stream, mut drawn) = (None, None);
    while let Some(Received { mid, media, .. }) = media.recv().await {
        let Media::Picture(picture) = media else { continue };
        let is_due = drawn.is_none_or(|drawn: Instant| drawn.elapsed() >= PICTURE_INTERVAL);
        if *stream.get_or_insert_with(|| mid.clone()) != mid || !is_due {
            continue;
        }
        drawn = Some(Instant::now());
        let mut live = live.lock().unwrap_or_else(PoisonError::into_inner);
        let Live { show, view } = &mut *live;
        if let Show::Now(screen) = show {
            screen.show(view.show_picture(picture));
        }
    }
}

/// Whether the dashboard is shown, and the terminal once it is: from the first report on, so that a join that fails is
/// read where it was begun.
enum Show {
    Never,
    Yet,
    Now(Box<Screen>),
}

impl Show {
    fn new(output: &OutputArgs) -> Self {
        let shown = !output.json && !output.text && io::stdout().is_terminal();
        if shown { Self::Yet } else { Self::Never }
    }

    fn get(&mut self) -> Option<&mut Screen> {
        if matches!(self, Self::Yet) {
            *self = Screen::enter().map_or(Self::Never, |screen| Self::Now(Box::new(screen)));
        }
        match self {
            Self::Now(screen) => Some(screen),
            _ => None,
        }
    }
}

fn publish_line(report: &PublishReport, before: &PublishReport) -> String {
    let seconds = (report.elapsed - before.elapsed).as_secs_f64().max(0.001);
    let kbps = |bytes: u64| bytes as f64 * 8.0 / seconds / 1000.0;
    format!(
        "{:>7.1} s  {:>5.1} fps  {:>7.1} kbit/s video  {:>6.1} kbit/s sound  {:>6} pictures  {:>3} keyframes ({} asked for)",
        report.elapsed.as_secs_f64(),
        (report.video.frames - before.video.frames) as f64 / seconds,
        kbps(report.video.bytes - before.video.bytes),
        kbps(report.audio.bytes - before.audio.bytes),
        report.video.frames,
        report.video.keyframes,
        report.keyframe_requests,
    )
}

async fn run_subscribe(args: &SubscribeArgs) -> Result<ExitCode> {
    let json = args.output.json;
    let mut options = args.options()?;
    let live = Live::new(&args.output);
    if args.picture {
        let (tap, media) = mpsc::channel(PICTURE_QUEUE);
        options.tap = Some(tap);
        tokio::spawn(show_pictures(Arc::clone(&live), media));
    }
    let window = args.window.then(|| open_window(&mut options)).transpose()?;
    let progress = |report: &Report| {
        if let Some(window) = &window {
            window.report(report);
        }
        let mut live = live.lock().unwrap_or_else(PoisonError::into_inner);
        let Live { show, view } = &mut *live;
        if json {
            print_line(&report.to_json("progress").to_string());
        } else if let Some(screen) = show.get() {
            screen.show(view.update(report));
        } else {
            print_line(&format!("{:.0} s\n{}", report.elapsed.as_secs_f64(), table(report)));
        }
    };
    let end = async {
        tokio::select! {
            () = stop(&args.output) => {}
            () = closed(window.as_deref()) => {}
        }
    };
    let summary = subscribe(options, end, progress).await;
    // The terminal is given back before anything is said on it.
    live.lock().unwrap_or_else(PoisonError::into_inner).show = Show::Never;
    let summary = summary?;
    show_summary(&summary, json);
    Ok(if summary.received_anything() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A window that shows what is received.
fn open_window(options: &mut SubscribeOptions) -> Result<Arc<Window>> {
    let (width, height) = options.shown.unwrap_or(WINDOW_SIZE);
    let window = Arc::new(Window::open("sfu-client", (width as usize, height as usize))?);
    let (tap, mut media) = mpsc::channel(PICTURE_QUEUE);
    options.tap = Some(tap);
    let shown = Arc::clone(&window);
    tokio::spawn(async move {
        while let Some(received) = media.recv().await {
            shown.take(received);
        }
    });
    Ok(window)
}

/// Waits until the window is closed, if there is one.
async fn closed(window: Option<&Window>) {
    match window {
        Some(window) => window.closed().await,
        None => pending().await,
    }
}

fn show_summary(summary: &SubscribeSummary, json: bool) {
    if json {
        print_line(&summary.report.to_json("summary").to_string());
    } else {
        print_line(&format!("in all, {:.1} s:\n{}", summary.report.elapsed.as_secs_f64(), table(&summary.report)));
        if let Some(first) = summary.report.join_to_first_frame {
            print_line(&format!("join to first decoded frame: {:.1} ms", first.as_secs_f64() * 1000.0));
        }
    }
    if let Some(reason) = &summary.ended {
        eprintln!("the session ended: {reason}");
    }
    if !summary.received_anything() {
        eprintln!("error: nothing was received");
    }
}

async fn run_join_time(args: &JoinTimeArgs) -> Result<ExitCode> {
    let (stop_publisher, stopped) = oneshot::channel::<()>();
    let publisher = if args.publish {
        let options = args.publisher()?;
        let (ready_out, ready) = oneshot::channel::<()>();
        let mut ready_out = Some(ready_out);
        let task = tokio::spawn(async move {
            let progress = |_: &PublishReport| drop(ready_out.take());
            let stopped = async { drop(stopped.await) };
            publish(options, stopped, progress).await
        });
        // Media flows once the first progress is told, or the publisher has failed.
        if ready.await.is_err() && task.is_finished() {
            task.await??;
            anyhow::bail!("the publisher ended before the first join");
        }
        Some(task)
    } else {
        None
    };
    let progress = |join: usize, time: Duration| {
        if !args.json {
            print_line(&format!("join {join:>3}: {:>7.1} ms", time.as_secs_f64() * 1000.0));
        }
    };
    let target = args.target();
    let times = tokio::select! {
        times = join_time::measure(&target, args.joins, progress) => times,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("stopped"),
    };
    drop(stop_publisher);
    if let Some(publisher) = publisher {
        publisher.await??;
    }
    let times = times?;
    print_line(&if args.json { times.to_json().to_string() } else { times.to_text() });
    let median = times.first_frame(0.5);
    match args.limit {
        Some(limit) if median > limit => {
            eprintln!("error: the median is above {} ms", limit.as_millis());
            Ok(ExitCode::FAILURE)
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

async fn run_doctor(args: &DoctorArgs) -> ExitCode {
    let diagnosis = doctor::examine(&args.options()).await;
    print_line(if args.json { diagnosis.to_json().to_string() } else { diagnosis.to_text() }.trim_end());
    if diagnosis.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_lab_voice(args: &LabVoiceArgs) -> Result<ExitCode> {
    let results = voice::measure(&args.options()?, |result| {
        if args.json {
            print_line(&result.to_json().to_string());
        }
    })?;
    if !args.json {
        print_line(&voice::table(&results));
    }
    Ok(if results.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_lab_rate(args: &LabRateArgs) -> Result<ExitCode> {
    let results = rate::measure(&args.options()?, |result| {
        if args.json {
            print_line(&result.to_json().to_string());
        }
    })?;
    if let Some(folder) = &args.plot {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for result in &results {
            let path = folder.join(format!("{}-{}-{}.svg", result.codec.name(), result.clip, result.control));
            std::fs::write(&path, rate::plot(result)).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    if !args.json {
        print_line(&rate::table(&results));
    }
    Ok(if results.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_lab_light(args: &LabLightArgs) -> Result<ExitCode> {
    let results = light::measure(&args.options(), |result| {
        if args.json {
            print_line(&result.to_json().to_string());
        }
    })?;
    if !args.json {
        print_line(&light::table(&results));
    }
    Ok(if results.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_lab_speed(args: &LabSpeedArgs) -> Result<ExitCode> {
    let results = speed::measure(&args.options(), |result| {
        if args.json {
            print_line(&result.to_json().to_string());
        }
    })?;
    if !args.json {
        print_line(&speed::table(&results));
    }
    Ok(if results.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_lab_echo(args: &LabEchoArgs) -> Result<ExitCode> {
    let results = echo::measure(&args.options(), |result| {
        if args.json {
            print_line(&result.to_json().to_string());
        }
    })?;
    if !args.json {
        print_line(&echo::table(&results));
    }
    Ok(if results.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn run_lab_glass(args: &LabGlassArgs) -> Result<ExitCode> {
    let result = glass::measure(&args.options()?).await?;
    print_line(&if args.json { result.to_json().to_string() } else { glass::table(&result) });
    Ok(ExitCode::SUCCESS)
}

/// Completes at Ctrl-C or SIGTERM, or after `--duration`.
async fn stop(args: &OutputArgs) {
    let end = async {
        match args.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = end => {}
        () = interrupted() => {}
    }
}

#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    // Without a handler Ctrl-C ends the program by itself.
    if tokio::signal::ctrl_c().await.is_err() {
        pending().await
    }
}

/// Prints and flushes; a reader that has gone away is no reason to panic.
fn print_line(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
