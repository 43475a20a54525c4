//! From arguments to pictures: files, directories, patterns and lists.

use super::names::name_all;
use super::{Input, Listed};
use anyhow::{Context, Result, ensure};
use glob::MatchOptions;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// What names of pictures end in, in a directory.
const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"];
/// The longest list of pictures that is read, in bytes.
const LONGEST_LIST: u64 = 1 << 30;

/// A picture and the part of its path that its results keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub path: PathBuf,
    /// Its path below the directory that was given; only the file's name if it was given itself.
    pub below: PathBuf,
}

/// Everything the arguments stand for.
pub(super) fn list(arguments: &[PathBuf], output: Option<&Path>) -> Result<Listed> {
    let mut finder = Finder {
        output: output.and_then(|output| fs::canonicalize(output).ok()),
        found: Vec::new(),
        problems: Vec::new(),
    };
    for argument in arguments {
        finder.argument(argument)?;
    }
    let stdin = finder.found.iter().filter(|found| found.path == Path::new("-")).count();
    ensure!(stdin <= 1, "standard input (-) can be read only once: give it once");
    let mut seen = HashSet::new();
    finder.found.retain(|found| seen.insert(same(&found.path)));
    let names = name_all(&finder.found);
    let inputs = finder.found.into_iter().zip(names);
    let inputs = inputs.map(|(found, name)| Input { path: found.path, name }).collect();
    Ok(Listed { inputs, problems: finder.problems })
}

/// What makes two paths the same picture.
fn same(path: &Path) -> PathBuf {
    if path == Path::new("-") { path.to_owned() } else { fs::canonicalize(path).unwrap_or(path.to_owned()) }
}

struct Finder {
    /// The directory that results go to, which is not searched.
    output: Option<PathBuf>,
    found: Vec<Found>,
    problems: Vec<String>,
}

impl Finder {
    fn argument(&mut self, argument: &Path) -> Result<()> {
        match argument.to_str().and_then(|text| text.strip_prefix('@')) {
            Some(list) => read_list(list)?.iter().for_each(|line| self.place(Path::new(line))),
            None => self.place(argument),
        }
        Ok(())
    }

    /// A file, directory or pattern.
    fn place(&mut self, path: &Path) {
        let text = path.to_string_lossy();
        if ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) {
            self.problems.push(format!(
                "{text}: pictures are not fetched; pipe it in: curl -L '{text}' | sam3i segment - .."
            ));
        } else if path.is_dir() {
            self.directory(path);
        } else if !path.exists() && text.contains(['*', '?', '[']) {
            self.pattern(&text);
        } else {
            self.file(path.to_owned()); // if it is not there, reading it says so
        }
    }

    fn file(&mut self, path: PathBuf) {
        let below = path.file_name().map_or_else(|| path.clone(), PathBuf::from);
        self.found.push(Found { path, below });
    }

    fn pattern(&mut self, pattern: &str) {
        let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
        let paths = match glob::glob_with(pattern, options) {
            Ok(paths) => paths,
            Err(error) => return self.problems.push(format!("{pattern}: not a pattern: {error}")),
        };
        let before = self.found.len();
        let mut paths: Vec<PathBuf> = paths.filter_map(Result::ok).collect();
        // Results of an earlier run are not meant by `**`; they are where the pattern names their directory itself.
        if let Some(output) = self.output.as_ref().filter(|output| is_below(output, base(pattern))) {
            paths.retain(|path| {
                !is_below(path, output) && fs::canonicalize(path).ok().as_ref() != Some(output)
            });
        }
        paths.sort_by(|a, b| by_number(a, b));
        for path in paths {
            if path.is_dir() { self.directory(&path) } else { self.file(path) }
        }
        if self.found.len() == before {
            self.problems.push(format!("{pattern}: no file matches this pattern"));
        }
    }

    fn directory(&mut self, directory: &Path) {
        let mut below = Vec::new();
        self.search(directory, Path::new(""), &mut below);
        if below.is_empty() {
            let directory = directory.display();
            let problem = "no pictures in this directory (png, jpg, jpeg, webp, bmp, tif or tiff files)";
            self.problems.push(format!("{directory}: {problem}"));
        }
        below.sort_by(|a, b| by_number(a, b));
        self.found.extend(below.into_iter().map(|below| Found { path: directory.join(&below), below }));
    }

    /// Collects the pictures of a directory and all below it. Hidden ones, links to directories and the output are passed
    /// over.
    fn search(&mut self, root: &Path, below: &Path, pictures: &mut Vec<PathBuf>) {
        let here = root.join(below);
        if self.output.is_some() && fs::canonicalize(&here).ok() == self.output {
            return;
        }
        let entries = match fs::read_dir(&here) {
            Ok(entries) => entries,
            Err(error) => return self.problems.push(format!("{}: {error}", here.display())),
        };
        for entry in entries.filter_map(Result::ok) {
            let path = below.join(entry.file_name());
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.search(root, &path, pictures),
                Ok(_) if is_picture(&path) && root.join(&path).is_file() => pictures.push(path),
                _ => {}
            }
        }
    }
}

