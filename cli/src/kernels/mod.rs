//! `sam3i kernels`: the bench on which kernels are listed, checked and timed.

mod bench;
mod check;
#[cfg(feature = "gpu")]
mod forms;
mod list;

use crate::outcome::Outcome;
use crate::terminal::{ReaderLeft, describe, error, line, start_logging};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Subcommand;
use sam3i_cases::list::{OPS, Op, find};
use sam3i_cases::variant::{Variant, gpu_variants, variants};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// What `sam3i kernels --help` ends with.
const EXAMPLES: &str = "\
Examples:
  sam3i kernels list
  sam3i kernels check softmax
  sam3i kernels check linear --device cpu-bf16 --cases 1000
  sam3i kernels bench attention --device cpu-avx512
  sam3i kernels check softmax --override softmax=my.wgsl --watch
  sam3i kernels bench softmax --override softmax=my.wgsl
  sam3i kernels list --device gpu --dtype f16

docs/adding-a-kernel.md walks through a change of a kernel.";

/// Arguments of `sam3i kernels`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to do with them.
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List every op, its forms, and the one a device takes
    List(list::Args),
    /// Run an op's property cases on this machine's variants, against the reference
    Check(check::Args),
    /// Time an op at the published model's shapes, against the machine's own peaks
    Bench(bench::Args),
}

/// Which ops, in which variants.
#[derive(Clone, Debug, clap::Args)]
struct Selection {
    /// The ops, by the names of `sam3i kernels list` [default: all; with --override those that use the kernel]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The variants: all, cpu (each of its), reference, or one by its name, such as cpu-avx2; repeat it for more
    #[arg(long, value_name = "VARIANT", default_value = "all")]
    device: Vec<String>,
    /// Run a WGSL text in place of our GPU kernel of that name, with all checks on; repeat it for more. `bench` times ours beside it
    #[arg(long = "override", value_name = "KERNEL=FILE.wgsl", value_parser = replacement)]
    overrides: Vec<Replacement>,
    /// Start again whenever a file of --override is saved
    #[arg(long, requires = "overrides")]
    watch: bool,
    /// Threads of the CPU variants [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// What the names of variants end with that run a text of the user's, and our own text in the same way.
const YOURS: &str = "-yours";
const OURS: &str = "-ours";

impl Selection {
    fn ops(&self) -> Result<Vec<&'static Op>> {
        let replaces =
            |op: &Op| op.gpu.iter().any(|kernel| self.overrides.iter().any(|r| r.kernel == kernel.name));
        if self.names.is_empty() {
            let all = OPS.iter().filter(|op| self.overrides.is_empty() || replaces(op));
            return Ok(all.collect());
        }
        let named: Vec<_> = self.names.iter().map(|name| op(name)).collect::<Result<_>>()?;
        for Replacement { kernel, .. } in &self.overrides {
            let of = |ops: &mut dyn Iterator<Item = &Op>| -> Vec<_> {
                ops.filter(|op| op.gpu.iter().any(|k| k.name == kernel)).map(|op| op.name).collect()
            };
            let users = of(&mut OPS.iter());
            let is_used = users.is_empty() || !of(&mut named.iter().copied()).is_empty();
            ensure!(
                is_used,
                "--override {kernel}: the ops that use it are {}; name one of them",
                users.join(", ")
            );
        }
        Ok(named)
    }

    /// The variants that were asked for, in their own order. With --override those with the user's text, and, if ours are to stand
    /// `beside` them, the reference, the GPU as it is, and our own text run as the user's is.
    fn variants(&self, beside: bool) -> Result<Vec<Variant>> {
        let texts: BTreeMap<_, _> = self.overrides.iter().map(Replacement::read).collect::<Result<_>>()?;
        let mut all = Vec::new();
        if texts.is_empty() || beside {
            all.extend(variants(self.threads.map(usize::from))?);
            all.extend(gpu_variants(&BTreeMap::new(), "")?);
        }
        if !texts.is_empty() {
            let yours = gpu_variants(&texts, YOURS)?;
            ensure!(!yours.is_empty(), "--override replaces GPU kernels, and this machine has no GPU");
            if beside {
                all.extend(gpu_variants(&self.our_texts(), OURS)?);
            }
            all.extend(yours);
        }
        let wants = |wanted: &str, name: &str| {
            let is_cpu = name.starts_with("cpu-");
            // A text for a GPU is not held against the CPU unless that is asked for.
            (wanted == "all" && (texts.is_empty() || !is_cpu))
                || name.trim_end_matches(YOURS).trim_end_matches(OURS) == wanted
                || name == wanted
                || (wanted == "cpu" && is_cpu)
        };
        if let Some(unknown) = self.device.iter().find(|w| !all.iter().any(|v| wants(w, &v.name))) {
            let names: Vec<_> = all.iter().map(|variant| variant.name.as_str()).collect();
            bail!("--device {unknown}: this machine has {}; or say cpu or all", names.join(", "));
        }
        let chosen = |variant: &Variant| self.device.iter().any(|wanted| wants(wanted, &variant.name));
        Ok(all.into_iter().filter(chosen).collect())
    }

