//! Ratios one below the other on one logarithmic scale, each with what it should be.
//!
//! What must hold: a ratio that is no positive number is left out.

use std::fmt::Write as _;

use super::escaped;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 70.0;
const ROW: f64 = 24.0;
const FOOT: f64 = 30.0;

/// A ratio.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// Of what.
    pub name: String,
    /// How much it is.
    pub value: f64,
    /// How much it should be.
    pub wanted: f64,
    /// Whether it is on the right side of that.
    pub is_met: bool,
}

/// Ratios under a title.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ladder {
    /// What they are.
    pub title: String,
    /// From top to bottom.
    pub rungs: Vec<Rung>,
}

impl Ladder {
    /// The drawing; `None` where nothing can be drawn.
    pub(super) fn svg(&self) -> Option<String> {
        let can = |value: f64| value.is_finite() && value > 0.0;
        let rungs: Vec<&Rung> =
            self.rungs.iter().filter(|rung| can(rung.value) && can(rung.wanted)).collect();
        let values = rungs.iter().flat_map(|rung| [rung.value, rung.wanted, 1.0]);
        let (low, high) =
            values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        if rungs.is_empty() {
            return None;
        }
        let (first, last) = (low.log10().floor(), high.log10().ceil().max(1.0));
        let x = |value: f64| LEFT + (value.log10() - first) / (last - first) * (WIDTH - LEFT - RIGHT);
        let foot = rungs.len() as f64 * ROW + 6.0;
        let title = escaped(&self.title);
        let mut svg =
            format!("<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{title}\">", foot + FOOT);
        for decade in first as i32..=last as i32 {
            let (value, class) = (10_f64.powi(decade), if decade == 0 { "one" } else { "grid" });
            let x = x(value);
            put(
                &mut svg,
                format_args!(
                    "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{foot}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value} ×</text>",
                    foot + 20.0
                ),
            );
        }
        for (number, rung) in rungs.iter().enumerate() {
            let middle = (number as f64 + 0.5) * ROW + 3.0;
            put(&mut svg, format_args!("{}", rung_svg(rung, middle, &x)));
        }
        svg.push_str("</svg>");
        Some(svg)
    }
}

fn rung_svg(rung: &Rung, middle: f64, x: &dyn Fn(f64) -> f64) -> String {
    let (one, at, wanted) = (x(1.0), x(rung.value), x(rung.wanted));
    let class = if rung.is_met { "met" } else { "missed" };
    let name = escaped(&rung.name);
    let (from, width) = (one.min(at), (one - at).abs());
    let beside = if at > one { at + 10.0 } else { one + 10.0 };
    format!(
        "<g class=\"rung {class}\"><title>{name}: {value:.3}, wanted {wanted_value}</title>\
         <text x=\"{}\" y=\"{text:.1}\" text-anchor=\"end\">{name}</text>\
         <rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"8\" rx=\"2\"/>\
         <line class=\"want\" x1=\"{wanted:.1}\" x2=\"{wanted:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
         <text x=\"{beside:.1}\" y=\"{text:.1}\">{value:.3}</text></g>",
        LEFT - 12.0,
        middle - 4.0,
        middle - 9.0,
        middle + 9.0,
        value = rung.value,
        wanted_value = rung.wanted,
        text = middle + 4.0,
    )
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("text takes what is written");
}
