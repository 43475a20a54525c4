//! `sam3i predict`: a data set's instructions answered, as a prediction file that `sam3i eval` and the reference's
//! `evaluate.py` read.
//!
//! Queries that mean the same are computed once, and a picture is looked at once for all of its queries. Answers go to a
//! journal beside the output as they come, so that a killed run goes on where it stopped. Source: evaluation spec, sections 3
//! to 5.

use crate::answers::{Answering, Asked};
use crate::device::{Chosen, DeviceArgs};
use crate::journal::{Journal, Settings};
use crate::merge::write_records;
use crate::model::{ModelArgs, missing_adapters};
use crate::outcome::Outcome;
use crate::output::{check_file, make_directory_of};
use crate::profile::{Profile, tables};
use crate::progress::Progress;
use crate::terminal::{self, Messages, line};
use crate::{stop, workers};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use sam3i::metrics::queries::{Query, Question, Select, queries};
use sam3i::metrics::{Annotations, Record};
use sam3i::picture::DecodeOptions;
use sam3i::text::Tokenizer;
use sam3i::{Checkpoint, Device, Level, Picture, ResizeMode, SegmentOptions};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Arguments of `sam3i predict`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The annotation file
    #[arg(long, value_name = "ANN.json")]
    annotations: PathBuf,
    /// The folder that the annotation file's picture names start from
    #[arg(long, value_name = "DIR")]
    image_root: PathBuf,
    /// The levels to ask, with commas between them: concept, simple, complex
    #[arg(long, value_name = "LEVEL", value_delimiter = ',', required = true)]
    categories: Vec<Level>,
    /// The prediction file to write; PRED.json.partial holds what is known until it is complete
    #[arg(short, long, value_name = "PRED.json")]
    output: PathBuf,
    /// Keep queries with a score above this
    #[arg(long, value_name = "P", default_value_t = 0.5, value_parser = probability)]
    threshold: f32,
    /// How pictures are resized
    #[arg(long, value_enum, default_value = "pillow")]
    resize: Resize,
    /// Turn pictures as their EXIF orientation says (the reference does not)
    #[arg(long)]
    exif: bool,
    /// Keep only the best prediction of each record
    #[arg(long)]
    keep_top1: bool,
    /// Also ask samples that have no annotation (the reference does not)
    #[arg(long)]
    unannotated: bool,
    /// Answer only the I-th of N parts, apart by picture; `sam3i merge` joins the parts
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Write the file without the records of pictures that cannot be read; else they are an error in the end
    #[arg(long)]
    skip_bad: bool,
    /// Nothing on stderr but warnings and errors
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// More on stderr: -v the time of every op, -vvv a line an op; RUST_LOG is heeded
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Tell on stderr where the time went, by stage and by op
    #[arg(long)]
    profile: bool,
}

/// The arithmetics of the resize.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Resize {
    /// The reference's batch script
    Pillow,
    /// The reference's interactive path on a CPU
    Exact8,
    /// The reference's interactive path on a GPU
    Float,
}

impl From<Resize> for ResizeMode {
    fn from(resize: Resize) -> Self {
        match resize {
            Resize::Pillow => Self::Pillow,
            Resize::Exact8 => Self::Exact8,
            Resize::Float => Self::Float,
        }
    }
}

fn probability(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("must be from 0 to 1".to_owned()) }
}

/// Part `index` of `count`, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    index: u64,
    count: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Self { index, count }),
            _ => Err("must be I/N with I from 1 to N, for instance 1/4".to_owned()),
        }
    }
}

impl Shard {
    /// Whether a picture belongs to it: decided by the name alone, so that a part stays what it is when others change.
    fn has(self, file_name: &str) -> bool {
        fnv1a64(file_name.as_bytes()) % self.count + 1 == self.index
    }
}

