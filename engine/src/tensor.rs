//! Tensors: a shape, strides and shared storage on a device.

use crate::memory::{Counted, HostBuffer};
use crate::{Backend, DType, Device, Error, Result};
use half::{bf16, f16};
use std::fmt;
use std::sync::Arc;

/// An n-dimensional array on a device. Cheap to clone: clones share storage.
///
/// Values are not changed once written, except by ops that take a tensor by value and find nobody else holding its
/// storage. Views ([`Tensor::narrow`], [`Tensor::permute`]) share storage and carry strides.
#[derive(Clone)]
pub struct Tensor {
    storage: Arc<Storage>,
    device: Device,
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

enum Storage {
    F32(HostBuffer),
    Half(DType, Counted<Vec<u16>>),
    /// No values; what they would take is counted.
    Shapes {
        dtype: DType,
        _counted: Counted<()>,
    },
    #[cfg(feature = "gpu")]
    Gpu(OnGpu),
}

/// Values on a GPU.
#[cfg(feature = "gpu")]
struct OnGpu {
    buffer: crate::gpu::Buffer,
    /// The same values, where they are few and came from the host: some ops plan with them.
    host: Option<Vec<f32>>,
}

/// Values that are kept beside their copy on a GPU, at most.
#[cfg(feature = "gpu")]
const MOST_KEPT: usize = 1024;

/// Row-major strides of a shape.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

impl Tensor {
    fn with_storage(storage: Storage, device: &Device, shape: &[usize]) -> Self {
        Self {
            storage: Arc::new(storage),
            device: device.clone(),
            shape: shape.to_vec(),
            strides: row_major(shape),
            offset: 0,
        }
    }

    /// A tensor of the given values, row-major.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of values is not the product of `shape`.
    pub fn from_vec(device: &Device, shape: &[usize], values: Vec<f32>) -> Result<Self> {
        check_len(shape, values.len())?;
        if device.is_shapes_only() {
            return Ok(Self::shape_only(device, shape, DType::F32));
        }
        #[cfg(feature = "gpu")]
        if let Some(gpu) = device.as_gpu() {
            let buffer = gpu.upload(&values)?;
            let host = (values.len() <= MOST_KEPT).then_some(values);
            return Ok(Self::with_storage(Storage::Gpu(OnGpu { buffer, host }), device, shape));
        }
        Ok(Self::with_storage(Storage::F32(device.pool().adopt(values)), device, shape))
    }

    /// A tensor of what a kernel wrote, row-major.
    #[cfg(feature = "gpu")]
    pub(crate) fn from_gpu(device: &Device, shape: &[usize], buffer: crate::gpu::Buffer) -> Self {
        Self::with_storage(Storage::Gpu(OnGpu { buffer, host: None }), device, shape)
    }

    /// The memory it lives in, and where it begins there.
    #[cfg(feature = "gpu")]
    pub(crate) fn on_gpu(&self, op: &'static str) -> Result<(&crate::gpu::Buffer, u32)> {
        match &*self.storage {
            Storage::Gpu(on_gpu) => Ok((&on_gpu.buffer, self.offset as u32)),
            Storage::Half(dtype, _) => Err(Error::DType { op, dtype: *dtype }),
            _ => Err(Error::NoValues { op }),
        }
    }

