//! `sam3i kernels`: the bench on which kernels are listed, checked and timed.

mod bench;
mod check;
mod list;

use crate::outcome::Outcome;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use sam3i_cases::list::{OPS, Op, find};
use sam3i_cases::variant::{CpuForm, Variant, variants};

/// What `sam3i kernels --help` ends with.
const EXAMPLES: &str = "\
Examples:
  sam3i kernels list
  sam3i kernels check softmax
  sam3i kernels check linear --device cpu-bf16 --cases 1000
  sam3i kernels bench attention --device cpu-avx512

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
        let all = variants(self.threads.map(usize::from))?;
        let wants = |wanted: &str, name: &str| {
            wanted == "all" || wanted == name || (wanted == "cpu" && name.starts_with("cpu-"))
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

/// Whether an op has a form of its own in this variant; bf16 is one only for ops with bf16 products.
fn has_own_form(op: &Op, variant: &Variant) -> bool {
    variant.name != "cpu-bf16" || op.cpu == CpuForm::PerSetAndBf16
}

/// Runs `sam3i kernels`.
pub fn run(args: &Args) -> Result<Outcome> {
    match &args.verb {
        Verb::List(args) => list::run(args).map(|()| Outcome::Done),
        Verb::Check(args) => check::run(args),
        Verb::Bench(args) => bench::run(args).map(|()| Outcome::Done),
    }
}
