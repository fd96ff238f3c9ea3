//! What a subscriber measures: rates, loss, jitter, glass-to-glass latency, freezes, gaps in the frame numbers.

mod frame_numbers;
mod latency;
mod likeness;
mod report;
mod stream;

pub use frame_numbers::FrameNumbers;
pub use latency::LatencyHistogram;
pub use likeness::{Likeness, Still};
pub use report::{Awaited, Report, StreamReport, table};
pub use stream::StreamStats;
