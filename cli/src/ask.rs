//! A picture and its prompts go to the model; a report comes back.

use crate::batch::Answer;
use crate::dump::{self, Dump, watched};
use crate::files::Files;
use crate::inputs::Input;
use crate::profile::{Profile, milliseconds};
use crate::progress::Progress;
use crate::query::Query;
use crate::questions::Questions;
use crate::report::{
    ImageReport, InstanceReport, ModelReport, PromptReport, Report, SCHEMA, TileReport, Timings,
};
use crate::stop;
use anyhow::{Context, Result, ensure};
use sam3i::tiling::{Tile, merge};
use sam3i::{ImageView, Model, Picture, ResizeMode, SegmentOptions, Segmentation, Tiling, suppress};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The options about large pictures.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Large pictures")]
pub struct TileArgs {
    /// Look at squares of N x N pixels one by one, and join what they show; for things that are small in a large picture
    #[arg(long, value_name = "N", value_parser = side)]
    tile: Option<usize>,
    /// Pixels that neighbouring squares share [default: an eighth of N]
    #[arg(long, value_name = "M", requires = "tile")]
    overlap: Option<usize>,
}

/// The smallest side of a tile in pixels: less shows no model anything, and makes a hundred thousand of a small picture.
const LEAST_SIDE: usize = 64;

fn side(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|side| *side >= LEAST_SIDE);
    number.ok_or_else(|| format!("it must be a number of pixels of at least {LEAST_SIDE}, such as 1008"))
}

impl TileArgs {
    /// How pictures are cut, if they are.
    ///
    /// # Errors
    /// When they cannot be cut so.
    pub fn tiling(&self) -> Result<Option<Tiling>> {
        let tiling = |side: usize| Tiling::new(side, self.overlap.unwrap_or(side / 8));
        self.tile.map(tiling).transpose().context("--tile, --overlap")
    }

    /// Checks the options by themselves and against the prompts.
    ///
    /// # Errors
    /// When a prompt has examples: they are in one tile, not in the others.
    pub fn check(&self, questions: &Questions) -> Result<()> {
        self.tiling()?;
        let examples = questions.all().any(|query| !query.examples.is_empty());
        ensure!(
            self.tile.is_none() || !examples,
            "--tile: example boxes and points would be seen in one tile only; leave them or --tile out"
        );
        Ok(())
    }

    /// Checks the options against what is to be written.
    ///
    /// # Errors
    /// When logits or intermediate tensors are wanted: they belong to tiles.
    pub fn check_formats(&self, files: Option<&Files>, dump: bool) -> Result<()> {
        ensure!(
            self.tile.is_none() || !dump,
            "--tile: intermediate tensors belong to one tile; leave --dump-tensors or --tile out"
        );
        let logits = files.is_some_and(Files::want_logits);
        ensure!(
            self.tile.is_none() || !logits,
            "--tile: masks of several tiles have no logits; leave npz or --tile out"
        );
        Ok(())
    }

    fn report(tiling: &Tiling, tiles: usize) -> TileReport {
        TileReport { side: tiling.side(), overlap: tiling.overlap(), count: tiles }
    }
}

/// A model and how it is asked.
pub struct Asker {
    pub model: Mutex<Arc<Model>>,
    /// Whether the GPU was lost, and started anew, before.
    pub restarted: AtomicBool,
    pub device: String,
    pub dtype: String,
    pub resize: ResizeMode,
    pub options: SegmentOptions,
    pub tiling: Option<Tiling>,
    /// The largest IoU that two instances of a picture may have.
    pub nms: Option<f64>,
    /// The directory that intermediate tensors go to, and who else watches.
    pub dump: Option<(PathBuf, Option<Arc<Profile>>)>,
    /// Told of every tile.
    pub progress: Progress,
}

/// Time spent on looking at pictures, and the file their tensors go to.
#[derive(Default)]
struct Looked {
    preprocess: Duration,
    encode: Duration,
    tensors: Option<PathBuf>,
}

impl Asker {
    /// The model as it is now.
    pub fn model(&self) -> Arc<Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks everything of a picture; nothing if Ctrl-C was pressed. `load` and `reading` are how long it took to get here.
    ///
    /// # Errors
    /// When the model cannot answer.
    pub fn answer(
        &self,
        input: &Input,
        picture: Picture,
        queries: &[&Query],
        [load, reading]: [Duration; 2],
    ) -> Result<Option<Answer>> {
        let tensors = self.dump.as_ref().map(|(dir, _)| dump::path(dir, &input.name));
        let mut looked = Looked { tensors, ..Looked::default() };
        let (view, size) = (picture.view(), [picture.width, picture.height]);
        let tiles = self.tiling.map(|tiling| tiling.tiles(size[0], size[1]));
        let answers = match &tiles {
            None => self.look(&view, queries, &self.options, &mut looked)?,
            Some(tiles) => self.look_at_tiles(tiles, &view, queries, &mut looked)?,
        };
        let Some(mut answers) = answers else { return Ok(None) };
        if let Some(most) = self.nms {
            suppress(&mut answers, most)?;
        }
        let total = |stage: fn(&Segmentation) -> Duration| milliseconds(answers.iter().map(stage).sum());
        let timings_ms = Timings {
            load: milliseconds(load),
            preprocess: milliseconds(reading + looked.preprocess),
            image: milliseconds(looked.encode),
            text: total(|answer| answer.timings.text),
            grounding: total(|answer| answer.timings.grounding),
            masks: total(|answer| answer.timings.masks),
        };
        let instances = answers.iter_mut().flat_map(|answer| &mut answer.instances);
        let logits = instances.filter_map(|instance| instance.logits.take()).collect();
        let tiled = self.tiling.zip(tiles).map(|(tiling, tiles)| TileArgs::report(&tiling, tiles.len()));
        let report = Report {
            schema: SCHEMA,
            image: ImageReport {
                file: input.file().display().to_string(),
                width: size[0],
                height: size[1],
                tiles: tiled,
            },
            model: ModelReport::new(&self.model()),
            device: self.device.clone(),
            dtype: self.dtype.clone(),
            timings_ms,
            prompts: queries.iter().copied().zip(answers).enumerate().map(prompt_report).collect(),
        };
        Ok(Some(Answer { picture, report, logits }))
    }

