//! Masks against pycocotools' run lengths.

use proptest::prelude::*;
use sam3i::mask::{Mask, Rle};
use sam3i_tests::goldens::data;
use serde::Deserialize;

#[derive(Deserialize)]
struct Recorded {
    masks: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    size: [usize; 2],
    rows: Option<Vec<String>>,
    run_lengths: Option<Vec<u32>>,
    counts: String,
    area: usize,
    bbox_xywh: [f64; 4],
}

fn recorded() -> Vec<Case> {
    let text = std::fs::read_to_string(data("eval/rle/masks.json")).expect("recorded masks");
    serde_json::from_str::<Recorded>(&text).expect("recorded masks").masks
}

#[test]
fn masks_have_pycocotools_strings() {
    for case in recorded() {
        let rle = Rle { size: case.size, counts: case.counts.clone() };
        let mask = rle.decode().unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(mask.to_rle().expect("a small mask"), rle, "{}", case.name);
        assert_eq!((mask.area(), rle.area().expect("a string")), (case.area, case.area), "{}", case.name);
        if let Some(runs) = case.run_lengths {
            assert_eq!(rle.runs().expect("a string"), runs, "{}", case.name);
        }
        if let Some(rows) = case.rows {
            let drawn: Vec<u8> = rows.concat().bytes().map(|c| u8::from(c == b'#')).collect();
            assert_eq!(mask.bits, drawn, "{}", case.name);
        }
    }
}

#[test]
fn bounds_are_pycocotools_except_where_a_run_crosses_a_column() {
    for case in recorded() {
        let mask = Rle { size: case.size, counts: case.counts }.decode().expect("a string");
        let bounds = mask.bounds();
        let ours = [bounds.x, bounds.y, bounds.width, bounds.height].map(|side| side as f64);
        // pycocotools takes the full height for such a run; the smallest box does not.
        if case.name != "run_over_column_end" {
            assert_eq!(ours, case.bbox_xywh, "{}", case.name);
        }
    }
}

proptest! {
    #[test]
    fn a_mask_survives_its_string((width, height) in (0usize..24, 0usize..24), bits in prop::collection::vec(0u8..2, 576)) {
        let mask = Mask::new(width, height, bits[..width * height].to_vec()).expect("its size");
        let rle = mask.to_rle().expect("a small mask");
        prop_assert_eq!(rle.area().expect("its own string"), mask.area());
        prop_assert_eq!(rle.decode().expect("its own string"), mask);
    }

    #[test]
    fn any_string_is_read_or_refused(counts in "[0-o]{0,24}|.{0,12}", height in 0usize..40, width in 0usize..40) {
        let rle = Rle { size: [height, width], counts };
        if let Ok(mask) = rle.decode() {
            prop_assert_eq!(mask.bits.len(), width * height);
        }
    }
}
