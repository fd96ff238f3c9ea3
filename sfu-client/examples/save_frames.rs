//! Saves the pictures that come in a room as PNG, one in thirty.
//!
//! ```sh
//! cargo run -p sfu-client --example save_frames -- ws://127.0.0.1:7880 demo pictures 5
//! ```

use anyhow::{Context, Result, ensure};
use sfu_client::record::write_png;
use sfu_client::signal::{JoinOptions, Target};
use sfu_client::subscribe::SubscribeOptions;
use sfu_client::subscriber::{Media, Subscriber};
use std::path::Path;
use std::{env, fs};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [server, room, folder, count] = arguments.as_slice() else {
        anyhow::bail!("usage: save_frames SERVER ROOM FOLDER COUNT");
    };
    let count: usize = count.parse().context("COUNT must be a number")?;
    let folder = Path::new(folder);
    fs::create_dir_all(folder).context("cannot make the folder")?;
    let target = Target::Native(JoinOptions::new(server, room, "save_frames"));
    // No sound.
    let options = SubscribeOptions { audio_slots: 0, ..SubscribeOptions::new(target) };
    let mut subscriber = Subscriber::start(options).await?;
    let (mut seen, mut saved) = (0, 0);
    while saved < count {
        let received = subscriber.next().await.context("the session ended")?;
        let Media::Picture(picture) = received.media else { continue };
        if seen % 30 == 0 {
            let path = folder.join(format!("{saved:04}.png"));
            write_png(&path, &picture)?;
            println!("{}: {}x{} of {}", path.display(), picture.width(), picture.height(), received.from);
            saved += 1;
        }
        seen += 1;
    }
    let summary = subscriber.stop().await?;
    ensure!(summary.received_anything(), "nothing was received");
    Ok(())
}
