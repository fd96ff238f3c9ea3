//! A picture in memory: planar YUV 4:2:0, limited range, without padding.

use anyhow::{Result, ensure};

/// One I420 picture. Width and height are even and at least 2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VideoFrame {
    width: usize,
    height: usize,
    /// The Y plane, then U, then V.
    data: Vec<u8>,
}

/// Largest side that is accepted; openh264 ends at 3840.
pub const MAX_SIDE: usize = 3840;

impl VideoFrame {
    /// A black picture.
    ///
    /// # Errors
    /// Where a side is odd, zero or beyond [`MAX_SIDE`].
    pub fn new(width: usize, height: usize) -> Result<Self> {
        ensure!(
            width.is_multiple_of(2) && height.is_multiple_of(2) && width > 0 && height > 0,
            "the picture's sides must be even and not zero, not {width}x{height}"
        );
        ensure!(
            width <= MAX_SIDE && height <= MAX_SIDE,
            "the picture's sides must be at most {MAX_SIDE}, not {width}x{height}"
        );
        let mut data = vec![16; width * height];
        data.resize(width * height * 3 / 2, 128);
        Ok(Self { width, height, data })
    }

    /// Width in luma samples.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Height in luma samples.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// All planes: Y, U, V.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// All planes, to fill.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// The Y, U and V planes.
    pub fn planes(&self) -> (&[u8], &[u8], &[u8]) {
        let (y, chroma) = self.data.split_at(self.width * self.height);
        let (u, v) = chroma.split_at(chroma.len() / 2);
        (y, u, v)
    }

    /// The Y, U and V planes, to fill.
    pub fn planes_mut(&mut self) -> (&mut [u8], &mut [u8], &mut [u8]) {
        let (y, chroma) = self.data.split_at_mut(self.width * self.height);
        let (u, v) = chroma.split_at_mut(chroma.len() / 2);
        (y, u, v)
    }

    /// Fills a rectangle, cut to the picture, with one luma value and grey chroma.
    pub fn fill_grey(&mut self, x: usize, y: usize, width: usize, height: usize, luma: u8) {
        let (x_end, y_end) = ((x + width).min(self.width), (y + height).min(self.height));
        if x >= x_end || y >= y_end {
            return;
        }
        let stride = self.width;
        let (luma_plane, u, v) = self.planes_mut();
        for row in y..y_end {
            luma_plane[row * stride + x..row * stride + x_end].fill(luma);
        }
        for row in y / 2..y_end.div_ceil(2) {
            let range = row * stride / 2 + x / 2..row * stride / 2 + x_end.div_ceil(2);
            u[range.clone()].fill(128);
            v[range].fill(128);
        }
    }

    /// Copies planes with strides of their own, as decoders hand them out.
    ///
    /// # Errors
    /// As [`Self::new`], and where a plane is too short for its stride.
    pub fn from_strided(width: usize, height: usize, planes: [(&[u8], usize); 3]) -> Result<Self> {
        let mut frame = Self::new(width, height)?;
        let (y, u, v) = frame.planes_mut();
        let targets = [(y, width, height), (u, width / 2, height / 2), (v, width / 2, height / 2)];
        for ((source, stride), (target, width, height)) in planes.into_iter().zip(targets) {
            ensure!(stride >= width && source.len() >= stride * (height - 1) + width, "a plane is too short");
            for (line, from) in target.chunks_exact_mut(width).zip(source.chunks(stride)) {
                line.copy_from_slice(&from[..width]);
            }
        }
        Ok(frame)
    }

    /// Peak signal-to-noise ratio of the luma planes in dB; infinite for equal ones, `None` for other sizes.
    pub fn luma_psnr(&self, other: &Self) -> Option<f64> {
        if (self.width, self.height) != (other.width, other.height) {
            return None;
        }
        let (a, b) = (self.planes().0, other.planes().0);
        let squares: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
        let mean = squares as f64 / a.len() as f64;
        Some(if squares == 0 { f64::INFINITY } else { 10.0 * (255.0 * 255.0 / mean).log10() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_and_huge_sizes_are_refused() {
        assert!(VideoFrame::new(3, 2).is_err());
        assert!(VideoFrame::new(0, 2).is_err());
        assert!(VideoFrame::new(4, 5000).is_err());
    }

    #[test]
    fn strided_planes_are_packed() {
        let y: Vec<u8> = (0..2 * 6).collect();
        let frame = VideoFrame::from_strided(4, 2, [(&y, 6), (&[9, 8, 0], 3), (&[7, 6], 2)]).unwrap();
        assert_eq!(frame.data(), &[0, 1, 2, 3, 6, 7, 8, 9, 9, 8, 7, 6]);
        assert!(VideoFrame::from_strided(4, 2, [(&y[..9], 6), (&[9, 8], 2), (&[7, 6], 2)]).is_err());
    }

    #[test]
    fn psnr_of_a_known_difference() {
        let a = VideoFrame::new(4, 4).unwrap();
        let mut b = a.clone();
        assert_eq!(a.luma_psnr(&b), Some(f64::INFINITY));
        b.fill_grey(0, 0, 4, 4, 17);
        assert!((a.luma_psnr(&b).unwrap() - 48.13).abs() < 0.01);
        assert_eq!(a.luma_psnr(&VideoFrame::new(2, 2).unwrap()), None);
    }
}
