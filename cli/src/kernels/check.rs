//! `sam3i kernels check`: property cases on every variant, against the reference.

use super::{Selection, YOURS, has_own_form};
use crate::outcome::Outcome;
use crate::terminal::{error, print};
use anyhow::Result;
use sam3i_cases::checking::{Checked, Plan};
use sam3i_cases::list::Op;
use sam3i_cases::variant::Variant;
use serde::Serialize;

/// Longest case that is printed, in characters: small cases are made small anyway.
const LONGEST_CASE: usize = 2000;

/// Arguments of `sam3i kernels check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) which: Selection,
    /// Random cases of each op
    #[arg(long, value_name = "N", default_value = "64")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    cases: u32,
    /// What the cases are made from: another number gives other cases
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// One JSON object an op and variant instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    op: &'static str,
    variant: &'a str,
    cases: u32,
    largest_error: f32,
    /// Of its tolerance, 1 just fits; absent where it is exact.
    share_of_tolerance: Option<f32>,
    exact: bool,
    ok: bool,
    problem: Option<String>,
    failing_case: Option<String>,
}

/// Runs `sam3i kernels check`.
pub fn run(args: &Args) -> Result<Outcome> {
    let variants = args.which.variants(false)?;
    let ops = args.which.ops()?;
    if !args.json {
        print(&format!(
            "{:<15} {:<13} {:>6} {:>12}  {:<13} result\n",
            "op", "variant", "cases", "worst error", "of tolerance"
        ))?;
    }
    let mut failed = false;
    for op in ops {
        for variant in variants.iter().filter(|variant| has_own_form(op, variant)) {
            let plan = Plan { cases: args.cases, seed: args.seed, shrink: true };
            let checked = variant.device.run(|| op.check(&variant.device, plan));
            if is_ours(&args.which, variant, &checked) {
                continue;
            }
            failed |= checked.failure.is_some();
            let line = Line::new(&args.which, op, variant, checked);
            let told = if args.json { print(&(serde_json::to_string(&line)? + "\n")) } else { line.tell() };
            if failed && told.is_err() {
                return Ok(Outcome::SomeFailed); // the exit code still counts when nobody reads
            }
            told?;
        }
    }
    if !failed {
        args.which.ensure_all_ran(variants.iter())?;
    }
    Ok(if failed { Outcome::SomeFailed } else { Outcome::Done })
}

/// Whether a variant that was to run a text of the user's has run ours only: a form in f16 without weights in f16, say.
fn is_ours(which: &Selection, variant: &Variant, checked: &Checked) -> bool {
    variant.name.ends_with(YOURS) && checked.failure.is_none() && which.ran(variant).next().is_none()
}

impl<'a> Line<'a> {
    fn new(which: &Selection, op: &Op, variant: &'a Variant, checked: Checked) -> Self {
        let exact = op.exact.on(&variant.device);
        let ok = checked.failure.is_none();
        let (failing_case, problem) =
            checked.failure.map(|f| (shortened(f.case), which.in_files(&f.problem))).unzip();
        Line {
            schema: 1,
            op: op.name,
            variant: &variant.name,
            cases: checked.cases,
            largest_error: checked.largest,
            share_of_tolerance: (!exact).then_some(checked.share),
            exact,
            ok,
            problem,
            failing_case,
        }
    }

    fn tell(&self) -> Result<()> {
        let Line { op, variant, cases, largest_error, .. } = self;
        let share = match self.share_of_tolerance {
            Some(share) => format!("{:.1} %", 100.0 * share),
            None => "exact".to_owned(),
        };
        let result = if self.ok { "ok" } else { "FAILED" };
        print(&format!("{op:<15} {variant:<13} {cases:>6} {largest_error:>12.1e}  {share:<13} {result}\n"))?;
        if let Some(problem) = &self.problem {
            let case = self.failing_case.as_deref().filter(|case| !case.is_empty());
            let case = case.map_or_else(String::new, |case| format!("\n  the smallest failing case: {case}"));
            error(&format!("{op} on {variant}: {problem}{case}"));
        }
        Ok(())
    }
}

/// A case that can be read.
fn shortened(case: String) -> String {
    match case.char_indices().nth(LONGEST_CASE) {
        Some((cut, _)) => format!("{}... ({} characters)", &case[..cut], case.len()),
        None => case,
    }
}
