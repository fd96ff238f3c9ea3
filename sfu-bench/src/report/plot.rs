//! Plots as SVG: lines over two axes, bars, and points.

use super::axis::{Axis, short};
use super::escape;
use std::fmt::Write;

/// Widths of plots in the page's pixels: as wide as the page, and half of it.
pub(super) const WIDE: f64 = 990.0;
pub(super) const HALF: f64 = 468.0;
/// Height of a wide plot; a half one is lower.
const HEIGHT: f64 = 300.0;
/// A line is broken where its points are further apart than this, as between windows.
const GAP: f64 = 2.5;
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
    /// Points that lie far apart are not joined.
    pub(super) broken: bool,
}

/// A plot under construction.
pub(super) struct Plot {
    x: Axis,
    y: Axis,
    width: f64,
    height: f64,
    body: String,
}

impl Plot {
    /// With axes and their names.
    pub(super) fn new(width: f64, x: Axis, y: Axis, x_name: &str, y_unit: &str) -> Self {
        let height = if width < WIDE { HEIGHT * 0.72 } else { HEIGHT };
        let mut plot = Self { x, y, width, height, body: String::new() };
        let bottom = height - BOTTOM;
        for tick in y.ticks() {
            let at = plot.y_at(tick);
            plot.add(&format!(
                "<line x1='{LEFT}' x2='{:.1}' y1='{at:.1}' y2='{at:.1}' stroke='#e8ecf0'/>\
                 <text x='{:.1}' y='{:.1}' text-anchor='end'>{}{}</text>",
                width - RIGHT,
                LEFT - 8.0,
                at + 4.0,
                short(tick),
                escape(y_unit)
            ));
        }
        plot.add(&format!(
            "<line x1='{LEFT}' x2='{:.1}' y1='{bottom}' y2='{bottom}' stroke='#9aa5b1'/>\
             <text x='{:.1}' y='{:.1}' text-anchor='end'>{}</text>",
            width - RIGHT,
            width - RIGHT,
            height - 4.0,
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
        let (x, bottom) = (self.x_at(value), self.height - BOTTOM);
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
        let mut last = None;
        for (x, y) in &line.points {
            let joined = last.replace(*x).is_some_and(|last| !line.broken || x - last < GAP);
            // Writing to a String cannot fail.
            let _ = write!(path, "{}{:.1},{:.1}", if joined { "L" } else { "M" }, self.x_at(*x), self.y_at(*y));
        }
        let colour = line.colour;
        self.add(&format!("<path d='{path}' fill='none' stroke='{colour}' stroke-width='2' stroke-linejoin='round'/>"));
    }

    /// Draws a bar from zero, `width` wide.
    pub(super) fn bar(&mut self, x: f64, value: f64, width: f64, colour: &str, title: &str) {
        let (x, y) = (self.x_at(x) - width / 2.0, self.y_at(value));
        let height = self.height - BOTTOM - y;
        self.add(&format!(
            "<rect x='{x:.1}' y='{y:.1}' width='{width}' height='{height:.1}' rx='2' fill='{colour}'>\
             <title>{}</title></rect>",
            escape(title)
        ));
    }

    /// Draws a span of the horizontal axis, as high as the plot.
    pub(super) fn span(&mut self, from: f64, until: f64, colour: &str, title: &str) {
        let (left, right) = (self.x_at(from), self.x_at(until));
        let (width, height) = ((right - left).max(1.0), self.height - BOTTOM - TOP);
        self.add(&format!(
            "<rect x='{left:.1}' y='{TOP}' width='{width:.1}' height='{height:.1}' fill='{colour}'>\
             <title>{}</title></rect>",
            escape(title)
        ));
    }

    /// Draws a point with a name beside it.
    pub(super) fn point(&mut self, x: f64, y: f64, colour: &str, name: &str) {
        let (x, y) = (self.x_at(x), self.y_at(y));
        let (anchor, shift) = if x > self.width * 0.6 { ("end", -10.0) } else { ("start", 10.0) };
        let below = if y < TOP + 20.0 { 22.0 } else { -8.0 };
        self.add(&format!(
            "<circle cx='{x:.1}' cy='{y:.1}' r='5.5' fill='{colour}' stroke='#fff' stroke-width='2'/>\
             <text class='strong' x='{:.1}' y='{:.1}' text-anchor='{anchor}'>{}</text>",
            x + shift,
            y + below,
            escape(name)
        ));
    }

    /// Joins two values at one place by a broken line.
    pub(super) fn difference(&mut self, x: f64, from: f64, to: f64, colour: &str) {
        let (x, from, to) = (self.x_at(x), self.y_at(from), self.y_at(to));
        self.add(&format!(
            "<line x1='{x:.1}' x2='{x:.1}' y1='{from:.1}' y2='{to:.1}' stroke='{colour}' stroke-width='2' \
             stroke-dasharray='4 3'/>"
        ));
    }

    /// The plot; `label` is for those who do not see it.
    pub(super) fn finish(self, label: &str) -> String {
        let label = escape(label);
        let Self { width, height, body, .. } = self;
        format!("<svg viewBox='0 0 {width} {height}' role='img' aria-label='{label}'>{body}</svg>")
    }

    fn x_at(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (self.width - LEFT - RIGHT)
    }

    fn y_at(&self, value: f64) -> f64 {
        self.height - BOTTOM - self.y.place(value) * (self.height - TOP - BOTTOM)
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
    const NAMES: f64 = 130.0;
    const VALUES: f64 = 70.0;
    let axis = Axis::from_zero(rows.iter().map(|(_, value, _)| *value));
    let mut body = String::new();
    for (index, (name, value, colour)) in rows.iter().enumerate() {
        let y = index as f64 * ROW;
        let width = (axis.place(*value) * (HALF - NAMES - VALUES)).max(1.0);
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
    format!("<svg viewBox='0 0 {HALF} {height}' role='img' aria-label='{}'>{body}</svg>", escape(label))
}
