//! Torch's `.pt` file: a zip archive of one pickle (`data.pkl`) and one stored entry a storage (`data/KEY`).

use super::error::Fault;
use super::pickle::{Data, Pickle, Tensor, Value};
use super::zip::Zip;
use super::{Entry, FileDType, Located};
use std::collections::HashMap;

const GIVE_CHECKPOINT: &str = "give the file that torch.save wrote for the model's weights";
const LITTLE: &str = "load it in PyTorch on an ordinary machine and save it again";

/// The tensors of a `.pt` file: those of the mapping under `model` if there is one, else those of the top level.
pub(super) fn parse(file: &[u8]) -> Result<Vec<(Entry, Located)>, Fault> {
    let zip = Zip::open(file)?;
    let prefix = prefix(&zip)?;
    if zip.read(&format!("{prefix}byteorder"))?.is_some_and(|order| order.starts_with(b"big")) {
        return Err(Fault::Unsupported("its numbers are big-endian".into(), LITTLE));
    }
    let bytes = zip.read(&format!("{prefix}data.pkl"))?.ok_or("data.pkl has gone")?;
    let pickle = Pickle::parse(bytes)?;
    state_dict(&pickle)?.into_iter().map(|(name, tensor)| place(&zip, &prefix, name, tensor)).collect()
}

/// What stands before `data.pkl` in the archive's names, e.g. `archive/`; the shortest, should there be several.
fn prefix(zip: &Zip<'_>) -> Result<String, Fault> {
    if zip.names().any(|name| name.ends_with(b"constants.pkl")) {
        return Err(Fault::Unsupported("this is a TorchScript program".into(), GIVE_CHECKPOINT));
    }
    zip.names()
        .filter_map(|name| std::str::from_utf8(name).ok()?.strip_suffix("data.pkl"))
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('/'))
        .min_by_key(|prefix| (prefix.len(), *prefix))
        .map(str::to_owned)
        .ok_or_else(|| {
            Fault::Unsupported(
                "this is a zip archive, but not one torch.save wrote (no data.pkl in it)".into(),
                GIVE_CHECKPOINT,
            )
        })
}