    /// One look, all prompts; if the GPU is lost meanwhile, once more on the GPU started anew.
    fn look(
        &self,
        view: &ImageView,
        queries: &[&Query],
        options: &SegmentOptions,
        looked: &mut Looked,
    ) -> Result<Option<Vec<Segmentation>>> {
        match self.look_once(view, queries, options, looked) {
            Err(error) if is_gpu_lost(&error) && !self.restarted.swap(true, Ordering::SeqCst) => {
                tracing::warn!("{error:#}; trying once more");
                let model = Arc::new(self.model().restarted()?);
                *self.model.lock().unwrap_or_else(PoisonError::into_inner) = model;
                self.look_once(view, queries, options, looked)
            }
            answered => answered,
        }
    }

    fn look_once(
        &self,
        view: &ImageView,
        queries: &[&Query],
        options: &SegmentOptions,
        looked: &mut Looked,
    ) -> Result<Option<Vec<Segmentation>>> {
        let model = self.model();
        let profile = self.dump.as_ref().and_then(|(_, profile)| profile.clone());
        let dump = looked.tensors.as_ref().map(|path| Dump::begin(path, profile)).transpose()?;
        let encode = || model.encode_image_watched(view, self.resize, |_| stop::flow());
        let Some(embedding) = unless_stopped(watched(dump.as_ref(), "image", encode))? else {
            return Ok(None);
        };
        looked.preprocess += embedding.preprocess_time();
        looked.encode += embedding.encode_time();
        let mut answers = Vec::with_capacity(queries.len());
        for (index, query) in queries.iter().enumerate() {
            let options = query.options(options);
            let ask = || model.segment_watched(&embedding, &query.prompt, &options, |_| stop::flow());
            let answer = unless_stopped(watched(dump.as_ref(), &format!("p{index}"), ask))?;
            let Some(answer) = answer else { return Ok(None) };
            check_number(&answer, &query.title())?;
            answers.push(answer);
        }
        dump.map(|dump| dump.finish()).transpose()?;
        Ok(Some(answers))
    }

    fn look_at_tiles(
        &self,
        tiles: &[Tile],
        view: &ImageView,
        queries: &[&Query],
        looked: &mut Looked,
    ) -> Result<Option<Vec<Segmentation>>> {
        // These two hold for the whole picture, not for a tile.
        let mut options = self.options.clone().min_area(0);
        options.top_k = None;
        let mut found: Vec<Vec<Segmentation>> = Vec::new();
        found.resize_with(queries.len(), Vec::new);
        let mut progress = self.progress.tiles(tiles.len());
        for &Tile { x, y, width, height } in tiles {
            let part = view.crop(x, y, width, height)?;
            let Some(answers) = self.look(&part, queries, &options, looked)? else { return Ok(None) };
            progress.step();
            found.iter_mut().zip(answers).for_each(|(found, answer)| found.push(answer));
        }
        let size = [view.width(), view.height()];
        let joined = found
            .into_iter()
            .map(|found| merge(tiles, found, size, &self.options)?.context("a picture without tiles"));
        joined.collect::<Result<_>>().map(Some)
    }
}

/// What the model answered; nothing if Ctrl-C stopped it.
pub fn unless_stopped<T>(answered: sam3i::Result<T>) -> Result<Option<T>> {
    match answered {
        Err(sam3i::Error::Stopped) => Ok(None),
        answered => Ok(Some(answered?)),
    }
}

/// Refuses an answer that is no number.
///
/// # Errors
/// That one.
pub fn check_number(answer: &Segmentation, title: &str) -> Result<()> {
    ensure!(
        answer.presence.is_finite(),
        "the model's answer to {title} is not a number: its weights do not work on this picture; check them with \
         `sam3i inspect`"
    );
    Ok(())
}

/// Whether an error is that of a GPU that is gone.
pub fn is_gpu_lost(error: &anyhow::Error) -> bool {
    use sam3i::engine::Error as EngineError;
    matches!(error.downcast_ref::<sam3i::Error>(), Some(sam3i::Error::Engine(EngineError::GpuLost { .. })))
}

fn prompt_report((index, (query, answer)): (usize, (&Query, Segmentation))) -> PromptReport {
    let instances = answer.instances.into_iter().enumerate().map(|(id, instance)| InstanceReport {
        id,
        query: instance.query,
        score: instance.score,
        r#box: instance.box_xyxy,
        area: instance.area,
        rle: instance.rle,
    });
    PromptReport {
        index,
        text: query.text.clone(),
        level: answer.level.to_string(),
        boxes: query.examples.boxes.clone(),
        points: query.examples.points.clone(),
        threshold: query.threshold,
        tokens: answer.tokens,
        truncated: answer.truncated,
        presence: answer.presence,
        instances: instances.collect(),
    }
}