    /// A tensor of half-precision values given as their bits, row-major.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of values is not the product of `shape`; [`Error::DType`] for any other type.
    pub fn from_half_bits(device: &Device, shape: &[usize], dtype: DType, bits: Vec<u16>) -> Result<Self> {
        check_len(shape, bits.len())?;
        if !matches!(dtype, DType::F16 | DType::Bf16) {
            return Err(Error::DType { op: "from_half_bits", dtype });
        }
        if device.is_shapes_only() {
            return Ok(Self::shape_only(device, shape, dtype));
        }
        let bytes = bits.len() * dtype.size();
        let counted = Counted::new(bits, bytes, device.pool());
        Ok(Self::with_storage(Storage::Half(dtype, counted), device, shape))
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// Never for a host device; [`Error::GpuMemory`] and the like for a GPU.
    pub fn zeros(device: &Device, shape: &[usize]) -> Result<Self> {
        #[cfg(feature = "gpu")]
        if let Some(gpu) = device.as_gpu() {
            return crate::gpu::ops::elementwise::zeros(gpu, device, shape);
        }
        Self::build(device, shape, |_, out| out.fill(0.0))
    }

    fn shape_only(device: &Device, shape: &[usize], dtype: DType) -> Self {
        let bytes = shape.iter().product::<usize>() * dtype.size();
        let counted = Counted::new((), bytes, device.pool());
        Self::with_storage(Storage::Shapes { dtype, _counted: counted }, device, shape)
    }

    /// A new `f32` tensor whose values `fill` writes, on this device's threads. `fill` must write all of them.
    ///
    /// This is how every op makes its result; on the shape-only device `fill` is not called. For a GPU it runs on the host
    /// and the values are copied: for what is made once, or on the host anyhow.
    ///
    /// # Errors
    /// Never for a host device; [`Error::GpuMemory`] and the like for a GPU.
    pub fn build(
        device: &Device,
        shape: &[usize],
        fill: impl FnOnce(Backend, &mut [f32]) + Send,
    ) -> Result<Self> {
        #[cfg(feature = "gpu")]
        if device.as_gpu().is_some() {
            let mut values = vec![0.0; shape.iter().product()];
            fill(Backend::Cpu(sam3i_kernels::isa::Isa::detect()), &mut values);
            return Self::from_vec(device, shape, values);
        }
        let Some(backend) = device.backend() else {
            return Ok(Self::shape_only(device, shape, DType::F32));
        };
        let mut buffer = device.pool().take(shape.iter().product());
        device.run(|| fill(backend, &mut buffer.values));
        Ok(Self::with_storage(Storage::F32(buffer), device, shape))
    }

    /// The device it lives on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its extents, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Steps between neighbours along each axis, in elements.
    #[must_use]
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// Its extents as an array, for destructuring.
    ///
    /// # Errors
    /// [`Error::Shape`] if it has another number of axes.
    pub fn dims<const N: usize>(&self) -> Result<[usize; N]> {
        <[usize; N]>::try_from(self.shape())
            .map_err(|_| Error::shape("dims", format!("expected {N} axes"), [self.shape()]))
    }

    /// The extent of its last axis; 1 for a scalar.
    #[must_use]
    pub fn last_dim(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// How many elements it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type of its storage.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match &*self.storage {
            Storage::F32(_) => DType::F32,
            #[cfg(feature = "gpu")]
            Storage::Gpu(_) => DType::F32,
            Storage::Half(dtype, _) | Storage::Shapes { dtype, .. } => *dtype,
        }
    }

