//! A whole recording against our own run of it: intermediate tensors, and what a user gets.

use crate::goldens::TempFolder;
use crate::parity::{self, Distance, Offered};
use crate::recording::{Recorded, RecordedCase, Recording};
use sam3i::picture::DecodeOptions;
use sam3i::{Checkpoint, Config, Device, ImageEmbedding, Instance, Model, Picture, ResizeMode, Segmentation};
use sam3i_engine::weights::FileDType;
use sam3i_engine::{DType, Tensor, ops};
use std::path::{Path, PathBuf};

/// What an independent f32 implementation must keep.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Of intermediate tensors, in standard deviations.
    pub relative: f64,
    /// Of what attention gives, before it joins anything, in standard deviations.
    pub attention: f64,
    /// Of what the text encoder gives, in standard deviations.
    pub text: f64,
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
    attention: 1e-4,
    text: 1e-4,
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
    attention: 1e-3,
    text: 1e-3,
    masks: 2e-2,
    logits: 5e-3,
    scores: 5e-4,
    probabilities: 5e-3,
    pixels: 0.35,
    bits: 5e-4,
};

impl Bounds {
    /// Of a tensor by its name and spread.
    #[must_use]
    pub fn of(&self, name: &str, spread: f64) -> f64 {
        let last = name.rsplit('.').next().unwrap_or(name);
        match name {
            // Tensors of one value (presence logits) have no spread of their own.
            _ if spread == 0.0 => self.logits,
            "out.pred_masks" => self.masks,
            // Presence logits are one value a layer: their spread says nothing.
            "out.pred_logits" | "dec.presence_logits" => self.logits,
            "out.scores" | "out.pred_boxes" | "out.pred_boxes_xyxy" => self.scores,
            "text.ln_final" | "text.features" => self.text * spread,
            "text.tokens" | "text.mask" | "geo.mask" | "prompt_mask" => 0.0,
            _ if last.ends_with("attn") || last == "ca_text" => self.attention * spread,
            _ => self.relative * spread,
        }
    }

