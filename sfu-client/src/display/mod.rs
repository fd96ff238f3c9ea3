//! Received pictures in a window of the desktop, with the feature `window` (X11; nothing but its shared libraries is
//! needed).

#[cfg(feature = "window")]
mod wall;
#[cfg(feature = "window")]
mod window;
#[cfg(feature = "window")]
pub use window::Window;

#[cfg(not(feature = "window"))]
pub use absent::Window;

#[cfg(not(feature = "window"))]
mod absent {
    use crate::stats::Report;
    use crate::subscriber::Received;
    use anyhow::{Result, bail};

    /// None: windows were not built in.
    #[derive(Debug)]
    pub enum Window {}

    impl Window {
        /// Says what would build it in.
        ///
        /// # Errors
        /// Always.
        pub fn open(_title: &str, _size: (usize, usize)) -> Result<Self> {
            bail!("windows were not built in: build with the feature `window`")
        }

        /// Shows a picture.
        pub fn take(&self, _received: Received) {
            match *self {}
        }

        /// Shows what is said of the streams.
        pub fn report(&self, _report: &Report) {
            match *self {}
        }

        /// Waits until the window is closed.
        pub fn closed(&self) -> std::future::Pending<()> {
            match *self {}
        }
    }
}
