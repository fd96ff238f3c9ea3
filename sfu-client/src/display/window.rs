//! The window, in a thread of its own.

use super::wall::{Canvas, Wall};
use crate::peer::MediaKind;
use crate::stats::Report;
use crate::subscriber::{Media, Received};
use anyhow::{Context, Result};
use minifb::{Key, WindowOptions};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Instant;
use tokio::sync::watch;

/// Times per second that the window is drawn and asked for keys.
const RATE: usize = 60;

/// A window that shows what is received. It is closed with this value.
pub struct Window {
    wall: Arc<Mutex<Wall>>,
    /// Gone once the window is.
    open: watch::Receiver<()>,
}

impl Window {
    /// Opens a window of this title, and this width and height inside.
    ///
    /// # Errors
    /// Where there is no display, or it refuses.
    pub fn open(title: &str, size: (usize, usize)) -> Result<Self> {
        let (wall, title) = (Arc::<Mutex<Wall>>::default(), title.to_owned());
        let (open_out, open) = watch::channel(());
        let (opened_out, opened) = mpsc::channel();
        let shown = Arc::clone(&wall);
        let run = move || {
            let options = WindowOptions { resize: true, ..Default::default() };
            match minifb::Window::new(&title, size.0, size.1, options) {
                Ok(window) => {
                    // Who waits for it is there.
                    let _ = opened_out.send(Ok(()));
                    drop(opened_out);
                    show(window, &shown, &open_out);
                }
                Err(error) => drop(opened_out.send(Err(error))),
            }
        };
        thread::Builder::new().name("window".to_owned()).spawn(run).context("cannot start the window's thread")?;
        let result = opened.recv().context("the window's thread broke down")?;
        result.map_err(|error| anyhow::anyhow!("{error}")).context("cannot open a window: is there a display?")?;
        Ok(Self { wall, open })
    }

    /// Shows what is received, if it is a picture.
    pub fn take(&self, received: Received) {
        if let Media::Picture(picture) = received.media {
            self.lock().show(Instant::now(), &received.mid, &received.from, picture);
        }
    }

    /// Shows what is said of the streams.
    pub fn report(&self, report: &Report) {
        let mut wall = self.lock();
        for stream in report.streams.iter().filter(|stream| stream.kind == MediaKind::Video) {
            wall.tell(&stream.mid, &stream.label, stream.limit);
        }
        wall.wait_for(report.awaited.iter().map(ToString::to_string).collect());
    }

    /// Waits until the window is closed.
    pub fn closed(&self) -> impl Future<Output = ()> + use<> {
        let mut open = self.open.clone();
        async move { while open.changed().await.is_ok() {} }
    }

    fn lock(&self) -> MutexGuard<'_, Wall> {
        self.wall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Draws until the window is closed, by its user (Escape does it too) or by whoever opened it.
fn show(mut window: minifb::Window, wall: &Mutex<Wall>, open: &watch::Sender<()>) {
    window.set_target_fps(RATE);
    let mut pixels = Vec::new();
    while window.is_open() && !window.is_key_down(Key::Escape) && open.receiver_count() > 0 {
        let (width, height) = window.get_size();
        let (width, height) = (width.max(1), height.max(1));
        pixels.resize(width * height, 0);
        let now = Instant::now();
        wall.lock().unwrap_or_else(PoisonError::into_inner).draw(now, &mut Canvas::new(&mut pixels, width));
        if let Err(error) = window.update_with_buffer(&pixels, width, height) {
            tracing::warn!(%error, "the window is gone");
            return;
        }
    }
}
