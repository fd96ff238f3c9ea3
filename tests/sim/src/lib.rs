//! Simulated conferences: the real Worker, independent peers (str0m), seeded links, simulated time.
//!
//! [`conference::run`] plays one conference: a seed draws who joins with which link, who leaves, mutes, moves to
//! another address, and what every slot shows; every third is spread over two workers, with relays between them.
//! Checks run all the while; a failure names its seed.

pub mod campaign;
pub mod clock;
pub mod conference;
pub mod peer;
pub mod placement;
pub mod rng;
pub mod scenario;
pub mod sink;
pub mod source;
pub mod stamp;
pub mod timeline;
