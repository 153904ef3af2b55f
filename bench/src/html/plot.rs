//! Lines over two axes, drawn as SVG.
//!
//! What must hold: a point that an axis cannot hold is left out, and one without a value breaks its line; a plot has at
//! most [`POINTS_MAX`] points per line and [`BANDS`] places that show their values, however long a run was.

use std::fmt::Write as _;

use super::axis::{Axis, Scale};
use super::escaped;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;

/// Colours that lines have; the next line begins again with the first.
const COLOURS: [&str; 8] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];
/// Most points of a line; more are drawn as the highest of each stretch.
const POINTS_MAX: usize = 1_000;
/// Places along a plot where it shows its values.
const BANDS: usize = 160;
/// Lines whose values are shown; a list of more nobody reads.
const LINES_SHOWN: usize = 24;

/// The second coordinate of a point at which a line has no value: nothing is drawn across it.
pub const GAP: f64 = f64::NAN;

/// The class that has a run's colour.
pub(super) fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// Plainly.
    Solid,
    /// Plainly, and thinner.
    Thin,
    /// In dashes.
    Dashed,
    /// In dots.
    Dotted,
}

impl Stroke {
    fn class(self) -> &'static str {
        match self {
            Stroke::Solid => "",
            Stroke::Thin => " thin",
            Stroke::Dashed => " dashed",
            Stroke::Dotted => " dotted",
        }
    }
}

/// A line of a plot.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it shows.
    pub name: String,
    /// The number of its colour.
    pub colour: usize,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Its points, in the order of their first coordinate.
    pub points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// What runs to the right.
    pub x: Axis,
    /// What runs upwards.
    pub y: Axis,
    /// What is drawn.
    pub lines: Vec<Line>,
}

/// A plot with its scales.
struct Canvas<'p> {
    plot: &'p Plot,
    lines: Vec<Vec<(f64, f64)>>,
    x: Scale,
    y: Scale,
}

impl Plot {
    /// The drawing; `None` where no line has a point that can be drawn.
    pub(super) fn svg(&self) -> Option<String> {
        let holds = |&(x, y): &(f64, f64)| self.x.holds(x) && (y.is_nan() || self.y.holds(y));
        let lines =
            self.lines.iter().map(|line| thinned(line.points.iter().copied().filter(holds).collect()));
        let lines: Vec<Vec<(f64, f64)>> = lines.collect();
        let drawn = || lines.iter().flatten().filter(|point| !point.1.is_nan());
        // Also where a line has no value: what has an end without one is not drawn as if it had ended before.
        let x = self.x.scale(lines.iter().flatten().map(|point| point.0))?;
        let y = self.y.scale(drawn().map(|point| point.1))?;
        let canvas = Canvas { plot: self, lines, x, y };
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escaped(&self.title)
        );
        canvas.grid(&mut svg);
        canvas.lines(&mut svg);
        canvas.bands(&mut svg);
        svg.push_str("</svg>");
        Some(svg)
    }
}

impl Canvas<'_> {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn grid(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in self.y.ticks() {
            let (y, text) = (self.y(tick), escaped(&self.plot.y.text(tick)));
            put(
                svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                    LEFT - 8.0,
                    y + 4.0,
                ),
            );
        }
        for tick in self.x.ticks() {
            let (x, text) = (self.x(tick), escaped(&self.plot.x.text(tick)));
            let anchor = if x > right - 20.0 { "end" } else { "middle" };
            put(
                svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>",
                    bottom + 18.0,
                ),
            );
        }
        put(
            svg,
            format_args!(
                "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>"
            ),
        );
    }

    fn lines(&self, svg: &mut String) {
        for (line, points) in self.plot.lines.iter().zip(&self.lines) {
            let mut path = String::new();
            for part in points.split(|point| point.1.is_nan()) {
                for (number, &(x, y)) in part.iter().enumerate() {
                    let step = if number == 0 { 'M' } else { 'L' };
                    put(&mut path, format_args!("{step}{:.1} {:.1}", self.x(x), self.y(y)));
                }
                if let [(x, y)] = *part {
                    // A single point is a short dash.
                    put(&mut path, format_args!("m-4 0L{:.1} {:.1}", self.x(x) + 4.0, self.y(y)));
                }
            }
            if path.is_empty() {
                continue;
            }
            let (colour, stroke) = (colour(line.colour), line.stroke.class());
            put(svg, format_args!("<path class=\"line {colour}{stroke}\" d=\"{path}\"/>"));
        }
    }

    /// Places that say which values lie there.
    fn bands(&self, svg: &mut String) {
        let width = (WIDTH - LEFT - RIGHT) / BANDS as f64;
        let height = HEIGHT - TOP - BOTTOM;
        let mut before = String::new();
        for number in 0..BANDS {
            let left = LEFT + number as f64 * width;
            let values = self.values_at(left + width / 2.0);
            if values.is_empty() || values == before {
                continue;
            }
            put(
                svg,
                format_args!(
                    "<rect class=\"band\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\">\
                 <title>{}</title></rect>",
                    escaped(&values)
                ),
            );
            before = values;
        }
    }

    /// The value of each line that is nearest to a place, one to a line.
    fn values_at(&self, place: f64) -> String {
        let mut text = String::new();
        for (line, points) in self.plot.lines.iter().zip(&self.lines).take(LINES_SHOWN) {
            let after = points.partition_point(|point| self.x(point.0) < place);
            let near = points[after.saturating_sub(1)..].iter().take(2);
            let distance = |point: &&(f64, f64)| (self.x(point.0) - place).abs();
            let nearest = near.min_by(|a, b| distance(a).total_cmp(&distance(b)));
            let Some(&(x, y)) = nearest.filter(|point| !point.1.is_nan()) else { continue };
            if text.is_empty() {
                text.push_str(&self.plot.x.text(x));
            }
            put(&mut text, format_args!("\n{:>10}  {}", self.plot.y.text(y), line.name));
        }
        text
    }
}

/// The highest point of each stretch, where there are more than can be drawn.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= POINTS_MAX {
        return points;
    }
    let stretch = points.len().div_ceil(POINTS_MAX);
    let highest = |part: &[(f64, f64)]| {
        let values = part.iter().copied().filter(|point| !point.1.is_nan());
        values.max_by(|a, b| a.1.total_cmp(&b.1)).or_else(|| part.first().copied())
    };
    points.chunks(stretch).filter_map(highest).collect()
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("text takes what is written");
}
