//! The command line of `netsim`, and the lines that a running relay takes.

use crate::config::{LinkConfig, Loss, QueueLimit, Rate};
use crate::relay::{RelayConfig, RelayCounts};
use crate::trace::Trace;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Printed for `--help`.
pub const HELP: &str = "\
netsim: a UDP path with loss, delay and a bottleneck, repeatable by seed

USAGE
    netsim relay --to ADDRESS:PORT [OPTIONS]

Clients send to the address that is printed as `listening on ...`. The server sees each client at a port of its own.

OPTIONS
    --to ADDRESS:PORT        the server
    --listen ADDRESS:PORT    where clients send to; port 0 takes a free one     [default: 127.0.0.1:0]
    --seed N                 decides everything random                          [default: 1]
    --local-interfaces       allow addresses of this network namespace's interfaces, not of loopback alone
    --change-port-after T    once, after this time, give every client another port towards the server
    --change-port-every T    again and again
    --for T                  end after this time
    --exit-on-eof            end when standard input ends
    --stats-every T          print the counts again and again
    --help, --version

LINK OPTIONS, for both directions; with -up for what goes to the server, with -down for what comes from it
    --rate R                 capacity: 500kbit, 2Mbit, 1.5Gbit; 0bit is an outage; none for no limit
    --trace FILE             recorded capacity (Mahimahi: a line per 1500 bytes, with its time in ms), in the place of
                             a rate; none for no trace
    --queue Q                what may wait for the bottleneck: 200ms, 64kB, none                [default: none]
    --delay T                one way: 50ms, 1.5s, 200us
    --jitter T               up to this much more; packets stay in order
    --loss P                 of every packet: 5% or 0.05
    --burst-loss P,N         the same in bursts of N packets on average
    --reorder P,T            hold packets back by T, so that later ones overtake them
    --duplicate P            deliver twice
    --corrupt P              change a byte

LINES ON STANDARD INPUT
    port                     give every client another port towards the server
    set LINK OPTIONS         change the links: set --loss 10% --rate-down 500kbit
    stats                    print the counts
    quit                     end

The counts are printed at the end, but not where a signal ends the program.

EXAMPLE
    netsim relay --to 127.0.0.1:7881 --delay 40ms --loss-up 5% --rate-down 2Mbit --queue-down 200ms --seed 7
";

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
    /// Relay.
    Relay(Box<RelayCommand>),
}

/// `netsim relay`.
#[derive(Clone, Debug)]
pub struct RelayCommand {
    /// Addresses, links and seed.
    pub config: RelayConfig,
    /// When to change ports for the first time.
    pub change_port_after: Option<Duration>,
    /// How often to change ports.
    pub change_port_every: Option<Duration>,
    /// When to end.
    pub run_for: Option<Duration>,
    /// How often to print the counts.
    pub stats_every: Option<Duration>,
    /// Whether the end of standard input ends the relay.
    pub exit_on_eof: bool,
}

/// A line on standard input.
#[derive(Clone, PartialEq, Debug)]
pub enum Line {
    /// Nothing.
    Empty,
    /// Change ports.
    ChangePorts,
    /// Change links, up and down.
    SetLinks(Box<(LinkConfig, LinkConfig)>),
    /// Print the counts.
    Stats,
    /// End.
    Quit,
}

/// A command line or a line that cannot be carried out, in a sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

fn wrong<T>(message: impl Into<String>) -> Result<T, UsageError> {
    Err(UsageError(message.into()))
}

impl Command {
    /// Reads the arguments after the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, UsageError> {
        let mut words = Words(arguments.into_iter().collect::<Vec<_>>().into_iter());
        match words.0.next().as_deref() {
            Some("relay") => {}
            Some("--help" | "-h" | "help") => return Ok(Self::Help),
            Some("--version" | "-V") => return Ok(Self::Version),
            Some(other) => return wrong(format!("there is no command {other}; see netsim --help")),
            None => return wrong("a command is missing; see netsim --help"),
        }
        RelayCommand::parse(words)
    }
}

impl RelayCommand {
    fn parse(mut words: Words) -> Result<Command, UsageError> {
        let (mut listen, mut to) = (SocketAddr::from(([127, 0, 0, 1], 0)), None);
        let (mut seed, mut local_interfaces, mut exit_on_eof) = (1, false, false);
        let (mut change_port_after, mut change_port_every) = (None, None);
        let (mut run_for, mut stats_every) = (None, None);
        let mut links = (LinkConfig::default(), LinkConfig::default());
        while let Some(option) = words.option()? {
            let name = option.name.as_str();
            match name {
                "--help" => return Ok(Command::Help),
                "--version" => return Ok(Command::Version),
                "--listen" => listen = address(name, &words.value(&option)?)?,
                "--to" => to = Some(address(name, &words.value(&option)?)?),
                "--seed" => {
                    let value = words.value(&option)?;
                    seed = value.parse().or_else(|_| wrong(format!("--seed takes a whole number, not {value}")))?;
                }
                "--local-interfaces" => local_interfaces = option.is_flag()?,
                "--exit-on-eof" => exit_on_eof = option.is_flag()?,
                "--change-port-after" => change_port_after = Some(duration(name, &words.value(&option)?)?),
                "--change-port-every" => change_port_every = Some(period(name, &words.value(&option)?)?),
                "--for" => run_for = Some(duration(name, &words.value(&option)?)?),
                "--stats-every" => stats_every = Some(period(name, &words.value(&option)?)?),
                _ => link_option(&option, &mut words, &mut links)?,
            }
        }
        let Some(to) = to else { return wrong("--to is missing: the address and port of the server") };
        let (up, down) = links;
        let config = RelayConfig { listen, to, up, down, seed, local_interfaces };
        Ok(Command::Relay(Box::new(Self {
            config,
            change_port_after,
            change_port_every,
            run_for,
            stats_every,
            exit_on_eof,
        })))
    }
}