    /// Of a device on which products, convolutions and attention round weights, and may round the other operand, to f16: the bounds in f32,
    /// all as much wider as the one of intermediate tensors.
    ///
    /// f16 holds 11 bits, so a value is off by up to 2^-11 of its power of two: 2.1e-4 of itself, one standard deviation (2^-11 / sqrt(3),
    /// times 0.74 for where values lie between two powers). A product of two is off by sqrt(2) times that, 2.9e-4, and so is a sum of such
    /// products, over its own spread. `n` of them one after the other add up to sqrt(n) times that; six deviations. The residual stream
    /// keeps it below, for what a layer adds is small next to it; what follows the mask head's product is f32.
    ///
    /// `n` counts the longest way: the patches, six in a block (q k v; scores; sums of values; projection; two of the MLP), four in the neck,
    /// 14 in a fusion layer (four each in two attentions, two in the MLP, two in each of two adapters), and five in the mask head.
    ///
    /// Attention makes an error of its weights out of one of its scores, as large as the scores are spread: by 2.25 with the recordings' weights,
    /// whose q and k are 1.5 times as wide as what they are made of. So what it gives is off by sqrt(1 + 2.25^2) = 2.5 times as much; the
    /// projections' gains (0.3 and 0.5) take that back where it joins the stream.
    ///
    /// The text encoder's last norm divides a token by its own spread, over the 8 channels of micro's: in four of five roundings looked at,
    /// the error of a token with the least spread, or the next (0.24 and 0.27, the median is 0.53) about tripled there. What that makes of
    /// rounding was measured without any GPU, by rounding micro's weights at random: up to 2.8 times `relative`, and the other operand is
    /// rounded too, which makes sqrt(2) times that. The test `rounding_at_random_moves_text_by_nearly_what_f16_may` repeats it.
    ///
    /// A bit differs where a logit is nearer to zero than it is off. Logits are spread about like a normal distribution, whose density is
    /// 0.4 over its spread at most: were each off by as much as is allowed, and to the worse side, 0.4 times that part of the bits would differ.
    #[must_use]
    pub fn in_f16(self, config: &Config) -> Self {
        let n = 1 + 6 * config.vit.depth + 4 + 14 * config.enc_layers + 5;
        let relative = 6.0 * 2.9e-4 * (n as f64).sqrt();
        let wider = relative / self.relative;
        Self {
            relative,
            attention: 2.5 * relative,
            text: 4.0 * relative,
            masks: wider * self.masks,
            logits: wider * self.logits,
            scores: wider * self.scores,
            probabilities: wider * self.probabilities,
            pixels: wider * self.pixels,
            bits: 0.4 * relative,
        }
    }
}

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

    /// A recording in a folder, and an opened checkpoint; `weights` has all tensors, dead ones too. The bounds are those in f32; on a device
    /// that rounds to f16 they are wider, see [`Bounds::in_f16`].
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
        let in_f16 = device.dtype() == DType::F16;
        let bounds = if in_f16 { bounds.in_f16(&recording.config()) } else { bounds };
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
        let bound = self.bounds.of(name, distance.spread);
        let (largest, spread) = (distance.largest, distance.spread);
        if std::env::var_os("SAM3I_SHOW_PARITY").is_some() {
            println!("{full} {largest:.2e} of {bound:.2e} (spread {spread:.2e})");
        }
        assert!(largest <= bound, "{full} on {}: off by {largest:e}, spread {spread:e}", self.model.device());
    }

    /// What a user gets: which queries, their boxes, their masks at the picture's size. Only queries whose recorded score is as near to the
    /// threshold as scores may be off may be kept by one and not by the other; in f32 there are none.
    fn check_final(
        &self,
        case: &RecordedCase,
        offered: &Offered,
        result: &Segmentation,
        image: &ImageEmbedding,
    ) {
        let recorded = |name: &str| &self.recording.tensors[&format!("{}/{name}", case.key)].values;
        let kept: Vec<usize> = recorded("final.keep_index").iter().map(|&query| query as usize).collect();
        for (query, score) in recorded("out.scores").iter().enumerate() {
            let same = kept.contains(&query) == result.instances.iter().any(|i| i.query == query);
            let near = (score - f64::from(case.threshold)).abs() <= self.bounds.scores;
            assert!(same || near, "{}: query {query} (score {score}) is kept by one alone", case.key);
        }
        let both: Vec<Kept> = (0..kept.len())
            .filter_map(|row| Some((row, result.instances.iter().find(|i| i.query == kept[row])?)))
            .map(|(row, instance)| Kept { row, instance })
            .collect();

        for Kept { row, instance } in &both {
            let off = (f64::from(instance.score) - recorded("final.scores")[*row]).abs();
            assert!(off <= self.bounds.scores, "{}: score {row} is off by {off}", case.key);
            for (ours, theirs) in instance.box_xyxy.iter().zip(&recorded("final.boxes")[4 * row..]) {
                let off = (f64::from(*ours) - theirs).abs();
                assert!(off <= self.bounds.pixels, "{}: box {row} is off by {off} pixels", case.key);
            }
        }
        self.check_masks(case, kept.len(), &both);
        self.check_probabilities(case, offered, &kept, image);
    }

    /// Of all masks together.
    fn check_masks(&self, case: &RecordedCase, kept: usize, both: &[Kept]) {
        let packed = &self.recording.tensors[&format!("{}/final.masks_packed", case.key)];
        let rows = self.recording.tensors.get(&format!("{}/final.masks_packed_rows", case.key));
        let rows: Vec<usize> = match rows {
            Some(rows) => rows.values.iter().map(|&row| row as usize).collect(),
            None => (0..kept).collect(),
        };
        let (mut differ, mut total) = (0_u32, 0_u32);
        let bytes = packed.values.len() / rows.len().max(1);
        for (&row, packed) in rows.iter().zip(packed.values.chunks(bytes.max(1))) {
            let Some(Kept { instance, .. }) = both.iter().find(|kept| kept.row == row) else { continue };
            for (i, &bit) in instance.mask().expect("a mask").bits.iter().enumerate() {
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
        kept: &[usize],
        image: &ImageEmbedding,
    ) {
        let full = format!("{}/final.mask_probs_strided", case.key);
        let (recorded, facts) = (&self.recording.tensors[&full], &self.recording.manifest.tensors[&full]);
        let [_, rows, columns] = facts.shape[..] else { panic!("{full} has three axes") };
        let (height, width) = (image.height(), image.width());
        let step = height.div_ceil(rows);
        assert_eq!((height.div_ceil(step), width.div_ceil(step)), (rows, columns), "{full}");
        let mut ours = Vec::new();
        for &query in kept {
            let logits = offered["out.pred_masks"].narrow(0, query, 1).expect("the query");
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

/// An instance of ours that was kept when the case was recorded too.
struct Kept<'a> {
    /// Its number among those that were.
    row: usize,
    instance: &'a Instance,
}

/// Being watched changes nothing: fused and unfused paths agree bit for bit.
fn assert_same(key: &str, watched: &Segmentation, unwatched: &Segmentation) {
    let facts = |s: &Segmentation| -> Vec<_> {
        s.instances.iter().map(|i| (i.query, i.score, i.box_xyxy, i.rle.clone())).collect()
    };
    assert_eq!(facts(watched), facts(unwatched), "{key}");
    assert_eq!(watched.presence, unwatched.presence, "{key}");
}
