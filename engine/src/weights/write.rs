//! Writing safetensors, one tensor at a time.

use super::{FileDType, WeightsError, convert};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Values converted and written at a time.
const BLOCK: usize = 1 << 20;

/// A tensor to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// The type to write its elements in: f32, f16, bf16, or i8 for whole numbers from -128 to 127.
    pub dtype: FileDType,
    /// Its shape, outermost axis first.
    pub shape: Vec<usize>,
}

/// Writes a safetensors file from f32 values that `values` yields, tensor by tensor in the order of `tensors`.
///
/// The file appears whole or not at all: it is written under a temporary name in the same directory and renamed. No
/// more than one tensor is held in memory. Values are rounded to nearest, ties to even.
///
/// # Errors
/// Whatever `values` returns; [`WeightsError::Unwritable`] for a name that comes twice, an element type other than
/// f32, f16, bf16 and i8, another number of values than the shape has, and a value the type cannot have;
/// [`WeightsError::Io`].
pub fn write_safetensors<E: From<WeightsError>>(
    path: &Path,
    tensors: &[TensorSpec],
    metadata: &BTreeMap<String, String>,
    mut values: impl FnMut(&TensorSpec) -> Result<Vec<f32>, E>,
) -> Result<(), E> {
    let header = header(path, tensors, metadata)?;
    let mut file = Pending::create(path)?;
    file.write(&header)?;
    for tensor in tensors {
        let values = values(tensor)?;
        let count: usize = tensor.shape.iter().product();
        if values.len() != count {
            let problem = format!("{} values do not fill the shape {:?}", values.len(), tensor.shape);
            return Err(unwritable(path, &tensor.name, problem).into());
        }
        file.write_values(tensor, &values)?;
    }
    file.finish().map_err(E::from)
}

fn unwritable(path: &Path, name: &str, problem: String) -> WeightsError {
    WeightsError::Unwritable { path: path.to_owned(), name: name.to_owned(), problem }
}

/// The header with its length before it, padded with spaces so that the values start at a multiple of 8 bytes.
fn header(
    path: &Path,
    tensors: &[TensorSpec],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, WeightsError> {
    let mut entries = serde_json::Map::new();
    if !metadata.is_empty() {
        entries.insert("__metadata__".to_owned(), json!(metadata));
    }
    let mut start = 0usize;
    for tensor in tensors {
        let wrong = |problem: &str| unwritable(path, &tensor.name, problem.to_owned());
        let size = match tensor.dtype {
            FileDType::F32 => 4,
            FileDType::F16 | FileDType::Bf16 => 2,
            FileDType::I8 => 1,
            _ => return Err(wrong("weights are written as f32, f16, bf16 or i8")),
        };
        let bytes = tensor.shape.iter().try_fold(size, |n: usize, &d| n.checked_mul(d));
        let end = bytes
            .and_then(|bytes| start.checked_add(bytes))
            .ok_or_else(|| wrong("its shape is too large"))?;
        let entry =
            json!({"dtype": tensor.dtype.name(), "shape": tensor.shape, "data_offsets": [start, end]});
        if entries.insert(tensor.name.clone(), entry).is_some() {
            return Err(wrong("its name comes twice"));
        }
        start = end;
    }
    let mut text = serde_json::Value::Object(entries).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    Ok(header)
}

/// A file under its temporary name; removed again unless it is finished.
struct Pending<'a> {
    path: &'a Path,
    temporary: PathBuf,
    file: BufWriter<File>,
    block: Vec<u8>,
    finished: bool,
}

