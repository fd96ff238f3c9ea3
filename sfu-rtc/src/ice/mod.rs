//! ICE-lite (RFC 8445): we answer connectivity checks and never send our own.

mod credentials;

pub use credentials::IceCredentials;
