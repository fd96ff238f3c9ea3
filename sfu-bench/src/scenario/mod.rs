//! What load to make: groups of rooms, each with publishers and subscribers; from options, a preset or a file.

mod hint;
mod impairment;
mod plan;
mod preset;

pub use impairment::Impairment;
pub use plan::ParticipantPlan;
pub use preset::Preset;

use crate::media::VideoCodec;
use crate::peer::publisher::Pulse;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// Most participants of one scenario; each has a socket and costs some kilobytes.
const MAX_PARTICIPANTS: usize = 20_000;
/// Most leaves and joins per second; each costs both sides a handshake of about a millisecond.
const MAX_CHURN: f64 = 1_000.0;

/// A whole load.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name, for reports.
    #[serde(default)]
    pub name: String,
    /// Participants who leave, and others who join in their place, per second of the measured time. Publishers of a
    /// room that is no mesh stay, since nothing would be left to see.
    #[serde(default)]
    pub churn: f64,
    /// Rooms of one kind each.
    pub group: Vec<Group>,
}

/// Rooms of one kind.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Group {
    /// How many rooms.
    pub rooms: usize,
    /// Participants of each room who publish; without any, those who subscribe are idle.
    pub publishers: usize,
    /// Participants of each room who only subscribe.
    pub subscribers: usize,
    /// How many of those who only subscribe look at what they get, in each room; 0: all. For the others the kernel throws
    /// media away, which leaves the generator's processor to the server.
    pub readers: usize,
    /// Publishers subscribe to one another, as in a meeting.
    pub mesh: bool,
    /// Publishers send video.
    pub video: bool,
    /// Publishers send sound.
    pub audio: bool,
    /// Codec of the video.
    pub codec: VideoCodec,
    /// Bits per second of the highest layer.
    pub bitrate: u64,
    /// Frames per second.
    pub fps: f64,
    /// Share of the time from frame to frame over which the packets of a frame are spread; 0: a burst.
    pub spread: f64,
    /// Video is sent only in the first of these seconds of each of the second, by all publishers at the same time: steps
    /// of the load; none: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulse: Option<(f64, f64)>,
    /// All frames, and all packets of a frame, are of equal size, instead of varying as an encoder's.
    pub even: bool,
    /// Simulcast layers, each a quarter of the bitrate of the one above.
    pub layers: usize,
    /// Bits per second of the sound.
    pub audio_bitrate: u64,
    /// Most streams of video that a participant subscribes to.
    pub video_slots: usize,
    /// Most streams of sound that a participant subscribes to.
    pub audio_slots: usize,
    /// Seconds that each publisher of a room speaks in turn, while the others are silent; 0 lets all speak always.
    pub speaker_interval: f64,
    /// Seconds between requests of each subscriber for a keyframe that nothing calls for; 0 for none.
    pub keyframe_interval: f64,
    /// What the networks of the participants are like; none for a perfect one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impairment: Option<Impairment>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            rooms: 1,
            publishers: 1,
            subscribers: 10,
            readers: 0,
            mesh: false,
            video: true,
            audio: true,
            codec: VideoCodec::Vp8,
            bitrate: 1_500_000,
            fps: 30.0,
            spread: 0.4,
            pulse: None,
            even: false,
            layers: 1,
            audio_bitrate: 32_000,
            video_slots: 9,
            audio_slots: 9,
            speaker_interval: 0.0,
            keyframe_interval: 0.0,
            impairment: None,
        }
    }
}

impl Scenario {
    /// Rooms of one kind.
    pub fn of(group: Group) -> Self {
        Self { name: "options".to_owned(), churn: 0.0, group: vec![group] }
    }

    /// Reads a scenario file.
    ///
    /// # Errors
    /// Where it cannot be read, is no TOML, or has a key that means nothing.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let scenario: Self = toml::from_str(&text).map_err(|error| {
            anyhow::anyhow!(
                "{} is no scenario: {}",
                path.display(),
                hint::with_nearest_key(error.to_string().trim_end())
            )
        })?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// Says what is out of bounds.
    pub fn check(&self) -> Result<()> {
        self.group.iter().try_for_each(Group::check)?;
        if !(0.0..=MAX_CHURN).contains(&self.churn) {
            bail!("churn is {}; 0 to {MAX_CHURN} leaves and joins per second are possible", self.churn);
        }
        let participants = self.participants(false).len();
        if participants > MAX_PARTICIPANTS {
            bail!("{participants} participants are more than {MAX_PARTICIPANTS}");
        }
        Ok(())
    }

    /// Whether everybody looks at what he gets.
    pub fn all_read(&self) -> bool {
        self.group.iter().all(|group| group.readers == 0)
    }

    /// Everybody, publishers of a room before its subscribers. `per_stream`: one WHIP or WHEP session per stream.
    pub fn participants(&self, per_stream: bool) -> Vec<ParticipantPlan> {
        let mut all = Vec::new();
        for (index, group) in self.group.iter().enumerate() {
            for room in 0..group.rooms {
                plan::room(group, index, &format!("bench-{index}-{room}"), per_stream, &mut all);
            }
        }
        all
    }
}

