//! What other programs read: every format against the masks of the report, and against the programs' own readers.

use image::ImageReader;
use sam3i::mask::{Mask, Rle};
use sam3i::metrics::polygon::polygons_to_runs;
use sam3i_tests::command::sam3i;
use sam3i_tests::goldens::TempFolder;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

const FORMATS: &str =
    "overlay,masks,labels,union,cutout,json,coco,coco-polygons,yolo,labelme,geojson,svg,npz";

/// A folder with two scenes in `photos` and all formats of them in `out`.
fn exported(name: &str, tolerance: &str) -> TempFolder {
    let folder = TempFolder::new(&format!("exports-{name}"));
    folder.scene("fruit.png", "photos/fruit.png");
    folder.scene("dogs.png", "photos/more/dogs.png");
    let line = ["segment", "photos", "--level", "concept", "-p", "red apple", "-p", "\"dog\" <&>"];
    let more =
        ["--format", FORMATS, "--tolerance", tolerance, "--out-dir", "out", "--threshold", "0.3", "--quiet"];
    let run = sam3i(folder.path(), &[&line[..], &more].concat());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    folder
}

fn read_json(folder: &TempFolder, file: &str) -> Value {
    let text = fs::read_to_string(folder.path().join("out").join(file)).expect(file);
    serde_json::from_str(&text).expect(file)
}

/// A report's instances: label, score, mask.
fn instances(report: &Value) -> Vec<(String, f64, Mask)> {
    let prompts = report["prompts"].as_array().expect("prompts").iter();
    let all = prompts.flat_map(|prompt| {
        let label = prompt["text"].as_str().expect("a text").to_owned();
        prompt["instances"].as_array().expect("a list").iter().map(move |instance| (label.clone(), instance))
    });
    let mask = |instance: &Value| {
        let rle: Rle = serde_json::from_value(instance["rle"].clone()).expect("run lengths");
        rle.decode().expect("a mask")
    };
    all.map(|(label, one)| (label, one["score"].as_f64().expect("a score"), mask(one))).collect()
}

fn picture(folder: &TempFolder, file: &str) -> image::DynamicImage {
    ImageReader::open(folder.path().join("out").join(file)).expect(file).decode().expect(file)
}

/// The names of the pictures' results.
const NAMES: [&str; 2] = ["fruit", "more/dogs"];

#[test]
fn pictures_agree_with_the_masks() {
    let folder = exported("pictures", "0");
    for name in NAMES {
        let found = instances(&read_json(&folder, &format!("{name}.json")));
        assert!(!found.is_empty(), "{name}");
        let labels = picture(&folder, &format!("{name}.labels.png"));
        assert_eq!(labels.color(), image::ColorType::L16);
        let union = picture(&folder, &format!("{name}.union.png")).into_luma8();
        let cutout = picture(&folder, &format!("{name}.cutout.png")).into_rgba8();
        let original =
            image::open(folder.path().join(format!("photos/{name}.png"))).expect("a scene").into_rgb8();
        for (i, label) in labels.into_luma16().into_raw().into_iter().enumerate() {
            let here = found.iter().enumerate().filter(|(_, (_, _, mask))| mask.bits[i] == 1);
            let best = here.fold(None, |best: Option<(usize, f64)>, (number, (_, score, _))| {
                best.filter(|(_, held)| held >= score).or(Some((number, *score)))
            });
            assert_eq!(usize::from(label), best.map_or(0, |(number, _)| number + 1), "{name} {i}");
            assert_eq!(union.as_raw()[i], if best.is_some() { 255 } else { 0 });
            let rgb = &original.as_raw()[3 * i..3 * i + 3];
            let expected = if best.is_some() { [rgb[0], rgb[1], rgb[2], 255] } else { [0; 4] };
            assert_eq!(cutout.as_raw()[4 * i..4 * i + 4], expected);
        }
    }
}

#[test]
fn coco_has_every_mask_once() {
    let folder = exported("coco", "0");
    let sets = ["annotations.coco.json", "polygons.coco.json"].map(|file| read_json(&folder, file));
    for (exact, set) in [true, false].into_iter().zip(&sets) {
        let list = |key: &str| set[key].as_array().expect("a list").clone();
        assert_eq!(set["categories"][1], serde_json::json!({"id": 2, "name": "\"dog\" <&>"}));
        let mut annotations = list("annotations").into_iter();
        let mut id = 0;
        for (image, name) in list("images").iter().zip(NAMES) {
            assert_eq!(image["file_name"], format!("photos/{name}.png"));
            for (label, score, mask) in instances(&read_json(&folder, &format!("{name}.json"))) {
                let one = annotations.next().expect("an annotation");
                id += 1;
                assert_eq!((one["id"].as_u64(), &one["image_id"]), (Some(id), &image["id"]));
                assert_eq!(one["category_id"], if label == "red apple" { 1 } else { 2 });
                assert_eq!(
                    (one["area"].as_u64(), one["score"].as_f64()),
                    (Some(mask.area() as u64), Some(score))
                );
                let drawn = if exact {
                    serde_json::from_value::<Rle>(one["segmentation"].clone()).expect("run lengths").decode()
                } else {
                    let polygons: Vec<Vec<f64>> =
                        serde_json::from_value(one["segmentation"].clone()).expect("polygons");
                    let runs = polygons_to_runs(&polygons, mask.height, mask.width).expect("polygons");
                    runs.to_rle().expect("a mask").decode()
                };
                let drawn = drawn.expect("a mask");
                let differ = drawn.bits.iter().zip(&mask.bits).filter(|(a, b)| a != b).count();
                // pycocotools draws on a grid of fifths of pixels: lines along a hole's cut may take a pixel.
                assert!(
                    if exact { differ == 0 } else { differ * 50 <= mask.area() },
                    "{name} {id}: {differ}"
                );
            }
        }
        assert!(annotations.next().is_none() && id > 3, "{id}");
    }
}

