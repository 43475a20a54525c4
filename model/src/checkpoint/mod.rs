//! Checkpoints: the weights of a model under SAM3-I's names, whatever file they come from.
//!
//! SAM3-I's and base SAM3's `.pt`, Hugging Face's `.safetensors` (in shards or not) and what `sam3i convert` writes are
//! all read by [`Checkpoint`]. Opening a checkpoint reads its list of tensors and finds its sizes; values are read one
//! tensor at a time. [`Checkpoint::check`] compares the list with what a model needs, in both directions.

mod adapter_state;
mod adapters;
mod catalogue;
mod compare;
mod convert;
mod hf;
mod infer;
mod layout;
mod locate;
#[cfg(feature = "embedded-nano")]
mod nano;
mod read;
mod rounded;

pub use adapter_state::{AdapterPart, PartState};
pub use adapters::Adapters;
pub use compare::{Comparison, Misshapen};
pub use layout::{Layout, is_dead};
pub use sam3i_engine::weights::{Container, Entry, FileDType, WeightFile};

use crate::tensor_list::{NamedShape, tensor_list};
use crate::{Config, Error, Result};
use catalogue::{Catalogue, Recipe, Stored};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a checkpoint's sizes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// The caller.
    Given,
    /// `config.json` beside the weights.
    Beside,
    /// The file's own metadata (`sam3i convert` and `sam3i synth` write it).
    Metadata,
    /// The shapes of the tensors, and the published values for what shapes do not tell.
    Shapes,
}

impl ConfigSource {
    /// One word or two, for reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Beside => "config.json",
            Self::Metadata => "metadata",
            Self::Shapes => "inferred",
        }
    }
}

/// The weights of a model, by SAM3-I's names.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    files: Vec<WeightFile>,
    layout: Layout,
    config: Config,
    config_source: ConfigSource,
    tensors: BTreeMap<String, Stored>,
    /// Names in the files that mean nothing to us.
    unknown: Vec<String>,
    ignored: Ignored,
    adapters: Adapters,
    check_finite: bool,
    /// What is wrong with the scales of rounded matrices.
    scales: Comparison,
}

/// Tensors that were passed over, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ignored {
    /// Stored without an effect on any result ([`is_dead`]).
    pub dead: usize,
    /// Of the video tracker and the click predictor.
    pub interactive: usize,
}

