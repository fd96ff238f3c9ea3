//! The program `sfu`.

use std::process::ExitCode;

/// Many small allocations on many threads in the control plane; the media path allocates nothing.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sfu::main()
}
