//! Colours that tell instances apart.

/// The first colours, picked by eye: vivid, none twice, neighbours in the list far apart.
const PICKED: [[u8; 3]; 12] = [
    [0xff, 0x4d, 0x5e],
    [0x1f, 0xc9, 0x6b],
    [0x8f, 0x6b, 0xff],
    [0xff, 0xb0, 0x20],
    [0x18, 0xc5, 0xe8],
    [0xff, 0x5c, 0xc4],
    [0xa6, 0xe2, 0x2e],
    [0x4c, 0x8d, 0xff],
    [0xff, 0x7a, 0x1a],
    [0x12, 0xa0, 0x90],
    [0xd3, 0x9b, 0xff],
    [0xff, 0xe1, 0x4d],
];
/// Steps of the hue from one instance to the next, in degrees: the golden angle never comes back to a hue.
const HUE_STEP: f64 = 137.507_764;
/// Hue of the first colour behind the picked ones.
const FIRST_HUE: f64 = 18.0;
/// Lightness of successive colours behind the picked ones.
const LIGHTNESS: [f64; 3] = [0.74, 0.64, 0.82];
/// Colourfulness that is asked for; lowered where a screen cannot show it.
const CHROMA: f64 = 0.21;

/// The colour of instance `index`: always the same, and far from those of its neighbours.
pub fn colour(index: usize) -> [u8; 3] {
    PICKED.get(index).copied().unwrap_or_else(|| generated(index - PICKED.len()))
}

/// Colours without end, evenly round the hue circle.
fn generated(index: usize) -> [u8; 3] {
    let hue = (FIRST_HUE + HUE_STEP * (index % 100_000) as f64).to_radians();
    let lightness = LIGHTNESS[index % LIGHTNESS.len()];
    let mut chroma = CHROMA;
    loop {
        let linear = linear_from_oklab([lightness, chroma * hue.cos(), chroma * hue.sin()]);
        let shown = linear.iter().all(|channel| (0.0..=1.0).contains(channel));
        if shown || chroma < 0.01 {
            return linear.map(|channel| (255.0 * encoded(channel)).round() as u8);
        }
        chroma -= 0.005;
    }
}

/// Black or white, whichever is easier to read on `background`.
pub fn ink(background: [u8; 3]) -> [u8; 3] {
    let luminance = luminance(background);
    let (on_black, on_white) = ((luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05));
    if on_black >= on_white { [0; 3] } else { [255; 3] }
}

/// Relative luminance, 0 to 1.
fn luminance(colour: [u8; 3]) -> f64 {
    let [r, g, b] = colour.map(|channel| decoded(f64::from(channel) / 255.0));
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// Linear light from Oklab (Ottosson 2020), where equal steps look equally large.
fn linear_from_oklab([lightness, a, b]: [f64; 3]) -> [f64; 3] {
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
    ]
}

/// sRGB's curve, from light to screen value.
fn encoded(linear: f64) -> f64 {
    let linear = linear.clamp(0.0, 1.0);
    if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}

/// sRGB's curve, from screen value to light.
fn decoded(value: f64) -> f64 {
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: [u8; 3], b: [u8; 3]) -> f64 {
        let squares = a.iter().zip(b).map(|(&a, b)| (f64::from(a) - f64::from(b)).powi(2));
        squares.sum::<f64>().sqrt()
    }

    #[test]
    fn the_first_twelve_colours_are_far_apart() {
        for i in 0..12 {
            for j in 0..i {
                assert!(distance(colour(i), colour(j)) > 40.0, "{i} {:?} and {j} {:?}", colour(i), colour(j));
            }
        }
    }

    #[test]
    fn text_is_readable_on_every_colour() {
        for index in 0..200 {
            let (light, dark) = (luminance(colour(index)) + 0.05, 0.05);
            let contrast = if ink(colour(index)) == [0; 3] { light / dark } else { 1.05 / light };
            assert!(contrast > 4.5, "{index}: {contrast}");
        }
    }

    #[test]
    fn any_index_has_a_colour() {
        assert_eq!(colour(3), colour(3));
        assert_ne!(colour(usize::MAX), [0; 3]);
    }
}
