//! The reference publisher and subscriber: what a good endpoint of this SFU does, as a library and a program.
//!
//! Media flows `capture -> preprocess (voice) -> encode -> send` and `receive -> decode -> record (display)`; `signal` brings both to a server, by the
//! native signalling or by WHIP and WHEP. A burned-in [`overlay`] (frame number and clock) makes loss, order and
//! glass-to-glass latency measurable at the far end.
//!
//! A program that embeds the client needs little of it: [`publisher::Publisher`] sends, [`subscriber::Subscriber`] hands
//! out decoded pictures and sound. The folder `examples` has three such programs.

#[cfg(feature = "media")]
pub mod capture;
#[cfg(feature = "media")]
pub mod clock;
#[cfg(feature = "media")]
pub mod decode;
#[cfg(feature = "media")]
pub mod display;
#[cfg(feature = "media")]
pub mod doctor;
#[cfg(feature = "media")]
pub mod encode;
#[cfg(feature = "media")]
pub mod frame;
#[cfg(feature = "media")]
pub mod join_time;
#[cfg(feature = "media")]
pub mod lab;
#[cfg(feature = "media")]
pub mod overlay;
#[cfg(feature = "media")]
pub mod peer;
#[cfg(feature = "media")]
pub mod preprocess;
#[cfg(feature = "media")]
pub mod publish;
#[cfg(feature = "media")]
pub mod publisher;
#[cfg(feature = "media")]
pub mod receive;
#[cfg(feature = "media")]
pub mod record;
#[cfg(feature = "media")]
pub mod send;
pub mod signal;
#[cfg(feature = "media")]
pub mod stats;
#[cfg(feature = "media")]
pub mod subscribe;
#[cfg(feature = "media")]
pub mod subscriber;
#[cfg(feature = "media")]
pub mod voice;
