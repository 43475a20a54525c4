//! `sam3i bench --tune`: which forms of a GPU's kernels are the fastest on this machine.

use crate::terminal::Messages;
use anyhow::{Context, Result};
use sam3i::Device;
use sam3i::engine::gpu::{GpuOptions, Measured, TunedForms};
use sam3i_cases::checking::Plan;
use sam3i_cases::list;
use std::cell::RefCell;
use std::collections::HashMap;

/// Random cases a form has to pass before it is measured, beside what it computes at the model's own sizes.
const CASES: Plan = Plan { cases: 32, seed: 1, shrink: false };

/// Measures the forms of every call the model made on the device so far, stores what was found, and uses it from now on.
///
/// # Errors
/// When the device is no GPU, fails, or the cache cannot be written.
pub fn tune(device: &Device, messages: Messages) -> Result<()> {
    let options = device.gpu_options().with_context(|| {
        format!(
            "--tune measures the kernels of a GPU, and this is the {} device; add --device gpu",
            device.name()
        )
    })?;
    let passed = RefCell::new(HashMap::new());
    let allowed = |op: &str, form: &str| {
        let key = (op.to_owned(), form.to_owned());
        *passed
            .borrow_mut()
            .entry(key)
            .or_insert_with(|| agrees_with_the_reference(options, op, form, messages))
    };
    device.tune_gpu(&allowed, &mut |measured| messages.say(&line(measured)))?;
    if let Some(file) = device.store_tuned()? {
        messages.say(&format!("stored in {}", file.display()));
    }
    Ok(())
}

/// Whether an op in one form passes its cases on this GPU.
fn agrees_with_the_reference(options: &GpuOptions, op: &str, form: &str, messages: Messages) -> bool {
    let cases = list::find(if op == "product" { "linear" } else { op });
    let pinned = options.clone().form(op, form).tuned(TunedForms::Ignored);
    let problem = match (cases, Device::gpu(&pinned)) {
        (None, _) => Some(format!("{op} has no cases")),
        (_, Err(error)) => Some(error.to_string()),
        (Some(cases), Ok(device)) => cases.check(&device, CASES).failure.map(|failure| failure.problem),
    };
    if let Some(problem) = &problem {
        messages.warn(&format!("{op} is not run as {form} here: {problem}"));
    }
    problem.is_none()
}

fn line(measured: &Measured) -> String {
    let times =
        measured.times.iter().map(|(form, time)| format!("{form} {:.3} ms", 1e3 * time.as_secs_f64()));
    let refused = measured.refused.iter().map(|(form, reason)| format!("{form} not measured: {reason}"));
    let all: Vec<_> = times.chain(refused).collect();
    format!("{}: {} ({})", measured.call, measured.form, all.join(", "))
}
