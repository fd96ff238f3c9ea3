//! Runs the real programs on free ports of this machine and drives real browsers against them.
//!
//! The browsers are driven by the Node scripts in `browser/`; `scripts/setup-browsers` installs what they need.
//! Only one scenario runs at a time, whatever the test runner does: each may use all cores.

mod attempts;
mod flow;
mod machine;
mod programs;
mod relay;
mod scenario;
mod server;

pub use attempts::attempts;
pub use flow::{assert_all_flow, assert_nothing_lost, list, number};
pub use programs::{Background, binary, run_to_end};
pub use relay::Relay;
pub use scenario::{Scenario, results_folder};
pub use server::Server;
