//! The real program, as its clients see it: started on free ports, spoken to over HTTP and WebSocket. Media itself is
//! tested with real peers in tests/system; here it is offered and answered only.

mod admin;
mod admission;
mod closing;
mod files;
mod harness;
mod media;
mod offers;
mod program;
mod rooms;
mod sessions;
mod strangers;
mod tls;
mod whip;
