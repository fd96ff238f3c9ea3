//! The terminal while the dashboard is on it: the alternate screen, no cursor, keys not echoed. Ctrl-C stays a signal.
//!
//! However the program ends, but by SIGKILL, the terminal is as it was.

use super::{View, draw};
use crate::log;
use anyhow::{Context, Result};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use std::io::{self, Stdout};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the terminal is ours.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// The terminal, until this goes.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    #[cfg(unix)]
    _echo: Option<quiet::Quiet>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Where standard output is none.
    pub(crate) fn enter() -> Result<Self> {
        restore_on_panic();
        #[cfg(unix)]
        let echo = quiet::Quiet::new();
        IS_ON.store(true, Ordering::Relaxed);
        log::hold();
        execute!(io::stdout(), EnterAlternateScreen, Hide).context("cannot draw on this terminal")?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout())).context("cannot draw on this terminal")?;
        Ok(Self {
            terminal,
            #[cfg(unix)]
            _echo: echo,
        })
    }

    /// Draws.
    pub(crate) fn show(&mut self, view: &View) {
        // A terminal that has gone away is no reason to end the session.
        let _ = self.terminal.draw(|frame| draw(view, &log::last_line(), frame));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if IS_ON.swap(false, Ordering::Relaxed) {
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        log::release();
    }
}

/// A panic is read on the screen that stays.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}

#[cfg(unix)]
mod quiet {
    use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
    use std::io::stdin;

    /// A terminal that does not show what is typed.
    pub(super) struct Quiet(Termios);

    impl Quiet {
        /// `None` where standard input is no terminal.
        pub(super) fn new() -> Option<Self> {
            let before = tcgetattr(stdin()).ok()?;
            let mut quiet = before.clone();
            quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON);
            tcsetattr(stdin(), SetArg::TCSANOW, &quiet).ok()?;
            Some(Self(before))
        }
    }

    impl Drop for Quiet {
        fn drop(&mut self) {
            // What was typed meanwhile was for nobody.
            let _ = tcsetattr(stdin(), SetArg::TCSAFLUSH, &self.0);
        }
    }
}
