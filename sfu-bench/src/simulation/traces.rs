//! Recorded networks: capacity in Mahimahi's format, and loss over time beside it.

use anyhow::{Context, Result, bail};
use netsim::{Trace, parse_loss};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// One recorded network.
#[derive(Clone, PartialEq, Debug)]
pub struct Recording {
    /// Capacity to the subscriber.
    pub down: Arc<Trace>,
    /// Capacity from the subscriber; `None` where that was not recorded, and nothing is in the way.
    pub up: Option<Arc<Trace>>,
    /// Share of packets lost on the way to the subscriber, from each time on; empty for none.
    pub loss: Vec<(Duration, f64)>,
}

/// Where recordings come from.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    given: Option<Recording>,
    folder: Option<PathBuf>,
}

impl Traces {
    /// `files` are `UP,DOWN`, or `DOWN` alone, and take the place of every recording; `folder` holds those that
    /// scenarios ask for by name.
    ///
    /// # Errors
    /// Where a file cannot be read, or is no trace.
    pub fn new(files: Option<&str>, folder: Option<PathBuf>) -> Result<Self> {
        if let Some(folder) = folder.as_ref().filter(|folder| !folder.is_dir()) {
            bail!("{} is no folder", folder.display());
        }
        let given = files.map(|files| {
            let (up, down) = files.split_once(',').map_or((None, files), |(up, down)| (Some(up), down));
            let up = up.map(|up| read(Path::new(up))).transpose()?;
            Ok::<_, anyhow::Error>(Recording { down: read(Path::new(down))?, up, loss: Vec::new() })
        });
        Ok(Self { given: given.transpose()?, folder })
    }

    /// What was given in the place of all.
    pub fn given(&self) -> Option<Recording> {
        self.given.clone()
    }

    /// The recording of this name: what was given, or else that of the folder.
    ///
    /// # Errors
    /// Where a file of it is there but cannot be used.
    pub fn recording(&self, name: &str) -> Result<Option<Recording>> {
        if self.given.is_some() {
            return Ok(self.given());
        }
        let Some(folder) = &self.folder else { return Ok(None) };
        let file = |ending: &str| Some(folder.join(format!("{name}.{ending}"))).filter(|path| path.exists());
        let Some(down) = file("down") else { return Ok(None) };
        let up = file("up").map(|up| read(&up)).transpose()?;
        let loss = file("rttloss.csv").map(|path| {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            parse_loss(&text).with_context(|| format!("{} is not usable", path.display()))
        });
        Ok(Some(Recording { down: read(&down)?, up, loss: loss.transpose()?.unwrap_or_default() }))
    }
}

fn read(path: &Path) -> Result<Arc<Trace>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the trace {}", path.display()))?;
    let trace = Trace::parse(&text).with_context(|| format!("{} is no trace", path.display()))?;
    Ok(Arc::new(trace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let error = |files: &str| format!("{:#}", Traces::new(Some(files), None).unwrap_err());
        assert!(error("/nowhere/up,/nowhere/down").contains("/nowhere/up"));
        assert!(error("/nowhere/down").contains("/nowhere/down"));
        assert!(error("Cargo.toml").contains("line 1"), "{}", error("Cargo.toml"));
        assert!(Traces::new(None, Some("/nowhere".into())).is_err());
        assert_eq!(Traces::default().recording("any").unwrap(), None);
    }
}