/// Names and tensors. As in Python, the last of several equal keys counts.
fn state_dict<'a, 'p>(pickle: &'p Pickle<'a>) -> Result<Vec<(&'a str, &'p Tensor<'a>)>, Fault> {
    let Some(Data::Dict(top)) = pickle.data(pickle.top) else {
        return Err(Fault::Unsupported("it holds no mapping of names to tensors".into(), GIVE_CHECKPOINT));
    };
    let model = top.iter().rev().find(|(key, _)| *key == Value::Text("model"));
    let pairs = match model.and_then(|(_, value)| pickle.data(*value)) {
        Some(Data::Dict(pairs)) => pairs,
        _ => top,
    };
    let mut places = HashMap::new();
    let mut tensors: Vec<(&str, &Tensor<'_>)> = Vec::new();
    for (key, value) in pairs {
        if let (Value::Text(name), Some(Data::Tensor(tensor))) = (*key, pickle.data(*value)) {
            let place = *places.entry(name).or_insert(tensors.len());
            if place == tensors.len() {
                tensors.push((name, tensor));
            }
            tensors[place].1 = tensor;
        }
    }
    if tensors.is_empty() {
        return Err(Fault::Unsupported("it holds no named tensors".into(), GIVE_CHECKPOINT));
    }
    Ok(tensors)
}

/// Finds a tensor's storage and checks that every element of the view lies in it.
fn place(zip: &Zip<'_>, prefix: &str, name: &str, tensor: &Tensor<'_>) -> Result<(Entry, Located), Fault> {
    let entry = format!("{prefix}data/{}", tensor.key);
    let storage =
        zip.locate(&entry)?.ok_or_else(|| format!("`{name}` refers to a missing entry `{entry}`"))?;
    let mut located = Located { start: storage.start, strides: tensor.strides.clone() };
    let Some(size) = tensor.dtype.size() else {
        return Ok((
            Entry { name: name.to_owned(), dtype: FileDType::Other, shape: tensor.shape.clone(), bytes: 0 },
            located,
        ));
    };
    let elements = storage.len() / size;
    let outside =
        || format!("`{name}` of shape {:?} reaches outside its storage of {elements} elements", tensor.shape);
    let count = tensor.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(outside)?;
    if extent(tensor).is_none_or(|extent| extent > elements) {
        return Err(outside().into());
    }
    if count > elements {
        let problem = format!("`{name}` repeats its elements (an expanded tensor)");
        return Err(Fault::Unsupported(problem, "save a copy of it made with .contiguous()"));
    }
    located.start += if count == 0 { 0 } else { tensor.offset * size };
    let entry = Entry {
        name: name.to_owned(),
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
        bytes: count * size,
    };
    Ok((entry, located))
}

/// One past the last element of its storage the view touches; `None` if the number does not fit.
fn extent(tensor: &Tensor<'_>) -> Option<usize> {
    if tensor.shape.contains(&0) {
        return Some(0);
    }
    let mut last = tensor.offset;
    for (&dim, &stride) in tensor.shape.iter().zip(&tensor.strides) {
        last = last.checked_add((dim - 1).checked_mul(stride)?)?;
    }
    last.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::super::zip::testing::archive;
    use super::*;

    type Files<'a> = &'a [(&'a str, &'a [u8])];

    /// A pickle of `{"w": tensor}` where the tensor has the given storage class, offset, shape and strides (one digit
    /// each), over storage 0.
    fn pickle(class: &str, offset: u8, shape: [u8; 2], strides: [u8; 2]) -> Vec<u8> {
        let mut code =
            b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n".to_vec();
        code.extend(class.as_bytes());
        code.extend(b"\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQ");
        code.extend([
            b'K', offset, b'K', shape[0], b'K', shape[1], 0x86, b'K', strides[0], b'K', strides[1], 0x86,
        ]);
        code.extend(b"\x89N)RtRs.");
        code
    }

    #[test]
    fn views_that_leave_their_storage_are_refused() {
        let storage = [0u8; 24];
        let cases = [
            (0, [2, 3], [3, 1], true),
            (1, [2, 2], [1, 2], true),
            (0, [0, 9], [9, 1], true),
            (1, [2, 3], [3, 1], false),
            (0, [3, 3], [3, 1], false),
            (0, [9, 9], [0, 0], false),
        ];
        for (offset, shape, strides, sound) in cases {
            let pickle = pickle("FloatStorage", offset, shape, strides);
            let file = archive(&[("x/data.pkl", &pickle), ("x/data/0", &storage)]);
            assert_eq!(parse(&file).is_ok(), sound, "{offset} {shape:?} {strides:?}");
        }
    }

    #[test]
    fn what_is_no_checkpoint_is_named() {
        let sound = pickle("FloatStorage", 0, [2, 3], [3, 1]);
        let storage: &[u8] = &[0; 24];
        let cases: &[(Files<'_>, &str)] = &[
            (&[("readme.txt", b"hi")], "no data.pkl"),
            (&[("a/data.pkl", &sound)], "missing entry `a/data/0`"),
            (&[("a/data.pkl", &sound), ("a/byteorder", b"big"), ("a/data/0", storage)], "big-endian"),
            (&[("a/data.pkl", &sound), ("a/constants.pkl", b""), ("a/data/0", storage)], "TorchScript"),
            (&[("a/data.pkl", b"\x80\x02N.")], "no mapping"),
            (&[("a/data.pkl", b"\x80\x02}.")], "no named tensors"),
        ];
        for (entries, expected) in cases {
            let problem = match parse(&archive(entries)) {
                Err(Fault::Damaged(problem) | Fault::Unsupported(problem, _)) => problem,
                Ok(_) => panic!("accepted: {expected}"),
            };
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn unknown_storages_are_listed_without_values() {
        let pickle = pickle("QInt8Storage", 0, [2, 3], [3, 1]);
        let file = archive(&[("data.pkl", &pickle), ("data/0", &[0; 6])]);
        let tensors = parse(&file).expect("listed");
        assert_eq!(tensors[0].0.dtype, FileDType::Other);
    }
}