impl Line {
    /// Reads a line; `links` are what a `set` changes a part of.
    pub fn parse(text: &str, links: &(LinkConfig, LinkConfig)) -> Result<Self, UsageError> {
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        let mut words = Words(words.into_iter());
        let line = match words.0.next().as_deref() {
            None => Self::Empty,
            Some("port") => Self::ChangePorts,
            Some("stats") => Self::Stats,
            Some("quit") => Self::Quit,
            Some("set") => {
                let mut links = links.clone();
                while let Some(option) = words.option()? {
                    link_option(&option, &mut words, &mut links)?;
                }
                Self::SetLinks(Box::new(links))
            }
            Some(other) => return wrong(format!("{other} is none of port, set, stats and quit")),
        };
        match words.0.next() {
            Some(extra) => wrong(format!("{extra} is one word too many")),
            None => Ok(line),
        }
    }
}

/// The words of a command line.
struct Words(std::vec::IntoIter<String>);

/// `--name`, `--name value` or `--name=value`.
struct GivenOption {
    name: String,
    value: Option<String>,
}

impl GivenOption {
    fn is_flag(&self) -> Result<bool, UsageError> {
        match self.value {
            None => Ok(true),
            Some(_) => wrong(format!("{} takes no value", self.name)),
        }
    }
}

impl Words {
    fn option(&mut self) -> Result<Option<GivenOption>, UsageError> {
        let Some(word) = self.0.next() else { return Ok(None) };
        if !word.starts_with("--") {
            return wrong(format!("{word} is no option; see netsim --help"));
        }
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        Ok(Some(GivenOption { name, value }))
    }

    fn value(&mut self, option: &GivenOption) -> Result<String, UsageError> {
        let value = option.value.clone().or_else(|| self.0.next());
        value.map_or_else(|| wrong(format!("{} needs a value", option.name)), Ok)
    }
}

/// Sets an option of a link; the name as it was written is for errors.
type Setter = fn(&mut LinkConfig, name: &str, value: &str) -> Result<(), UsageError>;

const LINK_OPTIONS: [(&str, Setter); 10] = [
    ("--rate", |link, name, value| rate(name, value).map(|rate| link.rate = rate)),
    ("--trace", |link, name, value| trace(name, value).map(|trace| link.trace = trace)),
    ("--queue", |link, name, value| queue(name, value).map(|queue| link.queue = queue)),
    ("--delay", |link, name, value| duration(name, value).map(|delay| link.delay = delay)),
    ("--jitter", |link, name, value| duration(name, value).map(|jitter| link.jitter = jitter)),
    ("--loss", |link, name, value| probability(name, value).map(|p| link.loss = Loss::Random(p))),
    ("--burst-loss", |link, name, value| burst_loss(name, value).map(|loss| link.loss = loss)),
    ("--reorder", |link, name, value| {
        let (p, delay) = pair(name, value, "a probability and a time, as 1%,20ms")?;
        (link.reorder, link.reorder_delay) = (probability(name, p)?, duration(name, delay)?);
        Ok(())
    }),
    ("--duplicate", |link, name, value| probability(name, value).map(|p| link.duplicate = p)),
    ("--corrupt", |link, name, value| probability(name, value).map(|p| link.corrupt = p)),
];

/// Applies a link option to the directions that it names.
fn link_option(
    option: &GivenOption,
    words: &mut Words,
    links: &mut (LinkConfig, LinkConfig),
) -> Result<(), UsageError> {
    let full = option.name.as_str();
    let (name, up, down) = match (full.strip_suffix("-up"), full.strip_suffix("-down")) {
        (Some(name), _) => (name, true, false),
        (_, Some(name)) => (name, false, true),
        _ => (full, true, true),
    };
    let Some((_, set)) = LINK_OPTIONS.iter().find(|(known, _)| *known == name) else {
        return wrong(format!("there is no option {full}; see netsim --help"));
    };
    let value = words.value(option)?;
    for link in [up.then_some(&mut links.0), down.then_some(&mut links.1)].into_iter().flatten() {
        set(link, full, &value)?;
    }
    Ok(())
}

