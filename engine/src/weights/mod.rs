//! Weight files: safetensors and torch's `.pt`, read by one interface; safetensors, written.
//!
//! A file is mapped, not loaded: opening reads the list of tensors, and a tensor's bytes are touched when it is read.
//! After each read the pages are let go of, so that the memory in use is what was asked for and not the file as well.
//! Nothing in a file is trusted; whatever it holds, the worst outcome is an error. Files must not be changed or cut
//! short while they are open.

mod convert;
mod error;
mod map;
mod pickle;
mod safetensors;
mod sniff;
mod torch;
mod write;
mod zip;

pub use error::WeightsError;
pub use write::{TensorSpec, write_safetensors};

use map::FileMap;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

/// The element types tensors have in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FileDType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    Bf16,
    /// IEEE double precision.
    F64,
    /// Signed, 64 bits.
    I64,
    /// Signed, 32 bits.
    I32,
    /// Signed, 16 bits.
    I16,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 8 bits.
    U8,
    /// One byte, 0 or 1.
    Bool,
    /// A pair of singles: real and imaginary part.
    C64,
    /// Any other type; listed, never read.
    Other,
}

impl FileDType {
    /// Bytes of an element; `None` for [`FileDType::Other`].
    #[must_use]
    pub fn size(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::F16 | Self::Bf16 | Self::I16 => Some(2),
            Self::F32 | Self::I32 => Some(4),
            Self::F64 | Self::I64 | Self::C64 => Some(8),
            Self::Other => None,
        }
    }

    /// Whether values of this type can be read as f32.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16 | Self::F64)
    }

    /// The name in a safetensors header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F64 => "F64",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
            Self::C64 => "C64",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for FileDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The format of a weight file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Container {
    /// `.safetensors`.
    Safetensors,
    /// `.pt`, `.pth`, `.bin`: what torch.save writes since 2020.
    Torch,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Torch => "torch",
        })
    }
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name, as the file has it.
    pub name: String,
    /// Its element type.
    pub dtype: FileDType,
    /// Its shape, outermost axis first.
    pub shape: Vec<usize>,
    /// Bytes its elements take (0 when the element type is [`FileDType::Other`] in a torch file).
    pub bytes: usize,
}

/// Where a tensor's elements are in the file. Every index its shape allows has been checked to lie inside.
#[derive(Clone, Debug)]
struct Located {
    /// Byte offset of element 0.
    start: usize,
    /// Elements from one index to the next, per axis.
    strides: Vec<usize>,
}

impl Located {
    fn contiguous(start: usize, shape: &[usize]) -> Self {
        let mut strides = vec![1usize; shape.len()];
        for i in (1..shape.len()).rev() {
            // Only an array without elements can get past the largest number; its strides are never used.
            strides[i - 1] = strides[i].saturating_mul(shape[i].max(1));
        }
        Self { start, strides }
    }

    /// Whether the elements of an array of this shape lie one after the other.
    fn is_contiguous(&self, shape: &[usize]) -> bool {
        let dense = Self::contiguous(self.start, shape);
        shape.iter().zip(self.strides.iter().zip(&dense.strides)).all(|(&n, (a, b))| n == 1 || a == b)
    }

    /// Elements from the first to one past the last.
    fn extent(&self, shape: &[usize]) -> usize {
        if shape.contains(&0) {
            return 0;
        }
        1 + shape.iter().zip(&self.strides).map(|(n, stride)| (n - 1) * stride).sum::<usize>()
    }
}

/// Elements copied before the file's pages are let go of: large enough to keep all threads busy.
const PIECE: usize = 1 << 22;

/// An open weight file.
#[derive(Debug)]
pub struct WeightFile {
    path: PathBuf,
    container: Container,
    map: FileMap,
    entries: Vec<Entry>,
    located: Vec<Located>,
    index: HashMap<String, usize>,
    metadata: BTreeMap<String, String>,
}

