//! What is asked of which picture.

use crate::query::Query;
use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::path::{Component, Path};

/// All questions of a run, in order.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    queries: Vec<Query>,
    /// The questions for every picture.
    common: Vec<usize>,
    /// The questions for pictures whose paths end so.
    own: HashMap<String, Vec<usize>>,
}

impl Questions {
    /// Adds a question, for every picture or for those whose paths end with `image`.
    pub fn add(&mut self, image: Option<&str>, query: Query) {
        let index = self.queries.len();
        self.queries.push(query);
        match image {
            None => self.common.push(index),
            Some(image) => match self.own.entry(parts(Path::new(image)).join("/")) {
                Entry::Occupied(mut held) => held.get_mut().push(index),
                Entry::Vacant(free) => drop(free.insert(vec![index])),
            },
        }
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Query> {
        self.queries.iter()
    }

    /// What is asked of a picture.
    pub fn of(&self, picture: &Path) -> Vec<&Query> {
        let mut indices = self.common.clone();
        if !self.own.is_empty() {
            indices.extend(endings(picture).filter_map(|ending| self.own.get(&ending)).flatten());
            indices.sort_unstable();
        }
        indices.into_iter().map(|index| &self.queries[index]).collect()
    }

    /// The pictures that questions name and that are not among these, in alphabetical order.
    pub fn unknown<'a>(&self, pictures: impl Iterator<Item = &'a Path>) -> Vec<&str> {
        if self.own.is_empty() {
            return Vec::new();
        }
        let known: HashSet<String> = pictures.flat_map(endings).collect();
        let mut unknown: Vec<&str> =
            self.own.keys().filter(|name| !known.contains(*name)).map(String::as_str).collect();
        unknown.sort_unstable();
        unknown
    }

    /// What the questions call what they find, each once, in order.
    pub fn labels(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        self.queries.iter().map(Query::label).filter(|label| seen.insert(*label)).map(str::to_owned).collect()
    }
}

fn parts(path: &Path) -> Vec<String> {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_)));
    names.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
}

/// The file name, the file name with its directory, and so on.
fn endings(path: &Path) -> impl Iterator<Item = String> {
    let parts = parts(path);
    (0..parts.len()).rev().map(move |start| parts[start..].join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::Examples;
    use sam3i::Level;

    #[test]
    fn pictures_are_known_by_the_end_of_their_paths() {
        let mut questions = Questions::default();
        for (image, text) in [
            (Some("a.png"), "one"),
            (None, "two"),
            (Some("x/a.png"), "three"),
            (Some("./b.png"), "one"),
            (Some("c.png"), "four"),
        ] {
            questions.add(image, Query::new(Some(text.to_owned()), Level::Simple, &Examples::default()));
        }
        let asked = |picture: &str| -> Vec<String> {
            questions.of(Path::new(picture)).into_iter().map(|query| query.label().to_owned()).collect()
        };
        assert_eq!(asked("/p/x/a.png"), ["one", "two", "three"]);
        assert_eq!(asked("a.png"), ["one", "two"]);
        assert_eq!(asked("aa.png"), ["two"]);
        assert_eq!(asked("../b.png"), ["two", "one"]);
        let pictures = ["p/x/a.png", "b.png"].map(Path::new);
        assert_eq!(questions.unknown(pictures.into_iter()), ["c.png"]);
        assert_eq!(questions.labels(), ["one", "two", "three", "four"]);
    }
}
