//! Load tester for selective forwarding units.

pub mod endpoint;
pub mod floor;
pub mod generator;
pub mod measure;
pub mod media;
pub mod peer;
