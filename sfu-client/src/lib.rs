//! sfu-client
