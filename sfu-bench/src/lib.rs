//! Load tester for selective forwarding units.
//!
//! `scenario` says who takes part, `join` brings them in over the server's signalling, `generator` threads run their
//! `endpoint`s and `peer`s, `run` conducts, `result` tells. `floor` measures what a forwarded packet must cost.
//! `simulation` plays network scenarios without a server, under simulated time.

pub mod compare;
pub mod endpoint;
pub mod floor;
pub mod generator;
pub mod join;
pub mod measure;
pub mod media;
pub mod peer;
pub mod quick;
pub mod repair_cost;
pub mod report;
pub mod result;
pub mod run;
pub mod scenario;
pub mod server_process;
pub mod simulation;
mod wakeful_poll;
