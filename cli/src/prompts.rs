//! `-p`, `--prompts`, `--level`, `--box`, `--point`: what is asked of pictures.
//!
//! `--level` holds for the prompts behind it, so the order of the options matters; clap's derived structs lose it, and
//! [`PromptArgs`] reads it from the matches.

use crate::examples::{Example, Examples, parse_box, parse_point};
use crate::prompt_file::{self, Entry};
use crate::query::Query;
use crate::questions::Questions;
use crate::terminal::Messages;
use anyhow::{Context, Result, bail, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgMatches, Command, FromArgMatches};
use sam3i::text::Tokenizer;
use sam3i::{Checkpoint, Config, Level, Prompt};
use std::path::PathBuf;

/// The options as clap defines them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Prompts")]
#[group(skip)]
struct Options {
    /// What to find: a phrase or a sentence; may be repeated, the picture is looked at once
    #[arg(short, long, value_name = "TEXT")]
    prompt: Vec<String>,
    /// More prompts, from a file: one a line, or JSON, or JSON Lines, with levels, thresholds, boxes and the pictures they
    /// are for; - reads standard input
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
    /// A point on something that is meant, in pixels; goes with every prompt, or stands alone; may be repeated. The published
    /// network takes points, the programs it was published with never give it any: see what they do before you rely on them
    #[arg(id = "point", long = "point", value_name = "X,Y", value_parser = parse_point)]
    #[arg(allow_hyphen_values = true)]
    point: Vec<[f32; 2]>,
    /// A point on something that is not meant
    #[arg(id = "neg_point", long = "neg-point", value_name = "X,Y", value_parser = parse_point)]
    #[arg(allow_hyphen_values = true)]
    neg_point: Vec<[f32; 2]>,
    /// Refuse a prompt that is longer than the model reads, instead of warning
    #[arg(long)]
    strict_prompt: bool,
}

/// A level by its name.
pub fn level_parser() -> impl TypedValueParser<Value = Level> {
    PossibleValuesParser::new(["concept", "simple", "complex"]).try_map(|name| name.parse::<Level>())
}

/// One of the options, in the order they were given.
#[derive(Clone, Debug, PartialEq)]
enum Given {
    Text(String),
    File(PathBuf),
    Level(Level),
    Example(Example),
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
        for (id, positive) in [("include", true), ("exclude", false)] {
            let given = |&sides: &[f32; 4]| Given::Example(Example::Box(sides, positive));
            placed.extend(in_order(matches, id, given));
        }
        for (id, positive) in [("point", true), ("neg_point", false)] {
            let given = |&point: &[f32; 2]| Given::Example(Example::Point(point, positive));
            placed.extend(in_order(matches, id, given));
        }
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

/// The question of a prompt file's entry. Where it says nothing, the command line's level and examples hold.
fn from_file(entry: &Entry, level: Level, examples: &Examples) -> Result<Query> {
    let examples = if entry.examples.is_empty() { examples } else { &entry.examples };
    let query = match &entry.text {
        Some(text) => Query::new(Some(text.clone()), entry.level.unwrap_or(level), examples),
        None => Query::new(None, Level::Concept, examples),
    };
    let query = query.with_threshold(entry.threshold);
    let words = match &entry.text {
        Some(text) => Prompt::text(text),
        None => query.prompt.clone(),
    };
    examples.check().map_err(anyhow::Error::msg).with_context(|| query.title())?;
    if entry.text.is_some() || examples.is_empty() {
        words.check(1, 1).with_context(|| query.title())?;
    }
    Ok(query)
}

impl PromptArgs {
    /// The questions, in the order of the prompts.
    ///
    /// # Errors
    /// When nothing is asked, a prompt is empty, a prompt file cannot be used, or a level belongs to no prompt.
    pub fn questions(&self) -> Result<Questions> {
        let examples: Examples = self.examples().collect();
        let mut level = self.level_for_all()?;
        let mut questions = Questions::default();
        for given in &self.given {
            match given {
                Given::Level(now) => level = *now,
                Given::Example(_) => {}
                Given::Text(text) => {
                    let query = Query::new(Some(text.clone()), level, &examples);
                    // No picture is known yet, and none matters to words alone.
                    Prompt::text(text).check(1, 1).with_context(|| format!("-p {text:?}"))?;
                    questions.add(None, query);
                }
                Given::File(path) => {
                    for entry in prompt_file::read(path)? {
                        let query = from_file(&entry, level, &examples);
                        let query = query.with_context(|| prompt_file::title(path))?;
                        questions.add(entry.image.as_deref(), query);
                    }
                }
            }
        }
        if questions.is_empty() && examples.is_empty() {
            bail!("nothing to look for: say it with -p \"...\", or show an example with --box X0,Y0,X1,Y1");
        }
        if questions.is_empty() {
            let levels =
                self.given.iter().any(|given| matches!(given, Given::Level(l) if *l != Level::Concept));
            ensure!(
                !levels,
                "examples without a prompt run at the level concept: leave --level out, or add -p"
            );
            questions.add(None, Query::new(None, Level::Concept, &examples));
        }
        Ok(questions)
    }

