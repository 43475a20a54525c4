//! A whole recording against our own run of it: intermediate tensors, and what a user gets.

use crate::goldens::TempFolder;
use crate::parity::{self, Distance, Offered};
use crate::recording::{Recorded, RecordedCase, Recording};
use sam3i::picture::DecodeOptions;
use sam3i::{Checkpoint, Device, ImageEmbedding, Model, Picture, ResizeMode, Segmentation};
use sam3i_engine::weights::FileDType;
use sam3i_engine::{Tensor, ops};
use std::path::{Path, PathBuf};

/// What an independent f32 implementation must keep.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Of intermediate tensors, in standard deviations.
    pub relative: f64,
    /// Of mask logits.
    pub masks: f64,
    /// Of class logits.
    pub logits: f64,
    /// Of scores and boxes.
    pub scores: f64,
    /// Of mask probabilities at the picture's size.
    pub probabilities: f64,
    /// Of boxes in pixels.
    pub pixels: f64,
    /// Share of the masks' bits that may differ.
    pub bits: f64,
}

/// Of models of a few layers.
pub const SMALL: Bounds = Bounds {
    relative: 1e-4,
    masks: 5e-4,
    logits: 1e-4,
    scores: 2e-5,
    probabilities: 1e-4,
    pixels: 0.01,
    bits: 5e-4,
};
/// 32 layers and 5184 tokens deep.
pub const FULL: Bounds = Bounds {
    relative: 1e-3,
    masks: 2e-2,
    logits: 5e-3,
    scores: 5e-4,
    probabilities: 5e-3,
    pixels: 0.35,
    bits: 5e-4,
};

/// Names a folder in which `sam3i synth` has already written the weights of the full size (4.6 GB, minutes).
pub const FULL_VARIABLE: &str = "SAM3I_FULL_MODEL";

/// A recording and the weights it was made with.
pub struct Setup {
    folder: PathBuf,
    recording: Recording,
    model: Model,
    /// A file with all tensors, dead ones too, by SAM3-I's names.
    pub weights: PathBuf,
    bounds: Bounds,
}

impl Setup {
    /// The recording `name` in a folder, and the checkpoint at a path.
    ///
    /// # Panics
    /// If they are not there; the model must load.
    pub fn new(folder: &Path, name: &str, checkpoint: &Path, device: &Device, bounds: Bounds) -> Self {
        let recording = Recording::read(folder, name);
        let opened = Checkpoint::open_with(checkpoint, Some(recording.config())).expect("a checkpoint");
        Self::of(folder, recording, opened, checkpoint, device, bounds)
    }

    /// A recording in a folder, and an opened checkpoint; `weights` has all tensors, dead ones too.
    ///
    /// # Panics
    /// If the model does not load.
    pub fn of(
        folder: &Path,
        recording: Recording,
        checkpoint: Checkpoint,
        weights: &Path,
        device: &Device,
        bounds: Bounds,
    ) -> Self {
        let model = Model::from_checkpoint(checkpoint, device).expect("it loads");
        Self { folder: folder.to_owned(), recording, model, weights: weights.to_owned(), bounds }
    }

    /// A model with weights made from names, written to `temp`.
    ///
    /// # Panics
    /// If that fails.
    pub fn synthetic(folder: &Path, name: &str, device: &Device, bounds: Bounds, temp: &TempFolder) -> Self {
        let config = Recording::read(folder, name).config();
        sam3i::synth::write_model(&config, temp.path(), FileDType::F32).expect("written");
        Self::new(folder, name, &temp.path().join("model.safetensors"), device, bounds)
    }

    /// The model at its published size, with weights made from names: those in the folder [`FULL_VARIABLE`] names, else written
    /// to `temp`.
    ///
    /// # Panics
    /// If that fails.
    pub fn full(folder: &Path, device: &Device, bounds: Bounds, temp: &TempFolder) -> Self {
        match std::env::var_os(FULL_VARIABLE) {
            Some(made) => {
                Self::new(folder, "full", &Path::new(&made).join("model.safetensors"), device, bounds)
            }
            None => Self::synthetic(folder, "full", device, bounds, temp),
        }
    }

