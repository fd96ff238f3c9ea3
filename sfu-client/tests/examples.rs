//! The examples, as programs, against a real server; and what they are made of.

mod real;

use real::Server;
use sfu_client::capture::{Scene, VideoSource};
use sfu_client::frame::VideoFrame;
use sfu_client::signal::{JoinOptions, Target};
use sfu_client::subscribe::SubscribeOptions;
use sfu_client::subscriber::{Media, Subscriber};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A command that runs an example; built first, so that the test runs no stale one.
fn example(name: &str) -> Command {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        real::build(&["--examples"]);
        Path::new(env!("CARGO_BIN_EXE_sfu-client")).parent().unwrap().join("examples")
    };
    Command::new(FOLDER.get_or_init(build).join(name))
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sfu-example-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A second of the scene.
fn write_y4m(path: &str) {
    let mut file = File::create(path).unwrap();
    file.write_all(b"YUV4MPEG2 W320 H180 F30:1 Ip A1:1 C420jpeg\n").unwrap();
    let (mut scene, mut picture) = (Scene::new(320, 180, 30.0).unwrap(), VideoFrame::new(320, 180).unwrap());
    for frame in 0..30 {
        scene.draw(frame, &mut picture).unwrap();
        file.write_all(b"FRAME\n").unwrap();
        file.write_all(picture.data()).unwrap();
    }
}

/// Two seconds of a loud square wave of 200 Hz at 8 kHz.
fn write_wav(path: &str) {
    let samples = (0..16_000).map(|n: u32| if (n / 20).is_multiple_of(2) { 8_000i16 } else { -8_000 });
    let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    wav.extend(8_000u32.to_le_bytes());
    wav.extend(16_000u32.to_le_bytes());
    wav.extend([2, 0, 16, 0]);
    wav.extend(b"data");
    wav.extend(32_000u32.to_le_bytes());
    wav.extend(samples.flat_map(i16::to_le_bytes));
    fs::write(path, wav).unwrap();
}

#[test]
fn a_file_is_published_and_its_frames_are_saved() {
    let (server, folder) = (Server::start("example-files"), Folder::new("files"));
    write_y4m(&folder.path("clip.y4m"));
    let mut publisher =
        example("publish_file").args([&server.url("ws", ""), "room", &folder.path("clip.y4m"), "60"]).spawn().unwrap();
    let saved =
        example("save_frames").args([&server.url("ws", ""), "room", &folder.path("png"), "3"]).output().unwrap();
    publisher.kill().unwrap();
    publisher.wait().unwrap();
    let text = String::from_utf8_lossy(&saved.stdout);
    assert!(saved.status.success(), "{text}{}", String::from_utf8_lossy(&saved.stderr));
    assert!(text.contains("0002.png: 320x180 of publish_file"), "{text}");
    for n in 0..3 {
        let png = fs::read(folder.path(&format!("png/000{n}.png"))).unwrap();
        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_plays_a_file_into_a_room_and_leaves() {
    let (server, folder) = (Server::start("example-bot"), Folder::new("bot"));
    write_wav(&folder.path("call.wav"));
    let target = Target::Native(JoinOptions::new(&server.url("ws", ""), "room", "listener"));
    let options = SubscribeOptions { video_slots: 0, audio_slots: 1, ..SubscribeOptions::new(target) };
    let mut listener = Subscriber::start(options).await.unwrap();
    let bot = example("wav_bot").args([&server.url("ws", ""), "room", &folder.path("call.wav")]).spawn().unwrap();
    let mut loud = 0;
    let listening = async {
        // A second of the two, whatever was lost before the path was up.
        while loud < 100 {
            let received = listener.next().await.expect("the session ended");
            let Media::Sound(samples) = received.media else { panic!("{received:?}") };
            assert_eq!(samples.len(), 480);
            loud += usize::from(received.from == "wav_bot" && samples.iter().any(|sample| *sample > 4_000));
        }
    };
    tokio::time::timeout(LIMIT, listening).await.unwrap_or_else(|_| panic!("{loud} steps were heard"));
    let ended = tokio::task::spawn_blocking(move || bot.wait_with_output().unwrap()).await.unwrap();
    assert!(ended.status.success());
    let summary = listener.stop().await.unwrap();
    assert!(summary.received_anything());
}