impl Checkpoint {
    /// Opens the model at `path`: a directory, or a single `.safetensors` or `.pt` file.
    ///
    /// The sizes are those of a `config.json` beside the weights, else those in the file's metadata, else they are
    /// inferred from the shapes.
    ///
    /// # Errors
    /// [`Error::NoModel`], [`Error::NotSam3`], [`Error::Config`], [`Error::Io`], and the engine's error about a file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, None)
    }

    /// [`open`](Self::open) with sizes the caller knows, which win over all others.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(path: &Path, config: Option<Config>) -> Result<Self> {
        let found = locate::locate(path)?;
        let files = found.weights.iter().map(|p| WeightFile::open(p)).collect::<Result<_, _>>()?;
        Self::of_files(path, files, config, found.config)
    }

    /// The checkpoint that consists of these files; `given` sizes win over those `beside` the files.
    fn of_files(
        path: &Path,
        files: Vec<WeightFile>,
        given: Option<Config>,
        beside: Option<Config>,
    ) -> Result<Self> {
        let names = files.iter().flat_map(WeightFile::entries).map(|entry| entry.name.as_str());
        let Some(layout) = Layout::detect(names.clone()) else {
            let some: Vec<_> = names.clone().take(3).collect();
            let problem = format!("its {} tensors have names like {}", names.count(), some.join(", "));
            return Err(Error::NotSam3 { path: path.to_owned(), problem });
        };
        let Catalogue { mut tensors, unknown, interactive, scales } = Catalogue::read(&files, layout);
        let (config, config_source) = choose_config(path, given, beside, &files, &tensors)?;
        let all = tensors.len();
        tensors.retain(|name, _| !is_dead(name));
        let ignored = Ignored { dead: all - tensors.len(), interactive };
        let adapters = Adapters::among(tensors.keys().map(String::as_str));
        Ok(Self {
            path: path.to_owned(),
            files,
            layout,
            config,
            config_source,
            tensors,
            unknown,
            ignored,
            adapters,
            check_finite: true,
            scales,
        })
    }

    /// Whether reading a tensor looks for infinities and NaN (it does unless told otherwise).
    pub fn set_finite_check(&mut self, on: bool) {
        self.check_finite = on;
    }

    /// The path it was opened by; the name of a model that is part of the program.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files it consists of.
    #[must_use]
    pub fn files(&self) -> &[WeightFile] {
        &self.files
    }

    /// The naming the files follow.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The sizes of the model.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the sizes come from.
    #[must_use]
    pub fn config_source(&self) -> ConfigSource {
        self.config_source
    }

    /// The families of adapters it has.
    #[must_use]
    pub fn adapters(&self) -> Adapters {
        self.adapters
    }

    /// How many tensors were passed over.
    #[must_use]
    pub fn ignored(&self) -> Ignored {
        self.ignored
    }

    /// Whether the geometry encoder can take points; Hugging Face's file lacks the tensors for it.
    #[must_use]
    pub fn point_prompts(&self) -> bool {
        self.tensors.keys().any(|name| is_point(name))
    }

    /// The names of the tensors, sorted; without the dead ones.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| &stored.shape[..])
    }

    /// The element type a tensor is stored in.
    #[must_use]
    pub fn dtype(&self, name: &str) -> Option<FileDType> {
        let part = self.tensors.get(name)?.recipe.parts().first()?;
        self.files[part.file].entry(&part.name).map(|entry| entry.dtype)
    }

    /// Values in all tensors.
    #[must_use]
    pub fn param_count(&self) -> usize {
        self.tensors.values().map(|stored| stored.shape.iter().product::<usize>()).sum()
    }

    /// The tensors a model of this checkpoint's sizes, adapters and layout needs.
    #[must_use]
    pub fn expected(&self) -> Vec<NamedShape> {
        let points = self.layout != Layout::HuggingFace || self.point_prompts();
        let mut list = tensor_list(&self.config);
        list.retain(|(name, _)| !is_dead(name) && self.adapters.include(name) && (points || !is_point(name)));
        list
    }

    /// Compares the tensors with those a model needs, in both directions.
    #[must_use]
    pub fn compare(&self, expected: &[NamedShape]) -> Comparison {
        let mut found = self.scales.clone();
        found.unexpected.extend_from_slice(&self.unknown);
        let needed: BTreeMap<_, _> = expected.iter().map(|(name, shape)| (name.as_str(), shape)).collect();
        for (name, shape) in expected {
            match self.shape(name) {
                None => found.missing.push(name.clone()),
                Some(have) if have != shape => {
                    let (found_shape, expected) = (have.to_vec(), shape.clone());
                    found.misshapen.push(Misshapen { name: name.clone(), found: found_shape, expected });
                }
                Some(_) => {}
            }
        }
        found.unexpected.extend(self.names().filter(|name| !needed.contains_key(name)).map(str::to_owned));
        found
    }

    /// Refuses a checkpoint that lacks a tensor, has one too many, or one of the wrong shape.
    ///
    /// # Errors
    /// [`Error::Mismatch`] lists all of them.
    pub fn check(&self, expected: &[NamedShape]) -> Result<()> {
        let problem = self.compare(expected);
        if problem.is_empty() {
            return Ok(());
        }
        Err(Error::Mismatch { path: self.path.clone(), problem })
    }

    /// What a user should know about this checkpoint, a sentence each; the first says what it is.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let mut lines = vec![format!("{} checkpoint with {} parameters", self.layout, self.param_count())];
        if !self.adapters.any() {
            lines.push(format!(
                "{} checkpoint without adapters: simple and complex run as concept",
                self.layout
            ));
        } else if !self.adapters.absent().is_empty() {
            lines.push(format!(
                "no {} adapters: the model runs without them",
                self.adapters.absent().join(", ")
            ));
        }
        let rounded = |stored: &&Stored| matches!(stored.recipe, Recipe::Rounded(_));
        let rounded = self.tensors.values().filter(rounded).count();
        if rounded > 0 {
            lines.push(format!("int8: {rounded} matrices are stored in 8 bits with a scale a channel"));
        }
        if !self.point_prompts() {
            lines.push("point prompts unavailable: the file lacks their projections".to_owned());
        }
        if self.config_source == ConfigSource::Shapes {
            lines.push(
                "sizes inferred from the tensors' shapes; what they do not tell is as in the published model \
                 (a config.json beside the file would say)"
                    .to_owned(),
            );
        }
        lines
    }
}

fn is_point(name: &str) -> bool {
    name.starts_with("geometry_encoder.points_")
}

/// The sizes, from the first source that has them.
fn choose_config(
    path: &Path,
    given: Option<Config>,
    beside: Option<Config>,
    files: &[WeightFile],
    tensors: &BTreeMap<String, Stored>,
) -> Result<(Config, ConfigSource)> {
    let wrong = |problem| Error::Config { origin: path.display().to_string(), problem };
    if let Some(config) = given {
        config.check().map_err(wrong)?;
        return Ok((config, ConfigSource::Given));
    }
    if let Some(config) = beside {
        return Ok((config, ConfigSource::Beside));
    }
    if let Some(text) = files.iter().find_map(|file| file.metadata().get(convert::CONFIG_KEY)) {
        return Ok((Config::from_json(text).map_err(wrong)?, ConfigSource::Metadata));
    }
    let shapes = tensors.iter().map(|(name, stored)| (name.as_str(), &stored.shape[..])).collect();
    let name = path.file_stem().map_or("unnamed".into(), |stem| stem.to_string_lossy().into_owned());
    let config =
        infer::infer(&shapes, &name).map_err(|problem| Error::NotSam3 { path: path.to_owned(), problem })?;
    Ok((config, ConfigSource::Shapes))
}
