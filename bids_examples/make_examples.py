"""Write the example datasets and their truth: seeded, so that every run writes the same bytes.

Usage: python bids_examples/make_examples.py [FOLDER]     (default: the folder of this script)
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script it finds its writers from any folder

from bids_examples.writers import MAKERS  # noqa: E402


def main(root):
    """Write every dataset and its truth anew under ``root``."""
    for name, make in MAKERS.items():
        for folder in (root / name, root / "truth" / name):
            shutil.rmtree(folder, ignore_errors=True)
        make(root)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
