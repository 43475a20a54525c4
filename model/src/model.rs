//! The whole model: a picture is encoded once, then asked any number of prompts.

use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::grounding::decoder::{Decoder, Memory};
use crate::grounding::fusion::FusionEncoder;
use crate::grounding::geometry::{Geometry, GeometryEncoder};
use crate::grounding::masks::SegmentationHead;
use crate::grounding::scoring::Scoring;
use crate::grounding::{Grounded, Once, PromptTokens};
use crate::level::Level;
use crate::neck::{Neck, Pyramid};
use crate::parts::{Parts, required_tensors, text_weights};
use crate::picture::{ImageView, ResizeMode, normalise, resize};
use crate::prompt::Prompt;
use crate::segmentation::{SegmentOptions, Segmentation, Timings, instances};
use crate::text::encoder::{TextAdapters, TextEncoder};
use crate::text::{Tokenizer, Tokens};
use crate::vit::Trunk;
use crate::watch::{Stage, Step, Steps, unwatched};
use crate::weights::{Source, Weights};
use crate::{Error, Result};
use sam3i_engine::ops::matmul::MatrixValues;
use sam3i_engine::{Device, Tensor, ops, trace};
use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The caption that stands for "the examples say it all" (spec section 4.2).
const EXAMPLES_CAPTION: &str = "visual";
/// Prompts whose text features are kept.
const TEXT_CACHE: usize = 256;

/// A SAM3-I model on a device.
///
/// Its methods take `&self`; it can be shared by threads. The text encoder and each level's adapters are read when a
/// prompt first needs them.
pub struct Model {
    checkpoint: Arc<Checkpoint>,
    device: Device,
    tokenizer: Tokenizer,
    trunk: Trunk,
    neck: Neck,
    geometry: GeometryEncoder,
    fusion: FusionEncoder,
    decoder: Decoder,
    scoring: Scoring,
    head: SegmentationHead,
    text: Lazy<TextEncoder>,
    text_adapters: [Lazy<TextAdapters>; 3],
    text_cache: Mutex<HashMap<(Vec<u32>, Level), Tensor>>,
    /// Which model it is, for the pictures it has looked at.
    identity: Arc<()>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("config", self.config())
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// A picture the model has looked at: features on the model's device. Cheap to clone: clones share their tensors. It belongs to
/// the model that made it.
#[derive(Clone)]
pub struct ImageEmbedding {
    model: Arc<()>,
    pyramid: Pyramid,
    kept: Arc<Kept>,
    width: usize,
    height: usize,
    preprocess: Duration,
    encode: Duration,
}

impl fmt::Debug for ImageEmbedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { width, height, encode, .. } = self;
        let mut fields = f.debug_struct("ImageEmbedding");
        fields.field("width", width).field("height", height).field("encode", encode).finish_non_exhaustive()
    }
}

/// What the first prompt computes from the picture alone, for those that follow.
#[derive(Default)]
struct Kept {
    /// The geometry encoder's token where there is no geometry.
    no_geometry: Once,
    /// See [`FusionEncoder::forward`].
    fusion: Once,
}

impl ImageEmbedding {
    /// Width of the picture, in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height of the picture, in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// How long resizing and normalising took.
    #[must_use]
    pub fn preprocess_time(&self) -> Duration {
        self.preprocess
    }

    /// How long the ViT and the neck took.
    #[must_use]
    pub fn encode_time(&self) -> Duration {
        self.encode
    }
}

/// Something that is loaded when it is first needed.
struct Lazy<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Lazy<T> {
    fn get_or_load(&self, load: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*slot {
            return Ok(loaded.clone());
        }
        let loaded = Arc::new(load()?);
        *slot = Some(loaded.clone());
        Ok(loaded)
    }
}

/// A checkpoint as the graph reads it.
struct FromCheckpoint(Arc<Checkpoint>);

