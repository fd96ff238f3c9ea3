//! Transport as a whole.
