//! ICE-lite (RFC 8445): we answer connectivity checks and never send our own.

mod agent;
mod candidate;
mod credentials;
pub mod stun;

pub use agent::{IceAgent, IceConfig, IceEvent, StunOutcome};
pub use candidate::{Candidate, CandidateProtocol, UnusableCandidate};
pub use credentials::{ICE_ENTROPY, IceCredentials, ice_char};
pub use stun::ufrag_of;
