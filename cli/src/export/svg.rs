//! SVG: a path an instance, over a canvas of the picture's size. Holes are holes by the even-odd rule.

use super::shapes::{polygons, whole};
use super::{Found, Item, palette};
use crate::output::write_whole;
use anyhow::Result;
use sam3i::mask::Polygon;
use std::io::Write;
use std::path::Path;

pub(super) fn write(path: &Path, found: &Found) -> Result<()> {
    let (width, height) = (found.picture.width, found.picture.height);
    write_whole(path, |file| {
        writeln!(
            file,
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">"#
        )?;
        for item in found.report.items() {
            let Item { number, prompt, instance } = &item;
            let [r, g, b] = palette::colour(number - 1);
            let outline = outline(&polygons(found, &item)?);
            let (index, level, score) = (prompt.index, &prompt.level, instance.score);
            let label = escaped(prompt.label());
            writeln!(
                file,
                r##"<path id="i{number}" data-prompt="{index}" data-level="{level}" data-score="{score}" fill="#{r:02x}{g:02x}{b:02x}" fill-opacity="0.5" fill-rule="evenodd" d="{outline}"><title>{label}</title></path>"##
            )?;
        }
        Ok(writeln!(file, "</svg>")?)
    })
}

/// The rings as the commands of a path.
fn outline(polygons: &[Polygon]) -> String {
    let ring = |ring: &Vec<[f64; 2]>| {
        let points: Vec<String> = whole(ring).map(|[x, y]| format!("{x},{y}")).collect();
        format!("M{}Z", points.join(" "))
    };
    polygons.iter().flat_map(Polygon::rings).map(ring).collect()
}

/// Text as XML has it. Characters that XML cannot hold become spaces.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out() {
        assert_eq!(escaped("a <b> & \"c\"\u{1}é"), "a &lt;b&gt; &amp; &quot;c&quot; é");
    }
}
