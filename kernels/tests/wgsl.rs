//! Every WGSL kernel in every variant, without a GPU: it parses, validates, lowers to what Vulkan, Metal and DX12 take, keeps
//! the limits it says it keeps, and reads its parameters where the Rust struct has them.

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, TypeInner};
use sam3i_kernels::gpu::{Constant, Kernel, all};

const STORAGE_BINDINGS: usize = 8;
const THREADS: u32 = 256;

fn module(kernel: &Kernel, constants: &[Constant]) -> (Module, ModuleInfo) {
    let text = kernel.specialised(constants);
    let module = naga::front::wgsl::parse_str(&text)
        .unwrap_or_else(|e| panic!("{} {constants:?}: {}", kernel.name, e.emit_to_string(&text)));
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32; // unpack2x16float, which every device has
    capabilities.set(Capabilities::SHADER_FLOAT16, kernel.needs.f16);
    capabilities.set(Capabilities::SUBGROUP, kernel.needs.subgroups);
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, kernel.needs.matrices);
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    let info = validator
        .validate(&module)
        .unwrap_or_else(|e| panic!("{} {constants:?}: {}", kernel.name, e.emit_to_string(&text)));
    (module, info)
}

fn each(check: impl Fn(&Kernel, &[Constant], &Module, &ModuleInfo)) {
    for kernel in all() {
        for constants in kernel.settings() {
            let (module, info) = module(kernel, &constants);
            check(kernel, &constants, &module, &info);
        }
    }
}

#[test]
fn every_variant_lowers_to_every_language_that_has_what_it_needs() {
    each(|kernel, constants, module, info| {
        let what = format!("{} {constants:?}", kernel.name);
        let options = naga::back::spv::Options::default();
        naga::back::spv::write_vec(module, info, &options, None).unwrap_or_else(|e| panic!("{what}: {e}"));

        let options = naga::back::msl::Options {
            lang_version: (2, 4),
            fake_missing_bindings: true,
            ..Default::default()
        };
        let pipeline = naga::back::msl::PipelineOptions::default();
        naga::back::msl::write_string(module, info, &options, &pipeline)
            .unwrap_or_else(|e| panic!("{what}: {e}"));

        if kernel.needs.matrices {
            return; // HLSL has none
        }
        let options = naga::back::hlsl::Options {
            shader_model: naga::back::hlsl::ShaderModel::V6_2,
            fake_missing_bindings: true,
            ..Default::default()
        };
        let mut text = String::new();
        naga::back::hlsl::Writer::new(&mut text, &options, &Default::default())
            .write(module, info, None)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
    });
}

#[test]
fn parameters_lie_where_the_struct_has_them() {
    each(|kernel, _, module, _| {
        let uniform =
            module.global_variables.iter().map(|(_, v)| v).find(|v| v.space == AddressSpace::Uniform);
        let uniform = uniform.unwrap_or_else(|| panic!("{} has parameters", kernel.name));
        let TypeInner::Struct { members, span } = &module.types[uniform.ty].inner else {
            panic!("{}: the parameters are a struct", kernel.name)
        };
        assert_eq!(*span as usize, kernel.params.size, "{}", kernel.name);
        let theirs = members.iter().map(|m| {
            let kind = type_name(&module.types[m.ty].inner, module);
            (m.name.clone().expect("fields have names"), m.offset as usize, kind)
        });
        let ours =
            kernel.params.fields.iter().map(|&(n, o, t)| (n.to_owned(), o, t.replace("MOST_AXES", "6")));
        let means = |(name, ..): &(String, usize, String)| !name.starts_with("unused");
        assert!(theirs.filter(means).eq(ours.filter(means)), "{}", kernel.name);
    });
}

fn type_name(inner: &TypeInner, module: &Module) -> String {
    let scalar = |s: naga::Scalar| match s.kind {
        naga::ScalarKind::Uint => "u32",
        naga::ScalarKind::Float => "f32",
        other => panic!("parameters have no {other:?}"),
    };
    match inner {
        TypeInner::Scalar(s) => scalar(*s).to_owned(),
        TypeInner::Vector { size, scalar: s } => format!("[{}; {}]", scalar(*s), *size as u32),
        TypeInner::Array { base, size: naga::ArraySize::Constant(n), .. } => {
            format!("[{}; {n}]", type_name(&module.types[*base].inner, module))
        }
        other => panic!("parameters have no {other:?}"),
    }
}

#[test]
fn bindings_are_those_of_the_convention() {
    each(|kernel, constants, module, _| {
        let mut bound: Vec<_> = module
            .global_variables
            .iter()
            .filter_map(|(_, v)| v.binding.map(|b| (b.binding, v.space)))
            .collect();
        bound.sort_by_key(|(number, _)| *number);
        let what = format!("{} {constants:?}", kernel.name);
        assert_eq!(bound.len(), kernel.inputs + 2, "{what}");
        assert!(kernel.inputs < STORAGE_BINDINGS, "{what}");
        for (i, (number, space)) in bound.iter().enumerate() {
            assert_eq!(*number as usize, i, "{what}");
            let fits = match space {
                AddressSpace::Uniform => i == 0,
                AddressSpace::Storage { access } => {
                    let writes = access.contains(naga::StorageAccess::STORE);
                    i > 0 && writes == (i == kernel.inputs + 1)
                }
                _ => false,
            };
            assert!(fits, "{what}: binding {i} is {space:?}");
        }
    });
}

#[test]
fn every_kernel_keeps_the_limits_it_names() {
    each(|kernel, constants, module, _| {
        let what = format!("{} {constants:?}", kernel.name);
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).expect("types have sizes");
        let shared = module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|(_, v)| layouter[v.ty].size).sum();
        let entry = &module.entry_points[0];
        assert_eq!((entry.name.as_str(), module.entry_points.len()), ("main", 1), "{what}");
        let threads: u32 = entry.workgroup_size.iter().product();
        assert_eq!(threads, kernel.threads_with(constants), "{what}");
        assert!(threads <= THREADS, "{what}");
        assert!(bytes <= kernel.needs.shared, "{what}: {bytes} bytes of workgroup memory");
    });
}

/// WGSL has no includes, and each file stands by itself; so what several of them define must be one text.
#[test]
fn functions_of_one_name_have_one_text() {
    let mut seen: Vec<(&str, &str, &str)> = Vec::new();
    for kernel in all() {
        for name in [
            "exp_f32",
            "erfc_f32",
            "gelu",
            "log2_f32",
            "sum_of_all",
            "exp_quad",
            "erfc_quad",
            "gelu_quad",
            "store_pairs",
        ] {
            let Some(start) = kernel.source.find(&format!("fn {name}(")) else { continue };
            let end = start + kernel.source[start..].find("\n}\n").expect("a function ends");
            let text = &kernel.source[start..end];
            match seen.iter().find(|(other, ..)| *other == name) {
                Some((_, first, there)) => assert_eq!(text, *there, "{name} in {} and {first}", kernel.name),
                None => seen.push((name, kernel.name, text)),
            }
        }
    }
}
