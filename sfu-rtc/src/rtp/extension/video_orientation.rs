//! Coordination of video orientation (3GPP TS 26.114 section 7.4.5): one byte.
//!
//! ```text
//! |0|0|0|0|C|F|R|R|   C back camera, F flipped, R quarter turns
//! ```

/// How a frame must be turned to be shown upright.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct VideoOrientation {
    /// Taken by the camera that looks away from its user.
    pub back_camera: bool,
    /// Mirrored left to right.
    pub flipped: bool,
    /// Clockwise quarter turns, 0 to 3.
    pub quarter_turns: u8,
}

impl VideoOrientation {
    /// From the extension's byte.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let byte = *value.first()?;
        Some(Self { back_camera: byte & 8 != 0, flipped: byte & 4 != 0, quarter_turns: byte & 3 })
    }

    /// As the extension's byte.
    pub const fn to_byte(self) -> u8 {
        ((self.back_camera as u8) << 3) | ((self.flipped as u8) << 2) | (self.quarter_turns & 3)
    }
}
