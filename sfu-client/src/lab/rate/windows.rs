//! How even bits are.

/// The worst windows of a stream, as shares of what they should carry: -0.02 is 2 % too little.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Deviation {
    /// Of the window with the least.
    pub least: f64,
    /// Of the window with the most.
    pub most: f64,
}

impl Deviation {
    /// The larger of both, without its sign.
    pub fn worst(&self) -> f64 {
        self.most.max(-self.least)
    }
}

/// Of windows of `length` pictures, each `step` after the one before, from picture `from` on, where every picture should
/// have `mean` bits. Zero where no window is whole.
pub fn deviation(sizes: &[f64], from: usize, length: usize, step: usize, mean: f64) -> Deviation {
    let windows = sizes.get(from..).unwrap_or_default().windows(length.max(1)).step_by(step.max(1));
    let shares = windows.map(|window| window.iter().sum::<f64>() / (mean * length as f64) - 1.0);
    let worst = |worst: Option<Deviation>, share: f64| match worst {
        None => Some(Deviation { least: share, most: share }),
        Some(worst) => Some(Deviation { least: worst.least.min(share), most: worst.most.max(share) }),
    };
    shares.fold(None, worst).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_whole_and_begin_where_they_should() {
        // Twice the mean in the second half of the third window of four.
        let sizes: Vec<f64> = (0..15).map(|picture| if (10..12).contains(&picture) { 20.0 } else { 10.0 }).collect();
        assert_eq!(deviation(&sizes, 4, 4, 4, 10.0), Deviation { least: 0.0, most: 0.5 });
        assert_eq!(deviation(&sizes, 4, 2, 2, 10.0), Deviation { least: 0.0, most: 1.0 });
        assert_eq!(deviation(&sizes, 4, 2, 1, 20.0), Deviation { least: -0.5, most: 0.0 });
        assert_eq!(deviation(&sizes, 4, 2, 1, 20.0).worst(), 0.5);
        assert_eq!(deviation(&sizes, 12, 4, 4, 10.0), Deviation::default());
        assert_eq!(deviation(&[], 4, 4, 4, 10.0), Deviation::default());
    }
}
