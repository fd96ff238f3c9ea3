//! Loads that operators know by name.

use super::{Group, Scenario};

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
    /// 10 rooms of 100 who are there, and nothing else.
    Idle,
    /// 20 rooms of 4, of whom 20 leave and others join every second.
    Churn,
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
            Self::Churn => ("churn", vec![Group { rooms: 20, ..meeting }]),
            Self::Idle => {
                ("idle", vec![Group { rooms: 10, publishers: 0, subscribers: 100, audio: false, ..Group::default() }])
            }
            Self::AudioRoom => {
                let room =
                    Group { publishers: 10, subscribers: 200, video: false, audio_slots: 10, ..Group::default() };
                ("audio-room", vec![room])
            }
        };
        let churn = if self == Self::Churn { 20.0 } else { 0.0 };
        Scenario { name: name.to_owned(), churn, group }
    }
}
