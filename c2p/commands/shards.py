"""`c2p shards`: verify, count and look into the WebDataset shards, on a disk or behind a URL."""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("shards", help="verify, count or show the shards", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, function, text in (
        ("verify", run_verify, "compare every sample with the manifest"),
        ("stats", run_stats, "counts a class and split, sizes, rejected models"),
        ("show", run_show, "write one sample's views and depth maps as a picture"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("--shards", default="data/shards", help="folder or URL (data/shards)")
        action.set_defaults(command=function)
    action.add_argument("key", nargs="?", default="", help="sample key; the first one if absent")
    action.add_argument("--out", type=Path, default=Path("sample.png"), help="picture to write (sample.png)")


def run_verify(options: argparse.Namespace) -> int:
    """Exit code 1 if a sample differs."""
    from c2p.data.manifest import read_manifest, verify
    from c2p.data.places import to_place

    manifest = read_manifest(to_place(options.shards))
    wrong = verify(manifest)
    for line in wrong:
        print(line)
    samples = sum(1 for row in manifest.rows if row["shard"])
    print(
        f"{samples} samples in {len({r['shard'] for r in manifest.rows if r['shard']})} shards: {len(wrong)} problems"
    )
    return 1 if wrong else 0


def run_stats(options: argparse.Namespace) -> None:
    """Print counts."""
    from c2p.data.manifest import read_manifest
    from c2p.data.places import join, size, to_place

    manifest = read_manifest(to_place(options.shards))
    counts = Counter((row["label"], row["split"]) for row in manifest.rows if row["shard"])
    print(f"{'class':<22}{'train':>8}{'val':>8}")
    for name in manifest.classes:
        print(f"{name:<22}{counts[name, 'train']:>8}{counts[name, 'val']:>8}")
    total = sum(size(join(manifest.folder, s)) for s in {r["shard"] for r in manifest.rows if r["shard"]})
    train, val = (len(manifest.split(split)) for split in ("train", "val"))
    print(f"{train} train, {val} val, {total / 1e6:.1f} MB, {len(manifest.rejected)} rejected")
    for row in manifest.rejected:
        print(f"rejected {row['key']}: {row['reason']}")


def run_show(options: argparse.Namespace) -> None:
    """Write a contact sheet of one sample: RGB views above, depth maps below."""
    import numpy as np
    from PIL import Image

    from c2p.data.manifest import read_manifest, read_pictures
    from c2p.data.places import to_place
    from c2p.data.sheets import contact_sheet

    manifest = read_manifest(to_place(options.shards))
    rows = [row for row in manifest.rows if row["shard"] and options.key in ("", row["key"])]
    if not rows:
        raise ValueError(f"{options.key!r}: no such sample in {options.shards}; `c2p shards stats` counts them")
    rgb, depth = (read_pictures(manifest, rows[0], kind) for kind in ("rgb", "depth"))
    side = rgb.shape[2], rgb.shape[1]
    maps = [np.asarray(Image.fromarray(grey).resize(side, Image.Resampling.NEAREST)) for grey in depth]
    contact_sheet([("RGB", rgb), ("depth", np.stack(maps))]).save(options.out)
    print(f"{options.out}: {rows[0]['key']}, {rows[0]['label']}, {len(rgb)} views")
