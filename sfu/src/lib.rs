//! The server: every system call and every clock of the SFU lives here.
//!
//! [`main`] reads the command line. Below it, `net` speaks to the kernel, `worker_thread` drives one
//! [`sfu_core`] worker on one core, `control` is the control plane (rooms, sessions, tokens) and `http` is its face:
//! the page, signalling over WebSocket, WHIP, WHEP, the admin API and metrics.

mod cli;
mod clock;
mod config;
mod control;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
mod lock;
mod log;
mod net;
mod random;
mod text;
mod worker_thread;

pub use cli::main;
