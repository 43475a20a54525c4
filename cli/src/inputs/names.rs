//! What the results of pictures are called: never the same for two pictures.
//!
//! A picture that was given itself lends its name without the extension; one that was found in a directory keeps its path
//! below that directory. Where two pictures would then be called the same, they keep the directories of their paths too;
//! where that is not enough (`x.png` beside `x.jpg`), their extensions; and a number in the end.
//!
//! Nor do two files share a name: a picture whose results would be called as those of another in another format
//! (`labelme/x.png` beside `x.png`), or as a file for all pictures (`annotations.coco.png`), keeps its extension too. Every
//! format counts, wanted or not, so that names do not change with `--format`.

use super::find::Found;
use crate::export;
use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

/// The name of each picture's results.
pub(super) fn name_all(found: &[Found]) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = found.iter().map(|found| without_ending(&plain(&found.below))).collect();
    again(&mut names, |i| without_ending(&plain(&found[i].path)));
    again(&mut names, |i| plain(&found[i].path));
    again(&mut names, |i| PathBuf::from(format!("{}.{}", plain(&found[i].path).display(), i + 1)));
    keep_files_apart(&mut names, found);
    names
}

/// Gives new names to those whose files would be called as files of pictures before them, or of all pictures.
fn keep_files_apart(names: &mut [PathBuf], found: &[Found]) {
    let mut taken: HashSet<String> = export::files_for_all().iter().map(|path| key(path)).collect();
    let piped = found.iter().any(|found| found.path == Path::new("-"));
    for (i, (name, Found { path, below })) in names.iter_mut().zip(found).enumerate() {
        let files =
            |name: &Path| export::files_of(name).into_iter().map(|path| key(&path)).collect::<Vec<_>>();
        let fits = |name: &PathBuf| {
            !(piped && is_of_a_pipe(name)) && files(name).iter().all(|file| !taken.contains(file))
        };
        let longer = [name.clone(), plain(below), plain(path)].into_iter();
        let mut numbered =
            (i + 1..).map(|number| PathBuf::from(format!("{}.{number}", plain(path).display())));
        let chosen = longer.into_iter().find(fits).or_else(|| numbered.find(fits));
        *name = chosen.expect("the numbers do not end, and the names taken do");
        taken.extend(files(name));
    }
}

/// Whether a picture of a pipe of several may be called so.
fn is_of_a_pipe(name: &Path) -> bool {
    let text = name.to_string_lossy();
    text.strip_prefix("stdin.").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Gives new names to those that are called the same.
fn again(names: &mut [PathBuf], other: impl Fn(usize) -> PathBuf) {
    let mut holders: HashMap<String, Vec<usize>> = HashMap::new();
    for (i, name) in names.iter().enumerate() {
        holders.entry(key(name)).or_default().push(i);
    }
    for i in holders.into_values().filter(|holders| holders.len() > 1).flatten() {
        names[i] = other(i);
    }
}

/// What the file system tells names apart by. Where it may be one that does not tell cases apart, neither do we.
fn key(name: &Path) -> String {
    let text = name.to_string_lossy();
    if cfg!(any(windows, target_os = "macos")) { text.to_lowercase() } else { text.into_owned() }
}

/// The path without what would lead out of the output directory. Standard input is called by its name.
fn plain(path: &Path) -> PathBuf {
    if path == Path::new("-") {
        return "stdin".into();
    }
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

fn without_ending(path: &Path) -> PathBuf {
    path.with_extension("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[(&str, &str)]) -> Vec<String> {
        let found: Vec<Found> =
            found.iter().map(|(path, below)| Found { path: path.into(), below: below.into() }).collect();
        name_all(&found).into_iter().map(|name| name.display().to_string()).collect()
    }

    #[test]
    fn names_are_short_where_they_may_and_never_the_same() {
        assert_eq!(names(&[("p/a.b.png", "a.b.png"), ("-", "-")]), ["a.b", "stdin"]);
        assert_eq!(names(&[("p/1/x.png", "1/x.png"), ("p/2/x.png", "2/x.png")]), ["1/x", "2/x"]);
        assert_eq!(
            names(&[("/a/x.png", "x.png"), ("../b/x.png", "x.png"), ("c/y.png", "y.png")]),
            ["a/x", "b/x", "y"]
        );
        assert_eq!(names(&[("p/x.png", "x.png"), ("p/x.jpg", "x.jpg")]), ["p/x.png", "p/x.jpg"]);
        assert_eq!(names(&[("p/x.png", "x.png"), ("/p/x.png", "x.png")]), ["p/x.png.1", "p/x.png.2"]);
        assert_eq!(names(&[("-", "-"), ("stdin.png", "stdin.png")]), ["stdin", "stdin.png"]);
    }

    #[test]
    fn files_of_other_formats_are_no_ones_else() {
        let labelme = [("p/x.png", "x.png"), ("p/labelme/x.png", "labelme/x.png")];
        assert_eq!(names(&labelme), ["x", "labelme/x.png"]);
        assert_eq!(names(&[labelme[1], labelme[0]]), ["labelme/x", "x.png"]);
        for name in ["annotations.coco", "polygons.coco"] {
            let file = format!("{name}.png");
            assert_eq!(names(&[(&file, &file)]), std::slice::from_ref(&file));
        }
        let piped = ("stdin.000001.png", "stdin.000001.png");
        assert_eq!(names(&[("-", "-"), piped]), ["stdin", "stdin.000001.png"]);
        assert_eq!(names(&[piped]), ["stdin.000001"]);
    }
}
