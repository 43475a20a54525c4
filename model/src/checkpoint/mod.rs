//! Checkpoints: the weights of a model under SAM3-I's names, whatever file they come from.
//!
//! SAM3-I's and base SAM3's `.pt`, Hugging Face's `.safetensors` (in shards or not) and what `sam3i convert` writes are
//! all read by [`Checkpoint`]. Opening a checkpoint reads its list of tensors and finds its sizes; values are read one
//! tensor at a time. [`Checkpoint::check`] compares the list with what a model needs, in both directions.

mod adapter_state;
mod adapters;
mod compare;
mod convert;
mod hf;
mod infer;
mod layout;
mod locate;
#[cfg(feature = "embedded-nano")]
mod nano;
mod rounded;

pub use adapter_state::{AdapterPart, PartState};
pub use adapters::Adapters;
pub use compare::{Comparison, Misshapen};
pub use layout::{Layout, is_dead};
pub use sam3i_engine::weights::{Container, Entry, FileDType, WeightFile};

use crate::tensor_list::{NamedShape, tensor_list};
use crate::{Config, Error, Result};
use hf::Place;
use layout::Meaning;
use rayon::prelude::*;
use sam3i_engine::ops::matmul::{MatrixValues, QuantisedWeight};
use sam3i_engine::weights::WeightsError;
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

/// A tensor of a file.
#[derive(Clone, Debug)]
struct Part {
    file: usize,
    name: String,
}

/// How one of our tensors is made from tensors of the files.
#[derive(Debug)]
enum Recipe {
    Copy(Part),
    /// The rows of one after those of the other: q, k, v.
    Rows([Part; 3]),
    /// A row of zeros, then this.
    AfterZeroRow(Part),
    /// Values of 8 bits and a scale a row, `[values, scales]`.
    Rounded([Part; 2]),
}

impl Recipe {
    fn parts(&self) -> &[Part] {
        match self {
            Self::Copy(part) | Self::AfterZeroRow(part) => std::slice::from_ref(part),
            Self::Rows(parts) => parts,
            Self::Rounded(parts) => parts,
        }
    }
}

#[derive(Debug)]
struct Stored {
    shape: Vec<usize>,
    recipe: Recipe,
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

    fn stored(&self, name: &str) -> Result<&Stored> {
        let missing = || WeightsError::NoTensor { path: self.path.clone(), name: name.to_owned() };
        self.tensors.get(name).ok_or_else(|| missing().into())
    }

    /// The values of a tensor in row-major order; of a rounded matrix, those it stands for.
    ///
    /// # Errors
    /// The engine's error if there is no such tensor or it does not hold floating point numbers; [`Error::NotFinite`].
    pub fn read(&self, name: &str) -> Result<Vec<f32>> {
        let stored = self.stored(name)?;
        let mut values = vec![0.0; stored.shape.iter().product()];
        match &stored.recipe {
            Recipe::Copy(part) => self.read_part(part, &mut values)?,
            Recipe::Rows(parts) => {
                let third = values.len() / 3;
                for (i, part) in parts.iter().enumerate() {
                    self.read_part(part, &mut values[i * third..(i + 1) * third])?;
                }
            }
            Recipe::AfterZeroRow(part) => {
                let row = stored.shape.last().copied().unwrap_or(0);
                self.read_part(part, &mut values[row..])?;
            }
            Recipe::Rounded(parts) => {
                self.read_rounded(stored, parts)?.to_f32_into(&mut values);
                return Ok(values);
            }
        }
        self.finite(name, values)
    }

