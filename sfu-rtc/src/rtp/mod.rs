//! RTP (RFC 3550): zero-copy header view, header writer, header extensions.

pub mod extension;