impl WeightFile {
    /// Opens a file and reads its list of tensors. The content decides what it is, not the name.
    ///
    /// # Errors
    /// [`WeightsError::Io`]; [`WeightsError::NotWeights`] says what the file is instead; [`WeightsError::Damaged`];
    /// [`WeightsError::Unsupported`].
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let map = FileMap::open(path).map_err(|e| WeightsError::io(path, e))?;
        Self::read(path, map)
    }

    /// A file that is part of the program, by the name that reports give it. Its bytes are not copied and may begin at
    /// any address.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for [`WeightsError::Io`].
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self, WeightsError> {
        Self::read(Path::new(name), FileMap::Static(bytes))
    }

    /// Reads the list of tensors.
    fn read(path: &Path, map: FileMap) -> Result<Self, WeightsError> {
        let bytes = map.bytes();
        let (container, tensors, metadata) = match sniff::sniff(&bytes[..bytes.len().min(512)]) {
            sniff::Kind::Zip => {
                let tensors = torch::parse(bytes).map_err(|fault| fault.at(path, "torch"))?;
                (Container::Torch, tensors, BTreeMap::new())
            }
            sniff::Kind::Safetensors => {
                let header = safetensors::parse(bytes).map_err(|fault| fault.at(path, "safetensors"))?;
                (Container::Safetensors, header.tensors, header.metadata)
            }
            sniff::Kind::Other(what, advice) => {
                return Err(WeightsError::NotWeights { path: path.to_owned(), what, advice });
            }
        };
        let (entries, located): (Vec<_>, Vec<_>) = tensors.into_iter().unzip();
        let index = entries.iter().enumerate().map(|(i, entry)| (entry.name.clone(), i)).collect();
        Ok(Self { path: path.to_owned(), container, map, entries, located, index, metadata })
    }

    /// Where the file is; the name of one that is part of the program.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of a file that is part of the program; `None` for one on disk.
    #[must_use]
    pub fn embedded(&self) -> Option<&'static [u8]> {
        match self.map {
            FileMap::Static(bytes) => Some(bytes),
            FileMap::Mapped(_) => None,
        }
    }

    /// What format it has.
    #[must_use]
    pub fn container(&self) -> Container {
        self.container
    }

    /// The tensors, in the file's order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The tensor of a name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.index.get(name).map(|&i| &self.entries[i])
    }

    /// The free-form texts of a safetensors header; empty for torch files.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The size of the file in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.map.bytes().len() as u64
    }

    fn find(&self, name: &str) -> Result<(&Entry, &Located), WeightsError> {
        let Some(&i) = self.index.get(name) else {
            return Err(WeightsError::NoTensor { path: self.path.clone(), name: name.to_owned() });
        };
        let entry = &self.entries[i];
        if !entry.dtype.is_float() {
            let (path, name) = (self.path.clone(), name.to_owned());
            return Err(WeightsError::NotFloat { path, name, dtype: entry.dtype });
        }
        Ok((entry, &self.located[i]))
    }

    fn out_of_shape(&self, entry: &Entry, problem: String) -> WeightsError {
        let (path, name, shape) = (self.path.clone(), entry.name.clone(), entry.shape.clone());
        WeightsError::OutOfShape { path, name, shape, problem }
    }

    /// The values of a floating point tensor in row-major order, as f32; the file's pages are let go of afterwards.
    ///
    /// # Errors
    /// [`WeightsError::NoTensor`], [`WeightsError::NotFloat`].
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let (entry, _) = self.find(name)?;
        let mut values = vec![0.0; entry.shape.iter().product()];
        self.read_f32_into(name, &mut values)?;
        Ok(values)
    }

    /// [`read_f32`](Self::read_f32) into memory the caller has.
    ///
    /// # Errors
    /// As there, and [`WeightsError::OutOfShape`] if `out` has another number of elements than the tensor.
    pub fn read_f32_into(&self, name: &str, out: &mut [f32]) -> Result<(), WeightsError> {
        let (entry, located) = self.find(name)?;
        if entry.shape.iter().product::<usize>() != out.len() {
            return Err(self.out_of_shape(entry, format!("{} values were asked for", out.len())));
        }
        self.copy(entry.dtype, &entry.shape, located, out);
        self.release(name);
        Ok(())
    }

    /// The values of an I8 tensor of a safetensors file in row-major order; the file's pages are let go of afterwards.
    ///
    /// # Errors
    /// [`WeightsError::NoTensor`]; [`WeightsError::NotInt8`] for any other tensor.
    pub fn read_i8(&self, name: &str) -> Result<Vec<i8>, WeightsError> {
        let Some(&i) = self.index.get(name) else {
            return Err(WeightsError::NoTensor { path: self.path.clone(), name: name.to_owned() });
        };
        let (entry, located) = (&self.entries[i], &self.located[i]);
        if entry.dtype != FileDType::I8 || !located.is_contiguous(&entry.shape) {
            let (path, name) = (self.path.clone(), name.to_owned());
            return Err(WeightsError::NotInt8 { path, name, dtype: entry.dtype });
        }
        let bytes = &self.map.bytes()[located.start..][..entry.shape.iter().product()];
        let values = bytemuck::cast_slice(bytes).to_vec();
        self.release(name);
        Ok(values)
    }

    /// Some rows of a 2-D tensor as f32, one after the other, without touching the others.
    ///
    /// # Errors
    /// [`WeightsError::NoTensor`], [`WeightsError::NotFloat`]; [`WeightsError::OutOfShape`] if the tensor has not two
    /// axes or not that row.
    pub fn read_rows_f32(&self, name: &str, rows: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let (entry, located) = self.find(name)?;
        let &[height, width] = &entry.shape[..] else {
            return Err(self.out_of_shape(entry, "rows were asked for".to_owned()));
        };
        if let Some(row) = rows.iter().find(|&&row| row >= height) {
            return Err(self.out_of_shape(entry, format!("row {row} was asked for")));
        }
        let mut values = vec![0.0; rows.len() * width];
        if width > 0 {
            let bytes = entry.dtype.size().unwrap_or(1);
            for (&row, out) in rows.iter().zip(values.chunks_exact_mut(width)) {
                let start = located.start + row * located.strides[0] * bytes;
                let line = Located { start, strides: vec![located.strides[1]] };
                self.copy(entry.dtype, &[width], &line, out);
            }
        }
        Ok(values)
    }

    /// Lets go of a tensor's pages: they no longer count as this process's resident memory, and come back when the
    /// tensor is read again. Reading a whole tensor does this by itself; after reading rows it is the caller's choice.
    /// An unknown name does nothing.
    pub fn release(&self, name: &str) {
        let Some(&i) = self.index.get(name) else { return };
        let (entry, located) = (&self.entries[i], &self.located[i]);
        if let Some(size) = entry.dtype.size() {
            self.map.release(located.start..located.start + located.extent(&entry.shape) * size);
        }
    }

    /// Copies the elements of a view out of the map.
    fn copy(&self, dtype: FileDType, shape: &[usize], located: &Located, out: &mut [f32]) {
        if out.is_empty() {
            return;
        }
        let size = dtype.size().expect("only floating point types get here");
        let (start, extent) = (located.start, located.extent(shape));
        let bytes = &self.map.bytes()[start..start + extent * size];
        if located.is_contiguous(shape) {
            for (i, out) in out.chunks_mut(PIECE).enumerate() {
                let piece = i * PIECE * size..(i * PIECE + out.len()) * size;
                convert::to_f32(dtype, &bytes[piece.clone()], out);
                // The last piece, and all of a small tensor, is let go of by whoever asked for the whole.
                if out.len() == PIECE {
                    self.map.release(start + piece.start..start + piece.end);
                }
            }
            return;
        }
        let mut all = vec![0.0; extent];
        convert::to_f32(dtype, bytes, &mut all);
        gather(&all, shape, &located.strides, out);
    }
}

