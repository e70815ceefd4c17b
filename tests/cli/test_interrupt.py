import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ZEBRA = Path(__file__).parents[2] / "bids_examples" / "zebra_t2star-adc"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_ends_soon_says_how_to_go_on_and_leaves_no_process(tmp_path, number, code):
    words = [sys.executable, "-m", "mrspec_prep", ZEBRA, tmp_path / "out", "participant", "-w", tmp_path / "work"]
    process = subprocess.Popen([str(w) for w in words] + ["--nprocs", "2"], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "roi: started" in line:
            break
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert "type the same command again" in said
    assert "Traceback" not in said
    time.sleep(0.5)
    left = subprocess.run(["pgrep", "-f", str(tmp_path / "out")], capture_output=True, text=True).stdout
    assert not left.strip()