/// Pixels whose centres are inside rings by the even-odd rule.
fn drawn(rings: &[Vec<[f64; 2]>], width: usize, height: usize) -> Mask {
    let mut bits = vec![0; width * height];
    for (row, line) in bits.chunks_exact_mut(width).enumerate() {
        let y = row as f64 + 0.5;
        let edges = rings.iter().flat_map(|ring| ring.iter().zip(ring.iter().cycle().skip(1)));
        let crossing = edges.filter(|(a, b)| (a[1] > y) != (b[1] > y));
        let mut places: Vec<f64> =
            crossing.map(|(a, b)| a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0])).collect();
        places.sort_by(f64::total_cmp);
        for pair in places.chunks_exact(2) {
            let centre = |x: usize| x as f64 + 0.5;
            let inside =
                line.iter_mut().enumerate().filter(|(x, _)| pair[0] < centre(*x) && centre(*x) <= pair[1]);
            inside.for_each(|(_, bit)| *bit = 1);
        }
    }
    Mask::new(width, height, bits).expect("its size")
}

#[test]
fn vectors_draw_the_masks_again() {
    let folder = exported("vectors", "0");
    for name in NAMES {
        let found = instances(&read_json(&folder, &format!("{name}.json")));
        let geo = read_json(&folder, &format!("{name}.geojson"));
        let features = geo["features"].as_array().expect("features");
        let svg = fs::read_to_string(folder.path().join(format!("out/{name}.svg"))).expect("a drawing");
        let paths: Vec<&str> = svg.lines().filter(|line| line.starts_with("<path")).collect();
        let yolo =
            fs::read_to_string(folder.path().join(format!("out/yolo/labels/{name}.txt"))).expect("labels");
        let with_pixels: Vec<_> = found.iter().filter(|(_, _, mask)| mask.area() > 0).collect();
        assert_eq!((features.len(), paths.len()), (found.len(), found.len()));
        assert_eq!(yolo.lines().count(), with_pixels.len());
        for ((label, _, mask), (feature, path)) in found.iter().zip(features.iter().zip(paths)) {
            assert_eq!(feature["properties"]["label"], label.as_str());
            let geometry = &feature["geometry"];
            let polygons: Vec<Vec<Vec<[f64; 2]>>> = match geometry["type"].as_str() {
                Some("Polygon") => {
                    vec![serde_json::from_value(geometry["coordinates"].clone()).expect("rings")]
                }
                Some("MultiPolygon") => {
                    serde_json::from_value(geometry["coordinates"].clone()).expect("polygons")
                }
                _ => Vec::new(),
            };
            assert!(polygons.iter().flatten().all(|ring| ring.len() > 3 && ring.first() == ring.last()));
            assert_eq!(&drawn(&polygons.concat(), mask.width, mask.height), mask);
            let (_, data) = path.split_once(" d=\"").expect("an outline");
            let data = &data[..data.find('"').expect("its end")];
            let rings = data.split('Z').filter(|ring| !ring.is_empty()).map(|ring| {
                let points = ring.trim_start_matches('M').split(' ').map(|point| {
                    let (x, y) = point.split_once(',').expect("a point");
                    [x.parse().expect("a number"), y.parse().expect("a number")]
                });
                points.collect::<Vec<[f64; 2]>>()
            });
            assert_eq!(&drawn(&rings.collect::<Vec<_>>(), mask.width, mask.height), mask);
            assert!(path.contains(if label == "red apple" {
                ">red apple<"
            } else {
                ">&quot;dog&quot; &lt;&amp;&gt;<"
            }));
        }
        for ((label, _, mask), line) in with_pixels.into_iter().zip(yolo.lines()) {
            let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
            assert_eq!(numbers[0], f64::from(u8::from(label != "red apple")));
            assert!(numbers[1..].iter().all(|value| (0.0..=1.0).contains(value)));
            let (width, height) = (mask.width as f64, mask.height as f64);
            // Six digits are finer than a pixel of any picture; whole pixels come back.
            let ring =
                numbers[1..].chunks_exact(2).map(|p| [(p[0] * width).round(), (p[1] * height).round()]);
            assert_eq!(&drawn(&[ring.collect()], mask.width, mask.height), mask);
        }
        let labelme = read_json(&folder, &format!("labelme/{name}.json"));
        let beside = folder.path().join("out/labelme").join(Path::new(name).parent().expect("a folder"));
        let image = beside.join(labelme["imagePath"].as_str().expect("a path"));
        assert_eq!(
            fs::canonicalize(image).expect("the picture"),
            fs::canonicalize(folder.path().join(format!("photos/{name}.png"))).expect("the picture")
        );
        let shapes = labelme["shapes"].as_array().expect("shapes");
        for (number, (_, _, mask)) in found.iter().enumerate() {
            let own = shapes.iter().filter(|shape| shape["group_id"] == number + 1);
            let rings: Vec<Vec<[f64; 2]>> =
                own.map(|shape| serde_json::from_value(shape["points"].clone()).expect("points")).collect();
            assert_eq!(&drawn(&rings, mask.width, mask.height), mask);
        }
    }
    let classes = fs::read_to_string(folder.path().join("out/yolo/classes.txt")).expect("classes");
    assert_eq!(classes, "red apple\n\"dog\" <&>\n");
    let yaml = fs::read_to_string(folder.path().join("out/yolo/data.yaml")).expect("a file");
    assert!(yaml.ends_with("names:\n  0: \"red apple\"\n  1: \"\\\"dog\\\" <&>\"\n"), "{yaml}");
}

