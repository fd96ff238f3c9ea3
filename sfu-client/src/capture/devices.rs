//! Devices that not every build can use.

use super::{AudioSource, VideoSource};
use anyhow::Result;
use std::path::Path;

/// Opens the camera at `path`, in the size and rate nearest to these that it has.
///
/// # Errors
/// Where it cannot be used, or cameras were not built in.
#[cfg(feature = "camera")]
pub fn open_camera(path: &Path, size: (usize, usize), frame_rate: f64) -> Result<Box<dyn VideoSource>> {
    Ok(Box::new(super::Camera::open(path, size, frame_rate)?))
}

/// Opens the camera at `path`, in the size and rate nearest to these that it has.
///
/// # Errors
/// Always: cameras were not built in.
#[cfg(not(feature = "camera"))]
pub fn open_camera(_path: &Path, _size: (usize, usize), _frame_rate: f64) -> Result<Box<dyn VideoSource>> {
    anyhow::bail!("cameras were not built in: build with the feature `camera` (needs libclang-dev)")
}

/// Opens the microphone of this name, or the system's.
///
/// # Errors
/// Where it cannot be used, or microphones were not built in.
#[cfg(feature = "microphone")]
pub fn open_microphone(name: Option<&str>) -> Result<Box<dyn AudioSource>> {
    Ok(Box::new(super::Microphone::open(name)?))
}

/// Opens the microphone of this name, or the system's.
///
/// # Errors
/// Always: microphones were not built in.
#[cfg(not(feature = "microphone"))]
pub fn open_microphone(_name: Option<&str>) -> Result<Box<dyn AudioSource>> {
    anyhow::bail!("microphones were not built in: build with the feature `microphone` (needs libasound2-dev)")
}
