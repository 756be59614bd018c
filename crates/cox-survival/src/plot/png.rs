//! SVG to PNG with fonts of our own: the same picture on every machine.

use std::fmt::Display;
use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use crate::error::{Error, Result};

/// More pixels than this on a side are a mistake.
const LARGEST_SIDE: f32 = 20_000.0;

static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(include_bytes!("font/DejaVuSans.ttf").to_vec());
    fonts.load_font_data(include_bytes!("font/DejaVuSans-Bold.ttf").to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    fonts.set_serif_family("DejaVu Sans");
    Arc::new(fonts)
});

/// Renders an SVG picture as PNG bytes, `scale` pixels to one unit of the SVG (2 is right for
/// print at the default size).
///
/// Text is set in `DejaVu Sans`, which is part of this crate (Latin, Greek and Cyrillic); no font of
/// the machine is used, so the bytes are the same everywhere.
///
/// # Errors
/// [`Error::Setting`] for a scale that is not positive or makes more than 20,000 pixels on a side,
/// [`Error::Picture`] when the text is not SVG.
///
/// ```
/// let svg = r##"<svg xmlns="http://www.w3.org/2000/svg" width="10" height="4"/>"##;
/// let png = cox_survival::svg_to_png(svg, 2.0)?;
/// assert_eq!(&png[1..4], b"PNG");
/// # Ok::<(), cox_survival::Error>(())
/// ```
pub fn svg_to_png(svg: &str, scale: f64) -> Result<Vec<u8>> {
    let options = Options {
        font_family: "DejaVu Sans".to_owned(),
        fontdb: Arc::clone(&FONTS),
        ..Options::default()
    };
    let tree = Tree::from_str(svg, &options).map_err(|e| picture(&e))?;
    let factor = scale as f32;
    let side = |length: f32| {
        let pixels = (length * factor).round();
        (1.0..=LARGEST_SIDE)
            .contains(&pixels)
            .then(|| f64::from(pixels))
    };
    let unfit = || Error::Setting {
        name: "scale",
        value: scale.to_string(),
        expected: "a positive number that makes 1 to 20000 pixels on each side",
    };
    let width = side(tree.size().width()).ok_or_else(unfit)?;
    let height = side(tree.size().height()).ok_or_else(unfit)?;
    // Both are whole numbers in range; the cast is exact.
    let mut pixmap = Pixmap::new(whole(width), whole(height)).ok_or_else(unfit)?;
    let transform = Transform::from_scale(factor, factor);
    resvg::render(&tree, transform, &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|e| picture(&e))
}

#[expect(clippy::cast_sign_loss, reason = "checked to lie between 1 and 20000")]
fn whole(pixels: f64) -> u32 {
    pixels as u32
}

fn picture(reason: &dyn Display) -> Error {
    Error::Picture {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named() {
        assert!(matches!(
            svg_to_png("not svg", 1.0),
            Err(Error::Picture { .. })
        ));
        let svg = r#"<svg xmlns="http://www.w3.org/2000/svg" width="10" height="4"/>"#;
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            let png = svg_to_png(svg, scale);
            assert!(
                matches!(png, Err(Error::Setting { name: "scale", .. })),
                "{scale}"
            );
        }
    }

    #[test]
    fn text_leaves_ink_without_any_font_of_the_machine() {
        let picture = |text: &str| {
            let svg = format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"60\" height=\"20\">\
                 <text x=\"2\" y=\"15\" font-family=\"No Such Font, sans-serif\">{text}</text></svg>"
            );
            svg_to_png(&svg, 1.0).unwrap()
        };
        assert_ne!(picture("abc"), picture(""));
        assert_ne!(picture("abc"), picture("abd"));
        assert_ne!(picture("\u{3b2}"), picture("\u{2265}"));
    }
}
