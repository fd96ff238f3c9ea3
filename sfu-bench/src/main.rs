//! sfu-bench
fn main() {}
