#!/usr/bin/python3
"""Average precision of the detector on labelled pictures, by COCO's rules.

Runs the real binary (`snapshotd detect --json --eval`) over two labelled sets with every model that
is there, computes AP over IoU 0.50:0.95 with 101 recall points and 100 detections a picture and
class, and compares it with a reference run of another implementation. Ends with 0 when every number
is within the tolerance, with 77 (skipped) when the data are not there.

    evaluate.py [--binary build/src/app/snapshotd] [--data DIR] [--tolerance 0.005] [MODEL...]
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 77

# model file, extra options, then the reference: coco128 AP50 and AP over all classes, the same for
# persons, and for persons of the cctv set. None: not in the reference run.
REFERENCE = [
    ("yolov8n-640", [], (0.578, 0.423), (0.755, 0.508), (0.937, 0.439)),
    ("yolov8n-416", [], (0.527, 0.385), (0.664, 0.443), (0.898, 0.417)),
    ("yolov8n-416-int8", [], (0.524, 0.381), (0.664, 0.442), (0.907, 0.416)),
    ("yolov8n-dynamic-int8", ["--square"], (0.578, 0.422), (0.754, 0.508), None),
    ("centernet-512", [], (0.539, 0.341), (0.645, 0.356), (0.883, 0.421)),
    ("yolox-nano-416", ["--iou", "0.7"], (0.499, 0.343), (0.626, 0.374), (0.872, 0.401)),
    ("nanodet-m-416", ["--iou", "0.6"], (0.433, 0.260), (0.621, 0.350), (0.882, 0.408)),
    ("yolo26n-640-int8", ["--iou", "0.7"], (0.619, 0.436), (0.743, 0.487), (0.882, 0.377)),
]

IOU_STEPS = numpy.linspace(0.5, 0.95, 10)
RECALL_STEPS = numpy.linspace(0, 1, 101)
DETECTIONS_MAX = 100

COCO = (
    "person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|"
    "stop sign|parking meter|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|"
    "backpack|umbrella|handbag|tie|suitcase|frisbee|skis|snowboard|sports ball|kite|baseball bat|"
    "baseball glove|skateboard|surfboard|tennis racket|bottle|wine glass|cup|fork|knife|spoon|"
    "bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|chair|couch|"
    "potted plant|bed|dining table|toilet|tv|laptop|mouse|remote|keyboard|cell phone|microwave|"
    "oven|toaster|sink|refrigerator|book|clock|vase|scissors|teddy bear|hair drier|toothbrush"
).split("|")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", default=str(ROOT / "build/src/app/snapshotd"))
    parser.add_argument("--data", default=os.environ.get("SNAPSHOT_TESTDATA",
                                                         str(ROOT / "../shared/testdata")))
    parser.add_argument("--tolerance", type=float, default=0.005)
    parser.add_argument("models", nargs="*")
    options = parser.parse_args()
    data = Path(options.data)
    if not (data / "coco128/images").is_dir():
        print(f"skipped: no labelled pictures in {data}")
        return SKIPPED

    print(f"{'model':24} {'coco128 AP50/AP':>16} {'person AP50/AP':>16} {'cctv person':>16}  "
          "largest difference")
    worst = 0.0
    for name, extra, *expected in REFERENCE:
        model = data / "models" / f"{name}.onnx"
        if (options.models and name not in options.models) or not model.exists():
            continue
        coco = evaluate(options.binary, model, extra, data / "coco128")
        cctv = evaluate(options.binary, model, extra, data / "cctv")
        found = [mean_over(coco, range(len(COCO))), mean_over(coco, [0]), mean_over(cctv, [0])]
        difference = max(abs(f - e) for pair, want in zip(found, expected) if want
                         for f, e in zip(pair, want))
        # The reference has three decimals; half of the last one is not ours.
        bad = difference > options.tolerance + 0.0005
        worst = max(worst, difference)
        print(f"{name:24} " + " ".join(f"{f[0]:8.3f}/{f[1]:.3f}  " for f in found) +
              f" {difference:.4f}{'  TOO FAR' if bad else ''}", flush=True)
    print(f"largest difference from the reference: {worst:.4f}, allowed: {options.tolerance}")
    return 0 if worst <= options.tolerance + 0.0005 else 1


def evaluate(binary, model, extra, folder):
    """AP per class: {class: array over IOU_STEPS}; classes without a labelled box are absent."""
    command = [binary, "detect", "--json", "--eval", "--model", str(model), *extra,
               str(folder / "images")]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(command)}\nended with {run.returncode}: {run.stderr}")
    class_of = {label: number for number, label in enumerate(COCO)}
    by_class = {}
    for line in run.stdout.splitlines():
        picture = json.loads(line)
        truth = read_labels(folder / "labels" / (Path(picture["path"]).stem + ".txt"),
                            picture["width"], picture["height"])
        found = {}
        for d in picture["detections"]:
            found.setdefault(class_of[d["label"]], []).append((d["confidence"], d["box"]))
        for number in set(truth) | set(found):
            boxes = sorted(found.get(number, []), key=lambda d: -d[0])[:DETECTIONS_MAX]
            by_class.setdefault(number, []).append((truth.get(number, []), boxes))
    return {number: average_precision(pictures) for number, pictures in by_class.items()
            if any(truth for truth, _ in pictures)}


def read_labels(path, width, height):
    boxes = {}
    if path.exists():
        for line in path.read_text().splitlines():
            number, cx, cy, w, h = (float(part) for part in line.split())
            boxes.setdefault(int(number), []).append(
                [(cx - w / 2) * width, (cy - h / 2) * height,
                 (cx + w / 2) * width, (cy + h / 2) * height])
    return boxes


def average_precision(pictures):
    total = sum(len(truth) for truth, _ in pictures)
    scores, hits = [], []
    for truth, found in pictures:
        scores += [score for score, _ in found]
        hits += match(truth, [box for _, box in found])
    result = numpy.zeros(len(IOU_STEPS))
    if not scores:
        return result
    order = numpy.argsort(-numpy.array(scores), kind="mergesort")
    hits = numpy.array(hits)[order]
    for step in range(len(IOU_STEPS)):
        right = numpy.cumsum(hits[:, step])
        recall = right / total
        precision = right / numpy.arange(1, len(right) + 1)
        precision = numpy.maximum.accumulate(precision[::-1])[::-1]
        at = numpy.searchsorted(recall, RECALL_STEPS, side="left")
        result[step] = numpy.mean([precision[i] if i < len(precision) else 0.0 for i in at])
    return result


def match(truth, found):
    """For each detection, by falling score, whether it takes a free labelled box at each IoU."""
    overlaps = [[iou(box, other) for other in truth] for box in found]
    hits = [[False] * len(IOU_STEPS) for _ in found]
    for step, least in enumerate(IOU_STEPS):
        free = set(range(len(truth)))
        for i, row in enumerate(overlaps):
            best = max(free, key=lambda k: row[k], default=None)
            if best is not None and row[best] >= min(least, 1 - 1e-10):
                free.remove(best)
                hits[i][step] = True
    return hits


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def mean_over(precision, classes):
    """(AP50, AP) over those of the classes that are labelled at all."""
    rows = [precision[number] for number in classes if number in precision]
    return (float(numpy.mean([row[0] for row in rows])), float(numpy.mean(rows)))


if __name__ == "__main__":
    sys.exit(main())
