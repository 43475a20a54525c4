//! Data sets and what they are measured by: annotation files, prediction files, gIoU, cIoU, P@0.5 and COCO's AP.
//!
//! From files to numbers, in this order: [`Annotations`] are read; [`queries()`] turns them into what a model is asked;
//! its answers become [`Record`]s, the prediction file; [`evaluate`] compares records with annotations and gives an
//! [`Evaluation`], whose [`report`](Evaluation::report) is the reference's, digit for digit. Masks are compared as
//! [`Runs`], never decoded.
//!
//! Source: evaluation spec, which describes the reference's `inference.py` and `evaluate.py` and pycocotools 2.0.11.

pub mod annotations;
mod average_precision;
mod evaluation;
mod id;
mod multi_inst;
mod one_to_one;
pub mod polygon;
pub mod predictions;
pub mod queries;
mod report;
pub mod runs;
mod shape;

pub use annotations::{Annotation, Annotations, Image, Instructions};
pub use evaluation::{Abstention, Evaluation, Group, Mode, NoTarget, Sample, evaluate};
pub use id::Id;
pub use predictions::{AskedPrompt, Prediction, Record, Score};
pub use queries::{Query, Select, queries};
pub use runs::Runs;
pub use shape::Shape;