/// The directories that a pattern names without wildcards.
fn base(pattern: &str) -> PathBuf {
    let wild = |part: &Component| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let named: PathBuf = Path::new(pattern).components().take_while(|part| !wild(part)).collect();
    if named.as_os_str().is_empty() { ".".into() } else { named }
}

/// Whether a path leads to something below a directory, not to itself.
fn is_below(path: &Path, directory: impl AsRef<Path>) -> bool {
    let real = (fs::canonicalize(path), fs::canonicalize(directory));
    matches!(real, (Ok(path), Ok(directory)) if path != directory && path.starts_with(&directory))
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// The lines of a list, without empty ones and those that begin with `#`; `-` is standard input.
fn read_list(list: &str) -> Result<Vec<String>> {
    let mut text = String::new();
    let read = match list {
        "-" => std::io::stdin().take(LONGEST_LIST).read_to_string(&mut text),
        _ => fs::File::open(list).and_then(|file| file.take(LONGEST_LIST).read_to_string(&mut text)),
    };
    read.with_context(|| format!("@{list}: the list of pictures cannot be read"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// The order people expect: part by part, and `frame2` before `frame10`.
fn by_number(a: &Path, b: &Path) -> Ordering {
    let parts = |path: &Path| -> Vec<String> {
        path.components().map(|part: Component| part.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let (a_parts, b_parts) = (parts(a), parts(b));
    let mut pairs = a_parts.iter().zip(&b_parts).map(|(a, b)| natural(a, b));
    pairs.find(|order| order.is_ne()).unwrap_or(a_parts.len().cmp(&b_parts.len())).then_with(|| a.cmp(b))
}

/// Compares texts with numbers in them by the numbers' values.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (Some(x), Some(y)) = (a.chars().next(), b.chars().next()) else { return a.len().cmp(&b.len()) };
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number, other) = (digits(a), digits(b));
            (a, b) = (&a[number.len()..], &b[other.len()..]);
            let (number, other) = (number.trim_start_matches('0'), other.trim_start_matches('0'));
            number.len().cmp(&other.len()).then_with(|| number.cmp(other))
        } else {
            (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]);
            x.cmp(&y)
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The digits a text begins with.
fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_by_value() {
        let mut names =
            ["f10.png", "f2.png", "f02.png", "a/10/x", "a/9/x", "f.png", "10", "9"].map(Path::new);
        names.sort_by(|a, b| by_number(a, b));
        assert_eq!(
            names,
            ["9", "10", "a/9/x", "a/10/x", "f.png", "f02.png", "f2.png", "f10.png"].map(Path::new)
        );
    }

    #[test]
    fn pictures_are_known_by_their_ending() {
        assert!(
            ["a.png", "a.JPG", "b/c.Jpeg", "x.webp", "x.bmp", "x.TIF", "x.tiff"]
                .into_iter()
                .all(|name| is_picture(Path::new(name)))
        );
        assert!(
            ["a", "png", "a.txt", "a.png.json", ".png"].into_iter().all(|name| !is_picture(Path::new(name)))
        );
    }
}
