//! What a GPU kernel is: WGSL text, its bindings and its launch, as data. Whoever has a GPU carries it out.
//!
//! Every kernel is a complete WGSL file beside its op's other forms. Its variants are values of the `const` lines at its
//! top ([`Kernel::specialised`] replaces them), so each file stays valid by itself. All kernels bind alike, in group 0:
//!
//! | binding | what |
//! |---|---|
//! | 0 | the parameters, `var<uniform> p: Params`, laid out as the `#[repr(C)]` struct beside the kernel |
//! | 1 to `inputs` | operands, `var<storage, read>` |
//! | `inputs + 1` | the result, `var<storage, read_write>` |
//!
//! Operands are whole buffers; where a tensor begins in one is a parameter (`x_at`). The portable kernels keep WebGPU's
//! default limits: 16 KiB of workgroup memory, 256 threads, 8 storage bindings.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// A value of one of a kernel's header constants.
pub type Constant = (&'static str, u32);

/// How parameters lie in memory.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Bytes of the whole.
    pub size: usize,
    /// Name, offset and type of each field. Names that begin with `unused` mean nothing.
    pub fields: &'static [(&'static str, usize, &'static str)],
}

/// A struct of parameters that is copied to a GPU as it lies, and its [`Layout`].
macro_rules! params {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* pub $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name { $($(#[$doc])* pub $field: $ty,)* }

        impl $name {
            /// How it lies in memory.
            pub const LAYOUT: $crate::gpu::Layout = $crate::gpu::Layout {
                size: size_of::<$name>(),
                fields: &[$((stringify!($field), std::mem::offset_of!($name, $field), stringify!($ty)),)*],
            };
        }
    };
}
pub(crate) use params;

/// A compute kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Its name, unique among all kernels: the op's, and the variant's.
    pub name: &'static str,
    /// The WGSL text. The entry point is `main`.
    pub source: &'static str,
    /// Operands it reads.
    pub inputs: usize,
    /// How its parameters lie.
    pub params: Layout,
    /// Threads of a workgroup.
    pub threads: u32,
    /// What it needs beyond WebGPU's core.
    pub needs: Needs,
    /// Values of its constants that are used (and so must compile everywhere) beside the text's own. Entries of the same constants
    /// are alternatives; of different ones, every mix is used, see [`Kernel::settings`].
    pub variants: &'static [&'static [Constant]],
}

/// What a kernel needs beyond WebGPU's core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// `f16` in the shader.
    pub f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// Cooperative matrices of the side that its constant `SIDE` says, f16 in and f32 out.
    pub matrices: bool,
    /// Workgroup memory of its largest variant, in bytes, at most.
    pub shared: u32,
}

/// Nothing beyond WebGPU's core.
pub const PORTABLE: Needs = Needs { f16: false, subgroups: false, matrices: false, shared: 16 * 1024 };

impl Kernel {
    /// The text with these values for its header constants (`const NAME: u32 = ..;` or `bool`), see [`specialised`].
    ///
    /// # Panics
    /// If the text has no such constant.
    #[must_use]
    pub fn specialised(&self, constants: &[Constant]) -> Cow<'static, str> {
        match specialised(self.source, constants) {
            Ok(text) => text,
            Err(name) => panic!("kernel {} has no constant {name}", self.name),
        }
    }
}

/// A text with these values for its header constants, or the name of one it has not got. A `SIDE` is also written into the types
/// of its matrices, and where `F16` is set, `Stored` is four f16 instead of four f32.
///
/// # Errors
/// The name of the first constant the text lacks.
pub fn specialised<'a>(text: &'a str, constants: &[Constant]) -> Result<Cow<'a, str>, &'static str> {
    let mut text = Cow::Borrowed(text);
    for &(name, value) in constants {
        let (start, end, is_bool) = header_value(&text, name).ok_or(name)?;
        let value = if is_bool { (value != 0).to_string() } else { format!("{value}u") };
        text.to_mut().replace_range(start..end, &value);
        if name == "SIDE" {
            let side = value.trim_end_matches('u');
            text = Cow::Owned(text.replace("coop_mat8x8", &format!("coop_mat{side}x{side}")));
        }
        if name == "F16" && value == "true" {
            // On the first line, so that a compiler counts lines as the text's author does.
            text = Cow::Owned(format!("enable f16; {}", text.replace(STORED, "alias Stored = vec4<f16>;")));
        }
    }
    Ok(text)
}

