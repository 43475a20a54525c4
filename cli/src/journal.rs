//! The journal of a run that may be killed: every answer as a line of JSON, written whole as soon as it is known.
//!
//! The first line holds the settings of the run; a journal of other settings is refused. A last line that was cut off is
//! dropped and its answer computed again.

use anyhow::{Context, Result, bail, ensure};
use sam3i::Level;
use sam3i::metrics::Prediction;
use sam3i::metrics::queries::Question;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Version of the journal's form.
const VERSION: u32 = 1;

/// Everything that decides the answers, by name.
pub type Settings = BTreeMap<String, String>;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    journal: u32,
    settings: Settings,
}

/// Any other line.
#[derive(Serialize, Deserialize)]
struct Line {
    file_name: String,
    level: String,
    text: String,
    predictions: Vec<Prediction>,
}

/// An open journal. No other process can open it meanwhile.
pub struct Journal {
    path: PathBuf,
    file: File,
    answers: HashMap<(String, Level, String), Vec<Prediction>>,
}

impl Journal {
    /// Where the journal of a prediction file is.
    pub fn path_for(output: &Path) -> PathBuf {
        let mut name = output.as_os_str().to_owned();
        name.push(".partial");
        name.into()
    }

    /// Opens the journal at `path`, or begins it.
    ///
    /// # Errors
    /// When it cannot be written, is in use, is damaged or no journal, or belongs to other settings.
    pub fn open(path: &Path, settings: &Settings) -> Result<Self> {
        let name = || path.display().to_string();
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = options.with_context(name)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{}: another sam3i predict is writing it", name()),
            Err(TryLockError::Error(e)) => return Err(e).with_context(name),
        }
        let mut journal = Self { path: path.to_owned(), file, answers: HashMap::new() };
        journal.resume(settings).with_context(name)?;
        Ok(journal)
    }

    /// Answers it holds.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// The answer to a question, if it is known.
    pub fn get(&self, (file_name, level, text): Question<'_>) -> Option<&Vec<Prediction>> {
        self.answers.get(&(file_name.to_owned(), level, text.to_owned()))
    }

    /// Adds an answer.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(
        &mut self,
        (file_name, level, text): Question<'_>,
        predictions: Vec<Prediction>,
    ) -> Result<()> {
        let (file_name, text) = (file_name.to_owned(), text.to_owned());
        let line = Line { file_name, level: level.to_string(), text, predictions };
        self.write(&line)?;
        self.answers.insert((line.file_name, level, line.text), line.predictions);
        Ok(())
    }

    /// Removes it: what it held is in the prediction file.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path).with_context(|| self.path.display().to_string())
    }

    fn resume(&mut self, settings: &Settings) -> Result<()> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        let header = Header { journal: VERSION, settings: settings.clone() };
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let mut lines = bytes[..whole].split_inclusive(|&byte| byte == b'\n');
        match lines.next() {
            Some(first) => check_header(first, settings)?,
            None => {
                let begun = serde_json::to_string(&header)?.into_bytes();
                ensure!(begun.starts_with(&bytes), NO_JOURNAL);
            }
        }
        for (number, line) in lines.enumerate() {
            let damaged = || format!("line {} is damaged; remove the file to start anew", number + 2);
            let line: Line = serde_json::from_slice(line).with_context(damaged)?;
            let level = line.level.parse().map_err(anyhow::Error::msg).with_context(damaged)?;
            self.answers.insert((line.file_name, level, line.text), line.predictions);
        }
        self.file.set_len(whole as u64)?;
        self.file.seek(SeekFrom::End(0))?;
        if whole == 0 { self.write(&header) } else { Ok(()) }
    }

    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(line)? + "\n";
        self.file.write_all(line.as_bytes()).with_context(|| self.path.display().to_string())
    }
}

const NO_JOURNAL: &str = "not a journal of sam3i predict; move the file away";