    /// Our texts of the kernels that are replaced.
    fn our_texts(&self) -> BTreeMap<String, String> {
        let ours =
            OPS.iter().flat_map(|op| op.gpu).map(|kernel| (kernel.name.to_owned(), kernel.source.to_owned()));
        ours.filter(|(name, _)| self.overrides.iter().any(|replaced| replaced.kernel == *name)).collect()
    }

    /// Which of the replaced kernels a variant has run so far.
    fn ran<'a>(&'a self, variant: &'a Variant) -> impl Iterator<Item = &'a str> {
        let names = self.overrides.iter().map(|replaced| replaced.kernel.as_str());
        names.filter(|name| has_compiled(&variant.device, name))
    }

    /// # Errors
    /// If a text of the user's was never run: what was checked or timed then was ours.
    fn ensure_all_ran<'a>(&self, variants: impl Iterator<Item = &'a Variant> + Clone) -> Result<()> {
        let yours = variants.filter(|variant| variant.name.ends_with(YOURS));
        for Replacement { kernel, .. } in &self.overrides {
            let ran = yours.clone().any(|variant| has_compiled(&variant.device, kernel));
            ensure!(
                ran,
                "--override {kernel}: no call runs this kernel here; `sam3i kernels list --device gpu` says why"
            );
        }
        Ok(())
    }

    /// An error of a text of the user's, with the file's name where the compiler has none.
    fn in_files(&self, told: &str) -> String {
        let of = |r: &&Replacement| told.contains(&format!("kernel {} was refused", r.kernel));
        match self.overrides.iter().find(of) {
            // The parser calls a text `wgsl`, what comes after it calls it by the kernel.
            Some(Replacement { kernel, file }) => {
                ["wgsl", kernel.as_str()].iter().fold(told.to_owned(), |told, name| {
                    told.replace(&format!("─ {name}:"), &format!("─ {}:", file.display()))
                })
            }
            None => told.to_owned(),
        }
    }
}

#[cfg(feature = "gpu")]
fn has_compiled(device: &sam3i::Device, kernel: &str) -> bool {
    device.has_compiled(kernel)
}

#[cfg(not(feature = "gpu"))]
fn has_compiled(_: &sam3i::Device, _: &str) -> bool {
    false
}

fn op(name: &str) -> Result<&'static Op> {
    find(name).with_context(|| {
        let names: Vec<_> = OPS.iter().map(|op| op.name).collect();
        format!("there is no op {name}; the ops are {}", names.join(", "))
    })
}

/// A text of the user's for one of our kernels.
#[derive(Clone, Debug)]
struct Replacement {
    kernel: String,
    file: PathBuf,
}

fn replacement(text: &str) -> Result<Replacement, String> {
    let parts = text.split_once('=').filter(|(kernel, file)| !kernel.is_empty() && !file.is_empty());
    let (kernel, file) = parts.ok_or("give KERNEL=FILE.wgsl, such as softmax=my.wgsl")?;
    Ok(Replacement { kernel: kernel.to_owned(), file: file.into() })
}

impl Replacement {
    /// The kernel's name and the text.
    fn read(&self) -> Result<(String, String)> {
        let text = std::fs::read_to_string(&self.file).with_context(|| self.file.display().to_string())?;
        Ok((self.kernel.clone(), text))
    }

    /// When it was saved last; `None` while it is being replaced.
    fn saved(&self) -> Option<SystemTime> {
        std::fs::metadata(&self.file).and_then(|facts| facts.modified()).ok()
    }
}

/// Runs `f` once, or, to watch, again and again, whenever a file was saved; then errors are told and do not end it.
fn repeated(which: &Selection, f: impl Fn() -> Result<Outcome>) -> Result<Outcome> {
    let f = || {
        f().map_err(|problem| {
            let told = describe(&problem);
            let named = which.in_files(&told);
            if named == told { problem } else { anyhow!(named) }
        })
    };
    if !which.watch {
        return f();
    }
    let saved = || which.overrides.iter().map(Replacement::saved).collect::<Vec<_>>();
    loop {
        let before = saved();
        match f() {
            Err(gone) if gone.is::<ReaderLeft>() => return Err(gone),
            Err(problem) => error(&describe(&problem)),
            Ok(_) => {}
        }
        line("waiting for a file to be saved; Ctrl-C ends this");
        while saved() == before {
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Whether an op has a form of its own in this variant; rounded products are one only for ops that have products.
fn has_own_form(op: &Op, variant: &Variant) -> bool {
    match variant.name.trim_end_matches(YOURS).trim_end_matches(OURS) {
        "cpu-int8" => op.cpu.has_int8(),
        "cpu-bf16" | "gpu-f16" => op.cpu.has_products(),
        _ => true,
    }
}

/// Runs `sam3i kernels`.
pub fn run(args: &Args) -> Result<Outcome> {
    start_logging(0); // a form on matrix units that fails its trial is passed over with a warning
    match &args.verb {
        Verb::List(args) => list::run(args).map(|()| Outcome::Done),
        Verb::Check(args) => repeated(&args.which, || check::run(args)),
        Verb::Bench(args) => repeated(&args.which, || bench::run(args).map(|()| Outcome::Done)),
    }
}
