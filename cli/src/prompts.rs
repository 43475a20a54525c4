//! `-p`, `--prompts`, `--level`, `--box`: what is asked of pictures.
//!
//! `--level` holds for the prompts behind it, so the order of the options matters; clap's derived structs lose it, and
//! [`PromptArgs`] reads it from the matches.

use crate::prompt_file::{self, Entry};
use crate::questions::Questions;
use crate::report::{BoxReport, PromptReport};
use crate::terminal::Messages;
use anyhow::{Context, Result, bail, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgMatches, Command, FromArgMatches};
use sam3i::text::Tokenizer;
use sam3i::{Config, Level, Prompt};
use std::path::PathBuf;

/// Most characters of a prompt in messages.
const LONGEST_TITLE: usize = 80;

/// The options as clap defines them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Prompts")]
#[group(skip)]
struct Options {
    /// What to find: a phrase or a sentence; may be repeated, the picture is looked at once
    #[arg(short, long, value_name = "TEXT")]
    prompt: Vec<String>,
    /// More prompts, from a file: one a line, or JSON, or JSON Lines, with levels, boxes and the pictures they are for
    #[arg(long, value_name = "FILE")]
    prompts: Vec<PathBuf>,
    /// How much the prompts that follow ask for: concept (a noun phrase), simple (a phrase that refers to something)
    /// or complex (an instruction) [default: simple]; it may stand behind a single prompt
    #[arg(long, value_name = "LEVEL", value_parser = level_parser(), hide_possible_values = true)]
    level: Vec<Level>,
    /// An example of what is meant, in pixels; goes with every prompt, or stands alone; may be repeated
    #[arg(id = "include", long = "box", value_name = "X0,Y0,X1,Y1", value_parser = parse_box)]
    #[arg(allow_hyphen_values = true)]
    include: Vec<[f32; 4]>,
    /// An example of what is not meant
    #[arg(id = "exclude", long = "neg-box", value_name = "X0,Y0,X1,Y1", value_parser = parse_box)]
    #[arg(allow_hyphen_values = true)]
    exclude: Vec<[f32; 4]>,
    /// Refuse a prompt that is longer than the model reads, instead of warning
    #[arg(long)]
    strict_prompt: bool,
}

/// A level by its name.
pub fn level_parser() -> impl TypedValueParser<Value = Level> {
    PossibleValuesParser::new(["concept", "simple", "complex"]).try_map(|name| name.parse::<Level>())
}

/// Four numbers with commas between them, left, top, right, bottom.
fn parse_box(text: &str) -> Result<[f32; 4], String> {
    let numbers: Vec<f32> = text.split(',').filter_map(|part| part.trim().parse().ok()).collect();
    let sides: Option<[f32; 4]> = numbers.try_into().ok().filter(|_| text.split(',').count() == 4);
    check_sides(sides.unwrap_or([f32::NAN; 4]))
}

/// The box again, if it is one.
fn check_sides([x0, y0, x1, y1]: [f32; 4]) -> Result<[f32; 4], String> {
    if ![x0, y0, x1, y1].iter().all(|side| side.is_finite()) {
        return Err("a box is four numbers: left,top,right,bottom in pixels, such as 10,20,110,90".to_owned());
    }
    if x1 <= x0 || y1 <= y0 {
        return Err(
            "the box is empty: its right must be beyond its left, its bottom below its top".to_owned()
        );
    }
    Ok([x0, y0, x1, y1])
}

/// One of the options, in the order they were given.
#[derive(Clone, Debug, PartialEq)]
enum Given {
    Text(String),
    File(PathBuf),
    Level(Level),
    Box([f32; 4], bool),
}

/// The options, in order.
#[derive(Clone, Debug, Default)]
pub struct PromptArgs {
    given: Vec<Given>,
    strict: bool,
}

impl clap::Args for PromptArgs {
    fn augment_args(command: Command) -> Command {
        Options::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Options::augment_args_for_update(command)
    }
}

impl FromArgMatches for PromptArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut placed = in_order(matches, "prompt", |text: &String| Given::Text(text.clone()));
        placed.extend(in_order(matches, "prompts", |path: &PathBuf| Given::File(path.clone())));
        placed.extend(in_order(matches, "level", |&level| Given::Level(level)));
        placed.extend(in_order(matches, "include", |&sides| Given::Box(sides, true)));
        placed.extend(in_order(matches, "exclude", |&sides| Given::Box(sides, false)));
        placed.sort_by_key(|(place, _)| *place);
        let given = placed.into_iter().map(|(_, given)| given).collect();
        Ok(Self { given, strict: matches.get_flag("strict_prompt") })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The values of an option with their places on the command line.
fn in_order<T: Clone + Send + Sync + 'static>(
    matches: &ArgMatches,
    id: &str,
    given: impl Fn(&T) -> Given,
) -> Vec<(usize, Given)> {
    let values = matches.get_many::<T>(id).into_iter().flatten().map(given);
    matches.indices_of(id).into_iter().flatten().zip(values).collect()
}

