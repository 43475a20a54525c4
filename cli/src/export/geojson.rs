//! GeoJSON (RFC 7946): a feature an instance. Coordinates are pixels of the picture, `x` to the right and `y` down, not
//! degrees; outer rings run anticlockwise in these numbers, holes clockwise.

use super::shapes::{polygons, score, whole};
use super::{Found, Item};
use crate::output::write_json;
use anyhow::Result;
use sam3i::mask::Polygon;
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn write(path: &Path, found: &Found) -> Result<()> {
    let features: Result<Vec<Value>> = found.report.items().map(|item| feature(found, &item)).collect();
    let image = &found.report.image;
    write_json(
        path,
        &json!({
            "type": "FeatureCollection",
            "image": {"file": image.file, "width": image.width, "height": image.height},
            "features": features?,
        }),
    )
}

fn feature(found: &Found, item: &Item) -> Result<Value> {
    let Item { number, prompt, instance } = item;
    Ok(json!({
        "type": "Feature",
        "id": number,
        "properties": {
            "label": prompt.label(),
            "prompt": prompt.index,
            "level": prompt.level,
            "score": score(instance.score),
            "area": instance.area,
        },
        "geometry": geometry(&polygons(found, item)?),
    }))
}

/// Nothing, a polygon or several.
fn geometry(polygons: &[Polygon]) -> Value {
    match polygons {
        [] => Value::Null,
        [polygon] => json!({"type": "Polygon", "coordinates": rings(polygon)}),
        several => {
            let coordinates: Vec<_> = several.iter().map(rings).collect();
            json!({"type": "MultiPolygon", "coordinates": coordinates})
        }
    }
}

/// The rings, closed: the first point comes again.
fn rings(polygon: &Polygon) -> Vec<Vec<[i64; 2]>> {
    polygon.rings().map(|ring| whole(ring).chain(whole(ring).take(1)).collect()).collect()
}