    /// Whether prompts are read from standard input.
    ///
    /// # Errors
    /// When they are to be read from there twice.
    pub fn reads_stdin(&self) -> Result<bool> {
        let files = self
            .given
            .iter()
            .filter(|given| matches!(given, Given::File(path) if prompt_file::is_stdin(path)));
        let count = files.count();
        ensure!(count <= 1, "--prompts -: standard input can be read only once: give it once");
        Ok(count == 1)
    }

    fn examples(&self) -> impl Iterator<Item = Example> {
        self.given.iter().filter_map(|given| match given {
            Given::Example(example) => Some(*example),
            _ => None,
        })
    }

    /// The level of prompts with no `--level` before them. Behind a single prompt it can only mean that one; behind
    /// several it might mean all of them or the last.
    fn level_for_all(&self) -> Result<Level> {
        let texts =
            self.given.iter().filter(|given| matches!(given, Given::Text(_) | Given::File(_))).count();
        let levels = self.given.iter().filter(|given| matches!(given, Given::Level(_))).count();
        let last = self.given.iter().rfind(|given| !matches!(given, Given::Example(_)));
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

/// Warns of points, which no published program gives the model.
///
/// # Errors
/// When the checkpoint cannot take points.
pub fn check_points(questions: &Questions, checkpoint: &Checkpoint, messages: Messages) -> Result<()> {
    if questions.all().all(|query| query.examples.points.is_empty()) {
        return Ok(());
    }
    if !checkpoint.point_prompts() {
        return Err(sam3i::Error::NoPointPrompts).context("--point");
    }
    messages.warn(
        "points: the published network has weights for them, but the programs it came with never use them; look at \
         what they do, or show an example with --box",
    );
    Ok(())
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
        assert_eq!(
            ids,
            ["prompt", "prompts", "level", "include", "exclude", "point", "neg_point", "strict_prompt"]
        );
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
        assert_eq!(queries("--point 1,2 --neg-point -3,4").expect("points"), [(None, Concept)]);
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
            ("--point 1,2,3", "two numbers"),
            ("--level simple --point 1,2", "at the level concept"),
            ("--level hard -p a", "hard"),
        ];
        for (line, words) in cases {
            let message = format!("{:#}", queries(line).expect_err(line));
            assert!(message.contains(words), "{line}: {message}");
        }
    }

    #[test]
    fn examples_go_with_every_prompt_in_the_order_given() {
        let given = vec![
            Given::Example(Example::Box([1.0, 2.0, 3.0, 4.0], false)),
            Given::Text("a".to_owned()),
            Given::Example(Example::Point([9.0, 9.0], true)),
            Given::Example(Example::Box([5.0, 6.0, 7.0, 8.0], true)),
        ];
        let questions = PromptArgs { given, strict: false }.questions().expect("one prompt");
        let queries: Vec<&Query> = questions.all().collect();
        let prompt = Prompt::text("a").exclude_box([1.0, 2.0, 3.0, 4.0]).include_box([5.0, 6.0, 7.0, 8.0]);
        assert_eq!(queries[0].prompt, prompt.point([9.0, 9.0], true));
        assert_eq!(queries[0].examples.boxes.len(), 2);
    }
}
