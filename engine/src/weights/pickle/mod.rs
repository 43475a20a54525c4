//! A reader of pickles that builds data and never runs anything.
//!
//! A pickle is a program for a small stack machine; Python runs it, importing and calling whatever it names. This
//! reader knows the dozen names torch needs to describe tensors ([`Global`]); every other name, and whatever is
//! built from it, becomes one opaque value. Values are handles into flat tables, so nothing here recurses and a
//! pickle can make nothing larger than a fixed multiple of itself.

mod known;
mod machine;

use super::FileDType;
use super::error::Fault;
use machine::Machine;

/// More than this is no list of tensors: torch's pickles take about 200 bytes a tensor.
const LARGEST_PICKLE: usize = 256 << 20;

/// A value. Containers are numbers of [`Data`] in the heap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Global(Global),
    Heap(u32),
    /// Anything we do not need: floats, bytes, sets, unknown classes and their instances.
    Opaque,
}

/// What a heap handle stands for.
#[derive(Debug)]
pub(super) enum Data<'a> {
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage { dtype: FileDType, key: &'a str },
    Tensor(Tensor<'a>),
}

/// A tensor as the pickle describes it: a view of a storage, in elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor<'a> {
    pub(super) dtype: FileDType,
    /// The name of its storage: entry `data/KEY` of the archive.
    pub(super) key: &'a str,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// The names a pickle may use to some effect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    /// `torch.Size`: its argument, unchanged.
    Size,
    RebuildTensor,
    /// The same with a dtype of its own, over an untyped storage.
    RebuildTensorV3,
    /// `torch.nn.Parameter`: its first argument.
    RebuildParameter,
    /// Calls its first argument with the third: tensors with attributes.
    RebuildFromType,
    /// A storage class or a dtype: both say what the elements are.
    Elements(FileDType),
}

/// What a pickle builds.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) top: Value<'a>,
    heap: Vec<Data<'a>>,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        if bytes.len() > LARGEST_PICKLE {
            return Err(
                format!("its pickle of {} bytes is too long for a list of tensors", bytes.len()).into()
            );
        }
        let (top, heap) = Machine::new(bytes).finish()?;
        Ok(Self { top, heap })
    }

    /// The data of a handle; `None` for values that have none.
    pub(super) fn data(&self, value: Value<'a>) -> Option<&Data<'a>> {
        match value {
            Value::Heap(i) => self.heap.get(i as usize),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::machine::MOST_VALUES;
    use super::*;

    /// `{key: tensor}` as torch writes it; `tensor` is the code between the key and SETITEM.
    fn dict_of(key: &str, tensor: &[u8]) -> Vec<u8> {
        let mut pickle = b"\x80\x02}".to_vec();
        pickle.extend([b'X', key.len() as u8, 0, 0, 0]);
        pickle.extend(key.as_bytes());
        pickle.extend(tensor);
        pickle.extend(b"s.");
        pickle
    }

    const TENSOR: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nHalfStorage\n\
        X\x01\0\0\x007X\x03\0\0\0cpuK\x06tQK\x01K\x02K\x03\x86K\x01K\x02\x86\x89ccollections\nOrderedDict\n)RtR";

    #[test]
    fn a_tensor_is_a_view_of_a_storage() {
        let bytes = dict_of("w", TENSOR);
        let pickle = Pickle::parse(&bytes).expect("sound");
        let Some(Data::Dict(pairs)) = pickle.data(pickle.top) else { panic!("a dict") };
        assert_eq!(pairs[0].0, Value::Text("w"));
        let Some(Data::Tensor(tensor)) = pickle.data(pairs[0].1) else { panic!("a tensor") };
        let expected =
            Tensor { dtype: FileDType::F16, key: "7", offset: 1, shape: vec![2, 3], strides: vec![1, 2] };
        assert_eq!(*tensor, expected);
    }

    #[test]
    fn names_outside_the_list_stay_opaque_and_are_never_run() {
        let marker = std::env::temp_dir().join(format!("sam3i-pickle-ran-{}", std::process::id()));
        let command = format!("touch {}", marker.display());
        for name in [
            "cos\nsystem\n",
            "cposix\nsystem\n",
            "cbuiltins\neval\n",
            "c__builtin__\nexec\n",
            "csubprocess\nPopen\n",
        ] {
            let mut code = name.as_bytes().to_vec();
            code.extend([b'X', command.len() as u8, 0, 0, 0]);
            code.extend(command.as_bytes());
            code.extend(b"\x85R");
            let bytes = dict_of("w", &code);
            let pickle = Pickle::parse(&bytes).expect("harmless");
            let Some(Data::Dict(pairs)) = pickle.data(pickle.top) else { panic!("a dict") };
            assert_eq!(pairs[0], (Value::Text("w"), Value::Opaque), "{name}");
        }
        assert!(!marker.exists());
    }

    #[test]
    fn bombs_are_refused_or_stay_small() {
        // Each line doubles the one before in a reader that copies: ours shares.
        let mut doubling = b"\x80\x02]q\x00".to_vec();
        for i in 0..200u8 {
            doubling.extend([b'h', i, b'h', i, 0x86, b'q', i + 1]);
        }
        doubling.push(b'.');
        assert!(Pickle::parse(&doubling).expect("small").heap.len() < 300);
        // A list within a list, a million deep: dropped without recursion.
        let mut deep = vec![b']'; 1_000_000];
        deep.extend(vec![b'a'; 999_999]);
        deep.push(b'.');
        assert!(Pickle::parse(&deep).is_ok());
        // A list of itself.
        assert!(Pickle::parse(b"]q\x00h\x00a.").is_ok());
        let many = vec![b'N'; MOST_VALUES + 10];
        assert!(Pickle::parse(&many).is_err());
    }

    #[test]
    fn garbled_programs_are_errors() {
        let cases: &[&[u8]] = &[
            b"",
            b".",
            b"\x80",
            b"a.",
            b"(",
            b"t.",
            b"s.",
            b"h\x00.",
            b"R.",
            b"b.",
            b"\x85.",
            b"(K\x01(0000.",
            b"X\xff\xff\xff\xffabc",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
            b"cos",
            b"cos\nsystem",
            b"Q.",
            b"\x93.",
            b"I1\n.",
            b"\xff.",
            b"(\x85.",
            b"q\x00.",
            b"2.",
            b"0.",
            b"1.",
            b"\x81.",
            b"d.",
        ];
        for case in cases {
            assert!(Pickle::parse(case).is_err(), "{case:?}");
        }
        let sound = dict_of("w", TENSOR);
        for n in 0..sound.len() {
            assert!(Pickle::parse(&sound[..n]).is_err(), "cut at {n}");
        }
        let negative = TENSOR.iter().map(|&b| if b == 6 { 6 } else { b }).collect::<Vec<_>>();
        let at = negative.windows(4).position(|w| w == b"QK\x01K").expect("offset") + 1;
        let mut bytes = dict_of("w", &negative);
        let start = bytes.len() - negative.len() - 2 + at;
        bytes.splice(start..start + 2, *b"J\xff\xff\xff\xff");
        assert!(Pickle::parse(&bytes).is_err());
    }
}
