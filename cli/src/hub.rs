//! Models in the cache of Hugging Face's tools: what was downloaded once is found by its name.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the tools keep what they download, by the variables they read, in their order.
pub fn cache(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("HF_HUB_CACHE")
        .or_else(|| set("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/hub")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/huggingface/hub")))
}

/// The directory of a model named `owner/name`, at the revision its branch `main` had when it was downloaded; `None` if the
/// name is none, or the cache has not got it.
pub fn find(cache: &Path, name: &Path) -> Option<PathBuf> {
    let [owner, model] = parts(name)?;
    let folder = cache.join(format!("models--{owner}--{model}"));
    let revision = fs::read_to_string(folder.join("refs/main")).ok()?;
    let snapshot = folder.join("snapshots").join(revision.trim());
    snapshot.is_dir().then_some(snapshot)
}

/// Owner and name of a model; `None` if the path cannot be those.
pub fn parts(name: &Path) -> Option<[&str; 2]> {
    let parts: Vec<&str> = name.to_str()?.split('/').collect();
    let [owner, model] = parts[..] else { return None };
    let good = |part: &&str| !part.is_empty() && !part.starts_with('.');
    [owner, model].iter().all(good).then_some([owner, model])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_names_the_cache() {
        struct Case(&'static [(&'static str, &'static str)], Option<&'static str>);
        let cases = [
            Case(&[("HF_HUB_CACHE", "/a"), ("HF_HOME", "/b"), ("HOME", "/d")], Some("/a")),
            Case(&[("HF_HUB_CACHE", ""), ("HF_HOME", "/b"), ("HOME", "/d")], Some("/b/hub")),
            Case(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/d")], Some("/c/huggingface/hub")),
            Case(&[("HOME", "/d")], Some("/d/.cache/huggingface/hub")),
            Case(&[], None),
        ];
        for Case(set, expected) in cases {
            let variable = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into());
            assert_eq!(cache(variable), expected.map(PathBuf::from), "{set:?}");
        }
    }

    #[test]
    fn a_downloaded_model_is_found_at_its_revision() {
        let cache = std::env::temp_dir().join(format!("sam3i-hub-{}", std::process::id()));
        let folder = cache.join("models--facebook--sam3");
        fs::create_dir_all(folder.join("snapshots/abc")).expect("made");
        fs::create_dir_all(folder.join("refs")).expect("made");
        fs::write(folder.join("refs/main"), "abc\n").expect("written");
        let find = |name: &str| find(&cache, Path::new(name));
        assert_eq!(find("facebook/sam3"), Some(folder.join("snapshots/abc")));
        for name in ["facebook/sam2", "sam3", "a/facebook/sam3", "/sam3", "../sam3", "facebook/"] {
            assert_eq!(find(name), None, "{name}");
        }
        fs::write(folder.join("refs/main"), "def").expect("written");
        assert_eq!(find("facebook/sam3"), None);
        fs::remove_dir_all(cache).expect("removed");
    }
}
