//! One participant of the load: what it offers, what it sends, what it makes of what it gets.

pub mod description;
pub mod publisher;
pub mod subscriber;
