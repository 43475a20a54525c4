//! The header of a safetensors file: a length, a JSON text, then the values.
//!
//! The crate `safetensors` gives the entry types. The rules are checked here, because its own reader keeps the last of
//! several tensors of one name and adds offsets without a check for overflow.

use super::error::Fault;
use super::{Entry, FileDType, Located};
use safetensors::tensor::{Dtype, TensorInfo};
use serde::de::{Deserializer, MapAccess, Visitor};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// A longer header is a lie: 100 MB describe half a million tensors.
const LARGEST_HEADER: u64 = 100_000_000;

/// What a header says: the tensors in the order of their values, and the free-form metadata.
pub(super) struct Header {
    pub(super) tensors: Vec<(Entry, Located)>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Parses and checks the header of a whole file.
pub(super) fn parse(file: &[u8]) -> Result<Header, Fault> {
    let (length, rest) = file.split_first_chunk::<8>().ok_or("it ends within the first 8 bytes")?;
    let length = u64::from_le_bytes(*length);
    if length > LARGEST_HEADER || length > rest.len() as u64 {
        let size = rest.len();
        return Err(format!("its header claims {length} bytes, but {size} bytes follow").into());
    }
    let (json, values) = rest.split_at(length as usize);
    let json = std::str::from_utf8(json).map_err(|_| "its header is not UTF-8 text")?;
    let mut raw = serde_json::Deserializer::from_str(json);
    let raw = (&mut raw)
        .deserialize_map(HeaderVisitor)
        .and_then(|header| raw.end().map(|()| header))
        .map_err(|e| format!("its header is not understood: {e}"))?;
    let tensors = place(raw.tensors, file.len() - values.len(), values.len())?;
    Ok(Header { tensors, metadata: raw.metadata })
}

/// Checks that the tensors tile the values without gap or overlap, and gives each its place in the file.
fn place(
    mut raw: Vec<(String, TensorInfo)>,
    base: usize,
    len: usize,
) -> Result<Vec<(Entry, Located)>, Fault> {
    raw.sort_by_key(|(_, info)| info.data_offsets);
    let mut end = 0;
    let mut tensors = Vec::with_capacity(raw.len());
    for (name, info) in raw {
        let (start, stop) = info.data_offsets;
        if start != end || stop < start {
            return Err(format!("the values of `{name}` overlap others or leave a gap").into());
        }
        if stop > len {
            return Err(format!("the values of `{name}` end at byte {stop} of {len}").into());
        }
        let bits = info.shape.iter().try_fold(info.dtype.bitsize(), |n, &d| n.checked_mul(d));
        if bits != (stop - start).checked_mul(8) {
            return Err(
                format!("`{name}` of shape {:?} cannot have {} bytes", info.shape, stop - start).into()
            );
        }
        end = stop;
        let located = Located::contiguous(base + start, &info.shape);
        let dtype = file_dtype(info.dtype);
        tensors.push((Entry { name, dtype, shape: info.shape, bytes: stop - start }, located));
    }
    if end != len {
        return Err(format!("its tensors take {end} bytes, but it has {len}").into());
    }
    Ok(tensors)
}

fn file_dtype(dtype: Dtype) -> FileDType {
    match dtype {
        Dtype::F32 => FileDType::F32,
        Dtype::F16 => FileDType::F16,
        Dtype::BF16 => FileDType::Bf16,
        Dtype::F64 => FileDType::F64,
        Dtype::I64 => FileDType::I64,
        Dtype::I32 => FileDType::I32,
        Dtype::I16 => FileDType::I16,
        Dtype::I8 => FileDType::I8,
        Dtype::U8 => FileDType::U8,
        Dtype::BOOL => FileDType::Bool,
        Dtype::C64 => FileDType::C64,
        _ => FileDType::Other,
    }
}

struct RawHeader {
    tensors: Vec<(String, TensorInfo)>,
    metadata: BTreeMap<String, String>,
}

/// Reads the header's one object and refuses a name that comes twice.
struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader { tensors: Vec::new(), metadata: BTreeMap::new() };
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(serde::de::Error::custom(format_args!("`{name}` comes twice")));
            }
            if name == "__metadata__" {
                header.metadata = map.next_value::<Option<_>>()?.unwrap_or_default();
            } else {
                header.tensors.push((name, map.next_value()?));
            }
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, values: usize) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.resize(file.len() + values, 0);
        file
    }

    #[test]
    fn a_sound_header_is_read() {
        let bytes = file(
            r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#,
            14,
        );
        let header = parse(&bytes).expect("sound");
        let names: Vec<_> = header.tensors.iter().map(|(e, _)| (&e.name[..], e.dtype, e.bytes)).collect();
        assert_eq!(names, [("a", FileDType::F32, 8), ("b", FileDType::Bf16, 6)]);
        assert_eq!(header.metadata["format"], "pt");
    }

    #[test]
    fn headers_that_lie_are_refused() {
        let huge = r#""shape":[2305843009213693951],"dtype":"U8","data_offsets":"#;
        let eight = (0..8u64)
            .map(|i| {
                let n = 2_305_843_009_213_693_951u64;
                format!(r#""t{i}":{{{huge}[{},{}]}}"#, i * n, (i + 1) * n)
            })
            .collect::<Vec<_>>()
            .join(",");
        let cases: &[(&str, String, &str)] = &[
            ("overlap", r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#.into(), "overlap"),
            ("gap", r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#.into(), "gap"),
            ("beyond the end", r#"{"a":{"dtype":"F32","shape":[100],"data_offsets":[0,400]}}"#.into(), "byte 400"),
            ("backwards", r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,-8]}}"#.into(), "not understood"),
            ("shape overflows", r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,12]}}"#.into(), "cannot have"),
            ("sum of sizes overflows", format!("{{{eight}}}"), "byte"),
            ("wrong size", r#"{"a":{"dtype":"F16","shape":[7],"data_offsets":[0,12]}}"#.into(), "cannot have"),
            ("unused bytes", r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#.into(), "but it has"),
            ("twice", r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}"#.into(), "twice"),
            ("unknown dtype", r#"{"a":{"dtype":"Q4","shape":[3],"data_offsets":[0,12]}}"#.into(), "not understood"),
            ("not an object", "[1,2]".into(), "not understood"),
            ("cut", r#"{"a":{"dtype":"F32","#.into(), "not understood"),
            ("deep", "[".repeat(100_000), "not understood"),
        ];
        for (what, header, expected) in cases {
            let Err(Fault::Damaged(problem)) = parse(&file(header, 12)) else { panic!("{what}: accepted") };
            assert!(problem.contains(expected), "{what}: {problem}");
        }
        for length in [u64::MAX, 1 << 40, 500, 13] {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend(b"{}          ");
            assert!(parse(&bytes).is_err(), "header of {length}");
        }
        assert!(parse(b"\x01\0\0").is_err());
    }
}
