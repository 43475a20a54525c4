//! How the graph asks for its weights: by name, under a prefix, with the shape it expects.

use crate::Result;
use sam3i_engine::ops::matmul::{Matrix, MatrixValues};
use sam3i_engine::{Device, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// Where values come from: a checkpoint, or nowhere when only names and shapes are collected.
pub(crate) trait Source: Send + Sync {
    /// All values of a tensor, row-major.
    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>>;

    /// All values of the matrix of a product, as they are stored; `may_round` where the product may be computed in int8.
    fn read_matrix(&self, name: &str, shape: [usize; 2], may_round: bool) -> Result<MatrixValues>;

    /// Some rows of a matrix, in the order asked for.
    fn read_rows(&self, name: &str, rows: &[usize]) -> Result<Vec<f32>>;
}

/// A source, a device to put tensors on, and the prefix of the module that is being loaded.
#[derive(Clone)]
pub(crate) struct Weights {
    source: Arc<dyn Source>,
    device: Device,
    prefix: String,
    in_f32: bool,
}

impl Weights {
    pub fn new(source: Arc<dyn Source>, device: &Device) -> Self {
        Self { source, device: device.clone(), prefix: String::new(), in_f32: false }
    }

    /// The same weights, for layers whose products stay f32 whatever the device's type.
    pub fn in_f32(&self) -> Self {
        Self { in_f32: true, ..self.clone() }
    }

    /// Whether products stay f32 whatever the device's type.
    pub fn is_in_f32(&self) -> bool {
        self.in_f32
    }

    /// The weight `[outputs, inputs]` of a product, on the device.
    pub fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Matrix> {
        let [matrix] = self.matrices(name, shape)?;
        Ok(matrix)
    }

    /// The weights `[outputs / N, inputs]` of `N` products that are stored as one `[outputs, inputs]`.
    pub fn matrices<const N: usize>(&self, name: &str, shape: [usize; 2]) -> Result<[Matrix; N]> {
        let [outputs, inputs] = shape;
        let values = self.source.read_matrix(&self.name(name), shape, !self.in_f32)?;
        // All N are rounded or none is.
        let values = if self.in_f32 { values } else { values.rounded_for(&self.device, outputs, inputs) };
        let rows = outputs / N;
        let parts: Vec<MatrixValues> = match N {
            1 => vec![values],
            _ => (0..N).map(|i| values.rows(i * rows..(i + 1) * rows, inputs)).collect(),
        };
        let matrices = parts.into_iter().map(|part| self.matrix_of([rows, inputs], part));
        Ok(matrices.collect::<Result<Vec<_>>>()?.try_into().ok().expect("N parts make N matrices"))
    }

    /// The weight `[outputs, inputs]` of a product, of values that are there already; on the shape-only device they may be none.
    pub fn matrix_of(&self, [outputs, inputs]: [usize; 2], values: MatrixValues) -> Result<Matrix> {
        let matrix = match self.in_f32 {
            true => Matrix::new_f32(&self.device, outputs, inputs, values.into_f32()),
            false => Matrix::from_values(&self.device, outputs, inputs, values),
        };
        Ok(matrix?)
    }

    /// The weights of a submodule.
    pub fn at(&self, module: impl std::fmt::Display) -> Self {
        Self { prefix: self.name(&module.to_string()), ..self.clone() }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    fn name(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    /// The values of a tensor; none on the shape-only device.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.source.read(&self.name(name), shape)
    }

    /// A tensor on the device.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let values = self.values(name, shape)?;
        if self.device.is_shapes_only() {
            return Ok(Tensor::zeros(&self.device, shape)?);
        }
        Ok(Tensor::from_vec(&self.device, shape, values)?)
    }

    /// A matrix of which single rows are read when they are needed.
    pub fn rows(&self, name: &str, shape: [usize; 2]) -> Result<Rows> {
        let name = self.name(name);
        if self.device.is_shapes_only() {
            self.source.read(&name, &shape)?; // so that it is asked for
        }
        Ok(Rows { source: self.source.clone(), device: self.device.clone(), name, columns: shape[1] })
    }
}

/// A matrix that stays in its file; rows are read when they are needed.
pub(crate) struct Rows {
    source: Arc<dyn Source>,
    device: Device,
    name: String,
    columns: usize,
}

impl Rows {
    /// These rows, in this order: `[rows, columns]`.
    pub fn gather(&self, rows: &[u32]) -> Result<Tensor> {
        let rows: Vec<usize> = rows.iter().map(|&r| r as usize).collect();
        let values = self.source.read_rows(&self.name, &rows)?;
        Ok(Tensor::from_vec(&self.device, &[rows.len(), self.columns], values)?)
    }
}

/// Collects the names and shapes a graph asks for while it is loaded on the shape-only device.
#[derive(Default)]
pub(crate) struct Recorder {
    tensors: Mutex<Vec<(String, Vec<usize>)>>,
    roundable: Mutex<Vec<String>>,
}

impl Recorder {
    /// What was asked for, in order.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        self.tensors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The names among them of matrices whose products may be computed in int8, in order.
    pub fn roundable(&self) -> Vec<String> {
        self.roundable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Source for Recorder {
    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.tensors.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), shape.to_vec()));
        Ok(Vec::new())
    }

    fn read_matrix(&self, name: &str, shape: [usize; 2], may_round: bool) -> Result<MatrixValues> {
        if may_round {
            self.roundable.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
        }
        self.read(name, &shape).map(MatrixValues::F32)
    }

    fn read_rows(&self, _: &str, _: &[usize]) -> Result<Vec<f32>> {
        Ok(Vec::new())
    }
}
