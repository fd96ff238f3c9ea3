//! Estimators by the names that they have in the configuration.

use anyhow::{Result, bail};
use sfu_rtc::bwe::{DispersionConfig, EstimatorConfig, GoogCcConfig, RembConfig};

/// A name with what it stands for.
pub type Named = (&'static str, fn() -> EstimatorConfig);

/// All estimators: one line each.
pub const ESTIMATORS: &[Named] = &[
    ("fixed", || EstimatorConfig::Fixed(None)),
    ("remb", || EstimatorConfig::Remb(RembConfig::default())),
    ("googcc", || EstimatorConfig::GoogCc(GoogCcConfig::default())),
    ("dispersion", || EstimatorConfig::Dispersion(DispersionConfig::default())),
];

/// The estimators of these names; all, where there is none.
///
/// # Errors
/// Where there is no estimator of a name.
pub fn by_names(names: &[String]) -> Result<Vec<Named>> {
    if names.is_empty() {
        return Ok(ESTIMATORS.to_vec());
    }
    let find = |name: &String| match ESTIMATORS.iter().find(|(known, _)| known == name) {
        Some(found) => Ok(*found),
        None => {
            let known: Vec<_> = ESTIMATORS.iter().map(|(name, _)| *name).collect();
            bail!("there is no estimator {name:?}; there are {}", known.join(", "))
        }
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_or_refused() {
        assert_eq!(by_names(&[]).unwrap().len(), ESTIMATORS.len());
        assert_eq!(by_names(&["remb".to_owned()]).unwrap()[0].0, "remb");
        let error = by_names(&["best".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("best") && error.contains("fixed"), "{error}");
    }
}
