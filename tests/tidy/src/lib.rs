//! tests/tidy
