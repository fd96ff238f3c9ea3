//! `sfu-bench`: load tester for selective forwarding units.

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use sfu_bench::floor;
use sfu_bench::join::Target;
use sfu_bench::run::{self, RunOptions};
use sfu_bench::scenario::{Group, Preset, Scenario};
use sfu_net::affinity;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Load tester for selective forwarding units.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures what a forwarded packet must cost on this machine: header, seal, send.
    Floor {
        #[command(flatten)]
        options: floor::FloorOptions,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Loads a server with participants and measures what comes of it.
    Run(Box<RunArgs>),
}

#[derive(Args)]
struct RunArgs {
    /// Server of the native signalling.
    #[arg(long, default_value = "ws://127.0.0.1:7880", conflicts_with_all = ["whip", "whep"])]
    server: String,
    /// WHIP endpoint of any server, with {room} and {stream} to be filled in.
    #[arg(long, requires = "whep")]
    whip: Option<String>,
    /// WHEP endpoint of any server, with {room} and {stream} to be filled in.
    #[arg(long, requires = "whip")]
    whep: Option<String>,
    /// Token that admits the participants.
    #[arg(long, env = "SFU_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A load that operators know by name.
    #[arg(long, value_enum, conflicts_with_all = ["scenario", "publishers", "subscribers", "rooms"])]
    preset: Option<Preset>,
    /// A scenario file (TOML).
    #[arg(long, conflicts_with_all = ["publishers", "subscribers", "rooms"])]
    scenario: Option<PathBuf>,
    /// Rooms.
    #[arg(long, default_value_t = 1)]
    rooms: usize,
    /// Participants of each room who publish.
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// Participants of each room who only subscribe.
    #[arg(long, default_value_t = 10)]
    subscribers: usize,
    /// Publishers subscribe to one another.
    #[arg(long)]
    mesh: bool,
    /// Codec of the video.
    #[arg(long, value_enum, default_value = "vp8")]
    codec: sfu_bench::media::VideoCodec,
    /// Bits per second of the highest layer.
    #[arg(long, default_value_t = 1_500_000)]
    bitrate: u64,
    /// Frames per second.
    #[arg(long, default_value_t = 30.0)]
    fps: f64,
    /// All frames and packets of equal size, instead of varying as an encoder's.
    #[arg(long)]
    even: bool,
    /// Simulcast layers.
    #[arg(long, default_value_t = 1)]
    layers: usize,
    /// No sound.
    #[arg(long)]
    no_audio: bool,
    /// No picture.
    #[arg(long)]
    no_video: bool,
    /// Most streams of each kind that a participant subscribes to.
    #[arg(long, default_value_t = 9)]
    slots: usize,
    /// Joins per second.
    #[arg(long, default_value_t = 50.0)]
    join_rate: f64,
    /// Seconds between the last join and the measurement.
    #[arg(long, default_value_t = 2.0)]
    settle: f64,
    /// Seconds measured.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// The server's process, whose CPU time and memory are measured.
    #[arg(long)]
    server_pid: Option<u32>,
    /// CPUs for the generators, one thread each (default: the last allowed).
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    /// Where the server tells its metrics, for the lengths of its runs (default: /metrics of a native server).
    #[arg(long)]
    metrics_url: Option<String>,
    /// Measures the floor in slices between the measured windows, and the server's ratio to it.
    #[arg(long)]
    with_floor: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl RunArgs {
    fn scenario(&self) -> Result<Scenario> {
        match (&self.scenario, self.preset) {
            (Some(path), _) => return Scenario::read(path),
            (None, Some(preset)) => return Ok(preset.scenario()),
            (None, None) => {}
        }
        let group = Group {
            rooms: self.rooms,
            publishers: self.publishers,
            subscribers: self.subscribers,
            mesh: self.mesh,
            video: !self.no_video,
            audio: !self.no_audio,
            codec: self.codec,
            bitrate: self.bitrate,
            fps: self.fps,
            even: self.even,
            layers: self.layers,
            video_slots: self.slots,
            audio_slots: self.slots,
            ..Group::default()
        };
        let scenario = Scenario { name: "options".to_owned(), group: vec![group] };
        scenario.check()?;
        Ok(scenario)
    }

    fn options(&self) -> Result<RunOptions> {
        let target = match (&self.whip, &self.whep) {
            (Some(whip), Some(whep)) => {
                Target::Http { whip: whip.clone(), whep: whep.clone(), token: self.token.clone() }
            }
            _ => Target::Native { server: self.server.clone(), token: self.token.clone().unwrap_or_default() },
        };
        let cpus =
            if self.cpus.is_empty() { affinity::allowed_cpus().pop().into_iter().collect() } else { self.cpus.clone() };
        let seconds = |value: f64, name: &str| {
            Duration::try_from_secs_f64(value).with_context(|| format!("--{name} {value} is no time"))
        };
        if !(0.1..=10_000.0).contains(&self.join_rate) {
            bail!("--join-rate {} is out of bounds: 0.1 to 10000", self.join_rate);
        }
        Ok(RunOptions {
            join_rate: self.join_rate,
            settle: seconds(self.settle, "settle")?,
            duration: seconds(self.duration, "duration")?,
            server_pid: self.server_pid,
            metrics_url: self.metrics_url.clone().or_else(|| target.metrics_url()),
            target,
            cpus,
            with_floor: self.with_floor,
        })
    }
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            clear_progress();
            eprintln!("sfu-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Floor { options, json } => {
            let floor = floor::measure(&options, progress)?;
            if json {
                println!("{}", serde_json::to_string(&floor)?);
            } else {
                print_floor(&floor);
            }
            Ok(())
        }
        Command::Run(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let result = runtime.block_on(run::run(&args.scenario()?, &args.options()?, &mut progress))?;
            clear_progress();
            if args.json {
                println!("{}", serde_json::to_string_pretty(&result)?);
            } else {
                print!("{result}");
            }
            Ok(())
        }
    }
}

/// Says what is being done, on a terminal only.
fn progress(what: &str) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        // A terminal that is gone needs no progress.
        let _ = write!(err, "\r\x1b[K{what} …");
        let _ = err.flush();
    }
}

fn clear_progress() {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K");
    }
}

fn print_floor(floor: &floor::Floor) {
    clear_progress();
    println!("CPU per packet             ns");
    println!("header and seal     {:>9.0}", floor.seal);
    for (run, cost) in &floor.send {
        println!("… and send, run {run:>2}  {cost:>9.0}");
    }
    println!("receive and open    {:>9.0}", floor.receive);
}
