//! A room as the control plane decides it: who is in it, what they publish, what goes into whose slots, and which
//! workers it is on. Sans-IO: the server gives it locks, messages and names, `tests/sim` simulated time.
//!
//! - [`Room`]: the roster with its publications and slots. Every change leaves orders for the workers
//!   ([`Room::take_orders`]).
//! - [`placement`]: which worker takes a new room, and which a room's next participant.
//! - `slots`: which publication goes into which slot of one subscriber.
//! - `spread`: the workers that a room is on. `speakers`: who speaks, and who spoke last.

mod member;
pub mod placement;
mod room;
mod slots;
mod speakers;
mod spread;

pub use member::{Member, ParticipantId, Publication, Slot, Source};
pub use room::{Left, Order, Room};
pub use slots::{Candidates, Subscription};
