//! ICE (RFC 8445) of a server: the peer begins, checks and nominates, and we check whether it is where it says.

mod agent;
mod candidate;
mod config;
mod credentials;
mod path;
pub mod stun;

pub use agent::{IceAgent, IceEvent, KnownPath, StunOutcome};
pub use candidate::{Candidate, CandidateProtocol, UnusableCandidate, udp_address};
pub use config::IceConfig;
pub use credentials::{ICE_ENTROPY, IceCredentials, IcePasswords, IceSecret, PASSWORDS_KEY, UFRAG_LEN, ice_char};
pub use stun::{is_answer, ufrag_of};
