//! The worker with real transports, driven by clients of its own on simulated time.

mod allocation;
mod caps;
mod fairness;
mod formats;
mod forwarding;
mod hostile;
mod joins;
mod layers;
mod lossy_allocation;
mod overload;
mod packing;
mod parameter_sets;
mod peers;
mod redundancy;
mod repair;
mod replicas;
mod rtcp;
mod sections;
mod sharing;
mod sources;
mod support;
