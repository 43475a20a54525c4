//! labelme: `labelme/NAME.json`, a polygon a piece; the pieces of an instance share a `group_id`. labelme has no holes:
//! they are joined to their piece along a line that encloses nothing.

use super::Found;
use super::shapes::{polygons, whole};
use crate::output::write_json;
use anyhow::Result;
use sam3i::mask::polygon::joined;
use serde_json::{Value, json};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The version of labelme whose form this is.
const VERSION: &str = "5.5.0";

pub(super) fn write(path: &Path, found: &Found) -> Result<()> {
    let mut shapes: Vec<Value> = Vec::new();
    for item in found.report.items() {
        for piece in polygons(found, &item)? {
            let points: Vec<[i64; 2]> = whole(&joined(&[piece])).collect();
            shapes.push(json!({
                "label": item.prompt.label(),
                "points": points,
                "group_id": item.number,
                "description": format!("score {:.3}", item.instance.score),
                "shape_type": "polygon",
                "flags": {},
                "mask": null,
            }));
        }
    }
    write_json(
        path,
        &json!({
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": from_there(path, Path::new(&found.report.image.file)),
            "imageData": null,
            "imageHeight": found.picture.height,
            "imageWidth": found.picture.width,
        }),
    )
}

/// The way from a file to a picture, with slashes. The picture as it was given if there is no way.
fn from_there(file: &Path, picture: &Path) -> String {
    let whole = |path: &Path| fs::canonicalize(path).ok();
    let dir = file.parent().and_then(|dir| fs::create_dir_all(dir).ok().and_then(|()| whole(dir)));
    let way = dir.zip(whole(picture)).and_then(|(dir, picture)| way(&dir, &picture));
    way.unwrap_or_else(|| picture.to_owned()).to_string_lossy().replace('\\', "/")
}

/// The way from a directory to a file, both from the root.
fn way(dir: &Path, file: &Path) -> Option<PathBuf> {
    let (dir, file): (Vec<Component>, Vec<Component>) =
        (dir.components().collect(), file.components().collect());
    let shared = dir.iter().zip(&file).take_while(|(a, b)| a == b).count();
    let up = dir[shared..].iter().map(|_| Component::ParentDir);
    (shared > 0).then(|| up.chain(file[shared..].iter().copied()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_go_up_then_down() {
        let to = |dir, file| way(Path::new(dir), Path::new(file)).map(|way| way.display().to_string());
        assert_eq!(to("/a/out/labelme", "/a/p/x.png").as_deref(), Some("../../p/x.png"));
        assert_eq!(to("/a", "/a/x.png").as_deref(), Some("x.png"));
    }
}
