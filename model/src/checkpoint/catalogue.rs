//! Which of our tensors is made from which tensors of the files.

use super::hf::Place;
use super::layout::Meaning;
use super::{Comparison, Layout, WeightFile, is_dead, rounded};
use std::collections::BTreeMap;

/// A tensor of a file.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub file: usize,
    pub name: String,
}

/// How one of our tensors is made from tensors of the files.
#[derive(Debug)]
pub(super) enum Recipe {
    Copy(Part),
    /// The rows of one after those of the other: q, k, v.
    Rows([Part; 3]),
    /// A row of zeros, then this.
    AfterZeroRow(Part),
    /// Values of 8 bits and a scale a row, `[values, scales]`.
    Rounded([Part; 2]),
}

impl Recipe {
    /// The tensors it takes.
    pub fn parts(&self) -> &[Part] {
        match self {
            Self::Copy(part) | Self::AfterZeroRow(part) => std::slice::from_ref(part),
            Self::Rows(parts) => parts,
            Self::Rounded(parts) => parts,
        }
    }
}

/// One of our tensors in the files.
#[derive(Debug)]
pub(super) struct Stored {
    pub shape: Vec<usize>,
    pub recipe: Recipe,
}

/// The tensors of all files by our names, dead ones included.
pub(super) struct Catalogue {
    pub tensors: BTreeMap<String, Stored>,
    /// Names that mean nothing to us.
    pub unknown: Vec<String>,
    /// How many are of the video tracker and the click predictor.
    pub interactive: usize,
    /// Scales of rounded matrices that are missing or have another shape.
    pub scales: Comparison,
}

impl Catalogue {
    /// Sorts the tensors of files that follow this naming.
    pub fn read(files: &[WeightFile], layout: Layout) -> Self {
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
