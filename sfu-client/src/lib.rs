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
pub mod overlay;
pub mod peer;
pub mod receive;
pub mod record;
pub mod send;
pub mod stats;
