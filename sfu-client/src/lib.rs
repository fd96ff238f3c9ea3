//! The reference publisher and subscriber: what a good endpoint of this SFU does, as a library and a program.
//!
//! Media flows `capture -> encode -> send` and `receive -> decode -> record`; `signal` brings both to a server, by the
//! native signalling or by WHIP and WHEP. A burned-in [`overlay`] (frame number and clock) makes loss, order and
//! glass-to-glass latency measurable at the far end.
#![deny(missing_docs)]

pub mod capture;
pub mod clock;
pub mod decode;
pub mod encode;
pub mod frame;
pub mod join_time;
pub mod overlay;
pub mod peer;
pub mod publish;
pub mod receive;
pub mod record;
pub mod send;
pub mod signal;
pub mod stats;
pub mod subscribe;
