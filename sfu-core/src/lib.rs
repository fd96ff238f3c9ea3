//! What only an SFU needs, sans-IO: [`worker`] owns transports and routers; [`command`] and [`event`] are its whole
//! control interface.

pub mod command;
pub mod event;
pub mod ids;
