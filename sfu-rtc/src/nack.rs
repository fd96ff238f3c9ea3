//! nack
