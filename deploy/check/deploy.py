#!/usr/bin/env python3
"""Checks image, dependencies, compose.yaml and manifests (`make deploy-check`); prints what is wrong, a line each.

render.py says whether what is committed is what the overlays say, manifests.py what that
has to be, image.py what the image and compose.yaml have to be, origin.py what the image
may be made of.
"""

import sys
from pathlib import Path

import image
import manifests
import origin
import render

ROOT = Path(__file__).resolve().parents[2]


def faults(root):
    for part in (render, manifests, image, origin):
        yield from part.faults(root)


def main():
    found = list(faults(ROOT))
    for fault in found:
        print(f"deploy: {fault}")
    if found:
        sys.exit(1)
    names = ", ".join(overlay.name for overlay in render.overlays(ROOT))
    oldest, newest = manifests.SUPPORTED
    print(f"deploy: image, dependencies, compose.yaml and overlays ({names}; Kubernetes {oldest} to {newest}) are as they should be")


if __name__ == "__main__":
    main()