    fn encode(&self, image: &str) -> ImageEmbedding {
        let facts = self.recording.manifest.images.iter().find(|i| i.id == image).expect("the picture");
        let path = self.folder.join(&facts.file);
        let picture = Picture::open(&path, &DecodeOptions::default()).expect("a picture");
        self.model.encode_image(&picture.view(), ResizeMode::Exact8).expect("it encodes")
    }

    /// Compares everything.
    ///
    /// # Panics
    /// At the first difference beyond the bounds.
    pub fn check(&self) {
        self.check_cases(|_| true);
    }

    /// Compares the pictures, and the cases whose keys are wanted.
    ///
    /// # Panics
    /// As [`Self::check`].
    pub fn check_cases(&self, wanted: impl Fn(&str) -> bool) {
        for image in &self.recording.manifest.images {
            let (embedding, offered) = parity::watch(|| self.encode(&image.id));
            self.check_image(&image.id, &offered);
            drop(offered);
            for case in self.recording.manifest.cases.iter().filter(|c| c.image == image.id && wanted(&c.key))
            {
                let (result, offered) = parity::watch(|| parity::run(&self.model, &embedding, case));
                self.check_case(case, &offered);
                self.check_final(case, &offered, &result, &embedding);
                let unwatched = parity::run(&self.model, &embedding, case);
                assert_same(&case.key, &result, &unwatched);
            }
        }
    }

    fn check_image(&self, key: &str, offered: &Offered) {
        for (full, name, recorded) in self.recording.of(key) {
            if name == "image.resized_u8" {
                continue; // compared bit for bit in tests/pictures.rs
            }
            let ours = parity::image_tensor(&self.model, offered, &self.weights, name);
            let ours = ours.unwrap_or_else(|| panic!("{full} has no counterpart"));
            self.compare(full, name, &ours, recorded);
        }
    }

    fn check_case(&self, case: &RecordedCase, offered: &Offered) {
        for (full, name, recorded) in self.recording.of(&case.key) {
            if name.starts_with("final.") {
                continue;
            }
            let ours = parity::case_tensor(&self.model, offered, case, name);
            let ours = ours.unwrap_or_else(|| panic!("{full} has no counterpart"));
            self.compare(full, name, &ours, recorded);
        }
    }

    fn compare(&self, full: &str, name: &str, ours: &parity::Ours, recorded: &Recorded) {
        let facts = &self.recording.manifest.tensors[full];
        let distance = Distance::of(full, ours, recorded, facts.stride(), facts.std);
        let bound = match name {
            "out.pred_masks" => self.bounds.masks,
            // Presence logits are one value a layer: their spread says nothing.
            "out.pred_logits" | "dec.presence_logits" => self.bounds.logits,
            "out.scores" | "out.pred_boxes" | "out.pred_boxes_xyxy" => self.bounds.scores,
            "text.tokens" | "text.mask" | "geo.mask" | "prompt_mask" => 0.0,
            _ => self.bounds.relative * distance.spread,
        };
        // Tensors of one value (presence logits) have no spread of their own.
        let bound = if distance.spread == 0.0 { self.bounds.logits } else { bound };
        let (largest, spread) = (distance.largest, distance.spread);
        if std::env::var_os("SAM3I_SHOW_PARITY").is_some() {
            println!("{full} {largest:.2e} of {bound:.2e} (spread {spread:.2e})");
        }
        assert!(largest <= bound, "{full} on {}: off by {largest:e}, spread {spread:e}", self.model.device());
    }