fn check_header(line: &[u8], settings: &Settings) -> Result<()> {
    let header: Header = serde_json::from_slice(line).context(NO_JOURNAL)?;
    ensure!(
        header.journal == VERSION,
        "a journal of another version of sam3i; remove the file to start anew"
    );
    let names = settings.keys().chain(header.settings.keys().filter(|name| !settings.contains_key(*name)));
    let value = |settings: &Settings, name: &str| settings.get(name).cloned().unwrap_or("none".to_owned());
    let differences: Vec<String> = names
        .filter(|name| settings.get(*name) != header.settings.get(*name))
        .map(|name| format!("{name} was {}, now {}", value(&header.settings, name), value(settings, name)))
        .collect();
    ensure!(
        differences.is_empty(),
        "begun with other arguments: {}; use the same ones to go on, or remove the file to start anew",
        differences.join("; ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sam3i::metrics::{Score, Shape};
    use std::fs;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("sam3i-journal-{name}-{}", std::process::id()));
            drop(fs::remove_file(&path));
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_file(&self.0));
        }
    }

    fn settings(model: &str) -> Settings {
        Settings::from([("model".to_owned(), model.to_owned()), ("threshold".to_owned(), "0.5".to_owned())])
    }

    fn found(score: f64) -> Vec<Prediction> {
        vec![Prediction { rle: Shape::Absent, score: Score::Value(score) }]
    }

    fn refusal(path: &Path, settings: &Settings) -> String {
        match Journal::open(path, settings) {
            Ok(_) => panic!("it was accepted"),
            Err(error) => format!("{error:#}"),
        }
    }

    const A: Question<'_> = ("a.png", Level::Simple, "the \"left\" mug\n");
    const B: Question<'_> = ("b.png", Level::Concept, "mug");

    #[test]
    fn whole_lines_are_kept_and_a_half_one_is_dropped() {
        let scratch = Scratch::new("half");
        let mut journal = Journal::open(&scratch.0, &settings("x")).expect("begun");
        journal.add(A, found(0.5)).expect("written");
        let one = fs::metadata(&scratch.0).expect("there").len();
        journal.add(B, found(0.75)).expect("written");
        drop(journal);
        let all = fs::read(&scratch.0).expect("read");
        for end in 0..=all.len() {
            fs::write(&scratch.0, &all[..end]).expect("cut");
            let mut journal = Journal::open(&scratch.0, &settings("x")).expect("resumed");
            assert_eq!(journal.get(A).is_some(), end as u64 >= one, "{end}");
            assert_eq!(journal.get(B).is_some(), end == all.len(), "{end}");
            for (question, score) in [(A, 0.5), (B, 0.75)] {
                if journal.get(question).is_none() {
                    journal.add(question, found(score)).expect("written");
                }
            }
            drop(journal);
            assert_eq!(fs::read(&scratch.0).expect("read"), all, "{end}");
        }
    }

    #[test]
    fn what_belongs_to_another_run_is_refused_and_left_alone() {
        let scratch = Scratch::new("other");
        drop(Journal::open(&scratch.0, &settings("x")).expect("begun"));
        let message = refusal(&scratch.0, &settings("y"));
        assert!(message.contains("model was x, now y") && !message.contains("threshold"), "{message}");
        for text in ["notes", "notes\n", "{\"journal\":9,\"settings\":{}}\n"] {
            fs::write(&scratch.0, text).expect("written");
            refusal(&scratch.0, &settings("x"));
            assert_eq!(fs::read_to_string(&scratch.0).expect("read"), text);
        }
    }

    #[test]
    fn damage_within_is_named_by_its_line() {
        let scratch = Scratch::new("damage");
        let mut journal = Journal::open(&scratch.0, &settings("x")).expect("begun");
        journal.add(A, found(0.5)).expect("written");
        drop(journal);
        let text = fs::read_to_string(&scratch.0).expect("read");
        fs::write(&scratch.0, text.replace("\"simple\"", "\"sample\"")).expect("written");
        assert!(refusal(&scratch.0, &settings("x")).contains("line 2 is damaged"));
    }

    #[test]
    fn two_runs_cannot_share_one() {
        let scratch = Scratch::new("lock");
        let journal = Journal::open(&scratch.0, &settings("x")).expect("begun");
        assert!(refusal(&scratch.0, &settings("x")).contains("another sam3i predict"));
        assert_eq!(journal.len(), 0);
        journal.remove().expect("removed");
        assert!(!scratch.0.exists());
    }
}
