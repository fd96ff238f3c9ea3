//! Names of what a worker holds. The control plane allocates them, unique in the process.

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u64);
    };
}

/// One worker of the process, by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkerId(pub u16);

number_id! {
    /// One room.
    RoomId
}

number_id! {
    /// One peer's transport (one peer connection).
    TransportId
}

number_id! {
    /// One publication: a source that a peer sends.
    PublicationId
}
