//! Matrices stored in 8 bits: `X` as I8 `[n, k]` and, in the same file, `X_scale` as floating point numbers `[n]`.

use super::catalogue::{Part, Recipe};
use super::{Comparison, Container, Entry, FileDType, Misshapen, WeightFile};

/// The name of the scales that belong to a rounded matrix.
pub(super) fn scale_name(name: &str) -> String {
    format!("{name}_scale")
}

/// Whether a tensor is a rounded matrix.
pub(super) fn is_rounded(file: &WeightFile, entry: &Entry) -> bool {
    let container = file.container() == Container::Safetensors;
    container && entry.dtype == FileDType::I8 && entry.shape.len() == 2 && entry.shape[1] > 0
}

/// Whether a name is that of a rounded matrix's scales.
pub(super) fn is_scale(file: &WeightFile, name: &str) -> bool {
    let matrix = name.strip_suffix("_scale").and_then(|name| file.entry(name));
    matrix.is_some_and(|matrix| is_rounded(file, matrix))
}

/// How to read a rounded matrix; what is wrong with its scales goes to `problems`.
pub(super) fn recipe(file: &WeightFile, at: usize, matrix: &Entry, problems: &mut Comparison) -> Recipe {
    let part = |name: &str| Part { file: at, name: name.to_owned() };
    let name = scale_name(&matrix.name);
    let expected = vec![matrix.shape[0]];
    match file.entry(&name) {
        None => problems.missing.push(name),
        Some(scales) if scales.shape != expected => {
            problems.misshapen.push(Misshapen { name, found: scales.shape.clone(), expected });
        }
        Some(scales) if !scales.dtype.is_float() => {
            problems.unexpected.push(format!("{name} of type {}", scales.dtype))
        }
        Some(_) => return Recipe::Rounded([part(&matrix.name), part(&name)]),
    }
    Recipe::Copy(part(&matrix.name)) // never read: the check lists what is wrong, and I8 is no type of plain values
}