/// The 64-bit FNV-1a hash.
fn fnv1a64(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Runs `sam3i predict`.
pub fn run(args: &Args) -> Result<Outcome> {
    check_file(&args.output)?;
    terminal::start_logging(args.verbose);
    let messages = Messages::new(args.quiet, args.verbose > 0);
    let (mut asked, annotations_hash) = read_queries(args)?;
    let checkpoint = args.model.open(messages)?;
    if let Some(warning) = missing_adapters(&checkpoint, &args.categories) {
        messages.warn(&warning);
    }
    let chosen = args.device.start(Some(&checkpoint), messages)?;
    let copies = workers::count(&checkpoint, &chosen.device, None);
    args.device.check_memory(&chosen, &checkpoint, &args.categories, copies, messages)?;
    let settings = settings(args, annotations_hash, &checkpoint, &chosen)?;
    let path = Journal::path_for(&args.output);
    make_directory_of(&args.output)?;
    let mut journal = Journal::open(&path, &settings)?;
    if journal.len() > 0 {
        messages.say(&format!("{}: going on after {} answers", path.display(), journal.len()));
    }
    stop::watch()?;
    let ended = answer_all(args, &asked, &mut journal, checkpoint, &chosen.device, messages);
    let kept = |advice: &str| {
        messages.warn(&format!("{} answers are kept in {}; {advice}", journal.len(), path.display()));
    };
    let bad = match ended {
        Ok(_) if stop::asked() => {
            kept("the same command goes on from there");
            return Ok(Outcome::Interrupted);
        }
        Ok(bad) if !bad.is_empty() && !args.skip_bad => {
            let count = bad.len();
            kept(&format!(
                "{count} pictures could not be answered (told above): put them right and give the same command again, \
                 or add --skip-bad to write the file without them"
            ));
            return Ok(Outcome::SomeFailed);
        }
        Ok(bad) => bad,
        Err(error) => {
            kept("the same command goes on from there");
            return Err(error);
        }
    };
    if !bad.is_empty() {
        let count = bad.len();
        messages.warn(&format!("{count} pictures could not be answered: the file has no records of them"));
        asked.retain(|query| !bad.contains(&query.file_name));
    }
    let answered = |query: Query| -> Result<Record> {
        let found = journal.get(query.question()).context("an answer is missing")?.clone();
        Ok(query.answered(found))
    };
    let records: Result<Vec<Record>> = asked.into_iter().map(answered).collect();
    write_records(&args.output, records?, args.keep_top1, messages)?;
    journal.remove()?;
    Ok(Outcome::Done)
}

/// The queries of the shard, whose pictures all exist, and the hash of the annotation file.
fn read_queries(args: &Args) -> Result<(Vec<Query>, u64)> {
    let path = &args.annotations;
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let in_file = |problem: String| anyhow::anyhow!("{}: {problem}", path.display());
    let file = Annotations::from_json(&bytes).map_err(in_file)?;
    let select = Select::levels(&args.categories).unannotated(args.unannotated);
    let mut asked = queries(&file, &select).map_err(|e| in_file(e.to_string()))?;
    if asked.is_empty() {
        line(&format!("note: {} asks nothing at these levels", path.display()));
    }
    asked.retain(|query| args.shard.is_none_or(|shard| shard.has(&query.file_name)));
    let pictures: HashSet<PathBuf> =
        asked.iter().map(|query| args.image_root.join(&query.file_name)).collect();
    let missing: Vec<&PathBuf> = pictures.iter().filter(|picture| !picture.is_file()).collect();
    if let Some(first) = missing.iter().min().filter(|_| !args.skip_bad || missing.len() == pictures.len()) {
        let others = match missing.len() {
            1 => String::new(),
            count => format!(" ({count} of {} are missing)", pictures.len()),
        };
        bail!("{}: there is no such picture{others}; check --image-root", first.display());
    }
    Ok((asked, fnv1a64(&bytes)))
}

/// Everything that decides the answers.
fn settings(args: &Args, annotations: u64, checkpoint: &Checkpoint, chosen: &Chosen) -> Result<Settings> {
    let mut levels: Vec<String> = args.categories.iter().map(Level::to_string).collect();
    levels.sort();
    levels.dedup();
    let shard = args.shard.map_or("all".to_owned(), |shard| format!("{}/{}", shard.index, shard.count));
    let settings = [
        ("annotations", format!("hash {annotations:016x}")),
        ("image root", args.image_root.display().to_string()),
        ("categories", levels.join(",")),
        ("model", format!("hash {:016x}", checkpoint.fnv1a64()?)),
        ("model sizes", format!("hash {:016x}", fnv1a64(checkpoint.config().to_json().as_bytes()))),
        ("device", chosen.device.name().to_owned()),
        ("dtype", chosen.dtype.to_owned()),
        ("threshold", args.threshold.to_string()),
        ("resize", format!("{:?}", args.resize).to_lowercase()),
        ("exif", args.exif.to_string()),
        ("unannotated", args.unannotated.to_string()),
        ("shard", shard),
    ];
    Ok(settings.map(|(name, value)| (name.to_owned(), value)).into())
}

/// The questions that are still open, by picture, in the order in which they come first.
fn open_questions<'a>(args: &Args, asked: &'a [Query], journal: &Journal) -> Vec<Asked<'a>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut seen = HashSet::new();
    let mut pictures: Vec<Asked<'_>> = Vec::new();
    for question in asked.iter().map(Query::question) {
        if journal.get(question).is_some() || !seen.insert(question) {
            continue;
        }
        let place = *places.entry(question.0).or_insert(pictures.len());
        if place == pictures.len() {
            let (file_name, path) = (question.0, args.image_root.join(question.0));
            pictures.push(Asked { file_name, path, questions: Vec::new() });
        }
        pictures[place].questions.push(question);
    }
    pictures
}

