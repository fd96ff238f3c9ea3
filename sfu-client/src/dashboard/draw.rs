//! The view as characters.

use super::picture::HalfBlocks;
use super::{Graph, Panel, View};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline};

/// Rows of a panel: its border, the values, at least two of graph.
const LEAST_ROWS: u16 = 5;
/// More rows make no graph clearer.
const MOST_ROWS: u16 = 9;
/// Columns between two graphs.
const GAP: u16 = 1;

/// Draws `view`; `note` is the last line of the log.
pub(crate) fn draw(view: &View, note: &str, frame: &mut Frame<'_>) {
    let [head, middle, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(Paragraph::new(view.head.as_str()).bold(), head);
    let middle = match &view.picture {
        Some(picture) => {
            let [shown, rest] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(middle);
            frame.render_widget(HalfBlocks { picture, true_colour: has_true_colour() }, shown);
            rest
        }
        None => middle,
    };
    let fits = (middle.height / LEAST_ROWS).max(1) as usize;
    let shown = view.panels.len().min(fits);
    let rows = (middle.height / (shown.max(1) as u16)).clamp(LEAST_ROWS, MOST_ROWS);
    for (index, panel) in view.panels.iter().take(shown).enumerate() {
        let top = middle.y + index as u16 * rows;
        let area = Rect { y: top, height: rows, ..middle }.intersection(middle);
        draw_panel(panel, frame, area);
    }
    let more = match view.panels.len() - shown {
        0 => String::new(),
        more => format!("  {more} more streams need a higher window"),
    };
    let keys = Line::from(vec![
        Span::raw("Ctrl-C ends").dim(),
        Span::raw(more).yellow(),
        Span::raw(format!("  {note}")).red(),
    ]);
    frame.render_widget(Paragraph::new(keys), foot);
}

/// Terminals with all colours say so.
fn has_true_colour() -> bool {
    std::env::var("COLORTERM").is_ok_and(|value| value == "truecolor" || value == "24bit")
}

fn draw_panel(panel: &Panel, frame: &mut Frame<'_>, area: Rect) {
    let mut block = Block::bordered().title(panel.title.as_str()).border_style(Style::new().fg(Color::DarkGray));
    if !panel.reason.is_empty() {
        block = block.title_bottom(Line::from(format!(" {} ", panel.reason)).yellow());
    }
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let columns = Layout::horizontal(panel.graphs.iter().map(|_| Constraint::Fill(1))).spacing(GAP).split(inside);
    for (graph, column) in panel.graphs.iter().zip(columns.iter()) {
        draw_graph(graph, frame, *column);
    }
}

fn draw_graph(graph: &Graph, frame: &mut Frame<'_>, area: Rect) {
    let [line, plot] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let now = graph.values.back().copied().filter(|value| !value.is_nan());
    let value = now.map_or("-".to_owned(), |value| format!("{} {}", short(value), graph.unit));
    let text = Line::from(vec![Span::raw(graph.name).dim(), Span::raw(" "), Span::raw(value).bold()]);
    frame.render_widget(Paragraph::new(text), line);
    let width = usize::from(plot.width);
    let skipped = graph.values.len().saturating_sub(width);
    // Of what is in sight, so that a value that was once large does not flatten the rest for ever.
    let seen: Vec<f64> = graph.values.iter().skip(skipped).copied().collect();
    let most = seen.iter().copied().filter(|value| !value.is_nan()).fold(f64::MIN_POSITIVE, f64::max);
    let bars: Vec<Option<u64>> =
        seen.iter().map(|value| (!value.is_nan()).then(|| (value.max(0.0) / most * 1_000.0) as u64)).collect();
    frame.render_widget(Sparkline::default().data(bars).max(1_000).style(Style::new().fg(Color::Cyan)), plot);
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        ..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use sfu_client::frame::VideoFrame;

    fn screen(view: &View, note: &str, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(view, note, frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(row).collect()
    }

    fn view(streams: usize) -> View {
        let mut view = View { head: "room demo".to_owned(), ..Default::default() };
        for stream in 0..streams {
            let panel = view.panel(&stream.to_string());
            panel.title = format!("stream {stream}");
            panel.reason = "server: no room for more".to_owned();
            for n in 0..20 {
                panel.push("bitrate", "kbit/s", Some(f64::from(n) * 10.0));
                panel.push("loss", "%", (n > 17).then_some(0.5));
            }
        }
        view
    }

    #[test]
    fn a_stream_is_shown_with_its_numbers_graphs_and_the_servers_reason() {
        let rows = screen(&view(1), "", 60, 12);
        assert!(rows[0].starts_with("room demo"), "{rows:#?}");
        assert!(rows[1].contains("stream 0"), "{rows:#?}");
        assert!(rows[2].contains("bitrate 190 kbit/s") && rows[2].contains("loss 0.50 %"), "{rows:#?}");
        assert!(rows[3..9].iter().any(|row| row.contains('█')), "{rows:#?}");
        assert!(rows.iter().any(|row| row.contains("server: no room for more")), "{rows:#?}");
        assert!(rows[11].contains("Ctrl-C"), "{rows:#?}");
    }

    #[test]
    fn streams_that_do_not_fit_are_counted() {
        let rows = screen(&view(9), "a line of the log", 80, 24);
        assert!(rows.iter().any(|row| row.contains("stream 3")) && !rows.iter().any(|row| row.contains("stream 4")));
        assert!(rows[23].contains("5 more streams") && rows[23].contains("a line of the log"), "{rows:#?}");
    }

    #[test]
    fn a_picture_takes_the_upper_half() {
        let view = View { picture: Some(VideoFrame::new(64, 32).unwrap()), ..view(1) };
        let rows = screen(&view, "", 60, 24);
        assert!(rows[1].starts_with('▀') && rows[11].starts_with('▀') && !rows[12].starts_with('▀'), "{rows:#?}");
        assert!(rows[12].contains("stream 0"), "{rows:#?}");
    }

    #[test]
    fn any_size_of_window_is_drawn() {
        for (width, height) in [(1, 1), (2, 3), (10, 2), (300, 4), (7, 60)] {
            screen(&view(3), "note", width, height);
            screen(&View::default(), "", width, height);
        }
    }
}
