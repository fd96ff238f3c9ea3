//! The log: one line per event, whatever peers call themselves.

use crate::config::{LogConfig, LogFormat};
use crate::text;
use std::io::{self, Write};
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged at least; all words that are one.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Starts logging to standard error.
pub(crate) fn start(config: &LogConfig) -> anyhow::Result<()> {
    let filter = filter(&config.level).map_err(anyhow::Error::msg)?;
    subscriber(config.format, filter, io::stderr).init();
    Ok(())
}

/// The filter that `level` describes: a level, and levels of modules, parted by commas. A word that is no level would be
/// a module to the library, and all others would fall silent.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, String> {
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_module = |name: &str| {
        name.split("::").all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    };
    for directive in level.split(',') {
        let directive = directive.trim();
        let good = match directive.split_once('=') {
            None => is_level(directive),
            Some((module, level)) => is_module(module) && is_level(level),
        };
        if !good {
            return Err(format!(
                "log.level: `{directive}` is neither a level ({}) nor one of a module, such as sfu=debug",
                LEVELS.join(", ")
            ));
        }
    }
    let directives: Vec<&str> = level.split(',').map(str::trim).collect();
    EnvFilter::try_new(directives.join(",")).map_err(|error| format!("log.level: {error}"))
}

type Subscriber = Box<dyn tracing::Subscriber + Send + Sync>;

fn subscriber<W>(format: LogFormat, filter: EnvFilter, sink: W) -> Subscriber
where
    W: for<'a> MakeWriter<'a> + Clone + Send + Sync + 'static,
{
    let discreet = filter_fn(|metadata| is_discreet(metadata.target(), *metadata.level()));
    // Without colours: what sets them could not be told from what a value brings along.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Escaped { sink, format }).with_ansi(false);
    match format {
        LogFormat::Text => Box::new(log.with_target(false).finish().with(discreet)),
        LogFormat::Json => Box::new(log.json().finish().with(discreet)),
    }
}

/// Whether no token and no session's secret can be in it. Our own code logs none. Libraries do where they are asked for
/// details: the WebSocket's every message, HTTP's heads.
fn is_discreet(target: &str, level: Level) -> bool {
    level <= Level::INFO || target.split("::").next().is_some_and(|of| of == "sfu" || of.starts_with("sfu_"))
}

/// Writes events with every control character in them written out, so that no name forges a line or drives a terminal.
/// It is the last thing before the sink: nothing that is logged gets round it.
#[derive(Clone, Debug)]
struct Escaped<W> {
    sink: W,
    format: LogFormat,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Escaped<W> {
    type Writer = Escaped<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Escaped { sink: self.sink.make_writer(), format: self.format }
    }
}

impl<W: Write> Write for Escaped<W> {
    /// Takes one event: the formatter hands over each as a whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let escaped = escape(line, self.format);
        self.sink.write_all(escaped.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// `line` with its end, and without any other control character.
fn escape(line: &str, format: LogFormat) -> String {
    let mut escaped = match format {
        LogFormat::Text => text::escape(line),
        // They stand in JSON's strings only (RFC 8259 section 7), and all of them are in plane 0.
        LogFormat::Json => text::escape_with(line, |c, out| out.push_str(&format!("\\u{:04x}", u32::from(c)))),
    }
    .into_owned();
    escaped.push('\n');
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::misleads;
    use std::sync::{Arc, Mutex};

    /// What a peer might call itself to look like another line, drive a terminal or turn the text around.
    const HOSTILE: &str =
        "eve\n2026-01-01T00:00:00Z  INFO left identity=\"ann\"\r\u{1b}[2J\u{1b}[8m\0\u{9b}1m\u{202e}\u{2028}x";

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged of hostile values, in every way that a value can be logged.
    fn logged(format: LogFormat) -> String {
        let sink = Sink::default();
        let made = sink.clone();
        let subscriber = subscriber(format, EnvFilter::new("trace"), move || made.clone());
        tracing::subscriber::with_default(subscriber, || {
            let error = crate::control::ControlError::not_found(HOSTILE);
            tracing::info!(identity = HOSTILE, shown = %HOSTILE, debug = ?HOSTILE, %error, "left");
            tracing::warn!("message {HOSTILE}");
            let _span = tracing::info_span!("span", name = %HOSTILE).entered();
            tracing::debug!(raw = %format_args!("{HOSTILE}"));
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_line_of_printable_text() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let log = logged(format);
            assert_eq!(log.lines().count(), 3, "{log}");
            assert!(log.ends_with('\n') && !log.contains(|c| misleads(c) && c != '\n'), "{log:?}");
        }
    }

    #[test]
    fn json_stays_json_and_keeps_the_value() {
        for line in logged(LogFormat::Json).lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            if event["level"] == "INFO" {
                assert_eq!(event["fields"]["identity"], HOSTILE);
            }
        }
    }

    #[test]
    fn only_levels_and_levels_of_modules_are_a_filter() {
        for good in ["info", "WARN", "off", "info,sfu=debug", "error, sfu::http=trace,hyper=off"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for (bad, word) in [
            ("inof", "`inof`"),
            ("", "``"),
            ("info,", "``"),
            ("info,sfu=debgu", "`sfu=debgu`"),
            ("sfu", "`sfu`"),
            ("sfu=", "`sfu=`"),
            ("=info", "`=info`"),
            ("info;sfu=debug", "`info;sfu=debug`"),
            ("[span]=info", "`[span]=info`"),
        ] {
            let error = filter(bad).unwrap_err();
            assert!(error.starts_with("log.level: ") && error.contains(word), "{bad}: {error}");
        }
    }
}