    /// Whether its elements lie row-major without gaps.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&n, &stride)| {
            let fits = n == 1 || stride == expected;
            expected *= n;
            fits
        }) || self.is_empty()
    }

    /// The view of `len` entries from `start` along `axis`.
    ///
    /// # Errors
    /// [`Error::Shape`] if they do not exist.
    pub fn narrow(&self, axis: usize, start: usize, len: usize) -> Result<Self> {
        if axis >= self.shape.len() || start + len > self.shape[axis] {
            let problem = format!("axis {axis} has no entries {start}..{}", start + len);
            return Err(Error::shape("narrow", problem, [self.shape()]));
        }
        let mut view = self.clone();
        view.shape[axis] = len;
        view.offset += start * self.strides[axis];
        Ok(view)
    }

    /// The view with its axes in another order: axis `i` of the result is axis `order[i]` of this tensor.
    ///
    /// # Errors
    /// [`Error::Shape`] if `order` is not a permutation of the axes.
    pub fn permute(&self, order: &[usize]) -> Result<Self> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..self.shape.len()) {
            let problem = format!("{order:?} is not an order of its axes");
            return Err(Error::shape("permute", problem, [self.shape()]));
        }
        let mut view = self.clone();
        view.shape = order.iter().map(|&i| self.shape[i]).collect();
        view.strides = order.iter().map(|&i| self.strides[i]).collect();
        Ok(view)
    }

    /// The view in which axes of extent 1, and missing outer axes, are repeated to fit `shape` (numpy's broadcasting).
    ///
    /// # Errors
    /// [`Error::Shape`] if an axis has another extent than 1 and that of `shape`.
    pub fn expand(&self, shape: &[usize]) -> Result<Self> {
        let missing = shape.len().checked_sub(self.shape.len());
        let fits =
            |missing: usize| self.shape.iter().zip(&shape[missing..]).all(|(&n, &to)| n == to || n == 1);
        let Some(missing) = missing.filter(|&missing| fits(missing)) else {
            return Err(Error::shape(
                "expand",
                "the first cannot be repeated to the second",
                [self.shape(), shape],
            ));
        };
        let mut view = self.clone();
        view.shape = shape.to_vec();
        view.strides = vec![0; missing];
        let steps = self.shape.iter().zip(&self.strides).zip(&shape[missing..]);
        view.strides.extend(steps.map(|((&n, &stride), &to)| if n == to { stride } else { 0 }));
        Ok(view)
    }

    /// The same elements, row-major, under another shape. Copies only if the view has gaps.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        if shape.iter().product::<usize>() != self.len() {
            return Err(Error::shape("reshape", "the number of elements differs", [self.shape(), shape]));
        }
        let mut view = self.contiguous()?;
        view.shape = shape.to_vec();
        view.strides = row_major(shape);
        Ok(view)
    }

    /// This tensor if its elements lie row-major without gaps, else a copy that does.
    ///
    /// # Errors
    /// Those of the copy.
    pub fn contiguous(&self) -> Result<Self> {
        if self.is_contiguous() { Ok(self.clone()) } else { crate::ops::copy::contiguous(self) }
    }

    /// A copy on another device that lies in memory as this view does, gaps and all.
    pub(crate) fn view_on(&self, device: &Device) -> Result<Self> {
        let last = self.shape.iter().zip(&self.strides).map(|(&n, &stride)| n.saturating_sub(1) * stride);
        let span = if self.is_empty() { 0 } else { 1 + last.sum::<usize>() };
        let flat = Self { shape: vec![span], strides: vec![1], ..self.clone() };
        let mut view = Self::from_vec(device, &[span], flat.to_vec()?)?;
        view.shape.clone_from(&self.shape);
        view.strides.clone_from(&self.strides);
        Ok(view)
    }

    /// The values of a contiguous `f32` tensor in host memory; of a GPU's tensor only if they are few and came from there.
    ///
    /// # Errors
    /// [`Error::Shape`] for a view with gaps, [`Error::DType`] for half storage, [`Error::NoValues`].
    pub fn host(&self) -> Result<&[f32]> {
        if !self.is_contiguous() {
            return Err(Error::shape("host", "the view has gaps; make it contiguous first", [self.shape()]));
        }
        Ok(&self.host_strided()?[..self.len()])
    }

    /// The values of an `f32` tensor in host memory, from its first element on: element `[i, j, ..]` is at
    /// `i * strides()[0] + j * strides()[1] + ..`.
    ///
    /// # Errors
    /// [`Error::DType`] for half storage, [`Error::NoValues`].
    pub fn host_strided(&self) -> Result<&[f32]> {
        match &*self.storage {
            Storage::F32(buffer) => Ok(&buffer.values[self.offset.min(buffer.values.len())..]),
            Storage::Half(dtype, _) => Err(Error::DType { op: "host", dtype: *dtype }),
            Storage::Shapes { .. } => Err(Error::NoValues { op: "host" }),
            #[cfg(feature = "gpu")]
            Storage::Gpu(OnGpu { host: Some(values), .. }) => Ok(&values[self.offset.min(values.len())..]),
            #[cfg(feature = "gpu")]
            Storage::Gpu(_) => Err(Error::NoValues { op: "host" }),
        }
    }

    /// The values, writable, if nobody else holds them and they are the whole storage, row-major.
    pub(crate) fn host_mut(&mut self) -> Option<&mut [f32]> {
        let len = self.len();
        if !self.is_contiguous() || self.offset != 0 {
            return None;
        }
        match Arc::get_mut(&mut self.storage)? {
            Storage::F32(buffer) => buffer.values.get_mut(..len),
            _ => None,
        }
    }

    /// A copy of the values as `f32`, row-major, wherever and however they are stored.
    ///
    /// # Errors
    /// [`Error::NoValues`] on the shape-only device.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        if let Storage::Half(..) = &*self.storage {
            return self.to_f32()?.to_vec();
        }
        #[cfg(feature = "gpu")]
        if let Some(gpu) = self.device.as_gpu() {
            let dense = self.contiguous()?;
            let (buffer, at) = dense.on_gpu("to_vec")?;
            return gpu.read(buffer, at as usize, self.len());
        }
        Ok(self.contiguous()?.host()?.to_vec())
    }

    /// Copies of the values of several tensors, as [`Tensor::to_vec`] makes them. A GPU is waited for once.
    ///
    /// # Errors
    /// As [`Tensor::to_vec`].
    pub fn to_vecs<const N: usize>(tensors: [&Self; N]) -> Result<[Vec<f32>; N]> {
        let mut vecs = [const { Vec::new() }; N];
        #[cfg(feature = "gpu")]
        if let Some(gpu) = tensors.first().and_then(|first| first.device.as_gpu()) {
            crate::ops::same_device("to_vecs", &tensors)?;
            let dense = tensors.iter().map(|t| t.to_f32()?.contiguous()).collect::<Result<Vec<_>>>()?;
            let mut parts = Vec::with_capacity(N);
            for t in &dense {
                let (buffer, at) = t.on_gpu("to_vecs")?;
                parts.push((buffer, at as usize, t.len()));
            }
            let mut values = gpu.read_all(&parts)?;
            for (vec, t) in vecs.iter_mut().zip(&tensors).rev() {
                *vec = values.split_off(values.len() - t.len());
            }
            return Ok(vecs);
        }
        for (vec, t) in vecs.iter_mut().zip(tensors) {
            *vec = t.to_vec()?;
        }
        Ok(vecs)
    }

    /// This tensor with `f32` storage (itself if it has it already).
    ///
    /// # Errors
    /// [`Error::Shape`] for a strided view of half storage.
    pub fn to_f32(&self) -> Result<Self> {
        let Storage::Half(dtype, buffer) = &*self.storage else { return Ok(self.clone()) };
        if !self.is_contiguous() {
            return Err(Error::shape("to_f32", "a strided view of half storage", [self.shape()]));
        }
        let bits = &buffer.value[self.offset..][..self.len()];
        let widen: fn(u16) -> f32 = match dtype {
            DType::F16 => |b| f16::from_bits(b).to_f32(),
            _ => |b| bf16::from_bits(b).to_f32(),
        };
        Self::from_vec(&self.device, &self.shape, bits.iter().map(|&b| widen(b)).collect())
    }
}

