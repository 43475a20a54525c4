"""Reads sam3i's exports with the programs they are made for, and compares what they see with the masks of the report.

Usage: read_exports.py DIR, where DIR has the pictures in `photos` and all formats in `out`.
"""

import ast
import importlib.util
import json
import os
import pathlib
import sys
import warnings

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
warnings.filterwarnings("ignore")

import geojson
import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as rle_masks
from pycocotools.coco import COCO
from shapely.geometry import shape as geometry_of

ROOT = pathlib.Path(sys.argv[1])
OUT = ROOT / "out"
NAMES = ["fruit", "more/dogs"]
CLASSES = ["red apple", '"dog" <&>']


def masks_of(name):
    """The report's instances: label, mask."""
    report = json.loads((OUT / f"{name}.json").read_text())
    return [
        (prompt["text"], rle_masks.decode(instance["rle"]).astype(bool))
        for prompt in report["prompts"]
        for instance in prompt["instances"]
    ]


def iou(a, b):
    return (a & b).sum() / max((a | b).sum(), 1)


def alike(a, b, what):
    """Drawing programs count border pixels in different ways: a mask may gain or lose some of its outline."""
    inner = a[1:-1, 1:-1] & a[:-2, 1:-1] & a[2:, 1:-1] & a[1:-1, :-2] & a[1:-1, 2:]
    outline = a.sum() - inner.sum()
    differ = (a ^ b).sum()
    assert differ <= 1.6 * outline + 8, f"{what}: {differ} pixels differ, the outline has {outline}"


def drawn(points, size):
    canvas = Image.new("1", size[::-1])
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in points], fill=1)
    return np.array(canvas)


def read_coco():
    for file, exact in [("annotations.coco.json", True), ("polygons.coco.json", False)]:
        coco = COCO(str(OUT / file))
        assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == CLASSES
        for image in coco.loadImgs(coco.getImgIds()):
            name = image["file_name"].removeprefix("photos/").removesuffix(".png")
            annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
            for (label, mask), annotation in zip(masks_of(name), annotations, strict=True):
                assert CLASSES[annotation["category_id"] - 1] == label
                seen = coco.annToMask(annotation).astype(bool)
                if exact:
                    assert (seen == mask).all()
                    x, y, width, height = annotation["bbox"]
                    ys, xs = np.nonzero(mask)
                    if len(xs):
                        bounds = (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)
                        assert (x, y, width, height) == bounds
                else:
                    alike(mask, seen, f"{file} {name}")
    return "pycocotools"


def read_ultralytics():
    """Its label reader, from its source: importing the package needs torch."""
    package = pathlib.Path(importlib.util.find_spec("ultralytics").origin).parent

    def take(file, *names):
        tree = ast.parse((package / file).read_text())
        body = [node for node in tree.body if getattr(node, "name", None) in names]
        assert len(body) == len(names), (file, names)
        return ast.Module(body, [])

    def check_image(path):
        width, height = Image.open(path).size
        return "", (height, width)

    scope = {"np": np, "os": os, "check_image": check_image}
    for file, names in [("utils/ops.py", ("segments2boxes",)), ("data/utils.py", ("verify_image_label",))]:
        exec(compile(take(file, *names), file, "exec"), scope)
    # As its own: corners to centre and size.
    scope["xyxy2xywh"] = lambda b: np.concatenate([(b[:, :2] + b[:, 2:]) / 2, b[:, 2:] - b[:, :2]], 1)
    for name in NAMES:
        picture, labels = ROOT / f"photos/{name}.png", OUT / f"yolo/labels/{name}.txt"
        read = scope["verify_image_label"]((str(picture), str(labels), "", False, len(CLASSES), 0, 0, False))
        _, boxes, size, segments, _, missing, found, empty, corrupt, message = read
        assert (missing, found, empty, corrupt, message) == (0, 1, 0, 0, ""), read[5:]
        with_pixels = [(label, mask) for label, mask in masks_of(name) if mask.any()]
        for (label, mask), box, segment in zip(with_pixels, boxes, segments, strict=True):
            assert CLASSES[int(box[0])] == label
            alike(mask, drawn(segment * size[::-1], size), f"ultralytics {name}")
    return "ultralytics"


def read_supervision():
    import supervision

    data = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(ROOT / "photos"),
        annotations_directory_path=str(OUT / "yolo/labels"),
        data_yaml_path=str(OUT / "yolo/data.yaml"),
        force_masks=True,
    )
    assert data.classes == CLASSES, data.classes
    detections = next(found for path, _, found in data if path.endswith("fruit.png"))
    with_pixels = [(label, mask) for label, mask in masks_of("fruit") if mask.any()]
    for (label, mask), seen, number in zip(with_pixels, detections.mask, detections.class_id, strict=True):
        assert CLASSES[number] == label
        alike(mask, seen, "supervision")
    return "supervision"


def read_labelme():
    from labelme._label_file import read_label_file

    for name in NAMES:
        data = read_label_file(str(OUT / f"labelme/{name}.json"))
        masks = masks_of(name)
        for number, (label, mask) in enumerate(masks, 1):
            shapes = [shape for shape in data.shapes if shape["group_id"] == number]
            assert all(shape["label"] == label and shape["shape_type"] == "polygon" for shape in shapes)
            seen = np.zeros_like(mask)
            for shape in shapes:
                seen |= drawn(shape["points"], mask.shape)
            alike(mask, seen, f"labelme {name}")
    return "labelme"


def read_geojson():
    for name in NAMES:
        collection = geojson.loads((OUT / f"{name}.geojson").read_text())
        assert collection.is_valid, collection.errors()
        for (label, mask), feature in zip(masks_of(name), collection["features"], strict=True):
            assert feature["properties"]["label"] == label and feature["properties"]["area"] == mask.sum()
            if feature["geometry"] is None:
                assert not mask.any()
                continue
            geometry = geometry_of(feature["geometry"])
            assert geometry.is_valid, f"{name}: not valid in the sense of Simple Features"
            polygons = getattr(geometry, "geoms", [geometry])
            assert all(polygon.exterior.is_ccw for polygon in polygons)
            assert not any(hole.is_ccw for polygon in polygons for hole in polygon.interiors)
            outline = geometry.length
            assert abs(geometry.area - mask.sum()) <= 0.5 * outline + 2
    return "geojson and shapely"


def read_numpy():
    for name in NAMES:
        arrays = np.load(OUT / f"{name}.npz")
        masks = masks_of(name)
        assert arrays["logits"].dtype == np.float32 and arrays["logits"].shape[0] == len(masks)
        assert arrays["boxes"].shape == (len(masks), 4) and list(arrays["size"]) == list(masks[0][1].shape)
        for logits, (_, mask) in zip(arrays["logits"], masks, strict=True):
            grown = Image.fromarray(logits).resize(mask.shape[::-1], Image.BILINEAR)
            assert iou(np.array(grown) > 0, mask) > 0.999 or mask.sum() < 100, name
    return "numpy"


readers = [read_coco, read_ultralytics, read_supervision, read_labelme, read_geojson, read_numpy]
for reader in readers:
    print("read by", reader(), flush=True)
print("read by", len(readers), "readers")
