//! A small SVG writer: shapes, text and the widths of text.

use std::fmt::Write as _;

/// First choice is the font that the PNG renderer carries; Verdana has nearly its widths.
const FONT: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

/// Advance widths of U+0020 to U+007E in thousandths of the font size, regular and bold.
#[rustfmt::skip]
const REGULAR: [u16; 95] = [
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698,
    770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732,
    684, 989, 685, 611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635,
    634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592,
    525, 636, 337, 636, 838,
];
#[rustfmt::skip]
const BOLD: [u16; 95] = [
    348, 456, 521, 838, 696, 1002, 872, 306, 457, 457, 523, 838, 380, 415, 380, 365, 696, 696,
    696, 696, 696, 696, 696, 696, 696, 696, 400, 400, 838, 838, 838, 580, 1000, 774, 762, 734,
    830, 683, 683, 821, 837, 372, 372, 775, 637, 995, 837, 850, 733, 850, 770, 720, 682, 812,
    774, 1103, 771, 724, 725, 457, 365, 457, 838, 500, 500, 675, 716, 593, 716, 678, 435, 716,
    712, 343, 343, 665, 343, 1042, 712, 687, 716, 716, 493, 595, 478, 712, 652, 924, 645, 652,
    582, 712, 365, 712, 838,
];

/// Where a text stands relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Type<'a> {
    pub(crate) size: f64,
    pub(crate) bold: bool,
    pub(crate) anchor: Anchor,
    pub(crate) color: &'a str,
}

impl<'a> Type<'a> {
    pub(crate) fn new(size: f64, color: &'a str) -> Self {
        Self {
            size,
            bold: false,
            anchor: Anchor::Start,
            color,
        }
    }

    pub(crate) fn bold(mut self) -> Self {
        self.bold = true;
        self
    }

    pub(crate) fn at(mut self, anchor: Anchor) -> Self {
        self.anchor = anchor;
        self
    }

    /// Width of a text in pixels; letters outside ASCII are taken as of middling width.
    pub(crate) fn width(&self, text: &str) -> f64 {
        let table = if self.bold { &BOLD } else { &REGULAR };
        let wide = |c: char| match c as u32 {
            code @ 0x20..=0x7e => table[code as usize - 0x20],
            0x300..=0x36f => 0,
            0x1100.. if c.is_alphanumeric() => 1000,
            _ => 680,
        };
        text.chars().map(|c| f64::from(wide(c))).sum::<f64>() * self.size / 1000.0
    }

    /// The text, or as much of it as fits into `width` with an ellipsis behind it.
    pub(crate) fn fit(&self, text: &str, width: f64) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let mut kept = String::new();
        for c in text.chars() {
            kept.push(c);
            if self.width(&kept) + self.width("\u{2026}") > width {
                kept.pop();
                break;
            }
        }
        format!("{}\u{2026}", kept.trim_end())
    }
}

/// A pixel coordinate with at most two decimals, so that the same picture is the same text.
pub(crate) fn number(value: f64) -> String {
    let rounded = (value * 100.0).round() / 100.0 + 0.0;
    format!("{rounded}")
}

/// Text for XML; characters that XML does not allow are left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// A picture that grows by shapes, later ones on top.
#[derive(Debug)]
pub(crate) struct Canvas {
    text: String,
}

impl Canvas {
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Self {
        let (w, h, title) = (number(width), number(height), escape(title));
        Self {
            text: format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" \
                 viewBox=\"0 0 {w} {h}\" role=\"img\" font-family=\"{FONT}\">\n\
                 <title>{title}</title>\n\
                 <rect width=\"{w}\" height=\"{h}\" fill=\"#ffffff\"/>\n"
            ),
        }
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(element);
        self.text.push('\n');
    }

    /// A straight line; `dash` is an SVG dash pattern or empty.
    pub(crate) fn line(
        &mut self,
        from: (f64, f64),
        to: (f64, f64),
        color: &str,
        width: f64,
        dash: &str,
    ) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(number);
        let dash = dash_attribute(dash);
        self.add(format_args!(
            "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{color}\" \
             stroke-width=\"{width}\"{dash}/>"
        ));
    }

    /// An open path.
    pub(crate) fn path(&mut self, d: &str, color: &str, width: f64, dash: &str) {
        let dash = dash_attribute(dash);
        self.add(format_args!(
            "<path d=\"{d}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\"{dash}/>"
        ));
    }

    /// A filled circle.
    pub(crate) fn circle(&mut self, centre: (f64, f64), radius: f64, color: &str) {
        let [x, y, r] = [centre.0, centre.1, radius].map(number);
        self.add(format_args!(
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" fill=\"{color}\"/>"
        ));
    }

    /// A filled area.
    pub(crate) fn area(&mut self, d: &str, color: &str, opacity: f64) {
        self.add(format_args!(
            "<path d=\"{d}\" fill=\"{color}\" fill-opacity=\"{opacity}\"/>"
        ));
    }

    pub(crate) fn write(&mut self, x: f64, y: f64, text: &str, style: Type<'_>) {
        let place = format!("x=\"{}\" y=\"{}\"", number(x), number(y));
        self.place(&place, text, style);
    }

    /// Text that runs upwards, its baseline at `x`.
    pub(crate) fn write_upwards(&mut self, x: f64, y: f64, text: &str, style: Type<'_>) {
        let (x, y) = (number(x), number(y));
        let place = format!("transform=\"translate({x} {y}) rotate(-90)\"");
        self.place(&place, text, style);
    }

    fn place(&mut self, place: &str, text: &str, style: Type<'_>) {
        let anchor = match style.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let bold = if style.bold {
            " font-weight=\"bold\""
        } else {
            ""
        };
        let (size, color, text) = (style.size, style.color, escape(text));
        self.add(format_args!(
            "<text {place} font-size=\"{size}\" fill=\"{color}\"{bold}{anchor}>{text}</text>"
        ));
    }

    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

fn dash_attribute(dash: &str) -> String {
    if dash.is_empty() {
        String::new()
    } else {
        format!(" stroke-dasharray=\"{dash}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_measured_cut_and_escaped() {
        let style = Type::new(10.0, "#000");
        assert!((style.width("AA") - 13.68).abs() < 1e-9);
        assert!(style.bold().width("AA") > style.width("AA"));
        assert_eq!(style.fit("short", 100.0), "short");
        let cut = style.fit("a rather long name of a group", 80.0);
        assert!(cut.ends_with('\u{2026}') && style.width(&cut) <= 80.0);
        assert_eq!(escape("a<b & \"c\"\u{0}\n"), "a&lt;b &amp; &quot;c&quot; ");
        assert_eq!(number(-0.001), "0");
        assert_eq!(number(12.345_678), "12.35");
    }
}
