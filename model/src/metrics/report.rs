//! An evaluation as the reference prints it. Source: evaluation spec, section 6.4.

use super::evaluation::{Evaluation, Mode, NoTarget};

/// Columns of a rule.
const WIDTH: usize = 60;

impl Evaluation {
    /// The report, line by line as the reference prints it. Counting abstentions adds a line that says so, and two rows.
    #[must_use]
    pub fn report(&self) -> String {
        let (title, counted) = match self.mode {
            Mode::OneToOne => ("1to1", "Total Samples"),
            Mode::MultiInst => ("multi_inst: 1toAll / 1toN", "Total Images Evaluated"),
        };
        if self.mode == Mode::MultiInst && self.count == 0 {
            return "No images evaluated.\n".to_owned();
        }
        let (double, single) = ("=".repeat(WIDTH), "-".repeat(WIDTH));
        let mut lines = vec![double.clone(), format!("  FULL EVALUATION REPORT ({title})"), double.clone()];
        lines.push(format!("{counted}: {}", self.count));
        if self.no_target == NoTarget::Abstain {
            lines.push("No target: 1 when nothing is predicted (abstain), else 0".to_owned());
        }
        lines.extend([single.clone(), format!("{:<30} | Score (%) ", "Metric"), single.clone()]);
        lines.push(row("gIoU", self.giou));
        lines.extend(self.miou.map(|miou| row("mIoU", miou)));
        lines.push(row("Precision @ 0.50", self.p_50));
        if self.no_target == NoTarget::Abstain {
            lines.push(row("N-acc (no target, silent)", self.abstention.n_acc()));
            lines.push(row("T-acc (target, answered)", self.abstention.t_acc()));
        }
        if let (Some(ap), Some(ap_50)) = (self.ap, self.ap_50) {
            lines.extend([single, row("AP (COCO 0.5:0.95)", ap), row("AP @ 0.50", ap_50)]);
        }
        lines.push(double);
        lines.join("\n") + "\n"
    }
}

fn row(name: &str, value: f64) -> String {
    let value = if value.is_nan() { "nan".to_owned() } else { format!("{value:.2}") };
    format!("{name:<30} | {value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Annotations, NoTarget, evaluate};

    #[test]
    fn halves_are_rounded_to_even() {
        for (value, text) in
            [(28.125, "28.12"), (34.375, "34.38"), (f64::NAN, "nan"), (-100.0, "-100.00"), (0.0, "0.00")]
        {
            assert_eq!(row("gIoU", value), format!("gIoU                           | {text}"));
        }
    }

    #[test]
    fn nothing_to_evaluate_is_said() {
        let none = Annotations::default();
        let report = |mode| evaluate(&none, &[], mode, NoTarget::Zero).expect("nothing").report();
        assert_eq!(report(Mode::MultiInst), "No images evaluated.\n");
        let report = report(Mode::OneToOne);
        for line in ["Total Samples: 0", "| nan", "mIoU                           | 0.00"] {
            assert!(report.contains(line), "{report}");
        }
    }
}