/// How a text says what it stores in workgroup memory.
const STORED: &str = "alias Stored = vec4<f32>;";

/// Where the value of a header constant stands, and whether it is a truth value.
fn header_value(text: &str, name: &str) -> Option<(usize, usize, bool)> {
    [(": u32 = ", false), (": bool = ", true)].into_iter().find_map(|(kind, is_bool)| {
        let head = format!("const {name}{kind}");
        let start = text.find(&head)? + head.len();
        let end = start + text[start..].find(';')?;
        Some((start, end, is_bool))
    })
}

impl Kernel {
    /// Threads of a workgroup with these constants: four subgroups, where the size of one is a constant; a square, where its side is.
    #[must_use]
    pub fn threads_with(&self, constants: &[Constant]) -> u32 {
        match (value(constants, "LANES"), value(constants, "ACROSS")) {
            (Some(lanes), _) => 4 * lanes,
            (_, Some(across)) => across * across,
            _ => self.threads,
        }
    }
}

impl Kernel {
    /// Every setting of its constants that is used: all mixes of what [`Kernel::variants`] offers. A constant that is not named has
    /// the text's own value.
    #[must_use]
    pub fn settings(&self) -> Vec<Vec<Constant>> {
        let of_same = |a: &[Constant], b: &[Constant]| a.iter().map(|c| c.0).eq(b.iter().map(|c| c.0));
        let mut choices: Vec<Vec<&[Constant]>> = Vec::new();
        for &entry in self.variants {
            match choices.iter_mut().find(|choice| of_same(choice[1], entry)) {
                Some(choice) => choice.push(entry),
                None => choices.push(vec![&[], entry]),
            }
        }
        let none = BTreeSet::from([BTreeMap::new()]);
        let mixed = choices.iter().fold(none, |settings, choice| {
            let with = |setting: &BTreeMap<_, _>, entry: &[Constant]| {
                setting.clone().into_iter().chain(entry.iter().copied()).collect::<BTreeMap<_, _>>()
            };
            settings.iter().flat_map(|setting| choice.iter().map(|entry| with(setting, entry))).collect()
        });
        mixed.into_iter().map(|setting| setting.into_iter().collect()).collect()
    }

    /// Whether a setting is one of [`Kernel::settings`].
    #[must_use]
    pub fn lists(&self, constants: &[Constant]) -> bool {
        let of = |set: &[Constant], name: &str| {
            value(set, name).or_else(|| {
                let (start, end, is_bool) = header_value(self.source, name)?;
                let text = &self.source[start..end];
                if is_bool {
                    Some(u32::from(text == "true"))
                } else {
                    text.trim_end_matches('u').parse().ok()
                }
            })
        };
        self.settings().iter().any(|setting| {
            setting.iter().chain(constants).all(|(name, _)| of(setting, name) == of(constants, name))
        })
    }
}

/// The value of a constant among these.
#[must_use]
pub fn value(constants: &[Constant], name: &str) -> Option<u32> {
    constants.iter().find(|(named, _)| *named == name).map(|(_, value)| *value)
}

