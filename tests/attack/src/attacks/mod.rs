//! The attacks.

mod connections;
mod media;
mod signalling;

use crate::client::Target;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// Pause of an attacker who was refused.
const AGAIN: Duration = Duration::from_millis(20);

/// What the attacker did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Effort {
    /// For people to read.
    pub(crate) text: String,
    /// How many sessions it had at once that never connected, beside its connections, which the server's sockets show ...
    pub(crate) unconnected: u64,
    /// ... and how many participants.
    pub(crate) joined: u64,
    /// What only the attacker sees not to be as it should.
    pub(crate) faults: Vec<String>,
}

/// One attack.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Cores that it may cost the server beyond those of the call.
    pub(crate) most_cores: Option<f64>,
    /// Milliseconds by which a bystander's ping may be late.
    pub(crate) most_ping_ms: Option<f64>,
    pub(crate) run: fn(Arc<Target>, Duration) -> Run,
}

/// An attack under way.
type Run = Pin<Box<dyn Future<Output = Result<Effort>>>>;

impl Attack {
    const fn new(name: &'static str, what: &'static str, run: fn(Arc<Target>, Duration) -> Run) -> Self {
        Self { name, what, most_cores: None, most_ping_ms: None, run }
    }

    const fn cores(self, most: f64) -> Self {
        Self { most_cores: Some(most), ..self }
    }

    const fn ping_ms(self, most: f64) -> Self {
        Self { most_ping_ms: Some(most), ..self }
    }
}

/// All of them.
pub(crate) const ALL: &[Attack] = &[
    Attack::new("silent-tls", "connections to HTTPS that say nothing", |t, d| Box::pin(connections::silent(t, d))),
    Attack::new("slow-heads", "requests whose headers come byte by byte", |t, d| {
        Box::pin(connections::slow_heads(t, d))
    }),
    Attack::new("slow-bodies", "WHEP requests with an invitation whose bodies never end", |t, d| {
        Box::pin(connections::slow_bodies(t, d))
    }),
    Attack::new("ice-tcp", "ICE-TCP connections with one unsigned STUN request each", |t, d| {
        Box::pin(connections::ice_tcp(t, d))
    }),
    Attack::new("scrapes", "/metrics as fast as it is answered", |t, d| Box::pin(connections::scrapes(t, d)))
        .cores(0.5),
    Attack::new("pings", "WebSocket pings of those who have not joined and never read", |t, d| {
        Box::pin(signalling::pings_of_strangers(t, d))
    }),
    Attack::new("pings-joined", "the same of those who have joined", |t, d| {
        Box::pin(signalling::pings_of_participants(t, d))
    }),
    Attack::new("churn", "300 who join, send, mute and leave as fast as they are let", |t, d| {
        Box::pin(signalling::churn(t, d))
    })
    .cores(0.2)
    .ping_ms(20.0),
    Attack::new("metadata", "joins with 4 kB of metadata in a room of 100", |t, d| {
        Box::pin(signalling::metadata(t, d))
    })
    .ping_ms(20.0),
    Attack::new("data", "data messages to 100 participants", |t, d| Box::pin(signalling::data(t, d))).ping_ms(20.0),
    Attack::new("whep-slots", "WHEP sessions that never connect", |t, d| Box::pin(signalling::whep_slots(t, d))),
    Attack::new("forged-names", "names that forge lines of the log", |t, d| Box::pin(signalling::forged_names(t, d))),
    Attack::new("spoofed-check", "checks from a victim's address, to have media sent there", |t, d| {
        Box::pin(media::spoofed_check(t, d))
    }),
    Attack::new("replayed-check", "recorded checks from elsewhere, to steal a stream", |t, d| {
        Box::pin(media::replayed_check(t, d))
    }),
    Attack::new("forged-handshake", "alerts and handshake messages that nobody authenticated", |t, d| {
        Box::pin(media::forged_handshake(t, d))
    }),
    Attack::new("payload-types", "another codec in each packet, before 100 participants", |t, d| {
        Box::pin(media::payload_types(t, d))
    })
    .ping_ms(20.0),
    Attack::new("flood", "184 Mbit/s of video to 60 subscribers", |t, d| Box::pin(media::flood(t, d))),
];

/// How many of something there are, and were at most.
#[derive(Default)]
pub(crate) struct Tally {
    opened: AtomicU64,
    open: AtomicU64,
    most: AtomicU64,
}

/// One of those that a tally counts.
pub(crate) struct Counted(Arc<Tally>);

impl Tally {
    /// Counts one until it is dropped.
    pub(crate) fn count(self: &Arc<Self>) -> Counted {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(open, Ordering::Relaxed);
        Counted(Arc::clone(self))
    }

    /// All there ever were.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Most at one time.
    pub(crate) fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs `count` attackers at once, each of which begins anew when it has ended, until the time is over. A server that
/// refuses one has done well, so errors are no end; what the first of them was is printed.
pub(crate) async fn swarm<F>(count: usize, duration: Duration, one: impl Fn(usize) -> F + Clone + Send + 'static)
where
    F: Future<Output = Result<()>> + Send,
{
    let end = Instant::now() + duration;
    let refusals = Arc::new(AtomicU64::new(0));
    let mut attackers = JoinSet::new();
    for n in 0..count {
        let (one, refusals) = (one.clone(), Arc::clone(&refusals));
        attackers.spawn(timeout_at(end, async move {
            loop {
                // Whoever is refused at once must not spin.
                if let Err(error) = one(n).await {
                    if refusals.fetch_add(1, Ordering::Relaxed) == 0 {
                        eprintln!("the first refusal: {error:#}");
                    }
                    sleep(AGAIN).await;
                }
            }
        }));
    }
    // They end with the time, and with the set.
    while attackers.join_next().await.is_some() {}
}
