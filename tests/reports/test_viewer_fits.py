"""What the viewer is told of fits: models' predictions, and what is left out of a page that would grow too large."""

import gzip
import json
import tomllib
from base64 import b64decode

import numpy as np
import pytest

from mrspec_prep.bids.output.catalogue import data_text
from mrspec_prep.bids.output.derivatives import read_map
from mrspec_prep.physics.models import MODELS
from mrspec_prep.reports.collect import collect_series
from mrspec_prep.reports.facts import encodings_of
from mrspec_prep.reports.viewer.block import viewer_blocks
from mrspec_prep.reports.viewer.packing import MISSING, Block, quantised, script_json
from mrspec_prep.reports.viewer.signals import equal_encodings
from tests.reports.maps_study import add_maps
from tests.reports.viewer_study import write_study

WORDS = tomllib.loads(data_text("report.toml"))
SHAPE = (14, 16, 2)


def unpacked(block, place):
    """Values of a place in a packed block, as the browser finds them."""
    width = int(place["type"][1])
    held = np.frombuffer(gzip.decompress(b64decode(block["text"])), np.uint8)
    planes = held[place["at"] : place["at"] + width * place["n"]].reshape(width, place["n"])
    codes = np.ascontiguousarray(planes.T).view(f"<{place['type']}").ravel()
    low, step = place.get("scale", (0.0, 1.0))
    return np.where(codes == MISSING, np.nan, low + codes * step) if "scale" in place else codes


@pytest.mark.parametrize("model", ["msdki", "ball-stick"])
def test_a_model_predicts_what_its_maps_say(tmp_path, write, head, model):
    out = write(tmp_path / "out", tmp_path / "raw", shape=SHAPE, steps=())
    add_maps(out, head(SHAPE), model, methods=("lsq",))
    (series,) = collect_series(out, "01")
    (block,) = viewer_blocks(series, WORDS, out)
    header = json.loads(block["header"])
    (fit,) = header["fits"]
    details = next(one for one in block["blocks"] if one["name"] == fit["block"])
    found = unpacked(details, fit).reshape(-1, header["n"])
    encodings, groups = encodings_of(series.columns, series.acquisition), equal_encodings(series.columns)
    folder, shown = out / "sub-01" / "dwi", model.replace("-", "")
    roi = read_map(folder / "sub-01_desc-roi_mask.nii.gz").data > 0

    def stored(name):
        return read_map(folder / f"sub-01_model-{shown}_param-{name.replace('_', '')}_desc-lsq_dwimap.nii.gz").data[roi]

    values = {name: stored(name) for name in MODELS[model].names if not name.startswith("direction_")}
    if model == "ball-stick":  # on disk along the axes of the bvec file, as the encodings are
        values |= {f"direction_{axis}": stored("direction")[:, i] for i, axis in enumerate("xyz")}
    signals = MODELS[model].signal(encodings, values)
    for group in range(groups.max() + 1):
        here = groups == group
        if np.isfinite(found[group]).all():
            assert np.allclose(found[group], signals[:, here].mean(axis=1), atol=0.1)
        else:  # another echo time: the model does not describe it
            assert np.isnan(found[group]).all() and encodings.echo_time[here].min() > encodings.echo_time.min()
    assert np.isfinite(found).any(axis=1).sum() == len(np.unique(encodings.bvalue))


@pytest.mark.parametrize(("share", "level"), [(1.0, "volume"), (3e-4, "encoding"), (1e-6, "cluster")])
def test_a_page_that_would_grow_too_large_says_what_it_leaves_out(tmp_path, share, level):
    out = write_study(tmp_path / "out", tmp_path / "raw")
    (series,) = collect_series(out, "01")
    (block,) = viewer_blocks(series, WORDS, out, share)
    header = json.loads(block["header"])
    assert header["signals"]["level"] == level and len(header["clusters"][0]["mean"]) == max(header["groups"]) + 1
    assert any("To keep this page small" in note for note in header["notes"]) == (level != "volume")
    assert ("spectra" in header) == (level == "volume")


def test_quantised_values_come_back_and_gaps_stay():
    values = np.array([-3.0, 0.1, np.nan, 8000.0, np.inf])
    block = Block("b")
    codes, scale = quantised(values, step=0.5)
    place = block.add(codes) | {"scale": scale}
    back = unpacked({"text": block.text()}, place)
    assert np.abs(back - values)[[0, 1, 3]].max() <= 0.25 and np.isnan(back[[2, 4]]).all()
    assert quantised(np.full(3, 7.0))[1][0] == 7.0 and quantised([np.nan])[0][0] == MISSING


def test_json_cannot_end_its_script():
    hostile = {"</script>": "<!-- & \u2028"}
    assert not set("<>&") & set(script_json(hostile)) and json.loads(script_json(hostile)) == hostile
