//! The live view of a session in the terminal: for every stream its numbers now, how they have been, and what the server
//! says of it.

mod draw;
mod picture;
mod publish;
mod screen;
mod subscribe;

pub(crate) use draw::draw;
pub(crate) use publish::PublishView;
pub(crate) use screen::Screen;
pub(crate) use subscribe::SubscribeView;

use sfu_client::frame::VideoFrame;
use std::collections::VecDeque;

/// Values that are remembered: at one a second, as many as the widest terminal shows of them.
const MOST: usize = 300;

/// What is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// One line about the session.
    pub(crate) head: String,
    /// One panel per stream.
    pub(crate) panels: Vec<Panel>,
    /// The last picture, where it is shown.
    pub(crate) picture: Option<VideoFrame>,
}

/// A stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panel {
    /// Which one it is, over all updates.
    key: String,
    /// What it is, for people.
    title: String,
    /// Why there is no more, or what is asked for, and who says so. Empty: nothing.
    reason: String,
    graphs: Vec<Graph>,
}

/// A number over time.
#[derive(Clone, Debug)]
struct Graph {
    name: &'static str,
    unit: &'static str,
    values: VecDeque<f64>,
}

impl Panel {
    fn new(key: &str) -> Self {
        Self { key: key.to_owned(), ..Default::default() }
    }

    /// Adds the newest value of a graph; `None`: there is none now.
    fn push(&mut self, name: &'static str, unit: &'static str, value: Option<f64>) {
        let index = self.graphs.iter().position(|graph| graph.name == name).unwrap_or_else(|| {
            self.graphs.push(Graph { name, unit, values: VecDeque::new() });
            self.graphs.len() - 1
        });
        let values = &mut self.graphs[index].values;
        if values.len() == MOST {
            values.pop_front();
        }
        values.push_back(value.filter(|value| value.is_finite()).unwrap_or(f64::NAN));
    }
}

impl View {
    /// The panel of a stream; a new one stands behind the others.
    fn panel(&mut self, key: &str) -> &mut Panel {
        let index = self.panels.iter().position(|panel| panel.key == key).unwrap_or_else(|| {
            self.panels.push(Panel::new(key));
            self.panels.len() - 1
        });
        &mut self.panels[index]
    }
}
