//! Clips to measure with: generated scenes, or files.

use crate::capture::{MediaFile, Scene, SceneKind, VideoSource, Y4mReader};
use anyhow::Result;
use std::path::PathBuf;

/// A clip.
#[derive(Clone, Debug)]
pub(super) enum Clip {
    Scene(SceneKind),
    File(PathBuf),
}

impl Clip {
    /// The files, or where there are none the scenes whose name contains `scene`.
    pub(super) fn list(files: &[PathBuf], scene: &str) -> Vec<Self> {
        if files.is_empty() {
            let wanted = SceneKind::ALL.into_iter().filter(|kind| kind.name().contains(scene));
            return wanted.map(Self::Scene).collect();
        }
        files.iter().cloned().map(Self::File).collect()
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Scene(kind) => kind.name().to_owned(),
            Self::File(path) => path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        }
    }

    pub(super) fn open(&self, width: usize, height: usize, frame_rate: f64) -> Result<Box<dyn VideoSource>> {
        Ok(match self {
            Self::Scene(kind) => Box::new(Scene::of(*kind, width, height, frame_rate)?),
            Self::File(path) if path.extension() == Some("y4m".as_ref()) => Box::new(Y4mReader::open(path)?),
            Self::File(path) => Box::new(MediaFile::open(path, width, height, frame_rate)?),
        })
    }
}
