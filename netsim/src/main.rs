//! The program `netsim`: a UDP path with loss, delay and a bottleneck.

use netsim::LinkConfig;
use netsim::cli::{Command, HELP, Line, RelayCommand, report};
use netsim::relay::Relay;
use std::fmt::Display;
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    match Command::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => say(HELP.trim_end()),
        Ok(Command::Version) => say(concat!("netsim ", env!("CARGO_PKG_VERSION"))),
        Ok(Command::Relay(command)) => return relay(*command),
        Err(error) => {
            eprintln!("netsim: {error}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Prints a line. Whoever reads may have gone, which is no reason to end a relay.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn relay(command: RelayCommand) -> ExitCode {
    let relay = match Relay::start(command.config.clone()) {
        Ok(relay) => relay,
        Err(error) => {
            eprintln!("netsim: {error}");
            return ExitCode::FAILURE;
        }
    };
    say(format_args!("listening on {}", relay.address()));
    say(format_args!("relaying to {} with seed {}", command.config.to, command.config.seed));
    run(&relay, command, &lines());
    say(report(&relay.stop()));
    ExitCode::SUCCESS
}

/// The lines of standard input, until it ends.
fn lines() -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Something that is to happen at a time, perhaps again and again.
struct Timer {
    next: Option<Instant>,
    every: Option<Duration>,
}

impl Timer {
    fn new(start: Instant, first: Option<Duration>, every: Option<Duration>) -> Self {
        Self { next: first.or(every).and_then(|first| start.checked_add(first)), every }
    }

    /// Whether it is due; sets the next time.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = self.every.and_then(|every| now.checked_add(every));
        }
        due
    }
}

/// Carries out lines and timers until one of them ends the relay.
fn run(relay: &Relay, command: RelayCommand, lines: &Receiver<String>) {
    let start = Instant::now();
    let mut ports = Timer::new(start, command.change_port_after, command.change_port_every);
    let mut stats = Timer::new(start, None, command.stats_every);
    let mut end = Timer::new(start, command.run_for, None);
    let mut links = (command.config.up, command.config.down);
    let mut input_ended = false;
    loop {
        let next = [ports.next, stats.next, end.next].into_iter().flatten().min();
        let wait = next.map_or(Duration::MAX, |next| next.saturating_duration_since(Instant::now()));
        let line = match input_ended {
            false => lines.recv_timeout(wait),
            true => {
                std::thread::sleep(wait);
                Err(RecvTimeoutError::Timeout)
            }
        };
        match line {
            Ok(line) if carry_out(relay, &line, &mut links) => return,
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if command.exit_on_eof => return,
            Err(RecvTimeoutError::Disconnected) => input_ended = true,
        }
        let now = Instant::now();
        if ports.is_due(now) {
            relay.change_ports();
        }
        if stats.is_due(now) {
            print_counts(relay);
        }
        if end.is_due(now) {
            return;
        }
    }
}

/// Carries out a line; whether it ends the relay.
fn carry_out(relay: &Relay, line: &str, links: &mut (LinkConfig, LinkConfig)) -> bool {
    match Line::parse(line, links) {
        Ok(Line::Empty) => {}
        Ok(Line::ChangePorts) => relay.change_ports(),
        Ok(Line::SetLinks(changed)) => {
            *links = *changed;
            relay.set_links(links.0.clone(), links.1.clone());
        }
        Ok(Line::Stats) => print_counts(relay),
        Ok(Line::Quit) => return true,
        Err(error) => eprintln!("netsim: {error}"),
    }
    false
}

fn print_counts(relay: &Relay) {
    if let Some(counts) = relay.counts() {
        say(report(&counts));
    }
}
