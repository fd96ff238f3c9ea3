//! Pictures of libvpx and libaom, copied.
#![allow(unsafe_code, reason = "libvpx and libaom are C")]

use crate::frame::VideoFrame;
use anyhow::{Result, ensure};
use std::ffi::c_int;
use std::slice;

/// Copies planes of 4:2:0, 8 bits a sample, that show a picture of this size. A last column or row that makes a side odd
/// is left out.
///
/// # Safety
/// Each plane that is not null has at least as many rows as the picture shows of it, each a stride after the one before.
pub(super) unsafe fn copy((wide, high): (u32, u32), planes: [*mut u8; 3], strides: [c_int; 3]) -> Result<VideoFrame> {
    let (width, height) = (wide as usize & !1, high as usize & !1);
    ensure!(width > 0 && height > 0, "a picture of {wide}x{high}");
    let plane = |index: usize, width: usize, height: usize| -> Result<(&[u8], usize)> {
        let stride = usize::try_from(strides[index])?;
        ensure!(stride >= width && !planes[index].is_null(), "a plane is too narrow");
        // SAFETY: the caller says so.
        Ok((unsafe { slice::from_raw_parts(planes[index], stride * (height - 1) + width) }, stride))
    };
    let (half_width, half_height) = (width / 2, height / 2);
    let planes = [plane(0, width, height)?, plane(1, half_width, half_height)?, plane(2, half_width, half_height)?];
    VideoFrame::from_strided(width, height, planes)
}
