//! Load tester for selective forwarding units.

pub mod floor;