    /// The values of a matrix as they are stored: rounded ones stay so.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_matrix(&self, name: &str) -> Result<MatrixValues> {
        let stored = self.stored(name)?;
        match &stored.recipe {
            Recipe::Rounded(parts) => self.read_rounded(stored, parts).map(MatrixValues::Int8),
            _ => self.read(name).map(MatrixValues::F32),
        }
    }

    fn read_rounded(&self, stored: &Stored, [values, scales]: &[Part; 2]) -> Result<QuantisedWeight> {
        let (n, k) = (stored.shape[0], stored.shape[1]);
        let (file, scales_file) = (&self.files[values.file], &self.files[scales.file]);
        let scales_read = self.finite(&scales.name, scales_file.read_f32(&scales.name)?)?;
        Ok(QuantisedWeight { n, k, values: file.read_i8(&values.name)?, scales: scales_read })
    }

    fn read_part(&self, part: &Part, out: &mut [f32]) -> Result<()> {
        Ok(self.files[part.file].read_f32_into(&part.name, out)?)
    }

    /// Some rows of a 2-D tensor, one after the other, without reading the others.
    ///
    /// # Errors
    /// As [`read`](Self::read); the engine's error if the tensor has not two axes or not that row.
    pub fn read_rows(&self, name: &str, rows: &[usize]) -> Result<Vec<f32>> {
        let stored = self.stored(name)?;
        let values = match &stored.recipe {
            Recipe::Copy(part) => self.files[part.file].read_rows_f32(&part.name, rows)?,
            Recipe::Rows(parts) => {
                let third = (stored.shape[0] / 3).max(1);
                let mut values = Vec::new();
                for &row in rows {
                    // A row beyond the last is refused by the last part.
                    let i = (row / third).min(2);
                    values
                        .extend(self.files[parts[i].file].read_rows_f32(&parts[i].name, &[row - i * third])?);
                }
                values
            }
            Recipe::Rounded(_) => {
                let (all, width) = (self.read(name)?, stored.shape[1]);
                let row = |&row: &usize| {
                    all.get(row * width..(row + 1) * width).ok_or_else(|| WeightsError::OutOfShape {
                        path: self.path.clone(),
                        name: name.to_owned(),
                        shape: stored.shape.clone(),
                        problem: format!("row {row} was asked for"),
                    })
                };
                rows.iter().map(row).collect::<Result<Vec<_>, _>>()?.concat()
            }
            // Three axes: refused with the reason.
            Recipe::AfterZeroRow(part) => self.files[part.file].read_rows_f32(&part.name, rows)?,
        };
        self.finite(name, values)
    }

    fn finite(&self, name: &str, values: Vec<f32>) -> Result<Vec<f32>> {
        if self.check_finite
            && let Some(index) = first_not_finite(&values)
        {
            let (path, name) = (self.path.clone(), name.to_owned());
            return Err(Error::NotFinite { path, name, index, value: values[index] });
        }
        Ok(values)
    }

    /// Lets go of the memory the file's pages of a tensor take. [`read`](Self::read) does this by itself;
    /// [`read_rows`](Self::read_rows) leaves it to the caller.
    pub fn release(&self, name: &str) {
        for part in self.tensors.get(name).map_or(&[][..], |stored| stored.recipe.parts()) {
            self.files[part.file].release(&part.name);
        }
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

/// In blocks without a branch, because nearly always there is none.
fn first_not_finite(values: &[f32]) -> Option<usize> {
    let finite = |block: &[f32]| block.iter().fold(true, |all, value| all & value.is_finite());
    if values.par_chunks(1 << 16).all(finite) {
        return None;
    }
    values.iter().position(|value| !value.is_finite())
}

fn is_point(name: &str) -> bool {
    name.starts_with("geometry_encoder.points_")
}

/// The tensors of all files by our names, dead ones included.
struct Catalogue {
    tensors: BTreeMap<String, Stored>,
    unknown: Vec<String>,
    interactive: usize,
    /// Scales of rounded matrices that are missing or have another shape.
    scales: Comparison,
}

impl Catalogue {
    fn read(files: &[WeightFile], layout: Layout) -> Self {
        let mut catalogue = Self {
            tensors: BTreeMap::new(),
            unknown: Vec::new(),
            interactive: 0,
            scales: Comparison::default(),
        };
        let mut thirds: BTreeMap<String, [Option<Part>; 3]> = BTreeMap::new();
        for (file, weights) in files.iter().enumerate() {
            for entry in weights.entries() {
                let part = Part { file, name: entry.name.clone() };
                if rounded::is_scale(weights, &entry.name) {
                    continue;
                }
                match layout.meaning(&entry.name) {
                    Meaning::Interactive => catalogue.interactive += 1,
                    Meaning::Unknown => catalogue.unknown.push(part.name),
                    Meaning::Model(name, Place::Whole) if rounded::is_rounded(weights, entry) => {
                        let recipe = rounded::recipe(weights, file, entry, &mut catalogue.scales);
                        catalogue.add(name, entry.shape.clone(), recipe);
                    }
                    // Rotary tables and counters; a weight of such a type is no weight.
                    Meaning::Model(name, _) if !entry.dtype.is_float() && !is_dead(&name) => {
                        catalogue.unknown.push(part.name);
                    }
                    Meaning::Model(name, Place::Third(i)) => thirds.entry(name).or_default()[i] = Some(part),
                    Meaning::Model(name, Place::Whole) => {
                        catalogue.add(name, entry.shape.clone(), Recipe::Copy(part));
                    }
                    Meaning::Model(name, Place::AfterZeroRow) => match entry.shape[..] {
                        [1, rows, channels] if rows > 0 && channels > 0 => {
                            catalogue.add(name, vec![1, rows + 1, channels], Recipe::AfterZeroRow(part));
                        }
                        _ => catalogue.unknown.push(part.name),
                    },
                }
            }
        }
        for (name, parts) in thirds {
            catalogue.join(files, name, parts);
        }
        catalogue
    }

    /// Adds a tensor; one whose name is taken (two shards that both have it) is unknown.
    fn add(&mut self, name: String, shape: Vec<usize>, recipe: Recipe) {
        if self.tensors.contains_key(&name) {
            self.unknown.extend(recipe.parts().iter().map(|part| part.name.clone()));
            return;
        }
        self.tensors.insert(name, Stored { shape, recipe });
    }

    /// Adds a tensor made of q, k and v, if all are there and of one shape; else they stay unknown.
    fn join(&mut self, files: &[WeightFile], name: String, parts: [Option<Part>; 3]) {
        let shape = |part: &Part| files[part.file].entry(&part.name).map(|entry| entry.shape.clone());
        let shapes: Vec<_> = parts.iter().flatten().filter_map(shape).collect();
        let alike = shapes.len() == 3 && shapes[0] == shapes[1] && shapes[0] == shapes[2];
        let rows = shapes.first().and_then(|shape| shape.first()?.checked_mul(3));
        match (parts, rows) {
            ([Some(q), Some(k), Some(v)], Some(rows)) if alike => {
                let mut shape = shapes.into_iter().next().unwrap_or_default();
                shape[0] = rows;
                self.add(name, shape, Recipe::Rows([q, k, v]));
            }
            (parts, _) => self.unknown.extend(parts.into_iter().flatten().map(|part| part.name)),
        }
    }
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
