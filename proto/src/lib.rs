//! The signalling messages of the SFU: `proto/sfu/v1/*.proto`, compiled.
//!
//! Every message reads and writes binary protobuf ([`prost::Message`]) and proto3 JSON (`serde`).

/// Package `sfu.v1`.
#[allow(missing_docs, clippy::all, reason = "generated; the comments stand in the .proto files")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/sfu.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/sfu.v1.serde.rs"));
}

/// WebSocket subprotocol of binary protobuf frames.
pub const SUBPROTOCOL_PROTO: &str = "sfu.v1.proto";
/// WebSocket subprotocol of proto3 JSON frames.
pub const SUBPROTOCOL_JSON: &str = "sfu.v1.json";