fn check_len(shape: &[usize], len: usize) -> Result<()> {
    if shape.iter().product::<usize>() == len {
        return Ok(());
    }
    Err(Error::shape("from_vec", format!("{len} values for this shape"), [shape]))
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?} on {})", self.dtype(), self.shape, self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(shape: &[usize]) -> Tensor {
        let n = shape.iter().product::<usize>();
        Tensor::from_vec(&Device::reference(), shape, (0..n).map(|i| i as f32).collect())
            .expect("lengths agree")
    }

    #[test]
    fn narrow_and_permute_are_views_of_the_same_values() {
        let t = counted(&[2, 3]);
        let column = t.narrow(1, 1, 1).expect("in range");
        assert!(!column.is_contiguous());
        assert_eq!(column.to_vec().expect("host"), [1.0, 4.0]);
        assert_eq!(
            t.permute(&[1, 0]).expect("an order").to_vec().expect("host"),
            [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
        );
    }

    #[test]
    fn expand_repeats_without_copying() {
        let row = counted(&[3]).expand(&[2, 3]).expect("a row");
        assert_eq!((row.strides(), row.is_contiguous()), (&[0, 1][..], false));
        assert_eq!(row.to_vec().expect("host"), [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
        let column = counted(&[2, 1]).expand(&[2, 2]).expect("a column");
        assert_eq!(column.to_vec().expect("host"), [0.0, 0.0, 1.0, 1.0]);
        assert!(counted(&[2]).expand(&[3]).is_err());
        assert!(counted(&[1, 2]).expand(&[2]).is_err());
    }

    #[test]
    fn wrong_lengths_and_axes_are_errors_that_name_the_shape() {
        let error =
            Tensor::from_vec(&Device::reference(), &[2, 2], vec![0.0; 3]).expect_err("3 values for 4");
        assert!(error.to_string().contains("[2, 2]"), "{error}");
        assert!(counted(&[2, 3]).narrow(1, 2, 2).is_err());
        assert!(counted(&[2, 3]).permute(&[0, 0]).is_err());
        assert!(counted(&[2, 3]).reshape(&[4]).is_err());
        assert!(counted(&[2, 3]).dims::<3>().is_err());
    }

    #[test]
    fn half_storage_widens_exactly() {
        let bits = [1.5f32, -0.25].map(|v| bf16::from_f32(v).to_bits()).to_vec();
        let t = Tensor::from_half_bits(&Device::reference(), &[2], DType::Bf16, bits).expect("lengths agree");
        assert_eq!(t.to_vec().expect("widens"), [1.5, -0.25]);
        assert!(t.host().is_err());
    }

    #[test]
    fn dropping_tensors_gives_their_memory_back() {
        let device = Device::reference();
        let a = Tensor::zeros(&device, &[10]).expect("zeros");
        let b = a.clone();
        drop(a);
        assert_eq!(device.memory().live, 40);
        drop(b);
        assert_eq!(device.memory().live, 0);
    }
}
