//! What is understood, and what errors say.

use super::*;

fn parse(line: &str) -> Result<Command, UsageError> {
    Command::parse(line.split_whitespace().map(str::to_owned))
}

fn relay(line: &str) -> RelayCommand {
    match parse(&format!("relay --to 127.0.0.1:7881 {line}")) {
        Ok(Command::Relay(command)) => *command,
        other => panic!("{other:?}"),
    }
}

fn error(line: &str) -> String {
    parse(line).unwrap_err().to_string()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn both_directions_or_one() {
    let config =
        relay("--delay 50ms --loss 5% --loss-down=0.1 --rate-up 2Mbit --queue-up 64kB --queue-down 0.2s").config;
    assert_eq!((config.up.delay, config.down.delay), (ms(50), ms(50)));
    assert_eq!((config.up.loss, config.down.loss), (Loss::Random(0.05), Loss::Random(0.1)));
    assert_eq!((config.up.rate, config.down.rate), (Some(Rate::from_kbps(2_000)), None));
    assert_eq!((config.up.queue, config.down.queue), (QueueLimit::Bytes(64_000), QueueLimit::Time(ms(200))));
}

#[test]
fn every_link_option() {
    let line = "--jitter 200us --burst-loss 5%,8 --reorder 1%,20ms --duplicate 2% --corrupt 0.5% --rate 0bit";
    let link = relay(line).config.up;
    assert_eq!(link.jitter, Duration::from_micros(200));
    assert_eq!(link.loss, Loss::bursts(0.05, 8.0));
    assert_eq!((link.reorder, link.reorder_delay, link.duplicate, link.corrupt), (0.01, ms(20), 0.02, 0.005));
    assert_eq!(link.rate, Some(Rate::from_bps(0)));
    assert_eq!(relay("--rate 1Mbit --rate none --queue none").config.up, LinkConfig::default());
}

#[test]
fn times_and_flags_of_the_relay() {
    let command = relay(
        "--listen 127.0.0.1:9 --seed 7 --change-port-after 5s --change-port-every 1m --for 2s --stats-every 1s \
         --exit-on-eof --local-interfaces",
    );
    assert_eq!((command.config.listen.port(), command.config.seed), (9, 7));
    assert_eq!((command.change_port_after, command.change_port_every), (Some(ms(5_000)), Some(ms(60_000))));
    assert_eq!((command.run_for, command.stats_every), (Some(ms(2_000)), Some(ms(1_000))));
    assert!(command.exit_on_eof && command.config.local_interfaces);
    assert!(matches!(parse("--help"), Ok(Command::Help)));
    assert!(matches!(parse("relay --help"), Ok(Command::Help)));
}

#[test]
fn help_names_every_link_option() {
    for (name, _) in LINK_OPTIONS {
        assert!(HELP.contains(&format!("\n    {name} ")), "{name}");
    }
}

#[test]
fn errors_say_what_is_expected() {
    assert_eq!(error(""), "a command is missing; see netsim --help");
    assert_eq!(error("relai"), "there is no command relai; see netsim --help");
    assert_eq!(error("relay"), "--to is missing: the address and port of the server");
    assert_eq!(error("relay --to 7881"), "--to takes an address and a port, as 127.0.0.1:7881, not 7881");
    assert_eq!(error("relay --los 5%"), "there is no option --los; see netsim --help");
    assert_eq!(error("relay --loss"), "--loss needs a value");
    assert_eq!(error("relay --loss-up 105%"), "--loss-up takes a probability, as 5% or 0.05, not 105%");
    assert_eq!(error("relay --delay 50"), "--delay takes a time, as 50ms or 1.5s, not 50");
    assert_eq!(error("relay --delay -5ms"), "--delay takes a time, as 50ms or 1.5s, not -5ms");
    assert_eq!(error("relay --rate 2M"), "--rate takes a rate per second, as 500kbit or 2Mbit, or none, not 2M");
    assert_eq!(error("relay --queue 3"), "--queue takes a time or a size, as 200ms or 64kB, or none, not 3");
    assert_eq!(error("relay --reorder 1%"), "--reorder takes a probability and a time, as 1%,20ms, not 1%");
    assert_eq!(error("relay --change-port-every 0s"), "--change-port-every takes a time longer than nothing");
    assert_eq!(error("relay --exit-on-eof=yes"), "--exit-on-eof takes no value");
    assert_eq!(error("relay 127.0.0.1:1"), "127.0.0.1:1 is no option; see netsim --help");
    assert!(error("relay --trace-down /nowhere").starts_with("--trace-down: cannot read /nowhere: "));
}

#[test]
fn lines_change_parts_of_the_links() {
    let links = (LinkConfig::delayed(ms(5)), LinkConfig::default());
    let line = |text: &str| Line::parse(text, &links);
    assert_eq!(line(" port "), Ok(Line::ChangePorts));
    assert_eq!((line(""), line("stats"), line("quit")), (Ok(Line::Empty), Ok(Line::Stats), Ok(Line::Quit)));
    let Ok(Line::SetLinks(changed)) = line("set --loss-up 10%") else { panic!("a set") };
    assert_eq!(changed.0, LinkConfig { loss: Loss::Random(0.1), ..links.0.clone() });
    assert_eq!(changed.1, links.1);
    assert!(line("set --to 1").is_err() && line("port 5").is_err() && line("hello").is_err());
}
