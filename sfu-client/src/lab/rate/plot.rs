//! A result as a picture: bits of every picture and every half second, and the quantisers.

use super::RateResult;
use std::fmt::Write;

/// Size of the drawing, and of the strip for quantisers below it.
const WIDTH: f64 = 1_600.0;
const HEIGHT: f64 = 480.0;
const STRIP: f64 = 140.0;
const MARGIN: f64 = 30.0;
/// Largest picture that fits, in means.
const MOST: f64 = 4.0;
/// Half seconds from so much below what they should carry to so much above fill the height.
const HALVES: f64 = 0.4;
/// The coarsest quantiser of any codec.
const COARSEST: f64 = 63.0;

/// Draws a result as SVG: pictures as bars (keyframes red) in means, half seconds as a line with their tolerance of 10 %
/// shaded, below that the quantisers.
pub fn plot(result: &RateResult) -> String {
    let count = result.pictures.len().max(1) as f64;
    let mean = result.target.as_bps().max(1) as f64 / result.frame_rate;
    let x = |picture: f64| MARGIN + picture / count * (WIDTH - 2.0 * MARGIN);
    let bar = (WIDTH - 2.0 * MARGIN) / count;
    let y = |means: f64| MARGIN + (HEIGHT - MARGIN) * (1.0 - means.clamp(0.0, MOST) / MOST);
    let y_half = |deviation: f64| MARGIN + (HEIGHT - MARGIN) * (0.5 - 0.5 * (deviation / HALVES).clamp(-1.0, 1.0));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{}\" font-family=\"sans-serif\" \
         font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        HEIGHT + STRIP + MARGIN
    );
    // Writing to a string does not fail.
    let _ = writeln!(
        svg,
        "<text x=\"{MARGIN}\" y=\"18\">{}, {}, {}: bits of pictures in means (bars, keyframes red), half seconds (line) \
         within 10 % (shaded), quantisers (below)</text>",
        result.codec.name(),
        escape(&result.clip),
        result.control
    );
    let (top, bottom) = (y_half(0.1), y_half(-0.1));
    let (wide, high) = (WIDTH - 2.0 * MARGIN, bottom - top);
    let _ =
        writeln!(svg, "<rect x=\"{MARGIN}\" y=\"{top:.1}\" width=\"{wide}\" height=\"{high:.1}\" fill=\"#e8f4e8\"/>");
    let mut line = String::new();
    let half = (result.frame_rate / 2.0).round().max(1.0) as usize;
    for (place, pictures) in result.pictures.chunks_exact(half).enumerate() {
        let bits = pictures.iter().map(|picture| picture.bits).sum::<f64>();
        let height = y_half(bits / (mean * half as f64) - 1.0);
        let (from, to) = (x((place * half) as f64), x(((place + 1) * half) as f64));
        let _ = write!(line, "{from:.1},{height:.1} {to:.1},{height:.1} ");
    }
    for (place, picture) in result.pictures.iter().enumerate() {
        let (left, top) = (x(place as f64), y(picture.bits / mean));
        let colour = if picture.keyframe { "#d04040" } else { "#7090c0" };
        let high = HEIGHT - top;
        let _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{bar:.2}\" height=\"{high:.1}\" fill=\"{colour}\"/>"
        );
        let level = HEIGHT + STRIP * (f64::from(picture.quantizer) / COARSEST).min(1.0) + MARGIN / 2.0;
        let _ =
            writeln!(svg, "<rect x=\"{left:.1}\" y=\"{level:.1}\" width=\"{bar:.2}\" height=\"2\" fill=\"#404040\"/>");
    }
    let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"#208020\" stroke-width=\"2\"/>", line.trim());
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