/// `out[i, j, ...] = values[i * strides[0] + j * strides[1] + ...]`, `out` in row-major order.
fn gather(values: &[f32], shape: &[usize], strides: &[usize], out: &mut [f32]) {
    let mut index = vec![0; shape.len()];
    // Wrapping, because an axis of one may have any stride: it is added and taken off again.
    let mut at = 0usize;
    for out in out {
        *out = values[at];
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at = at.wrapping_add(strides[axis]);
            if index[axis] < shape[axis] {
                break;
            }
            at = at.wrapping_sub(strides[axis].wrapping_mul(shape[axis]));
            index[axis] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_view_is_gathered_in_order() {
        let values: Vec<f32> = (0..6u8).map(f32::from).collect();
        let mut out = [0.0; 6];
        gather(&values, &[3, 2], &[1, 3], &mut out);
        assert_eq!(out, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        gather(&values, &[1, 3, 2], &[usize::MAX, 1, 3], &mut out);
        assert_eq!(out, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }

    #[test]
    fn a_file_of_the_program_reads_from_any_address() {
        let header = br#"{"a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]}}"#;
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.extend([0x00, 0x3c, 0x00, 0xc0, 0x00, 0x38, 0x00, 0x00]);
        for shift in 0..4 {
            let shifted: &'static [u8] = [vec![0; shift], file.clone()].concat().leak();
            let bytes = &shifted[shift..];
            let weights = WeightFile::from_static("built in", bytes).expect("a weight file");
            assert_eq!(weights.read_f32("a").expect("values"), [1.0, -2.0, 0.5, 0.0]);
            assert_eq!(weights.read_rows_f32("a", &[1]).expect("a row"), [0.5, 0.0]);
            assert_eq!((weights.embedded(), weights.path()), (Some(bytes), Path::new("built in")));
        }
        let error = WeightFile::from_static("built in", b"").expect_err("nothing").to_string();
        assert!(error.starts_with("built in: "), "{error}");
    }

    #[test]
    fn axes_of_one_do_not_spoil_contiguity() {
        let located = Located { start: 0, strides: vec![999, 3, 1] };
        assert!(located.is_contiguous(&[1, 2, 3]));
        assert!(!located.is_contiguous(&[2, 2, 3]));
        assert_eq!(Located::contiguous(0, &[2, 0, 3]).strides, [3, 3, 1]);
        assert_eq!(Located::contiguous(0, &[0, usize::MAX, usize::MAX]).strides, [usize::MAX, usize::MAX, 1]);
    }
}
