//! Publishes a file into a room: Y4M as it is, any other through ffmpeg; with the generated voice as its sound.
//!
//! ```sh
//! cargo run -p sfu-client --example publish_file -- ws://127.0.0.1:7880 demo clip.y4m 10
//! ```

use anyhow::{Context, Result};
use sfu_client::capture::{MediaFile, VideoSource, Voice, Y4mReader};
use sfu_client::publish::PublishOptions;
use sfu_client::publisher::Publisher;
use sfu_client::send::{AudioSettings, VideoSettings};
use sfu_client::signal::{JoinOptions, Target};
use std::env;
use std::path::Path;
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [server, room, file, seconds] = arguments.as_slice() else {
        anyhow::bail!("usage: publish_file SERVER ROOM FILE SECONDS");
    };
    let seconds: f64 = seconds.parse().context("SECONDS must be a number")?;
    let path = Path::new(file);
    let pictures: Box<dyn VideoSource> = if file.ends_with(".y4m") {
        Box::new(Y4mReader::open(path)?)
    } else {
        Box::new(MediaFile::open(path, 640, 360, 30.0)?)
    };
    let options = PublishOptions::new(Target::Native(JoinOptions::new(server, room, "publish_file")))
        .video(pictures, VideoSettings::default())
        .audio(Box::new(Voice::new(2_000.0)), AudioSettings::default());
    let publisher = Publisher::start(options).await?;
    println!("publishing, joined in {:.0} ms", publisher.report().join.as_secs_f64() * 1_000.0);
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let report = publisher.stop().await?;
    println!("sent {} pictures and {} packets of sound", report.video.frames, report.audio.packets);
    Ok(())
}