/// What is asked of a picture.
#[derive(Clone, Debug)]
pub struct Query {
    /// The sentence; `None` for boxes alone.
    pub text: Option<String>,
    /// Its level.
    pub level: Level,
    /// The example boxes.
    pub boxes: Vec<BoxReport>,
    /// All of it, as the model takes it.
    pub prompt: Prompt,
}

impl Query {
    /// A sentence, example boxes, or both.
    pub fn new(text: Option<String>, level: Level, boxes: &[BoxReport]) -> Self {
        let start = text.clone().map_or_else(Prompt::examples, Prompt::text).level(level);
        let prompt = boxes.iter().fold(start, |prompt, example| match example.positive {
            true => prompt.include_box(example.r#box),
            false => prompt.exclude_box(example.r#box),
        });
        Self { text, level, boxes: boxes.to_vec(), prompt }
    }

    /// What a person calls it: the sentence in quotes, or the boxes.
    pub fn title(&self) -> String {
        title(self.text.as_deref(), self.boxes.len())
    }

    /// What its finds are called.
    pub fn label(&self) -> &str {
        label(self.text.as_deref())
    }

    /// Whether a report's prompt asked this.
    pub fn is_of(&self, prompt: &PromptReport) -> bool {
        (&self.text, self.level.to_string(), &self.boxes)
            == (&prompt.text, prompt.level.clone(), &prompt.boxes)
    }
}

impl PromptReport {
    /// As [`Query::title`].
    pub fn title(&self) -> String {
        title(self.text.as_deref(), self.boxes.len())
    }
}

fn title(text: Option<&str>, boxes: usize) -> String {
    match (text, boxes) {
        (Some(text), _) => format!("\"{}\"", shortened(text)),
        (None, 1) => "1 example box".to_owned(),
        (None, count) => format!("{count} example boxes"),
    }
}

/// What the things are called that a text, or boxes alone, found.
pub fn label(text: Option<&str>) -> &str {
    text.map_or("like the example", str::trim)
}

/// The question of a prompt file's entry. Where it says nothing, the command line's level and boxes hold.
fn from_file(entry: &Entry, level: Level, boxes: &[BoxReport]) -> Result<Query> {
    let own = entry.boxes.iter().map(|&(sides, positive)| BoxReport { r#box: sides, positive });
    let own: Vec<BoxReport> = own.collect();
    let boxes = if own.is_empty() { boxes } else { &own };
    let query = match &entry.text {
        Some(text) => Query::new(Some(text.clone()), entry.level.unwrap_or(level), boxes),
        None => Query::new(None, Level::Concept, boxes),
    };
    let words = match &entry.text {
        Some(text) => Prompt::text(text),
        None => query.prompt.clone(),
    };
    for example in boxes {
        check_sides(example.r#box).map_err(anyhow::Error::msg).with_context(|| query.title())?;
    }
    if entry.text.is_some() || boxes.is_empty() {
        words.check(1, 1).with_context(|| query.title())?;
    }
    Ok(query)
}

/// A sentence on one line, its end cut off when it is very long.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_TITLE) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

impl PromptArgs {
    /// The questions, in the order of the prompts.
    ///
    /// # Errors
    /// When nothing is asked, a prompt is empty, a prompt file cannot be used, or a level belongs to no prompt.
    pub fn questions(&self) -> Result<Questions> {
        let boxes: Vec<BoxReport> = self.boxes().collect();
        let mut level = self.level_for_all()?;
        let mut questions = Questions::default();
        for given in &self.given {
            match given {
                Given::Level(now) => level = *now,
                Given::Box(..) => {}
                Given::Text(text) => {
                    let query = Query::new(Some(text.clone()), level, &boxes);
                    // No picture is known yet, and none matters to words alone.
                    Prompt::text(text).check(1, 1).with_context(|| format!("-p {text:?}"))?;
                    questions.add(None, query);
                }
                Given::File(path) => {
                    for entry in prompt_file::read(path)? {
                        let query = from_file(&entry, level, &boxes);
                        let query = query.with_context(|| path.display().to_string())?;
                        questions.add(entry.image.as_deref(), query);
                    }
                }
            }
        }
        if questions.is_empty() && boxes.is_empty() {
            bail!("nothing to look for: say it with -p \"...\", or show an example with --box X0,Y0,X1,Y1");
        }
        if questions.is_empty() {
            let levels =
                self.given.iter().any(|given| matches!(given, Given::Level(l) if *l != Level::Concept));
            ensure!(
                !levels,
                "example boxes without a prompt run at the level concept: leave --level out, or add -p"
            );
            questions.add(None, Query::new(None, Level::Concept, &boxes));
        }
        Ok(questions)
    }

    fn boxes(&self) -> impl Iterator<Item = BoxReport> {
        self.given.iter().filter_map(|given| match given {
            Given::Box(sides, positive) => Some(BoxReport { r#box: *sides, positive: *positive }),
            _ => None,
        })
    }

    /// The level of prompts with no `--level` before them. Behind a single prompt it can only mean that one; behind
    /// several it might mean all of them or the last.
    fn level_for_all(&self) -> Result<Level> {
        let texts =
            self.given.iter().filter(|given| matches!(given, Given::Text(_) | Given::File(_))).count();
        let levels = self.given.iter().filter(|given| matches!(given, Given::Level(_))).count();
        let last = self.given.iter().rfind(|given| !matches!(given, Given::Box(..)));
        match last {
            Some(Given::Level(level)) if (texts, levels) == (1, 1) => Ok(*level),
            Some(Given::Level(level)) if texts > 0 => {
                bail!(
                    "--level {level} is behind the last prompt: put it before the first -p it is for (it holds for \
                     every -p that follows)"
                )
            }
            _ => Ok(Level::default()),
        }
    }

    /// Warns of prompts whose end the model would not read.
    ///
    /// # Errors
    /// Instead of the warning with `--strict-prompt`.
    pub fn check_lengths<'a>(
        &self,
        queries: impl Iterator<Item = &'a Query>,
        config: &Config,
        messages: Messages,
    ) -> Result<()> {
        let context = config.text.ctx;
        let tokenizer = Tokenizer::new(config.text.vocab, context)?;
        for query in queries {
            let Some(text) = &query.text else { continue };
            let tokens = tokenizer.encode(text);
            if !tokens.truncated {
                continue;
            }
            let problem = format!("{} has {} tokens; the model reads {context}", query.title(), tokens.used);
            ensure!(
                !self.strict,
                "{problem}: shorten it, or leave out --strict-prompt to have its end ignored"
            );
            messages.warn(&format!("{problem} and ignores its end"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queries(line: &str) -> Result<Vec<(Option<String>, Level)>> {
        let command = <PromptArgs as clap::Args>::augment_args(Command::new("test").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split_whitespace())?;
        let questions = PromptArgs::from_arg_matches(&matches)?.questions()?;
        Ok(questions.all().map(|query| (query.text.clone(), query.level)).collect())
    }

    #[test]
    fn options_are_found_by_these_names() {
        let command = <PromptArgs as clap::Args>::augment_args(Command::new("test"));
        let ids: Vec<_> = command.get_arguments().map(|option| option.get_id().to_string()).collect();
        assert_eq!(ids, ["prompt", "prompts", "level", "include", "exclude", "strict_prompt"]);
    }

    #[test]
    fn a_level_holds_for_the_prompts_behind_it() {
        use Level::{Complex, Concept, Simple};
        let cases: [(&str, &[(&str, Level)]); 6] = [
            ("-p a", &[("a", Simple)]),
            ("-p a --level complex -p b", &[("a", Simple), ("b", Complex)]),
            (
                "--level concept -p a -p b --level simple -p c",
                &[("a", Concept), ("b", Concept), ("c", Simple)],
            ),
            ("-p a --level complex", &[("a", Complex)]),
            ("-p b --level concept --box 1,2,3,4", &[("b", Concept)]),
            ("--box 1,2,3,4 -p a", &[("a", Simple)]),
        ];
        for (line, expected) in cases {
            let expected: Vec<_> =
                expected.iter().map(|(text, level)| (Some((*text).to_owned()), *level)).collect();
            assert_eq!(queries(line).expect(line), expected, "{line}");
        }
        assert_eq!(queries("--box 1,2,3,4").expect("boxes"), [(None, Concept)]);
        assert_eq!(queries("--neg-box -9,2,3,4 --level concept").expect("boxes"), [(None, Concept)]);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let cases = [
            ("", "nothing to look for"),
            ("--level simple", "nothing to look for"),
            ("--level simple -p a --level complex", "before the first -p"),
            ("-p a -p b --level complex", "before the first -p"),
            ("--level simple --box 1,2,3,4", "at the level concept"),
            ("-p \u{200b}", "is empty"),
            ("--box 1,2,3", "four numbers"),
            ("--box 1,2,3,4,5", "four numbers"),
            ("--box 1,2,3,x", "four numbers"),
            ("--box 1,2,3,inf", "four numbers"),
            ("--box 3,2,1,4", "empty"),
            ("--level hard -p a", "hard"),
        ];
        for (line, words) in cases {
            let message = format!("{:#}", queries(line).expect_err(line));
            assert!(message.contains(words), "{line}: {message}");
        }
    }

    #[test]
    fn titles_are_one_line() {
        assert_eq!(shortened(" the mug\n left "), "the mug left");
        assert_eq!(shortened(&"é".repeat(99)), "é".repeat(80) + "…");
    }

    #[test]
    fn boxes_go_with_every_prompt_in_the_order_given() {
        let given = vec![
            Given::Box([1.0, 2.0, 3.0, 4.0], false),
            Given::Text("a".to_owned()),
            Given::Box([5.0, 6.0, 7.0, 8.0], true),
        ];
        let questions = PromptArgs { given, strict: false }.questions().expect("one prompt");
        let queries: Vec<&Query> = questions.all().collect();
        let prompt = Prompt::text("a").exclude_box([1.0, 2.0, 3.0, 4.0]).include_box([5.0, 6.0, 7.0, 8.0]);
        assert_eq!(queries[0].prompt, prompt);
        assert_eq!(queries[0].boxes.len(), 2);
    }
}