impl Source for FromCheckpoint {
    fn read(&self, name: &str, _: &[usize]) -> Result<Vec<f32>> {
        self.0.read(name) // shapes were compared before anything is read
    }

    fn read_matrix(&self, name: &str, _: [usize; 2], _: bool) -> Result<MatrixValues> {
        self.0.read_matrix(name)
    }

    fn read_rows(&self, name: &str, rows: &[usize]) -> Result<Vec<f32>> {
        self.0.read_rows(name, rows)
    }
}

/// A prompt, taken apart.
struct Question<'a> {
    tokens: &'a Tokens,
    geometry: &'a Geometry,
    level: Level,
}

impl Model {
    /// Loads the model at `path` (see [`Checkpoint::open`]) onto a device.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`] and [`Model::from_checkpoint`].
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        Self::from_checkpoint(Checkpoint::open(path)?, device)
    }

    /// Loads an opened checkpoint onto a device. Nothing is loaded unless every tensor is there with its right shape. Several
    /// models may share one checkpoint, in an [`Arc`].
    ///
    /// # Errors
    /// [`Error::Mismatch`](crate::Error::Mismatch) with every missing, unexpected and misshapen tensor; [`Error::NotFinite`](crate::Error::NotFinite).
    pub fn from_checkpoint(checkpoint: impl Into<Arc<Checkpoint>>, device: &Device) -> Result<Self> {
        let checkpoint = checkpoint.into();
        let (config, adapters) = (checkpoint.config().clone(), checkpoint.adapters());
        let points = checkpoint.point_prompts();
        checkpoint.check(&required_tensors(&config, adapters, points)?)?;
        let w = Weights::new(Arc::new(FromCheckpoint(checkpoint.clone())), device);
        let parts = Parts::load(&w, &config, adapters, points)?;
        Ok(Self {
            device: device.clone(),
            tokenizer: Tokenizer::new(config.text.vocab, config.text.ctx)?,
            trunk: parts.trunk,
            neck: parts.neck,
            geometry: parts.geometry,
            fusion: parts.fusion,
            decoder: parts.decoder,
            scoring: parts.scoring,
            head: parts.head,
            text: Lazy::default(),
            text_adapters: Default::default(),
            text_cache: Mutex::default(),
            identity: Arc::default(),
            checkpoint,
        })
    }

    /// The same model on its device started anew: what is left to do when a GPU was lost. Nothing of the old one is used
    /// but its checkpoint.
    ///
    /// # Errors
    /// Those of the device's start and of [`Model::from_checkpoint`].
    pub fn restarted(&self) -> Result<Self> {
        Self::from_checkpoint(self.checkpoint.clone(), &self.device.restarted()?)
    }

    /// The sizes of the model.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.checkpoint.config()
    }

    /// The checkpoint it was loaded from.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The device it runs on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The tokens of a sentence, and whether they had to be cut.
    #[must_use]
    pub fn tokenize(&self, text: &str) -> Tokens {
        self.tokenizer.encode(text)
    }

    /// Looks at a picture: resize, normalise, ViT, neck. Needed once for any number of prompts.
    ///
    /// # Errors
    /// [`Error::Engine`](crate::Error::Engine) if the device fails.
    pub fn encode_image(&self, picture: &ImageView, mode: ResizeMode) -> Result<ImageEmbedding> {
        self.encode_image_watched(picture, mode, unwatched)
    }

    /// [`Model::encode_image`], with `watch` told of each step before it is taken. `Break` stops the work; the model can be
    /// used on.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped) after `Break`; as [`Model::encode_image`].
    pub fn encode_image_watched(
        &self,
        picture: &ImageView,
        mode: ResizeMode,
        watch: impl Fn(Step) -> ControlFlow<()>,
    ) -> Result<ImageEmbedding> {
        let start = Instant::now();
        let side = self.config().image_size;
        let resized = resize(picture, side, side, mode)?;
        let pixels_hwc = Tensor::from_vec(&self.device, &[side, side, 3], normalise(&resized.view()))?;
        trace::tap("image.pixel_values", &pixels_hwc);
        let preprocess = start.elapsed();

        let start = Instant::now();
        let steps = Steps::new(&watch, Stage::Image, self.config().vit.depth);
        let features_hwc = self.trunk.forward(&pixels_hwc, &steps)?;
        let pyramid = self.neck.forward(&features_hwc)?;
        self.device.finish()?; // so that the time is this picture's
        let encode = start.elapsed();
        let (width, height) = (picture.width(), picture.height());
        let (model, kept) = (self.identity.clone(), Arc::default());
        Ok(ImageEmbedding { model, pyramid, kept, width, height, preprocess, encode })
    }

    /// Everything in the picture that the prompt means, best first.
    ///
    /// A prompt of examples alone runs at the concept level, whatever level it names.
    ///
    /// # Errors
    /// [`Error::EmptyPrompt`](crate::Error::EmptyPrompt), [`Error::BadExample`](crate::Error::BadExample),
    /// [`Error::NoPointPrompts`](crate::Error::NoPointPrompts); [`Error::OtherModel`](crate::Error::OtherModel) for a picture that another
    /// model has looked at; [`Error::Engine`](crate::Error::Engine) if the device fails, or the weights a prompt first needs cannot be read.
    pub fn segment(
        &self,
        image: &ImageEmbedding,
        prompt: &Prompt,
        options: &SegmentOptions,
    ) -> Result<Segmentation> {
        self.segment_watched(image, prompt, options, unwatched)
    }

    /// [`Model::segment`], with `watch` told of each step before it is taken. `Break` stops the work; the model can be used
    /// on.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped) after `Break`; as [`Model::segment`].
    pub fn segment_watched(
        &self,
        image: &ImageEmbedding,
        prompt: &Prompt,
        options: &SegmentOptions,
        watch: impl Fn(Step) -> ControlFlow<()>,
    ) -> Result<Segmentation> {
        if !Arc::ptr_eq(&image.model, &self.identity) {
            return Err(Error::OtherModel);
        }
        let config = self.config();
        let geometry = prompt.geometry(image.width, image.height)?;
        let (caption, level) = match &prompt.text {
            Some(text) => (text.as_str(), prompt.level),
            None => (EXAMPLES_CAPTION, Level::Concept),
        };
        let tokens = self.tokenize(caption);
        let mut timings = Timings::default();

        let start = Instant::now();
        let steps = Steps::new(&watch, Stage::Text, config.text.layers);
        let text_nc = self.encode_text(&tokens, level, &steps)?;
        timings.text = start.elapsed();

        let start = Instant::now();
        let steps = Steps::new(&watch, Stage::Grounding, config.enc_layers + config.dec_layers);
        let question = Question { tokens: &tokens, geometry: &geometry, level };
        let grounded = self.ground(image, &text_nc, question, &steps)?;
        timings.grounding = start.elapsed();

        let start = Instant::now();
        let kept = options.keep(&grounded.scores);
        let logits = self.masks(image, &grounded, &kept, level)?;
        let (size, steps) = ([image.width, image.height], Steps::new(&watch, Stage::Masks, kept.len()));
        let instances = instances(&grounded, &kept, logits.as_ref(), size, options, &steps)?;
        timings.masks = start.elapsed();

        let presence = grounded.presence;
        Ok(Segmentation {
            level,
            presence,
            tokens: tokens.used,
            truncated: tokens.truncated,
            instances,
            timings,
        })
    }

    /// The features of a tokenised sentence, `[n, d]`, padding at the end left out where it does not matter; kept for the next time.
    fn encode_text(&self, tokens: &Tokens, level: Level, steps: &Steps) -> Result<Tensor> {
        let key = (tokens.ids.clone(), level);
        let cache = || self.text_cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(features) = cache().get(&key).filter(|_| !trace::wants_tensors()) {
            return Ok(features.clone());
        }
        let source = Arc::new(FromCheckpoint(self.checkpoint.clone()));
        let w = text_weights(&Weights::new(source, &self.device));
        let encoder = self.text.get_or_load(|| TextEncoder::load(&w, self.config()))?;
        let adapters = self.text_adapters[level as usize].get_or_load(|| {
            let level = if self.checkpoint.adapters().text { level } else { Level::Concept };
            TextAdapters::load(&w, self.config(), level)
        })?;
        // What comes after the sentence's end is padding: at the concept level nobody ever looks at it (spec section 5).
        let cut = matches!(*adapters, TextAdapters::Bypass) && !trace::wants_tensors();
        let read = if cut { tokens.used.min(tokens.ids.len()) } else { tokens.ids.len() };
        let features = encoder.forward(&tokens.ids[..read], &adapters, steps)?;
        let mut cache = cache();
        if cache.len() >= TEXT_CACHE {
            cache.clear();
        }
        cache.insert(key, features.clone());
        Ok(features)
    }

    /// Geometry, fusion, decoder, scores.
    fn ground(
        &self,
        image: &ImageEmbedding,
        text_nc: &Tensor,
        Question { tokens, geometry, level }: Question,
        steps: &Steps,
    ) -> Result<Grounded> {
        let pyramid = &image.pyramid;
        let geometry_nc = if geometry.is_empty() {
            image.kept.no_geometry.get_or_make(|| self.geometry.forward(geometry, pyramid))?
        } else {
            self.geometry.forward(geometry, pyramid)?
        };
        let prompt = PromptTokens::new(text_nc, &tokens.padding, &geometry_nc)?;
        trace::tap("prompt", &prompt.padded_nc);

        let [h, w, d] = pyramid.coarse_hwc.dims()?;
        let image_nc = pyramid.coarse_hwc.reshape(&[h * w, d])?;
        let fused_nc = self.fusion.forward(
            &image_nc,
            &pyramid.position_nc,
            &prompt,
            level,
            &image.kept.fusion,
            steps,
        )?;
        let memory =
            Memory { image_nc: &fused_nc, position_nc: &pyramid.position_nc, prompt: &prompt, level };
        let decoded = self.decoder.forward(memory, steps)?;
        let logits = self.scoring.forward(&decoded.queries_qc, &prompt)?;
        trace::tap("out.pred_logits", &logits);
        trace::tap("out.presence_logit", &decoded.presence);
        trace::tap("out.pred_boxes", &decoded.boxes_cxcywh);

        let [presence, logits, boxes] = Tensor::to_vecs([&decoded.presence, &logits, &decoded.boxes_cxcywh])?;
        let presence = sigmoid(presence[0]);
        Ok(Grounded {
            scores: logits.into_iter().map(|logit| sigmoid(logit) * presence).collect(),
            boxes_cxcywh: boxes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]).collect(),
            presence,
            queries_qc: decoded.queries_qc,
            fused_nc,
            prompt,
        })
    }

    /// The mask logits of the kept queries, `[kept, 4g, 4g]`; `None` if there are none.
    fn masks(
        &self,
        image: &ImageEmbedding,
        grounded: &Grounded,
        kept: &[usize],
        level: Level,
    ) -> Result<Option<Tensor>> {
        if kept.is_empty() && !trace::wants_tensors() {
            return Ok(None);
        }
        let features = self.head.pixel_features(&grounded.fused_nc, &grounded.prompt, &image.pyramid)?;
        if trace::wants_tensors() {
            self.head.tap_predictors(&grounded.queries_qc)?;
            let logits = self.head.mask_logits(&grounded.queries_qc, &features, level)?;
            trace::tap("out.pred_masks", &logits);
        }
        if kept.is_empty() {
            return Ok(None);
        }
        let rows: Vec<u32> = kept.iter().map(|&query| query as u32).collect();
        let queries_qc = ops::embedding::embedding(&grounded.queries_qc, &rows)?;
        self.head.mask_logits(&queries_qc, &features, level).map(Some)
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
