//! sfu
fn main() {}
