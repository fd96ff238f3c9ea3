//! Axes: from values to places, and which values are named.

/// How values lie on an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scale {
    Linear,
    /// Logarithmic; the axis holds positive values only.
    Log,
}

/// One axis.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Axis {
    /// From zero to a round value above all of `values`.
    pub(super) fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let highest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        if highest <= 0.0 {
            return Self { scale: Scale::Linear, low: 0.0, high: 1.0 };
        }
        let step = nice_step(highest);
        Self { scale: Scale::Linear, low: 0.0, high: (highest / step).ceil() * step }
    }

    /// Between two values.
    pub(super) fn between(scale: Scale, low: f64, high: f64) -> Self {
        let low = if scale == Scale::Log { low.max(1e-9) } else { low };
        let high = if high > low { high } else { low * 1.5 + 1e-6 };
        Self { scale, low, high }
    }

    /// Where `value` lies, from 0 to 1; what lies outside is moved to the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        place.clamp(0.0, 1.0)
    }

    /// Round values to be named.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = nice_step(self.high - self.low);
                let first = (self.low / step - 1e-9).ceil() as i64;
                (first..).map(|n| n as f64 * step).take_while(|tick| *tick <= self.high * (1.0 + 1e-9)).collect()
            }
            Scale::Log => {
                let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
                let within: &[f64] = if decades.clone().count() > 5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let all = decades.flat_map(|decade| within.iter().map(move |n| n * 10f64.powi(decade)));
                all.filter(|tick| (self.low * 0.999..=self.high * 1.001).contains(tick)).collect()
            }
        }
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides `span` into four to ten parts.
fn nice_step(span: f64) -> f64 {
    let rough = span / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().rev().find(|factor| factor * power <= rough).unwrap_or(1.0);
    factor * power
}

/// A value of an axis as short text.
pub(super) fn short(value: f64) -> String {
    let trim = |text: String| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v >= 1e6 => format!("{}M", trim(format!("{:.2}", value / 1e6))),
        v if v >= 1e4 => format!("{}k", trim(format!("{:.1}", value / 1e3))),
        v if v >= 1.0 => trim(format!("{value:.2}")),
        _ => trim(format!("{value:.4}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_end_at_round_values() {
        let axis = Axis::from_zero([3.0, 47.0, f64::NAN].into_iter());
        assert_eq!(axis.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!((axis.place(0.0), axis.place(25.0), axis.place(70.0)), (0.0, 0.5, 1.0));
        assert_eq!(Axis::from_zero([0.0].into_iter()).place(0.0), 0.0);
    }

    #[test]
    fn logarithmic_axes_name_decades() {
        let axis = Axis::between(Scale::Log, 0.1, 10.0);
        assert_eq!(axis.place(1.0), 0.5);
        assert_eq!(
            axis.ticks().iter().map(|tick| short(*tick)).collect::<Vec<_>>(),
            ["0.1", "0.2", "0.5", "1", "2", "5", "10"]
        );
        assert_eq!(axis.place(0.0), 0.0);
        assert!(Axis::between(Scale::Log, 3.0, 3.0).place(3.0).is_finite());
    }

    #[test]
    fn values_are_short() {
        assert_eq!([0.0, 12.5, 15_000.0, 2_500_000.0, 0.05].map(short), ["0", "12.5", "15k", "2.5M", "0.05"]);
    }
}
