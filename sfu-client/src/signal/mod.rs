//! Reaching a server: the native signalling over WebSocket, and WHIP and WHEP over HTTP.

mod http;
mod native;
mod native_socket;
#[cfg(feature = "media")]
mod session;
mod stream;
mod whip;

pub use http::fetch;
pub use native::{JoinOptions, NativeSession, SignalEvent};
#[cfg(feature = "media")]
pub use session::{Session, Target};
pub use whip::WhipSession;

/// Name and version that servers see.
pub(crate) const USER_AGENT: &str = concat!("sfu-client/", env!("CARGO_PKG_VERSION"));
