"""BIDS filter files."""

import json
from pathlib import Path

import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.filters import filter_images, filter_warnings

IMAGES = [
    Path("sub-01/ses-a/dwi/sub-01_ses-a_acq-te60_run-01_dwi.nii.gz"),
    Path("sub-01/ses-b/dwi/sub-01_ses-b_dwi.nii.gz"),
    Path("sub-01/ses-a/anat/sub-01_ses-a_inv-2_IRT1.nii.gz"),
]


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({}, [0, 1, 2]),
        ({"bold": {"session": "z"}, "t1w": None}, [0, 1, 2]),
        ({"dwi": {"acquisition": None}}, [1, 2]),
        ({"dwi": {"acquisition": "*"}}, [0, 2]),
        ({"dwi": {"session": "a"}}, [0, 2]),
        ({"dwi": {"session": ["a", "b"], "run": 1}}, [0, 2]),
        ({"dwi": {"acq": "te60"}}, [0, 2]),
        ({"dwi": {"session": ["b", None]}, "irt1": {"inversion": 1}}, [1]),
        ({"anat": {"suffix": "IRT1", "datatype": "anat", "extension": ".nii.gz"}}, [0, 1, 2]),
        ({"IRT1": {"session": "ses-b"}}, [0, 1]),
        ({"dwi": {"session": "Query.NONE"}, "anat": {"run": "Query.OPTIONAL", "inv": "Query.ANY"}}, [2]),
    ],
)
def test_filters(filters, kept):
    images, notes = filter_images(IMAGES, json.loads(json.dumps(filters)))
    assert images == [IMAGES[k] for k in kept]
    assert notes == []


def test_an_entity_that_no_name_has_is_tolerated_and_said(tiny):
    images, (note,) = filter_images(IMAGES, {"dwi": {"colour": "red"}})
    assert images == IMAGES
    assert "colour" in note
    tiny.dwi("")
    assert any("colour" in note for note in tiny.find(filters={"dwi": {"colour": "red"}})[0].notes)


def test_a_filter_must_be_a_set_of_entities():
    with pytest.raises(InputError, match="filter of dwi"):
        filter_images(IMAGES, {"dwi": "te60"})


@pytest.mark.parametrize("value", [True, {"a": 1}, [["a"]], 1.5, ["a", {}]])
def test_a_value_that_is_none_is_refused(value):
    with pytest.raises(InputError, match=r"a text, a number, null or a list.*session: .*write"):
        filter_images(IMAGES, {"dwi": {"session": value}})
    assert filter_images(IMAGES, {"dwi": {"regex_search": value}, "t1w": {"session": value}})[0] == IMAGES


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"dwi": {"acquisiton": "te60"}}, "did you mean acquisition?"),
        ({"dwi": {"colour": "red"}}, "dwi names colour, which no image name has; it was not applied"),
        ({"dwis": {"session": "a"}}, "dwis was not applied; did you mean dwi?"),
        ({"session": "a"}, 'write {"dwi": {"session": "a"}}'),
        ({"ses": None}, 'write {"dwi": {"ses": null}}'),
    ],
)
def test_what_looks_meant_for_us_and_is_not_applied_is_said(filters, words):
    (said,) = filter_warnings(filters)
    assert words in said and said.startswith("--bids-filter-file: ")


def test_filters_of_other_programs_are_passed_over_in_silence():
    """As fMRIPrep and QSIPrep are given them."""
    others = {"t1w": {"datatype": "anat", "suffix": "T1w"}, "bold": {"task": "rest"}, "fmap": {"acquisition": "b"}}
    others |= {"t2w": {"session": None}, "roi": {"x": 1}, "dwi": {"acquisition": "*", "regex_search": True}}
    assert filter_warnings(others) == []