#[test]
fn tolerance_makes_files_smaller_and_stays_near() {
    let (exact, near) = (exported("exact", "0"), exported("near", "2"));
    for name in NAMES {
        let points = |folder: &TempFolder| {
            let geo = read_json(folder, &format!("{name}.geojson")).to_string();
            geo.matches("],[").count()
        };
        assert!(4 * points(&near) < points(&exact), "{name}: {} {}", points(&near), points(&exact));
    }
}

/// The arrays of an .npz file whose members are stored: name, header and data.
fn arrays(bytes: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let number = |at: usize, size: usize| {
        bytes[at..at + size].iter().rev().fold(0, |all, &b| all << 8 | usize::from(b))
    };
    let (mut at, mut arrays) = (0, Vec::new());
    while &bytes[at..at + 4] == b"PK\x03\x04" {
        let (size, name) = (number(at + 22, 4), number(at + 26, 2));
        let data = at + 30 + name;
        let array = &bytes[data..data + size];
        assert!(array.starts_with(b"\x93NUMPY\x01\x00"));
        let header = 10 + usize::from(u16::from_le_bytes([array[8], array[9]]));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a text");
        arrays.push((text(&bytes[at + 30..data]), text(&array[10..header]), array[header..].to_vec()));
        at = data + size;
    }
    assert_eq!(&bytes[at..at + 4], b"PK\x01\x02");
    assert_eq!(number(bytes.len() - 6, 4), at, "the directory begins here");
    arrays
}

#[test]
fn numpy_files_have_the_logits_of_the_masks() {
    let folder = exported("npz", "1");
    for name in NAMES {
        let found = instances(&read_json(&folder, &format!("{name}.json")));
        let bytes = fs::read(folder.path().join(format!("out/{name}.npz"))).expect("arrays");
        let arrays = arrays(&bytes);
        let names: Vec<&str> = arrays.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["logits.npy", "scores.npy", "boxes.npy", "prompt.npy", "query.npy", "size.npy"]);
        let (_, header, data) = &arrays[0];
        let values: Vec<f32> =
            data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four"))).collect();
        let side = ((values.len() / found.len()) as f64).sqrt() as usize;
        assert!(header.contains(&format!(
            "'descr': '<f4', 'fortran_order': False, 'shape': ({},{side},{side},)",
            found.len()
        )));
        for ((_, _, mask), logits) in found.iter().zip(values.chunks_exact(side * side)) {
            let share = logits.iter().filter(|logit| **logit > 0.0).count() as f64 / (side * side) as f64;
            let expected = mask.area() as f64 / (mask.width * mask.height) as f64;
            assert!((share - expected).abs() < 0.01, "{share} {expected}");
        }
        let scores: Vec<f32> =
            arrays[1].2.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four"))).collect();
        assert!(scores.iter().zip(&found).all(|(a, (_, b, _))| (f64::from(*a) - b).abs() < 1e-6));
    }
}

/// Needs the packages of `tests/python/requirements.txt`; `SAM3I_PYTHON` names the interpreter that has them.
#[test]
#[ignore = "needs Python packages: pip install -r tests/python/requirements.txt"]
fn the_programs_they_are_for_read_them() {
    let python = std::env::var_os("SAM3I_PYTHON").unwrap_or_else(|| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/read_exports.py");
    for tolerance in ["0", "1"] {
        let folder = exported(&format!("python-{tolerance}"), tolerance);
        let output = Command::new(&python).arg(script).arg(folder.path()).output().expect("Python runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        eprint!("{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "tolerance {tolerance}");
        assert!(said.contains("read by 6 readers"), "{said}");
    }
}
