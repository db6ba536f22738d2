"""Pictures of the pages for the documentation, doc/screenshots/*.webp: the real daemon, cameras that show
the demo's footage, Debian's Chromium. `make screenshots` runs it."""

import pathlib
import subprocess
import sys
import tempfile

from PIL import Image

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from conftest import FOOTAGE, CameraSim, Daemon, default_model  # noqa: E402

BYTES_MAX = 120_000  # of each: they are in the repository
WIDTH_MAX = 1280
ROUNDS = 24  # pictures of each camera

CAMERA = """
[camera:{name}]
kind = http
url = http://{address}/snapshot.jpg
"""


def main():
    to = ROOT / "doc/screenshots"
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots.") as folder:
        place = pathlib.Path(folder)
        names = ("front-door", "driveway", "garden")
        cameras = [CameraSim(FOOTAGE / name, place / f"{name}.log") for name in names]
        config = f"[detection]\nmodel = {default_model()}\nlabels = person, bicycle, car, truck, bus, dog, cat\n"
        for name, camera in zip(names, cameras):
            config += CAMERA.format(name=name, address=camera.address)
        (place / "data/ftp").mkdir(parents=True)  # which only an FTP server would make
        daemon = Daemon(place, config, place / "daemon.log")
        try:
            for _ in range(ROUNDS):
                for name in names:
                    daemon.trigger(name, wait=60)
            subprocess.run(["node", HERE / "screenshots.mjs", f"http://127.0.0.1:{daemon.port}", folder], check=True)
        finally:
            for process in (daemon, *cameras):
                process.stop()
        for picture in sorted(place.glob("*.png")):
            print(shrink(picture, to / f"{picture.stem}.webp"))


def shrink(picture, to):
    image = Image.open(picture).convert("RGB")
    if image.width > WIDTH_MAX:
        image = image.resize((WIDTH_MAX, round(image.height * WIDTH_MAX / image.width)), Image.LANCZOS)
    for quality in range(84, 20, -6):
        image.save(to, "WEBP", quality=quality, method=6)
        if to.stat().st_size <= BYTES_MAX:
            break
    return f"{to.relative_to(ROOT)}: {to.stat().st_size} bytes"


if __name__ == "__main__":
    main()
