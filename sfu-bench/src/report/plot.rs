//! Plots as SVG: lines over two axes, bars, and points.

use super::axis::{Axis, short};
use super::escape;
use std::fmt::Write;

/// Size of a plot in its own units; the page scales it.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
/// Room for the names of values.
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// Colours that most eyes tell apart.
pub(super) const BLUE: &str = "#2563eb";
pub(super) const ORANGE: &str = "#ea580c";
pub(super) const GREEN: &str = "#0f766e";
pub(super) const GREY: &str = "#b6c0cc";

/// A line with a name.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) colour: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot under construction.
pub(super) struct Plot {
    x: Axis,
    y: Axis,
    body: String,
}

impl Plot {
    /// With axes and their names.
    pub(super) fn new(x: Axis, y: Axis, x_name: &str, y_unit: &str) -> Self {
        let mut plot = Self { x, y, body: String::new() };
        let bottom = HEIGHT - BOTTOM;
        for tick in y.ticks() {
            let at = plot.y_at(tick);
            plot.add(&format!(
                "<line x1='{LEFT}' x2='{:.1}' y1='{at:.1}' y2='{at:.1}' stroke='#e8ecf0'/>\
                 <text x='{:.1}' y='{:.1}' text-anchor='end'>{}{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                at + 4.0,
                short(tick),
                escape(y_unit)
            ));
        }
        plot.add(&format!(
            "<line x1='{LEFT}' x2='{:.1}' y1='{bottom}' y2='{bottom}' stroke='#9aa5b1'/>\
             <text x='{:.1}' y='{:.1}' text-anchor='end'>{}</text>",
            WIDTH - RIGHT,
            WIDTH - RIGHT,
            HEIGHT - 4.0,
            escape(x_name)
        ));
        plot
    }

    /// Names the round values of the horizontal axis.
    pub(super) fn name_x(mut self) -> Self {
        for tick in self.x.ticks() {
            self.name_x_at(tick, &short(tick));
        }
        self
    }

    /// Names one value of the horizontal axis.
    pub(super) fn name_x_at(&mut self, value: f64, name: &str) {
        let (x, bottom) = (self.x_at(value), HEIGHT - BOTTOM);
        self.add(&format!(
            "<line x1='{x:.1}' x2='{x:.1}' y1='{bottom}' y2='{:.1}' stroke='#9aa5b1'/>\
             <text x='{x:.1}' y='{:.1}' text-anchor='middle'>{}</text>",
            bottom + 4.0,
            bottom + 18.0,
            escape(name)
        ));
    }

    /// Draws a line.
    pub(super) fn line(&mut self, line: &Line<'_>) {
        let mut path = String::new();
        for (index, (x, y)) in line.points.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(path, "{}{:.1},{:.1}", if index == 0 { "M" } else { "L" }, self.x_at(*x), self.y_at(*y));
        }
        let colour = line.colour;
        self.add(&format!("<path d='{path}' fill='none' stroke='{colour}' stroke-width='2' stroke-linejoin='round'/>"));
    }

    /// Draws a bar from zero, `width` wide.
    pub(super) fn bar(&mut self, x: f64, value: f64, width: f64, colour: &str, title: &str) {
        let (x, y) = (self.x_at(x) - width / 2.0, self.y_at(value));
        let height = HEIGHT - BOTTOM - y;
        self.add(&format!(
            "<rect x='{x:.1}' y='{y:.1}' width='{width}' height='{height:.1}' rx='2' fill='{colour}'>\
             <title>{}</title></rect>",
            escape(title)
        ));
    }

    /// Draws a point with a name beside it.
    pub(super) fn point(&mut self, x: f64, y: f64, colour: &str, name: &str) {
        let (x, y) = (self.x_at(x), self.y_at(y));
        let (anchor, shift) = if x > WIDTH * 0.6 { ("end", -10.0) } else { ("start", 10.0) };
        self.add(&format!(
            "<circle cx='{x:.1}' cy='{y:.1}' r='5.5' fill='{colour}' stroke='#fff' stroke-width='2'/>\
             <text class='strong' x='{:.1}' y='{:.1}' text-anchor='{anchor}'>{}</text>",
            x + shift,
            y - 8.0,
            escape(name)
        ));
    }

    /// The plot; `label` is for those who do not see it.
    pub(super) fn finish(self, label: &str) -> String {
        let label = escape(label);
        format!("<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{label}'>{}</svg>", self.body)
    }

    fn x_at(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y_at(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn add(&mut self, element: &str) {
        self.body.push_str(element);
    }
}

/// Which colour is what.
pub(super) fn legend(entries: &[(&str, &str)]) -> String {
    let entry =
        |(name, colour): &(&str, &str)| format!("<span><i style='background:{colour}'></i>{}</span>", escape(name));
    format!("<div class='legend'>{}</div>", entries.iter().map(entry).collect::<String>())
}

/// Horizontal bars, one per row: name, value, colour.
pub(super) fn bars(rows: &[(String, f64, &str)], label: &str) -> String {
    const ROW: f64 = 30.0;
    const NAMES: f64 = 150.0;
    const VALUES: f64 = 70.0;
    let axis = Axis::from_zero(rows.iter().map(|(_, value, _)| *value));
    let mut body = String::new();
    for (index, (name, value, colour)) in rows.iter().enumerate() {
        let y = index as f64 * ROW;
        let width = (axis.place(*value) * (WIDTH - NAMES - VALUES)).max(1.0);
        // Writing to a String cannot fail.
        let _ = write!(
            body,
            "<text class='strong' x='0' y='{:.1}'>{}</text>\
             <rect x='{NAMES}' y='{:.1}' width='{width:.1}' height='18' rx='2' fill='{colour}'/>\
             <text x='{:.1}' y='{:.1}'>{value:.3}</text>",
            y + 19.0,
            escape(name),
            y + 6.0,
            NAMES + width + 8.0,
            y + 19.0
        );
    }
    let height = rows.len() as f64 * ROW + 4.0;
    format!("<svg viewBox='0 0 {WIDTH} {height}' role='img' aria-label='{}'>{body}</svg>", escape(label))
}
