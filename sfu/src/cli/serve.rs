//! `sfu serve`: puts the server together and runs it until it is told to stop.

use super::{ConfigArgs, announce};
use crate::clock::Clock;
use crate::config::{Config, LimitsConfig, doubts};
use crate::control::Control;
use crate::http::tls::Tls;
use crate::http::{self, Proxies, Site};
use crate::net::{self, ConnectionTables, Connections, bind_media_tcp, bind_udp};
use crate::worker_thread::{self, RelayHub, Report, WorkerHandle, WorkerParts};
use anyhow::Context;
use clap::Args;
use sfu_core::coalescing::CoalescingConfig;
use sfu_core::config::WorkerConfig;
use sfu_core::keyframes::KeyframeConfig;
use sfu_rtc::dtls::DtlsCertificate;
use sfu_rtc::ice::IceConfig;
use sfu_rtc::time::Duration;
use sfu_rtc::transport::{IngressConfig, TransportConfig};
use sfu_rtc::units::Bitrate;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// Reports of workers that wait for the control plane; more wait in the workers.
const REPORT_QUEUE: usize = 16_384;
/// Threads of the control plane: it does little, and the cores are the workers'.
const CONTROL_THREADS: usize = 2;
/// How long clients get to read that the server goes down, and HTTP requests to end.
const GOODBYE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Default, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let mut config = args.config.load()?;
    crate::log::start(&config.log)?;
    doubts(&config).iter().for_each(|doubt| tracing::warn!("{doubt}"));
    fit_to_open_files(&mut config);
    if let Err(error) = sfu_net::memory::allow_huge_pages(config.media.huge_pages) {
        tracing::warn!(%error, "media.huge_pages");
    }
    let niceness = config.http.niceness;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .on_thread_start(move || {
            if let Err(error) = sfu_net::priority::set_niceness(niceness) {
                tracing::warn!(%error, niceness, "http.niceness");
            }
        })
        .build()
        .context("cannot start the control plane's threads")?;
    runtime.block_on(serve(Arc::new(config)))?;
    // A task that waits for a client shall not hold the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: Arc<Config>) -> anyhow::Result<()> {
    let tls = config.http.tls().then(|| Tls::open(&config.http.tls_cert, &config.http.tls_key)).transpose()?;
    let admin_listener = http::bind_admin(&config.http)?;
    let listener = http::bind(&config.http)?;
    let http_addr = listener.local_addr()?;
    let clock = Clock::start();
    let certificate = Arc::new(DtlsCertificate::generate());
    let (reports, from_workers) = mpsc::channel(REPORT_QUEUE);
    let Media { workers, threads, tcp } = start_media(&config, &certificate, clock, reports)?;
    let control = Control::new(Arc::clone(&config), clock, &certificate, workers.clone());
    tokio::spawn(Arc::clone(&control).handle_reports(from_workers));
    tokio::spawn(Arc::clone(&control).sweep());
    tokio::spawn(Arc::clone(&control).tell_news());
    tokio::spawn(Arc::clone(&control).watch_load());
    tokio::spawn(Arc::clone(&control).watch_quality());
    tokio::spawn(Arc::clone(&control).plan_encoders());
    let connections = ConnectionTables {
        http: Connections::new(&config.http, &config.limits),
        ice_tcp: Connections::of_ice_tcp(&config.limits),
    };
    if let Some(listener) = tcp {
        tokio::spawn(net::accept_tcp(listener, workers.clone(), Arc::clone(&connections.ice_tcp)));
    }
    // Before anybody learns that we are here, and may tell us to stop.
    let mut signals = Signals::listen()?;
    let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let admin_addr = admin_listener.as_ref().map(TcpListener::local_addr).transpose()?;
    announce::announce(&config, http_addr, admin_addr, &workers)?;
    if let Some(tls) = &tls {
        tokio::spawn(Arc::clone(tls).watch());
    }
    tokio::spawn(reload_on_hangup(hangup, tls.clone()));
    let (stop, stopped) = watch::channel(false);
    let site = |listener, tls, app| {
        let site = Site {
            listener,
            tls,
            app,
            connections: Arc::clone(&connections.http),
            proxies: Proxies::new(&config.http),
            turns: Arc::clone(&control.turns),
        };
        tokio::spawn(http::serve(site, stopped.clone()))
    };
    let server = site(listener, tls.clone(), http::router(&control, &connections));
    if let (Some(listener), Some(addr)) = (admin_listener, admin_addr) {
        let tls = tls.filter(|_| !addr.ip().is_loopback());
        site(listener, tls, http::admin_router(&control, &connections));
    }
    let patience = signals.next(Duration::from_secs(config.http.drain_seconds)).await;
    tokio::select! {
        () = control.drain(patience) => {}
        _ = signals.next(Duration::ZERO) => control.drain(Duration::ZERO).await,
    }
    goodbye(&control, server, stop).await;
    for worker in &workers {
        worker.stop();
    }
    for thread in threads {
        // A worker's panic was told when it happened.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Lets clients read that they have left, then ends the HTTP server.
async fn goodbye(control: &Control, server: tokio::task::JoinHandle<()>, stop: watch::Sender<bool>) {
    let deadline = tokio::time::Instant::now() + GOODBYE;
    while control.connections.load(std::sync::atomic::Ordering::Relaxed) > 0 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _ = stop.send(true);
    if tokio::time::timeout_at(deadline, server).await.is_err() {
        tracing::info!("requests under way are not waited for any longer");
    }
}

/// Workers with their threads, and the port of ICE-TCP.
struct Media {
    workers: Vec<WorkerHandle>,
    threads: Vec<JoinHandle<()>>,
    tcp: Option<TcpListener>,
}

fn start_media(
    config: &Config,
    certificate: &Arc<DtlsCertificate>,
    clock: Clock,
    reports: mpsc::Sender<Report>,
) -> anyhow::Result<Media> {
    let media = &config.media;
    let cpus = sfu_net::affinity::allowed_cpus();
    let count = net::worker_count(media, cpus.len());
    let ips = net::advertised(media, &sfu_net::interfaces::local_addresses().unwrap_or_default());
    let tcp = media.tcp.then(|| bind_media_tcp(media)).transpose()?;
    let tcp = tcp.map(TcpListener::from_std).transpose().context("cannot listen for ICE-TCP")?;
    let tcp_port = tcp.as_ref().map(|listener| listener.local_addr()).transpose()?.map(|addr| addr.port());
    // All ports are bound before any thread starts, so that a taken one leaves nothing behind.
    let sockets = (0..count).map(|index| bind_udp(media, index)).collect::<anyhow::Result<Vec<_>>>()?;
    let (relays, claimed) = (RelayHub::new(count), Arc::default());
    let (mut workers, mut threads) = (Vec::new(), Vec::new());
    for (index, udp) in sockets.into_iter().enumerate() {
        let parts = WorkerParts {
            index,
            cpu: media.pin_workers.then(|| cpus[index % cpus.len()]),
            realtime: media.realtime,
            candidates: net::candidates(&ips, udp.local_addr().port(), tcp_port),
            udp,
            config: worker_config(config),
            certificate: Arc::clone(certificate),
            clock,
            reports: reports.clone(),
            relays: Arc::clone(&relays),
            claimed: Arc::clone(&claimed),
            max_tcp: config.limits.tcp_connections,
        };
        let (worker, thread) = worker_thread::spawn(parts).context("cannot start a worker")?;
        workers.push(worker);
        threads.push(thread);
    }
    Ok(Media { workers, threads, tcp })
}

/// The control plane refuses with a reason what is past the limits; the workers hold to them all the same.
fn worker_config(config: &Config) -> WorkerConfig {
    let limits = &config.limits;
    let ingress = IngressConfig {
        bitrate: Bitrate::from_bps(limits.media_bits_per_second),
        packets: limits.media_packets_per_second,
        feedback: Bitrate::from_bps(limits.feedback_bits_per_second),
        ..IngressConfig::default()
    };
    let ice = IceConfig {
        consent_timeout: Duration::from_secs(limits.consent_seconds),
        consent_interval: Duration::from_secs(limits.consent_interval_seconds),
        ..IceConfig::default()
    };
    let keyframes = KeyframeConfig {
        source_interval: Duration::from_millis(limits.keyframe_interval_millis),
        source_average: Duration::from_millis(limits.keyframe_average_millis),
        receiver_average: Duration::from_millis(limits.keyframe_subscriber_average_millis),
        ..KeyframeConfig::default()
    };
    WorkerConfig {
        transport: TransportConfig {
            ice,
            ingress,
            ice_timeout: Duration::from_secs(limits.connect_seconds),
            max_sealed: limits.resend_packets,
            estimator: config.bandwidth.estimator(),
            arrivals: config.bandwidth.arrivals(),
            measure_path: config.repair.planner(),
            ..TransportConfig::default()
        },
        keyframes,
        repair: config.repair.worker(),
        start_rates: config.bandwidth.start_rates(),
        coalescing: CoalescingConfig {
            video: Duration::from_micros(config.media.video_coalescing_micros),
            audio: Duration::from_micros(config.media.audio_coalescing_micros),
        },
        max_rooms: limits.rooms,
        // A transport may be replaced while its successor is there already.
        max_transports: limits.participants.saturating_mul(2),
        max_publications: limits.publications_per_participant,
        max_sections: limits.sections_per_participant,
        ..WorkerConfig::default()
    }
}

/// So many open files are enough for the connections that `limits` allow.
pub(super) fn open_files_wanted(limits: &LimitsConfig) -> usize {
    limits.connections.saturating_mul(2).max(limits.unauthenticated_connections.saturating_mul(8))
}

/// Descriptors are for connections over HTTP, joined or not, for ICE-TCP, and for the rest.
fn fit_to_open_files(config: &mut Config) {
    let files = match sfu_net::raise_open_files() {
        Ok(files) => usize::try_from(files).unwrap_or(usize::MAX),
        Err(error) => return tracing::warn!(%error, "the limit of open files stays as it is"),
    };
    let limits = &mut config.limits;
    let (most, most_unauthenticated) = (files / 2, files / 8);
    if files < open_files_wanted(limits) {
        limits.connections = limits.connections.min(most);
        limits.unauthenticated_connections = limits.unauthenticated_connections.min(most_unauthenticated).max(1);
        tracing::warn!(
            files,
            connections = limits.connections,
            unauthenticated = limits.unauthenticated_connections,
            "fewer connections than configured, since only so many files may be open (ulimit -Hn, LimitNOFILE=)"
        );
    }
    // Of ICE-TCP, those that proved nothing are at the workers soon.
    limits.unauthenticated_tcp_connections = limits.unauthenticated_tcp_connections.min(files / 16).max(1);
    let workers = net::worker_count(&config.media, sfu_net::affinity::allowed_cpus().len());
    limits.tcp_connections = limits.tcp_connections.min(files / 4 / workers).max(1);
}

/// SIGHUP: certificate and key are read again. Without HTTPS there is nothing to do, least of all to end.
async fn reload_on_hangup(mut hangup: Signal, tls: Option<Arc<Tls>>) {
    while hangup.recv().await.is_some() {
        match &tls {
            Some(tls) => tls.reload().await,
            None => tracing::info!("SIGHUP: no certificate is configured that could be read again"),
        }
    }
}

/// The signals that end the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for one: how long participants may take to leave, which is no time at all after SIGINT.
    async fn next(&mut self, patience: Duration) -> Duration {
        tokio::select! {
            _ = self.terminate.recv() => {
                tracing::info!(?patience, "SIGTERM: no newcomers any more; waiting for participants to leave");
                patience
            }
            _ = self.interrupt.recv() => Duration::ZERO,
        }
    }
}