fn address(name: &str, value: &str) -> Result<SocketAddr, UsageError> {
    value.parse().or_else(|_| wrong(format!("{name} takes an address and a port, as 127.0.0.1:7881, not {value}")))
}

/// A number that is not negative, and the unit behind it.
fn number_and_unit(value: &str) -> Option<(f64, &str)> {
    let end = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    Some((number.parse().ok()?, unit))
}

fn duration(name: &str, value: &str) -> Result<Duration, UsageError> {
    let seconds = number_and_unit(value).and_then(|(number, unit)| match unit {
        "us" => Some(number / 1e6),
        "ms" => Some(number / 1e3),
        "s" => Some(number),
        "m" => Some(number * 60.0),
        _ => None,
    });
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.map_or_else(|| wrong(format!("{name} takes a time, as 50ms or 1.5s, not {value}")), Ok)
}

/// A duration that is not zero.
fn period(name: &str, value: &str) -> Result<Duration, UsageError> {
    match duration(name, value)? {
        Duration::ZERO => wrong(format!("{name} takes a time longer than nothing")),
        period => Ok(period),
    }
}

fn probability(name: &str, value: &str) -> Result<f64, UsageError> {
    let p = number_and_unit(value).and_then(|(number, unit)| match unit {
        "%" => Some(number / 100.0),
        "" => Some(number),
        _ => None,
    });
    let p = p.filter(|p| (0.0..=1.0).contains(p));
    p.map_or_else(|| wrong(format!("{name} takes a probability, as 5% or 0.05, not {value}")), Ok)
}

fn rate(name: &str, value: &str) -> Result<Option<Rate>, UsageError> {
    if value == "none" {
        return Ok(None);
    }
    let factor = |unit| match unit {
        "bit" => Some(1.0),
        "kbit" => Some(1e3),
        "Mbit" => Some(1e6),
        "Gbit" => Some(1e9),
        _ => None,
    };
    let bps = number_and_unit(value).and_then(|(number, unit)| Some(number * factor(unit)?));
    match bps {
        // A conversion that is too large ends at the largest number.
        Some(bps) => Ok(Some(Rate::from_bps(bps as u64))),
        None => wrong(format!("{name} takes a rate per second, as 500kbit or 2Mbit, or none, not {value}")),
    }
}

fn queue(name: &str, value: &str) -> Result<QueueLimit, UsageError> {
    let bytes = number_and_unit(value).and_then(|(number, unit)| match unit {
        "B" => Some(number),
        "kB" => Some(number * 1e3),
        "MB" => Some(number * 1e6),
        _ => None,
    });
    match (value, bytes) {
        ("none", _) => Ok(QueueLimit::None),
        (_, Some(bytes)) => Ok(QueueLimit::Bytes(bytes as usize)),
        _ => duration(name, value)
            .map(QueueLimit::Time)
            .or_else(|_| wrong(format!("{name} takes a time or a size, as 200ms or 64kB, or none, not {value}"))),
    }
}

fn trace(name: &str, path: &str) -> Result<Option<Arc<Trace>>, UsageError> {
    if path == "none" {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).or_else(|error| wrong(format!("{name}: cannot read {path}: {error}")))?;
    match Trace::parse(&text) {
        Ok(trace) => Ok(Some(Arc::new(trace))),
        Err(error) => wrong(format!("{name}: {path} is no trace: {error}")),
    }
}

fn burst_loss(name: &str, value: &str) -> Result<Loss, UsageError> {
    const EXPECTED: &str = "a probability and a mean number of packets, as 5%,8";
    let (p, length) = pair(name, value, EXPECTED)?;
    let length = length.parse().ok().filter(|&length: &f64| length >= 1.0 && length.is_finite());
    match length {
        Some(length) => Ok(Loss::bursts(probability(name, p)?, length)),
        None => wrong(format!("{name} takes {EXPECTED}, not {value}")),
    }
}

fn pair<'a>(name: &str, value: &'a str, expected: &str) -> Result<(&'a str, &'a str), UsageError> {
    value.split_once(',').map_or_else(|| wrong(format!("{name} takes {expected}, not {value}")), Ok)
}

/// The counts of a relay, for people.
pub fn report(counts: &RelayCounts) -> String {
    let way = |name: &str, stats: &crate::link::LinkStats| {
        format!(
            "{name:<5} sent {} ({} bytes), delivered {} ({} bytes), lost {}, dropped {}, duplicated {}, corrupted {}, \
             reordered {}",
            stats.sent,
            stats.bytes_sent,
            stats.delivered,
            stats.bytes_delivered,
            stats.lost,
            stats.dropped,
            stats.duplicated,
            stats.corrupted,
            stats.reordered
        )
    };
    let RelayCounts { up, down, clients, port_changes, refused, unsent } = counts;
    format!(
        "{}\n{}\nclients {clients}, port changes {port_changes}, refused {refused}, unsent {unsent}",
        way("up", up),
        way("down", down)
    )
}

#[cfg(test)]
mod tests;
