//! The program with a microphone that is none: ALSA reads its sound from a file.

mod real;

use real::{Server, server_program};
use sfu_client::capture::{AudioSource, Tone};
use sfu_client::peer::MediaKind;
use sfu_client::signal::{JoinOptions, Target};
use sfu_client::subscribe::SubscribeOptions;
use sfu_client::subscriber::{Media, Subscriber};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A program that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder of this test's own.
fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("sfu-client-devices-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A configuration of ALSA whose microphone hears a tone of 440 Hz for a minute.
fn alsa() -> PathBuf {
    let (heard, config) = (folder().join("heard.raw"), folder().join("alsa.conf"));
    let mut samples = vec![0; 60 * 48_000];
    Tone::new(440.0).fill(&mut samples).unwrap();
    fs::write(&heard, samples.iter().flat_map(|sample: &i16| sample.to_le_bytes()).collect::<Vec<_>>()).unwrap();
    let text = format!(
        "pcm.!default {{ type file slave.pcm {{ type null }} file /dev/null infile {} format raw }}",
        heard.display()
    );
    fs::write(&config, text).unwrap();
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_microphone_hears_is_sent() {
    let server = Server::start("devices");
    let target = Target::Native(JoinOptions::new(&server.url("ws", ""), "test", "bob"));
    let options = SubscribeOptions { video_slots: 0, audio_slots: 1, ..SubscribeOptions::new(target) };
    let mut subscriber = Subscriber::start(options).await.unwrap();
    let arguments = ["publish", "--no-video", "--microphone", "--room", "test", "--server", &server.url("ws", "")];
    let mut command = Command::new(server_program().with_file_name("sfu-client"));
    command.args(arguments).env("ALSA_CONFIG_PATH", alsa()).stdout(Stdio::null());
    let _publisher = Running(command.spawn().unwrap());
    let listening = async {
        while let Some(received) = subscriber.next().await {
            if let Media::Sound(samples) = received.media
                && samples.iter().any(|sample| sample.unsigned_abs() > 1_000)
            {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(LIMIT, listening).await.unwrap(), "nothing was heard");
    let report = subscriber.stop().await.unwrap().report;
    assert_eq!(report.streams[0].kind, MediaKind::Audio);
    fs::remove_dir_all(folder()).unwrap();
}

#[test]
fn devices_that_are_not_there_are_named() {
    for (arguments, named) in [
        (["publish", "--camera", "/dev/video-of-nobody"], "/dev/video-of-nobody"),
        (["publish", "--microphone", "nobody's"], "no microphone \"nobody's\""),
    ] {
        let program = server_program().with_file_name("sfu-client");
        let output = Command::new(program).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(named), "{said}");
    }
}
