//! What load to make: groups of rooms, each with publishers and subscribers; from options, a preset or a file.

use crate::media::VideoCodec;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Most participants of one scenario; each has a socket and costs some kilobytes.
const MAX_PARTICIPANTS: usize = 20_000;

/// A whole load.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name, for reports.
    #[serde(default)]
    pub name: String,
    /// Rooms of one kind each.
    pub group: Vec<Group>,
}

/// Rooms of one kind.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Group {
    /// How many rooms.
    pub rooms: usize,
    /// Participants of each room who publish.
    pub publishers: usize,
    /// Participants of each room who only subscribe.
    pub subscribers: usize,
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
}

impl Default for Group {
    fn default() -> Self {
        Self {
            rooms: 1,
            publishers: 1,
            subscribers: 10,
            mesh: false,
            video: true,
            audio: true,
            codec: VideoCodec::Vp8,
            bitrate: 1_500_000,
            fps: 30.0,
            even: false,
            layers: 1,
            audio_bitrate: 32_000,
            video_slots: 9,
            audio_slots: 9,
        }
    }
}

/// Loads that operators know by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Preset {
    /// 25 rooms of 4 who all see and hear each other, 500 kbit/s each.
    Meeting,
    /// One room, 3 on the podium, 100 who watch.
    Webinar,
    /// One publisher of 1.5 Mbit/s, 200 who watch.
    TownHall,
    /// 8 rooms, a teacher in three layers and 12 pupils who send a small picture.
    Classroom,
    /// 10 who speak, 200 who listen; no picture.
    AudioRoom,
}

impl Preset {
    /// The load.
    pub fn scenario(self) -> Scenario {
        let meeting =
            Group { rooms: 25, publishers: 4, subscribers: 0, mesh: true, bitrate: 500_000, ..Group::default() };
        let (name, group) = match self {
            Self::Meeting => ("meeting", vec![meeting]),
            Self::Webinar => {
                ("webinar", vec![Group { publishers: 3, subscribers: 100, mesh: true, ..Group::default() }])
            }
            Self::TownHall => ("town-hall", vec![Group { subscribers: 200, audio: false, ..Group::default() }]),
            Self::Classroom => {
                let teacher = Group { rooms: 8, publishers: 1, subscribers: 12, layers: 3, ..Group::default() };
                let pupils =
                    Group { rooms: 8, publishers: 12, subscribers: 1, bitrate: 100_000, fps: 10.0, ..teacher.clone() };
                ("classroom", vec![teacher, Group { layers: 1, ..pupils }])
            }
            Self::AudioRoom => {
                let room =
                    Group { publishers: 10, subscribers: 200, video: false, audio_slots: 10, ..Group::default() };
                ("audio-room", vec![room])
            }
        };
        Scenario { name: name.to_owned(), group }
    }
}

/// One participant to come.
#[derive(Clone, PartialEq, Debug)]
pub struct ParticipantPlan {
    /// Its room.
    pub room: String,
    /// Its name, unique in the room.
    pub name: String,
    /// Sends.
    pub publishes: bool,
    /// Slots for video.
    pub video_slots: usize,
    /// Slots for sound.
    pub audio_slots: usize,
    /// Over WHEP: the publisher to whom it listens.
    pub stream: Option<String>,
    /// What kind of room it is in.
    pub group: usize,
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// Where it cannot be read, is no TOML, or has a key that means nothing.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let scenario: Self = toml::from_str(&text).with_context(|| format!("{} is no scenario", path.display()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// Says what is out of bounds.
    pub fn check(&self) -> Result<()> {
        for group in &self.group {
            if group.layers == 0 || group.layers > 3 {
                bail!("layers is {}; a publisher sends 1 to 3", group.layers);
            }
            if !(1.0..=120.0).contains(&group.fps) {
                bail!("fps is {}; 1 to 120 are possible", group.fps);
            }
            if group.bitrate < 10_000 || group.bitrate > 50_000_000 {
                bail!("bitrate is {}; 10000 to 50000000 are possible", group.bitrate);
            }
            if group.rooms == 0 || group.publishers == 0 || !(group.video || group.audio) {
                bail!("a group needs rooms, publishers, and sound or picture");
            }
        }
        let participants = self.participants(false).len();
        if participants > MAX_PARTICIPANTS {
            bail!("{participants} participants are more than {MAX_PARTICIPANTS}");
        }
        Ok(())
    }

    /// Everybody, publishers of a room before its subscribers. `per_stream`: one WHIP or WHEP session per stream.
    pub fn participants(&self, per_stream: bool) -> Vec<ParticipantPlan> {
        let mut all = Vec::new();
        for (index, group) in self.group.iter().enumerate() {
            for room in 0..group.rooms {
                group.room(index, &format!("bench-{index}-{room}"), per_stream, &mut all);
            }
        }
        all
    }
}

impl Group {
    fn room(&self, index: usize, room: &str, per_stream: bool, all: &mut Vec<ParticipantPlan>) {
        let plan = |name: String, publishes: bool, sources: usize, stream: Option<String>| ParticipantPlan {
            room: room.to_owned(),
            name,
            publishes,
            video_slots: if self.video { sources.min(self.video_slots) } else { 0 },
            audio_slots: if self.audio { sources.min(self.audio_slots) } else { 0 },
            stream,
            group: index,
        };
        let publisher = |n: usize| format!("p{n}");
        for n in 0..self.publishers {
            let sources = if self.mesh && !per_stream { self.publishers - 1 } else { 0 };
            all.push(plan(publisher(n), true, sources, None));
        }
        let listeners = if self.mesh { (0..self.publishers).map(Some).collect() } else { Vec::new() };
        for own in listeners.into_iter().chain((0..self.subscribers).map(|_| None)) {
            if !per_stream {
                if own.is_none() {
                    all.push(plan(format!("s{}", all.len()), false, self.publishers, None));
                }
                continue;
            }
            for n in (0..self.publishers).filter(|n| Some(*n) != own) {
                all.push(plan(format!("s{}", all.len()), false, 1, Some(publisher(n))));
            }
        }
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
    fn presets_can_be_run() {
        use clap::ValueEnum;
        for preset in Preset::value_variants() {
            preset.scenario().check().unwrap();
        }
        assert_eq!(Preset::AudioRoom.scenario().participants(false)[10].audio_slots, 10);
    }

    #[test]
    fn files_are_read_strictly() {
        let good = "name = 'x'\n[[group]]\nsubscribers = 3\ncodec = 'h264'\n";
        let scenario: Scenario = toml::from_str(good).unwrap();
        assert_eq!((scenario.group[0].subscribers, scenario.group[0].codec), (3, VideoCodec::H264));
        let error = toml::from_str::<Scenario>("[[group]]\nsubscriber = 3\n").unwrap_err();
        assert!(error.to_string().contains("subscriber"), "{error}");
        let error = Scenario { name: String::new(), group: vec![Group { layers: 9, ..Group::default() }] }.check();
        assert!(error.unwrap_err().to_string().contains("layers"));
    }
}
