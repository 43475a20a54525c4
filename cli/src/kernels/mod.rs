//! `sam3i kernels`: the bench on which kernels are listed, checked and timed.

mod bench;
mod check;
mod list;

use crate::outcome::Outcome;
use crate::terminal::{ReaderLeft, describe, error, line, start_logging};
use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use sam3i_cases::list::{OPS, Op, find};
use sam3i_cases::variant::{Variant, gpu_variants, variants};
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
    /// The ops, by the names of `sam3i kernels list` [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The variants: all, cpu (each of its), reference, or one by its name, such as cpu-avx2; repeat it for more
    #[arg(long, value_name = "VARIANT", default_value = "all")]
    device: Vec<String>,
    /// Run a WGSL text in place of our GPU kernel of that name, with all checks on; repeat it for more
    #[arg(long = "override", value_name = "KERNEL=FILE.wgsl", value_parser = replacement)]
    overrides: Vec<Replacement>,
    /// Start again whenever a file of --override is saved
    #[arg(long, requires = "overrides")]
    watch: bool,
    /// Threads of the CPU variants [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Selection {
    fn ops(&self) -> Result<Vec<&'static Op>> {
        if self.names.is_empty() {
            return Ok(OPS.iter().collect());
        }
        self.names.iter().map(|name| op(name)).collect()
    }

    /// The variants that were asked for, in their own order.
    fn variants(&self) -> Result<Vec<Variant>> {
        let mut all = variants(self.threads.map(usize::from))?;
        let texts = self.overrides.iter().map(Replacement::read).collect::<Result<_>>()?;
        all.extend(gpu_variants(&texts)?);
        if !texts.is_empty() {
            ensure!(all.iter().any(is_gpu), "--override replaces GPU kernels, and this machine has no GPU");
            all.retain(is_gpu);
        }
        let wants = |wanted: &str, name: &str| {
            wanted == "all" || name == wanted || (wanted == "cpu" && name.starts_with("cpu-"))
        };
        if let Some(unknown) = self.device.iter().find(|w| !all.iter().any(|v| wants(w, &v.name))) {
            let names: Vec<_> = all.iter().map(|variant| variant.name.as_str()).collect();
            bail!("--device {unknown}: this machine has {}; or say cpu or all", names.join(", "));
        }
        let chosen = |variant: &Variant| self.device.iter().any(|wanted| wants(wanted, &variant.name));
        Ok(all.into_iter().filter(chosen).collect())
    }
}

fn op(name: &str) -> Result<&'static Op> {
    find(name).with_context(|| {
        let names: Vec<_> = OPS.iter().map(|op| op.name).collect();
        format!("there is no op {name}; the ops are {}", names.join(", "))
    })
}

fn is_gpu(variant: &Variant) -> bool {
    variant.name.starts_with("gpu")
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
    match variant.name.as_str() {
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
