//! Writing a checkpoint as one self-describing safetensors file under SAM3-I's names.

use super::Checkpoint;
use super::rounded::scale_name;
use crate::parts::roundable_matrices;
use crate::synth::{FNV_START, fnv1a64_more};
use crate::tensor_list::NamedShape;
use crate::{Error, Result};
use sam3i_engine::ops::matmul::{MatrixValues, QuantisedWeight};
use sam3i_engine::weights::{FileDType, TensorSpec, write_safetensors};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// The metadata key of the sizes, as the text of a `config.json`.
pub(super) const CONFIG_KEY: &str = "sam3i.config";

impl Checkpoint {
    /// Writes the checkpoint to `out` in `dtype` (f32, f16, bf16 or i8), one tensor at a time, whole or not at all.
    ///
    /// With i8, matrices whose products may be computed in int8 are rounded to 8 bits with a scale a row, where that holds
    /// them well ([`QuantisedWeight::new_if_close`]); other matrices of such products, convolutions and the token
    /// embeddings are written as bf16, the rest as f32.
    ///
    /// Dead tensors are dropped. The metadata has the sizes and where the weights come from: the names of the source
    /// files, their size, and the hash FNV-1a (64 bits) over their bytes.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the checkpoint is not complete; [`Error::Io`]; [`Error::NotFinite`]; the engine's error
    /// if a value is too large for `dtype` or the file cannot be written.
    pub fn convert(&self, out: &Path, dtype: FileDType) -> Result<()> {
        let expected = self.expected();
        self.check(&expected)?;
        self.refuse_own_files(out)?;
        let metadata = self.provenance()?;
        if dtype == FileDType::I8 {
            return self.convert_int8(out, expected, metadata);
        }
        let tensors: Vec<_> =
            expected.into_iter().map(|(name, shape)| TensorSpec { name, dtype, shape }).collect();
        write_safetensors(out, &tensors, &metadata, |tensor| self.read(&tensor.name))
    }

    fn convert_int8(
        &self,
        out: &Path,
        expected: Vec<NamedShape>,
        mut metadata: BTreeMap<String, String>,
    ) -> Result<()> {
        let roundable = roundable_matrices(&self.config, self.adapters, self.point_prompts())?;
        let (mut tensors, mut scales) = (Vec::new(), BTreeMap::new());
        let mut left_out = Vec::new();
        for (name, shape) in expected {
            let dtype = match &shape[..] {
                _ if roundable.contains(&name) => match self.rounded(&name)? {
                    Some(rounded) => {
                        let scale = scale_name(&name);
                        let shape = vec![rounded.n];
                        tensors.push(TensorSpec { name: scale.clone(), dtype: FileDType::F32, shape });
                        scales.insert(scale, rounded.scales);
                        FileDType::I8
                    }
                    None => {
                        left_out.push(name.clone());
                        FileDType::Bf16
                    }
                },
                [_, _, _, _] => FileDType::Bf16,
                [rows, _] if *rows == self.config.text.vocab => FileDType::Bf16,
                _ => FileDType::F32,
            };
            tensors.push(TensorSpec { name, dtype, shape });
        }
        // Wide elements first, so that each lies at a multiple of its size.
        tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype.size()));
        metadata.insert("sam3i.int8.matrices".to_owned(), scales.len().to_string());
        metadata.insert("sam3i.int8.left_out".to_owned(), left_out.join(" "));
        write_safetensors(out, &tensors, &metadata, |tensor| match scales.get(&tensor.name) {
            Some(scales) => Ok(scales.clone()),
            None if tensor.dtype == FileDType::I8 => {
                let rounded = self.rounded(&tensor.name)?.expect("it was rounded for its scales");
                Ok(rounded.values.into_iter().map(f32::from).collect())
            }
            None => self.read(&tensor.name),
        })
    }

    /// A matrix in 8 bits, if they hold it well or the file has it so already.
    fn rounded(&self, name: &str) -> Result<Option<QuantisedWeight>> {
        match self.read_matrix(name)? {
            MatrixValues::Int8(rounded) => Ok(Some(rounded)),
            MatrixValues::F32(values) => {
                let shape = self.shape(name).expect("it was just read");
                Ok(QuantisedWeight::new_if_close(shape[0], shape[1], &values))
            }
        }
    }

    fn refuse_own_files(&self, out: &Path) -> Result<()> {
        let Ok(target) = out.canonicalize() else { return Ok(()) };
        let own = self.files.iter().any(|file| file.path().canonicalize().is_ok_and(|path| path == target));
        let refusal = "this is the file the weights come from; write to another name";
        if own { Err(Error::io(out, std::io::Error::other(refusal))) } else { Ok(()) }
    }

    /// The 64-bit FNV-1a hash of the weight files' bytes, one after the other: tells whether two checkpoints are the same.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be read.
    pub fn fnv1a64(&self) -> Result<u64> {
        self.files.iter().try_fold(FNV_START, |hash, file| match file.embedded() {
            Some(bytes) => Ok(fnv1a64_more(hash, bytes)),
            None => hash_file(file.path(), hash).map_err(|e| Error::io(file.path(), e)),
        })
    }

    fn provenance(&self) -> Result<BTreeMap<String, String>> {
        let names = self.files.iter().filter_map(|file| file.path().file_name());
        let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
        let hash = self.fnv1a64()?;
        let bytes: u64 = self.files.iter().map(|file| file.file_bytes()).sum();
        let entries = [
            ("format", "sam3i".to_owned()),
            ("sam3i.format_version", "1".to_owned()),
            ("sam3i.writer", concat!("sam3i ", env!("CARGO_PKG_VERSION")).to_owned()),
            (CONFIG_KEY, self.config.to_json()),
            ("sam3i.config_source", self.config_source.name().to_owned()),
            ("sam3i.source.files", names.join(", ")),
            ("sam3i.source.container", self.files[0].container().to_string()),
            ("sam3i.source.layout", self.layout.to_string()),
            ("sam3i.source.bytes", bytes.to_string()),
            ("sam3i.source.fnv1a64", format!("{hash:016x}")),
        ];
        Ok(entries.map(|(key, value)| (key.to_owned(), value)).into())
    }
}

/// The hash carried on over a file's bytes, read anew so that the map's pages stay out of memory.
fn hash_file(path: &Path, mut hash: u64) -> std::io::Result<u64> {
    let mut file = std::fs::File::open(path)?;
    let mut block = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut block)?;
        if n == 0 {
            return Ok(hash);
        }
        hash = fnv1a64_more(hash, &block[..n]);
    }
}
