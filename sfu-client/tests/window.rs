//! The program's window on a display that exists in memory only: what is in it is what was sent, and a freeze is named.
//!
//! Needs Xvfb and ffmpeg, which `scripts/test` installs. Leaves `test-results/window-*.png`.

mod real;

use real::{Server, server_program};
use sfu_client::capture::{Scene, SceneKind};
use sfu_client::frame::VideoFrame;
use sfu_client::overlay::Overlay;
use sfu_client::publish::PublishOptions;
use sfu_client::publisher::Publisher;
use sfu_client::send::VideoSettings;
use sfu_client::signal::{JoinOptions, Target};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
const SIZE: (usize, usize) = (640, 360);
/// Rows of the window above the picture, and as many below: what is written there covers nothing of the picture.
const BAR: usize = 24;
const WINDOW: (usize, usize) = (SIZE.0, SIZE.1 + 2 * BAR);

/// A program that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A display of its own, and its name.
fn display() -> (Running, String) {
    let arguments = ["-displayfd", "1", "-screen", "0", "640x408x24", "-nolisten", "tcp"];
    let child = Command::new("Xvfb").args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("Xvfb (Debian: xvfb)");
    let mut number = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut number).unwrap();
    (Running(child), format!(":{}", number.trim()))
}

/// What is on the display.
fn grab(display: &str, format: &[&str]) -> Vec<u8> {
    let input = ["-v", "error", "-f", "x11grab", "-video_size", "640x408", "-i", display, "-frames:v", "1"];
    let output = Command::new("ffmpeg").args(input).args(format).arg("-").output().expect("ffmpeg");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The same as a picture.
fn picture(display: &str) -> VideoFrame {
    let mut picture = VideoFrame::new(WINDOW.0, WINDOW.1).unwrap();
    picture.data_mut().copy_from_slice(&grab(display, &["-f", "rawvideo", "-pix_fmt", "yuv420p"]));
    picture
}

/// The received picture on it.
fn received(window: &VideoFrame) -> VideoFrame {
    let (luma, u, v) = window.planes();
    let (lumas, chromas) = (SIZE.0 * SIZE.1, SIZE.0 * SIZE.1 / 4);
    let middle = |plane: &[u8], rows: usize, width: usize, count: usize| plane[rows * width..][..count].to_vec();
    let planes = [
        middle(luma, BAR, SIZE.0, lumas),
        middle(u, BAR / 2, SIZE.0 / 2, chromas),
        middle(v, BAR / 2, SIZE.0 / 2, chromas),
    ];
    let mut picture = VideoFrame::new(SIZE.0, SIZE.1).unwrap();
    picture.data_mut().copy_from_slice(&planes.concat());
    picture
}

fn save(display: &str, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("test-results");
    let png = grab(display, &["-f", "image2pipe", "-c:v", "png"]);
    std::fs::write(folder.join(format!("window-{name}.png")), png).unwrap();
}

/// Waits until what is on the display is as it should be.
fn until(display: &str, what: &str, mut is: impl FnMut(&VideoFrame) -> bool) {
    let end = Instant::now() + LIMIT;
    while !is(&picture(display)) {
        assert!(Instant::now() < end, "{what}");
    }
    save(display, what);
}

/// Whether the last line of the window is yellow somewhere: there stands why nothing moves.
fn names_a_reason(picture: &VideoFrame) -> bool {
    let (luma, u, _) = picture.planes();
    let is_yellow = |x: usize, y: usize| luma[y * WINDOW.0 + x] > 170 && u[y / 2 * (WINDOW.0 / 2) + x / 2] < 80;
    (WINDOW.1 - BAR..WINDOW.1).any(|y| (0..WINDOW.0).any(|x| is_yellow(x, y)))
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_in_the_window_and_a_freeze_is_named() {
    let server = Server::start("window");
    let (_display, name) = display();
    let program = server_program().with_file_name("sfu-client");
    let arguments = ["subscribe", "--window", "--shown", "640x408", "--room", "test", "--server"];
    let mut command = Command::new(program);
    command.args(arguments).arg(server.url("ws", "")).env("DISPLAY", &name).stdout(Stdio::null());
    let _watching = Running(command.spawn().unwrap());
    until(&name, "waiting", |picture| picture.planes().0.iter().any(|luma| *luma > 230));

    let target = Target::Native(JoinOptions::new(&server.url("ws", ""), "test", "ada"));
    let scene = Box::new(Scene::of(SceneKind::Talking, SIZE.0, SIZE.1, 30.0).unwrap());
    let publisher = Publisher::start(PublishOptions::new(target).video(scene, VideoSettings::default())).await.unwrap();
    let mut first = None;
    let mut moves = |picture: &VideoFrame| {
        let number = Overlay::read(&received(picture)).map(|overlay| overlay.frame);
        number.is_some_and(|number| number > *first.get_or_insert(number) + 30)
    };
    tokio::task::block_in_place(|| until(&name, "live", &mut moves));
    drop(publisher);
    tokio::task::block_in_place(|| until(&name, "frozen", names_a_reason));
}

#[test]
fn without_a_display_the_program_says_so() {
    let program = server_program().with_file_name("sfu-client");
    let output = Command::new(program).args(["subscribe", "--window"]).env_remove("DISPLAY").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("is there a display?"), "{said}");
}
