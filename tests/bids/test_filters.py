"""BIDS filter files."""

import json
from pathlib import Path

import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.filters import filter_images

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
