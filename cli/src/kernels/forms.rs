//! Which forms a GPU has for the calls of an op, which it takes, and why not the others: a part of `sam3i kernels list`.

use sam3i::Device;
use sam3i::engine::DType;
use sam3i::engine::gpu::{Form, Offers, Source};
use sam3i_cases::list::Op;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A call of the published model, and what the GPU makes of it.
#[derive(Serialize)]
pub(super) struct Call {
    call: &'static str,
    takes: &'static str,
    because: &'static str,
    forms: Vec<FormLine>,
}

#[derive(Serialize)]
struct FormLine {
    name: &'static str,
    kernel: &'static str,
    /// Absent where the call could run in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

/// The calls of an op whose form a GPU chooses; none on other devices.
pub(super) fn calls(op: &Op, device: &Device) -> Vec<Call> {
    let half = device.dtype() == DType::F16;
    let jobs = op.published().into_iter();
    let offered = jobs.filter_map(|job| Some((job.what, device.gpu_offers(job.sizes?.site(half))?)));
    offered.map(|(call, offers)| Call::new(call, offers)).collect()
}

impl Call {
    fn new(call: &'static str, Offers { takes, source, forms, .. }: Offers) -> Self {
        let line = |Form { name, kernel, why_not, .. }| FormLine { name, kernel, why_not };
        Self { call, takes, because: because(source), forms: forms.into_iter().map(line).collect() }
    }
}

/// The forms that are taken, each once.
pub(super) fn taken(calls: &[Call]) -> String {
    let mut forms: Vec<_> = calls.iter().map(|call| call.takes).collect();
    forms.dedup();
    forms.join(", ")
}

fn because(source: Source) -> &'static str {
    match source {
        Source::User => "you chose it",
        Source::Tuned => "measured here (bench --tune)",
        Source::Table => "measured on such a GPU",
        Source::Rule => "the op's rule",
        _ => "it runs everywhere",
    }
}

/// The calls with what they take, then every form that some call has, and those that some call has not got, with the reasons.
pub(super) fn write(calls: &[Call], text: &mut String) -> std::fmt::Result {
    for Call { call, takes, because, .. } in calls {
        writeln!(text, "  {call:<52} {takes:<13} {because}")?;
    }
    let mut has: Vec<String> = Vec::new();
    let mut lacks: BTreeMap<&str, Vec<(&str, usize, usize)>> = BTreeMap::new();
    for FormLine { name, kernel, why_not } in calls.iter().flat_map(|call| &call.forms) {
        let calls_with_it =
            calls.iter().filter(|call| call.forms.iter().any(|form| form.name == *name)).count();
        let Some(why_not) = why_not else {
            let form = format!("{name} ({kernel})");
            if !has.contains(&form) {
                has.push(form);
            }
            continue;
        };
        let lacking = lacks.entry(why_not).or_default();
        match lacking.iter_mut().find(|(form, ..)| form == name) {
            Some((_, times, _)) => *times += 1,
            None => lacking.push((name, 1, calls_with_it)),
        }
    }
    writeln!(text, "  has {}", has.join(", "))?;
    for (reason, forms) in lacks {
        let told = |(form, times, all): (&str, usize, usize)| {
            if times == all { form.to_owned() } else { format!("{form} at {times} of {all}") }
        };
        writeln!(text, "  not {}: {reason}", forms.into_iter().map(told).collect::<Vec<_>>().join(", "))?;
    }
    Ok(())
}
