//! Answers to small offers, and to any offer.

use super::*;