impl<'a> Pending<'a> {
    fn create(path: &'a Path) -> Result<Self, WeightsError> {
        let Some(name) = path.file_name() else {
            return Err(WeightsError::io(path, std::io::Error::other("this is not the name of a file")));
        };
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary);
        let file = file.map_err(|e| WeightsError::io(path, e))?;
        Ok(Self { path, temporary, file: BufWriter::new(file), block: Vec::new(), finished: false })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), WeightsError> {
        self.file.write_all(bytes).map_err(|e| WeightsError::io(self.path, e))
    }

    fn write_values(&mut self, tensor: &TensorSpec, values: &[f32]) -> Result<(), WeightsError> {
        let mut block = std::mem::take(&mut self.block);
        for values in values.chunks(BLOCK) {
            convert::from_f32(tensor.dtype, values, &mut block).map_err(|value| {
                let value = value.unwrap_or(f32::NAN);
                let problem = format!("{value:e} does not fit into {}; write bf16 or f32", tensor.dtype);
                unwritable(self.path, &tensor.name, problem)
            })?;
            self.write(&block)?;
        }
        self.block = block;
        Ok(())
    }

    fn finish(mut self) -> Result<(), WeightsError> {
        let done = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        done.and_then(|()| std::fs::rename(&self.temporary, self.path))
            .map_err(|e| WeightsError::io(self.path, e))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // The error that brought us here is the one to report; a leftover is only untidy.
            drop(std::fs::remove_file(&self.temporary));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::WeightFile;
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sam3i-write-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        path
    }

    fn spec(name: &str, dtype: FileDType, shape: &[usize]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let directory = directory("round");
        let path = directory.join("w.safetensors");
        let tensors = [
            spec("a \"quoted\"", FileDType::F32, &[2, 3]),
            spec("b", FileDType::Bf16, &[]),
            spec("c", FileDType::F16, &[0]),
            spec("d", FileDType::I8, &[3]),
        ];
        let metadata = BTreeMap::from([("note".to_owned(), "line\nline".to_owned())]);
        let values = |t: &TensorSpec| {
            Ok::<_, WeightsError>((1..=t.shape.iter().product()).map(|i| i as f32).collect())
        };
        write_safetensors(&path, &tensors, &metadata, values).expect("written");
        let file = WeightFile::open(&path).expect("sound");
        assert_eq!(file.metadata(), &metadata);
        assert_eq!(file.read_f32("a \"quoted\"").expect("there"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(file.read_rows_f32("a \"quoted\"", &[1, 1, 0]).expect("there").len(), 9);
        assert_eq!(file.read_f32("b").expect("there"), [1.0]);
        assert!(file.read_rows_f32("a \"quoted\"", &[2]).is_err());
        assert!(file.read_rows_f32("b", &[0]).is_err());
        assert_eq!(file.read_i8("d").expect("there"), [1, 2, 3]);
        assert!(file.read_f32("d").is_err() && file.read_i8("a \"quoted\"").is_err());
        assert!(file.read_f32("e").is_err() && file.read_i8("e").is_err());
        std::fs::remove_dir_all(&directory).expect("removed");
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let directory = directory("fail");
        let path = directory.join("w.safetensors");
        std::fs::write(&path, b"what was there before").expect("written");
        let cases: [(&[TensorSpec], Vec<f32>); 6] = [
            (&[spec("a", FileDType::F32, &[2])], vec![1.0]),
            (&[spec("a", FileDType::F16, &[1])], vec![1e6]),
            (&[spec("a", FileDType::I64, &[1])], vec![1.0]),
            (&[spec("a", FileDType::I8, &[1])], vec![128.0]),
            (&[spec("a", FileDType::I8, &[1])], vec![0.5]),
            (&[spec("a", FileDType::F32, &[1]), spec("a", FileDType::F32, &[1])], vec![1.0]),
        ];
        for (tensors, values) in cases {
            let result = write_safetensors(&path, tensors, &BTreeMap::new(), |_| {
                Ok::<_, WeightsError>(values.clone())
            });
            assert!(matches!(result, Err(WeightsError::Unwritable { .. })));
        }
        let left: Vec<_> = std::fs::read_dir(&directory).expect("there").collect();
        assert_eq!(left.len(), 1);
        assert_eq!(std::fs::read(&path).expect("there"), b"what was there before");
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