/// A number that changes when the text of any kernel does (FNV-1a, 64 bits).
#[must_use]
pub fn texts_number() -> u64 {
    let bytes = all().into_iter().flat_map(|kernel| kernel.name.bytes().chain(kernel.source.bytes()));
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The most workgroups along an axis of a dispatch.
pub const MOST_GROUPS: u32 = 65_535;

/// Workgroups for `n` items, so many a workgroup, folded over two axes: the kernel's number of an item is
/// `id.x + id.y * (groups.x * threads)`.
#[must_use]
pub fn line(n: usize, each: u32) -> [u32; 3] {
    folded(n, each, MOST_GROUPS)
}

/// [`line()`], folded when there are more than `most` workgroups along the first axis.
#[must_use]
pub fn folded(n: usize, each: u32, most: u32) -> [u32; 3] {
    let groups = (n as u64).div_ceil(u64::from(each));
    let y = groups.div_ceil(u64::from(most.max(1))).max(1);
    let x = groups.div_ceil(y);
    [x as u32, y as u32, 1]
}

/// Every kernel there is.
#[must_use]
pub fn all() -> Vec<&'static Kernel> {
    [
        crate::attention::gpu::KERNELS,
        crate::conv::gpu::KERNELS,
        crate::copy::gpu::KERNELS,
        crate::elementwise::gpu::KERNELS,
        crate::embedding::gpu::KERNELS,
        crate::grid_sample::gpu::KERNELS,
        crate::group_norm::gpu::KERNELS,
        crate::layer_norm::gpu::KERNELS,
        crate::matmul::gpu::KERNELS,
        crate::mean_rows::gpu::KERNELS,
        crate::peak::gpu::KERNELS,
        crate::pool::gpu::KERNELS,
        crate::resize::gpu::KERNELS,
        crate::rope::gpu::KERNELS,
        crate::sine::gpu::KERNELS,
        crate::softmax::gpu::KERNELS,
        crate::window::gpu::KERNELS,
    ]
    .into_iter()
    .flatten()
    .copied()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Kernel = Kernel {
        name: "two",
        source: "const A: u32 = 1u;\nconst B: bool = false;\nfn main() {}\n",
        inputs: 0,
        params: Layout { size: 0, fields: &[] },
        threads: 1,
        needs: PORTABLE,
        variants: &[],
    };

    #[test]
    fn constants_are_replaced_in_the_header() {
        let text = TWO.specialised(&[("B", 1), ("A", 7)]);
        assert_eq!(text, "const A: u32 = 7u;\nconst B: bool = true;\nfn main() {}\n");
    }

    #[test]
    fn settings_are_all_mixes_of_alternatives() {
        let kernel = Kernel { variants: &[&[("A", 2)], &[("B", 1)], &[("A", 3)]], ..TWO };
        assert_eq!(kernel.settings().len(), 3 * 2);
        for listed in [&[][..], &[("A", 1)], &[("A", 1), ("B", 0)], &[("B", 1), ("A", 3)]] {
            assert!(kernel.lists(listed), "{listed:?}");
        }
        for unlisted in [&[("A", 4)][..], &[("A", 4), ("B", 1)], &[("C", 1)]] {
            assert!(!kernel.lists(unlisted), "{unlisted:?}");
        }
    }

    #[test]
    #[should_panic(expected = "no constant C")]
    fn an_unknown_constant_is_our_own_mistake() {
        drop(TWO.specialised(&[("C", 1)]));
    }

    #[test]
    fn a_line_of_groups_covers_its_items_within_the_limit() {
        for n in [0, 1, 64, 65, 64 * 65_535, 64 * 65_535 + 1, 1 << 29] {
            let [x, y, z] = line(n, 64);
            assert!(x <= MOST_GROUPS && y <= MOST_GROUPS && z == 1);
            assert!(u64::from(x) * u64::from(y) * 64 >= n as u64, "{n}");
            let [x, y, z] = folded(n.min(1000), 64, 3);
            assert!(x <= 3 && z == 1 && x * y * 64 >= n.min(1000) as u32, "{n}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().iter().map(|k| k.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().len());
    }
}
