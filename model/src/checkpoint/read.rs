//! Reading the values of a checkpoint's tensors, one tensor at a time.

use super::Checkpoint;
use super::catalogue::{Part, Recipe, Stored};
use crate::{Error, Result};
use rayon::prelude::*;
use sam3i_engine::ops::matmul::{MatrixValues, QuantisedWeight};
use sam3i_engine::weights::WeightsError;

impl Checkpoint {
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
}

/// In blocks without a branch, because nearly always there is none.
fn first_not_finite(values: &[f32]) -> Option<usize> {
    let finite = |block: &[f32]| block.iter().fold(true, |all, value| all & value.is_finite());
    if values.par_chunks(1 << 16).all(finite) {
        return None;
    }
    values.iter().position(|value| !value.is_finite())
}
