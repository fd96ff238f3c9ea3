//! The `sfu-client` program.

mod cli;

use anyhow::Result;
use clap::Parser;
use cli::{
    Cli, Command, JoinTimeArgs, LabCommand, LabLightArgs, LabRateArgs, LabVoiceArgs, OutputArgs, PublishArgs,
    SubscribeArgs,
};
use sfu_client::join_time;
use sfu_client::lab::{light, rate, voice};
use sfu_client::publish::{PublishReport, publish};
use sfu_client::stats::{Report, table};
use sfu_client::subscribe::{SubscribeSummary, subscribe};
use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

/// What is written to the log unless `RUST_LOG` says otherwise: the media stack is chatty about packets that come
/// before a track or after its end.
const DEFAULT_LOG: &str = "warn,rtc=off,webrtc=off,rtc_ice=off,rtc_dtls=off,rtc_srtp=off";

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let result = match &cli.command {
        Command::Publish(args) => run_publish(args).await,
        Command::Subscribe(args) => run_subscribe(args).await,
        Command::JoinTime(args) => run_join_time(args).await,
        Command::Lab(LabCommand::Voice(args)) => run_lab_voice(args),
        Command::Lab(LabCommand::Rate(args)) => run_lab_rate(args),
        Command::Lab(LabCommand::Light(args)) => run_lab_light(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run_publish(args: &PublishArgs) -> Result<ExitCode> {
    let json = args.output.json;
    let mut before = PublishReport::default();
    let progress = |report: &PublishReport| {
        if json {
            print_line(&report.to_json("progress").to_string());
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
    let redraw = !json && io::stdout().is_terminal();
    let mut lines = 0;
    let progress = |report: &Report| {
        if json {
            print_line(&report.to_json("progress").to_string());
            return;
        }
        let text = format!("{:.0} s\n{}", report.elapsed.as_secs_f64(), table(report));
        if redraw && lines > 0 {
            // Up over the last table, and clear from there.
            print!("\x1b[{lines}A\x1b[J");
        }
        lines = text.lines().count() + 1;
        print_line(&text);
    };
    let summary = subscribe(args.options()?, stop(&args.output), progress).await?;
    show_summary(&summary, json);
    Ok(if summary.received_anything() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
