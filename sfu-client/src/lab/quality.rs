//! Marks of pictures.

use crate::frame::VideoFrame;

/// Side of the windows that are compared, and their distance.
const WINDOW: usize = 8;
const STEP: usize = 4;

/// Structural similarity of the luma planes (Wang et al., 2004), the mean over overlapping windows of 8x8 samples; 1 for
/// equal ones. Both have one size, at least a window's.
pub(super) fn ssim(a: &VideoFrame, b: &VideoFrame) -> f64 {
    let (width, height) = (a.width(), a.height());
    let (plane_a, plane_b) = (a.planes().0, b.planes().0);
    let (mut sum, mut count) = (0.0, 0u32);
    for y in (0..(height + 1).saturating_sub(WINDOW)).step_by(STEP) {
        for x in (0..(width + 1).saturating_sub(WINDOW)).step_by(STEP) {
            let at = y * width + x;
            sum += window(&plane_a[at..], &plane_b[at..], width);
            count += 1;
        }
    }
    sum / f64::from(count.max(1))
}

fn window(a: &[u8], b: &[u8], stride: usize) -> f64 {
    let (mut sum_a, mut sum_b, mut squares_a, mut squares_b, mut products) = (0u32, 0u32, 0u32, 0u32, 0u32);
    for row in 0..WINDOW {
        let at = row * stride;
        for (a, b) in a[at..at + WINDOW].iter().zip(&b[at..at + WINDOW]) {
            let (a, b) = (u32::from(*a), u32::from(*b));
            sum_a += a;
            sum_b += b;
            squares_a += a * a;
            squares_b += b * b;
            products += a * b;
        }
    }
    let count = (WINDOW * WINDOW) as f64;
    let (mean_a, mean_b) = (f64::from(sum_a) / count, f64::from(sum_b) / count);
    let variance_a = f64::from(squares_a) / count - mean_a * mean_a;
    let variance_b = f64::from(squares_b) / count - mean_b * mean_b;
    let covariance = f64::from(products) / count - mean_a * mean_b;
    // The paper's constants, of 8 bits.
    let (c1, c2) = ((0.01f64 * 255.0).powi(2), (0.03f64 * 255.0).powi(2));
    (2.0 * mean_a * mean_b + c1) * (2.0 * covariance + c2)
        / ((mean_a * mean_a + mean_b * mean_b + c1) * (variance_a + variance_b + c2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Scene, SceneKind, VideoSource};

    #[test]
    fn equal_pictures_are_alike_and_noise_is_not() {
        let mut scene = Scene::of(SceneKind::Talking, 160, 90, 30.0).unwrap();
        let mut a = VideoFrame::new(160, 90).unwrap();
        scene.draw(0, &mut a).unwrap();
        assert!((ssim(&a, &a) - 1.0).abs() < 1e-9);
        let mut b = a.clone();
        for (place, sample) in b.planes_mut().0.iter_mut().enumerate() {
            *sample = sample.wrapping_add((place as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3] / 8);
        }
        let noisy = ssim(&a, &b);
        assert!((0.2..0.95).contains(&noisy), "{noisy}");
        // A mere shift of brightness is much less to SSIM.
        b.clone_from(&a);
        b.planes_mut().0.iter_mut().for_each(|sample| *sample += 16);
        assert!(ssim(&a, &b) > 0.95);
        assert!((ssim(&VideoFrame::new(2, 2).unwrap(), &VideoFrame::new(2, 2).unwrap())).abs() < 1e-9);
    }
}