    /// What a user gets: which queries, their boxes, their masks at the picture's size.
    fn check_final(
        &self,
        case: &RecordedCase,
        offered: &Offered,
        result: &Segmentation,
        image: &ImageEmbedding,
    ) {
        let recorded = |name: &str| &self.recording.tensors[&format!("{}/final.{name}", case.key)];
        let mut found: Vec<_> = result.instances.iter().collect();
        found.sort_by_key(|i| i.query);
        let queries: Vec<f64> = found.iter().map(|i| i.query as f64).collect();
        assert_eq!(queries, recorded("keep_index").values, "{}: other queries are kept", case.key);

        for (i, instance) in found.iter().enumerate() {
            let score = recorded("scores").values[i];
            assert!(
                (f64::from(instance.score) - score).abs() <= self.bounds.scores,
                "{}: score {i}",
                case.key
            );
            for (ours, theirs) in instance.box_xyxy.iter().zip(&recorded("boxes").values[4 * i..]) {
                let off = (f64::from(*ours) - theirs).abs();
                assert!(off <= self.bounds.pixels, "{}: box {i} is off by {off} pixels", case.key);
            }
        }
        self.check_masks(case, &found.iter().map(|i| i.mask().expect("a mask").bits).collect::<Vec<_>>());
        self.check_probabilities(case, offered, &queries, image);
    }

    /// Of all masks together.
    fn check_masks(&self, case: &RecordedCase, masks: &[Vec<u8>]) {
        let packed = &self.recording.tensors[&format!("{}/final.masks_packed", case.key)];
        let rows = self.recording.tensors.get(&format!("{}/final.masks_packed_rows", case.key));
        let rows: Vec<usize> = match rows {
            Some(rows) => rows.values.iter().map(|&row| row as usize).collect(),
            None => (0..masks.len()).collect(),
        };
        let (mut differ, mut total) = (0_u32, 0_u32);
        let bytes = packed.values.len() / rows.len().max(1);
        for (&row, packed) in rows.iter().zip(packed.values.chunks(bytes.max(1))) {
            for (i, &bit) in masks[row].iter().enumerate() {
                let theirs = packed[i / 8] as u8 >> (7 - i % 8) & 1;
                differ += u32::from(theirs != bit);
                total += 1;
            }
        }
        if std::env::var_os("SAM3I_SHOW_PARITY").is_some() {
            println!("{} masks {differ} of {total} pixels", case.key);
        }
        let most = self.bounds.bits * f64::from(total);
        assert!(f64::from(differ) <= most, "{}: {differ} of {total} mask pixels differ", case.key);
    }

    fn check_probabilities(
        &self,
        case: &RecordedCase,
        offered: &Offered,
        queries: &[f64],
        image: &ImageEmbedding,
    ) {
        let full = format!("{}/final.mask_probs_strided", case.key);
        let (recorded, facts) = (&self.recording.tensors[&full], &self.recording.manifest.tensors[&full]);
        let [_, rows, columns] = facts.shape[..] else { panic!("{full} has three axes") };
        let (height, width) = (image.height(), image.width());
        let step = height.div_ceil(rows);
        assert_eq!((height.div_ceil(step), width.div_ceil(step)), (rows, columns), "{full}");
        let mut ours = Vec::new();
        for &query in queries {
            let logits = offered["out.pred_masks"].narrow(0, query as usize, 1).expect("the query");
            let large: Tensor = ops::resize::bilinear(&logits, height, width).expect("a plane");
            let large = large.to_vec().expect("values");
            let rows = (0..height).step_by(step);
            ours.extend(
                rows.flat_map(|y| (0..width).step_by(step).map(move |x| (y, x)))
                    .map(|(y, x)| 1.0 / (1.0 + (-large[y * width + x]).exp())),
            );
        }
        let distance = Distance::of(&full, &parity::Ours(ours), recorded, facts.stride(), None);
        let largest = distance.largest;
        assert!(
            largest <= self.bounds.probabilities,
            "{full} on {}: off by {largest:e}",
            self.model.device()
        );
    }
}

/// Being watched changes nothing: fused and unfused paths agree bit for bit.
fn assert_same(key: &str, watched: &Segmentation, unwatched: &Segmentation) {
    let facts = |s: &Segmentation| -> Vec<_> {
        s.instances.iter().map(|i| (i.query, i.score, i.box_xyxy, i.rle.clone())).collect()
    };
    assert_eq!(facts(watched), facts(unwatched), "{key}");
    assert_eq!(watched.presence, unwatched.presence, "{key}");
}
