"""Files of strangers, spoilt at random (hypothesis) or as the fuzzer found them: a result, or a refusal in words."""

import json
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_targets import ACQPARAMS, EXPECTED, FILTERS, PARTICIPANTS, SCHEDULE, SIDECAR, TARGETS
from mrspec_prep.options import Options, OptionsError

CORPUS = Path(__file__).parent / "corpus"
FOUND = sorted(CORPUS.glob("*/*"))
quick = settings(
    max_examples=30, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
WORDS = ("", "n/a", "NaN", "inf", "-1", "1e400", "0", "1e300", "\x00", "\t", "\u2028", "<script>", "../..", "é")
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(WORDS), st.just(10**400)
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = (*SIDECAR, "InversionTime", "MultipartID", "Units", "PhaseEncodingDirection")
SECTIONS = {section: sorted(content) for section, content in Options().to_dict().items() if isinstance(content, dict)}


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    """Readers of every kind of file, each with a folder of its own."""
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in TARGETS.items()}


def end_well(target, data):
    """Read a file, which may give a result or a refusal; returns the refusal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            target.read(data)
        except EXPECTED as error:
            assert str(error).strip() and str(error).isprintable()
            return error
    return None


@st.composite
def spoilt(draw, seeds):
    """One of the seeds with bytes changed, taken out, repeated, or cut."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        where, length = draw(st.integers(1, max(1, len(data) - 1))), draw(st.integers(0, 8))
        new = draw(st.one_of(st.binary(max_size=8), st.sampled_from([word.encode() for word in WORDS])))
        data[where : where + length] = new
    return bytes(data[: draw(st.sampled_from([len(data), len(data) // 2, 5]))])


@pytest.mark.parametrize("name", TARGETS)
def test_a_spoilt_file_gives_a_result_or_a_refusal_in_words(targets, name):
    @quick
    @given(spoilt(targets[name].seeds))
    def check(data):
        end_well(targets[name], data)

    check()


@quick
@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_a_sidecar_may_hold_anything(targets, content):
    end_well(targets["study"], b"\1" + json.dumps(SIDECAR | content).encode())


@quick
@given(st.sampled_from([(0, ACQPARAMS), (1, SCHEDULE), (2, PARTICIPANTS), (3, PARTICIPANTS)]), st.data())
def test_a_table_may_hold_anything(targets, table, data):
    number, text = table
    rows = [line.split("\t") for line in text.splitlines()]
    for _ in range(3):
        row = data.draw(st.integers(0, len(rows) - 1))
        rows[row][data.draw(st.integers(0, len(rows[0]) - 1))] = data.draw(st.sampled_from(WORDS) | st.text(max_size=5))
    content = "\n".join("\t".join(row) for row in rows).encode("utf-8", "surrogatepass")
    end_well(targets["tables"], bytes([number]) + content)
    if number == 0:
        end_well(targets["study"], b"\4" + content)


@quick
@given(st.sampled_from(sorted(SECTIONS)), st.data())
def test_a_setting_may_be_given_anything(section, data):
    key = data.draw(st.sampled_from(SECTIONS[section]))
    value = data.draw(VALUES)
    try:
        Options.from_dict({section: {key: value}}).to_toml()
    except OptionsError as error:
        assert str(error)


@quick
@given(st.dictionaries(st.sampled_from([*FILTERS, "anat"]), st.dictionaries(st.just("run"), VALUES) | VALUES))
def test_a_filter_file_may_hold_anything(targets, content):
    end_well(targets["run-file"], b"\1" + json.dumps(content).encode())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_the_fuzzer_found_ends_in_a_result_or_in_words(targets, path):
    end_well(targets[path.parent.name], path.read_bytes())  # anything but a refusal is raised


def test_findings_are_there():
    assert {path.parent.name for path in FOUND} == {"h5", "output", "study", "tables", "weights"}
