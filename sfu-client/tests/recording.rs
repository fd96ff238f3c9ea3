//! A call recorded by the program, ended by Ctrl-C, played back.

mod real;

use matroska_demuxer::{Frame, MatroskaFile};
use real::Server;
use serde_json::Value;
use sfu_client::decode::{Decoder, H264Decoder};
use sfu_client::frame::VideoFrame;
use sfu_client::overlay::Overlay;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

fn program(server: &Server, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sfu-client"))
        .args(arguments)
        .args(["--server", &server.url("ws", ""), "--room", "r", "--json", "--duration", "60s"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// As Ctrl-C does.
fn interrupt(child: &Child) {
    // The shell has it built in.
    assert!(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap().success());
}

/// The pictures of the file's first video track with their times in milliseconds, and the times of its sound.
fn play(path: &Path) -> (Vec<(u64, VideoFrame)>, Vec<u64>) {
    let mut file = MatroskaFile::open(File::open(path).unwrap()).unwrap();
    let track =
        |codec: &str| file.tracks().iter().find(|track| track.codec_id() == codec).unwrap().track_number().get();
    let (video, audio) = (track("V_MPEG4/ISO/AVC"), track("A_OPUS"));
    let mut decoder = H264Decoder::new().unwrap();
    let (mut pictures, mut sound, mut frame) = (Vec::new(), Vec::new(), Frame::default());
    while file.next_frame(&mut frame).unwrap() {
        if frame.track == audio {
            sound.push(frame.timestamp);
        }
        if frame.track != video {
            continue;
        }
        let (mut unit, mut rest) = (Vec::new(), frame.data.as_slice());
        while let Some((length, after)) = rest.split_first_chunk() {
            let (nal, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            unit.extend([0, 0, 0, 1]);
            unit.extend(nal);
            rest = after;
        }
        if let Some(picture) = decoder.decode(&unit).unwrap() {
            pictures.push((frame.timestamp, picture));
        }
    }
    (pictures, sound)
}

/// What ffprobe, which `scripts/test` installs, makes of it.
fn probe(path: &Path) -> Value {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json"])
        .arg(path)
        .output()
        .expect("ffprobe (of ffmpeg) is needed");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_call_is_recorded_until_ctrl_c_and_plays() {
    let server = Server::start("recording");
    let path = std::env::temp_dir().join(format!("sfu-recording-{}.mkv", std::process::id()));
    let mut publisher = program(&server, &["publish", "--width", "320", "--height", "180", "--bitrate", "500"]);
    let mut subscriber = program(&server, &["subscribe", "--record-call", path.to_str().unwrap()]);
    // The file grows cluster by cluster, each of a second.
    let end = Instant::now() + LIMIT;
    while path.metadata().map_or(0, |metadata| metadata.len()) < 150_000 {
        assert!(Instant::now() < end, "nothing is recorded");
        std::thread::sleep(Duration::from_millis(50));
    }
    interrupt(&subscriber);
    assert!(subscriber.wait().unwrap().success());
    publisher.kill().unwrap();
    publisher.wait().unwrap();

    let (pictures, sound) = play(&path);
    assert!(pictures.len() > 30 && sound.len() > 50, "{} {}", pictures.len(), sound.len());
    // Burned in is when each was captured; the file's times go by that, whenever it came.
    let overlays: Vec<_> = pictures.iter().map(|(time, picture)| (*time, Overlay::read(picture).unwrap())).collect();
    for pair in overlays.windows(2) {
        let [(before, first), (after, second)] = pair else { unreachable!() };
        assert_eq!(second.frame, first.frame + 1);
        assert!(after > before);
    }
    let probed = probe(&path);
    std::fs::remove_file(&path).unwrap();
    let duration: f64 = probed["format"]["duration"].as_str().unwrap().parse().unwrap();
    let last = overlays.last().unwrap().0.max(*sound.last().unwrap());
    assert_eq!((duration * 1_000.0).round() as u64, last);
    for (codec, frames) in [("h264", pictures.len()), ("opus", sound.len())] {
        let streams = probed["streams"].as_array().unwrap();
        let stream = streams.iter().find(|stream| stream["codec_name"] == codec).unwrap();
        assert_eq!(stream["nb_read_frames"], frames.to_string(), "{stream}");
    }
}