impl Group {
    fn check(&self) -> Result<()> {
        if self.layers == 0 || self.layers > 3 {
            bail!("layers is {}; a publisher sends 1 to 3", self.layers);
        }
        if !(0.0..=1.0).contains(&self.spread) {
            bail!("spread is {}; 0 to 1 are possible", self.spread);
        }
        if let Some((on, of)) = self.pulse
            && !(0.1..of).contains(&on)
        {
            bail!("pulse is {on} of {of} seconds; some, and not all, of a time are possible");
        }
        if !(1.0..=120.0).contains(&self.fps) {
            bail!("fps is {}; 1 to 120 are possible", self.fps);
        }
        if self.bitrate < 10_000 || self.bitrate > 200_000_000 {
            bail!("bitrate is {}; 10000 to 200000000 are possible", self.bitrate);
        }
        if self.rooms == 0 || self.publishers + self.subscribers == 0 || !(self.video || self.audio) {
            bail!("a group needs rooms, participants, and sound or picture");
        }
        for (name, seconds) in
            [("speaker_interval", self.speaker_interval), ("keyframe_interval", self.keyframe_interval)]
        {
            if seconds != 0.0 && !(0.1..=3_600.0).contains(&seconds) {
                bail!("{name} is {seconds}; 0 or 0.1 to 3600 seconds are possible");
            }
        }
        self.impairment.as_ref().map_or(Ok(()), Impairment::check)
    }

    /// Time between keyframes that each subscriber asks for; zero for none.
    pub fn keyframe_interval(&self) -> Duration {
        Duration::from_secs_f64(self.keyframe_interval)
    }

    /// When video is sent, where it is not always.
    pub fn pulse(&self) -> Option<Pulse> {
        let (on, of) = self.pulse?;
        Some(Pulse { on: Duration::from_secs_f64(on), of: Duration::from_secs_f64(of) })
    }

    /// Bitrates of the layers, lowest first.
    pub fn layer_bitrates(&self) -> Vec<u64> {
        (0..self.layers).rev().map(|below| self.bitrate >> (2 * below)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meetings_are_a_mesh() {
        let scenario = Preset::Meeting.scenario();
        let native = scenario.participants(false);
        assert_eq!(native.len(), 100);
        assert!(native.iter().all(|p| p.publishes && p.video_slots == 3 && p.audio_slots == 3));
        let per_stream = scenario.participants(true);
        assert_eq!(per_stream.len(), 25 * (4 + 12));
        let listener = per_stream.iter().find(|p| !p.publishes).unwrap();
        assert_eq!((listener.video_slots, listener.audio_slots), (1, 1));
    }

    #[test]
    fn only_so_many_read() {
        let group = Group { rooms: 2, subscribers: 5, readers: 2, ..Group::default() };
        let scenario = Scenario::of(group);
        assert!(!scenario.all_read() && Scenario::of(Group::default()).all_read());
        let reading = scenario.participants(false).iter().filter(|p| !p.publishes && p.reads).count();
        assert_eq!(reading, 4);
        assert!(scenario.participants(true).iter().filter(|p| p.publishes).all(|p| p.reads));
    }

    #[test]
    fn presets_can_be_run() {
        use clap::ValueEnum;
        for preset in Preset::value_variants() {
            preset.scenario().check().unwrap();
        }
        let idle = Preset::Idle.scenario().participants(false);
        assert!(idle.len() == 1_000 && idle.iter().all(|p| !p.publishes && p.video_slots == 1));
        assert_eq!(Preset::AudioRoom.scenario().participants(false)[10].audio_slots, 10);
        assert!(Preset::Churn.scenario().churn > 0.0);
    }

    #[test]
    fn files_are_read_strictly() {
        let good = "name = 'x'\n[[group]]\nsubscribers = 3\ncodec = 'h264'\n";
        let scenario: Scenario = toml::from_str(good).unwrap();
        assert_eq!((scenario.group[0].subscribers, scenario.group[0].codec), (3, VideoCodec::H264));
        let error = toml::from_str::<Scenario>("[[group]]\nsubscriber = 3\n").unwrap_err();
        assert!(error.to_string().contains("subscriber"), "{error}");
        let error = Scenario::of(Group { layers: 9, ..Group::default() }).check();
        assert!(error.unwrap_err().to_string().contains("layers"));
        let impaired = "churn = 5\n[[group]]\nspeaker_interval = 2\nimpairment = { loss = 0.02, rate_kbps = 800 }\n";
        let scenario: Scenario = toml::from_str(impaired).unwrap();
        scenario.check().unwrap();
        assert_eq!(scenario.group[0].impairment.as_ref().unwrap().rate_kbps, Some(800));
        for bad in
            ["churn = -1\n[[group]]\n", "[[group]]\nspeaker_interval = 0.001\n", "[[group]]\nimpairment = { loss = 2 }"]
        {
            assert!(toml::from_str::<Scenario>(bad).unwrap().check().is_err(), "{bad}");
        }
    }
}
