//! Options that say what load to make.

use anyhow::Result;
use clap::Args;
use sfu_bench::media::VideoCodec;
use sfu_bench::scenario::{Group, Impairment, Preset, Scenario};
use std::path::PathBuf;

/// What load to make. Options override every group of a preset or scenario.
#[derive(Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// A load that operators know by name.
    #[arg(long, value_enum, conflicts_with = "scenario")]
    preset: Option<Preset>,
    /// A scenario file (TOML): `churn`, and `[[group]]`s of rooms, with keys as the options below.
    #[arg(long)]
    scenario: Option<PathBuf>,
    /// Rooms [default: 1].
    #[arg(long)]
    rooms: Option<usize>,
    /// Participants of each room who publish [default: 1]; 0: those who subscribe are idle.
    #[arg(long)]
    publishers: Option<usize>,
    /// Participants of each room who only subscribe [default: 10].
    #[arg(long)]
    subscribers: Option<usize>,
    /// How many of those who only subscribe look at what they get, in each room; 0: all. For the others the kernel throws
    /// media away, which leaves the generator's processor to the server [default: 0].
    #[arg(long)]
    readers: Option<usize>,
    /// Publishers subscribe to one another.
    #[arg(long)]
    mesh: bool,
    /// Codec of the video [default: vp8].
    #[arg(long, value_enum)]
    codec: Option<VideoCodec>,
    /// Bits per second of the highest layer [default: 1500000].
    #[arg(long)]
    bitrate: Option<u64>,
    /// Frames per second [default: 30].
    #[arg(long)]
    fps: Option<f64>,
    /// All frames and packets of equal size, instead of varying as an encoder's.
    #[arg(long)]
    even: bool,
    /// Share of the time from frame to frame over which the packets of a frame are spread, as a slow uplink or a pacer
    /// does; 0: a burst [default: 0.4].
    #[arg(long)]
    spread: Option<f64>,
    /// Simulcast layers, each a quarter of the bitrate of the one above [default: 1].
    #[arg(long)]
    layers: Option<usize>,
    /// No sound.
    #[arg(long)]
    no_audio: bool,
    /// No picture.
    #[arg(long)]
    no_video: bool,
    /// Bits per second of the sound [default: 32000].
    #[arg(long)]
    audio_bitrate: Option<u64>,
    /// Most streams of each kind that a participant subscribes to [default: 9].
    #[arg(long)]
    slots: Option<usize>,
    /// Seconds that each publisher of a room speaks in turn, 0: all always [default: 0].
    #[arg(long)]
    speaker_interval: Option<f64>,
    /// Seconds between requests of each subscriber for a keyframe that nothing calls for, 0: none [default: 0].
    #[arg(long)]
    keyframe_interval: Option<f64>,
    /// Bad networks, such as `loss=0.02,delay_ms=40,jitter_ms=5,rate_kbps=900,share=0.5`.
    #[arg(long, value_parser = Impairment::parse)]
    impair: Option<Impairment>,
    /// Participants who leave, and others who join in their place, per second of the measured time [default: 0].
    #[arg(long)]
    churn: Option<f64>,
}

impl LoadArgs {
    /// The load.
    ///
    /// # Errors
    /// Where a file is no scenario, or something is out of bounds.
    pub(crate) fn scenario(&self) -> Result<Scenario> {
        let mut scenario = match (&self.scenario, self.preset) {
            (Some(path), _) => Scenario::read(path)?,
            (None, Some(preset)) => preset.scenario(),
            (None, None) => Scenario::of(Group::default()),
        };
        scenario.group.iter_mut().for_each(|group| self.apply(group));
        set(&mut scenario.churn, &self.churn);
        scenario.check()?;
        Ok(scenario)
    }

    fn apply(&self, group: &mut Group) {
        set(&mut group.rooms, &self.rooms);
        set(&mut group.publishers, &self.publishers);
        set(&mut group.subscribers, &self.subscribers);
        set(&mut group.readers, &self.readers);
        set(&mut group.codec, &self.codec);
        set(&mut group.bitrate, &self.bitrate);
        set(&mut group.fps, &self.fps);
        set(&mut group.spread, &self.spread);
        set(&mut group.layers, &self.layers);
        set(&mut group.audio_bitrate, &self.audio_bitrate);
        set(&mut group.video_slots, &self.slots);
        set(&mut group.audio_slots, &self.slots);
        set(&mut group.speaker_interval, &self.speaker_interval);
        set(&mut group.keyframe_interval, &self.keyframe_interval);
        group.impairment = self.impair.clone().or(group.impairment.take());
        group.mesh |= self.mesh;
        group.even |= self.even;
        group.audio &= !self.no_audio;
        group.video &= !self.no_video;
    }
}

fn set<T: Clone>(value: &mut T, given: &Option<T>) {
    if let Some(given) = given {
        value.clone_from(given);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn scenario(args: &[&str]) -> Result<Scenario> {
        Cli::try_parse_from([&["bench"], args].concat())?.load.scenario()
    }

    #[test]
    fn options_override_every_group_of_a_preset() {
        let classroom = scenario(&["--preset", "classroom", "--rooms", "2", "--no-audio", "--churn", "3"]).unwrap();
        assert!(classroom.group.iter().all(|group| group.rooms == 2 && !group.audio && group.video));
        assert_eq!((classroom.churn, classroom.group[0].layers), (3.0, 3));
        assert_eq!(scenario(&[]).unwrap().group, [Group::default()]);
    }

    #[test]
    fn nonsense_is_refused() {
        for args in [&["--layers", "7"][..], &["--impair", "loss=7"], &["--preset", "party"], &["--churn", "-1"]] {
            assert!(scenario(args).is_err(), "{args:?}");
        }
    }
}