/// Answers every open question into the journal, until Ctrl-C is pressed; the pictures that could not be answered.
fn answer_all(
    args: &Args,
    asked: &[Query],
    journal: &mut Journal,
    checkpoint: Checkpoint,
    device: &Device,
    messages: Messages,
) -> Result<BTreeSet<String>> {
    let pictures = open_questions(args, asked, journal);
    if pictures.is_empty() {
        return Ok(BTreeSet::new()); // nothing to load a model for
    }
    tell_truncated(&checkpoint, pictures.iter().flat_map(|asked| &asked.questions), messages)?;
    let progress = Progress::start(Some(pictures.len()), args.quiet);
    let decode = DecodeOptions::default().exif(args.exif);
    let logged = tracing::enabled!(target: "sam3i::op", tracing::Level::TRACE);
    let watched = args.profile || args.verbose > 0 || logged;
    let profile = watched.then(Arc::<Profile>::default);
    let answering = Answering {
        workers: workers::count(&checkpoint, device, Some(pictures.len())),
        checkpoint: Arc::new(checkpoint),
        device,
        resize: args.resize.into(),
        options: SegmentOptions::default().threshold(args.threshold),
        messages,
        skip_bad: args.skip_bad,
        profile: profile.clone(),
    };
    let bad = answering.run(pictures, move |path| Picture::open(&path, &decode), journal, progress);
    if let Some(profile) = profile.filter(|_| args.profile || args.verbose > 0) {
        line(tables(&profile.lines(1)).trim_end());
    }
    bad
}

/// Says how many instructions the model reads only the beginning of.
fn tell_truncated<'a>(
    checkpoint: &Checkpoint,
    questions: impl Iterator<Item = &'a Question<'a>>,
    messages: Messages,
) -> Result<()> {
    let most = checkpoint.config().text.ctx;
    let tokenizer = Tokenizer::new(checkpoint.config().text.vocab, most)?;
    let texts: HashSet<&str> = questions.map(|&(_, _, text)| text).collect();
    let cut: Vec<&str> = texts.into_iter().filter(|text| tokenizer.encode(text).truncated).collect();
    if let Some(example) = cut.iter().min() {
        let count = cut.len();
        messages.warn(&format!(
            "{count} instructions are longer than {most} tokens and were cut, for instance {example:?}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_is_in_exactly_one_shard() {
        for count in [1, 2, 3, 7] {
            for picture in ["a.jpg", "train2017/000000000139.jpg", ""] {
                let owners = (1..=count).filter(|&index| Shard { index, count }.has(picture)).count();
                assert_eq!(owners, 1, "{picture} in {count}");
            }
        }
    }

    #[test]
    fn shards_are_counted_from_one() {
        for (text, shard) in [("1/4", Some((1, 4))), ("4/4", Some((4, 4))), ("1/1", Some((1, 1)))] {
            assert_eq!(text.parse().ok(), shard.map(|(index, count)| Shard { index, count }), "{text}");
        }
        for text in ["0/4", "5/4", "1/0", "0/0", "1", "/", "a/b", "-1/4", "1/4/5", "99999999999999999999/1"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn thresholds_are_probabilities() {
        assert!(["0", "0.5", "1"].into_iter().all(|text| probability(text).is_ok()));
        assert!(["-0.1", "1.5", "NaN", "x", ""].into_iter().all(|text| probability(text).is_err()));
    }
}
