//! RTP (RFC 3550): zero-copy header view, header writer, header extensions.

pub mod extension;
mod header;
mod writer;

pub use header::{RtpView, SealedHeader};
pub use writer::{HeaderWriter, RtpHeader, write_padding};

#[cfg(test)]
mod tests;
