"""BIDS URIs: there and back, and never out of the dataset that they name."""

import pytest

from mrspec_prep.bids.uris import bids_uri, path_of_uri

SCAN = "sub-01+a/ses-a+b/dwi/sub-01+a_ses-a+b_dwi.nii.gz"


@pytest.mark.parametrize(
    ("name", "written"),
    [(SCAN, SCAN), ("my masks/50 % #2?.nii", "my%20masks/50%20%25%20%232%3F.nii"), ("ä%2e.nii", "%C3%A4%252e.nii")],
)
def test_a_uri_leads_back_to_its_file(tmp_path, name, written):
    """A plus sign is plain text of a URI's path (RFC 3986), other signs that are none are percent-encoded."""
    uri = bids_uri(tmp_path / "bids" / name, {"raw": tmp_path / "bids"})
    assert uri == f"bids:raw:{written}"
    assert path_of_uri(uri, {"raw": tmp_path / "bids"}) == tmp_path / "bids" / name


@pytest.mark.parametrize(
    "uri",
    [
        "bids:raw:../secret.nii", "bids:raw:sub-01/../../secret.nii", "bids:raw:%2e%2e/secret.nii",
        "bids:raw:/secret.nii", "bids:raw:%2Fsecret.nii", "bids:raw:..%2fsecret.nii", "bids:raw:", "bids:raw:.",
        "bids:raw", "bids:other:x.nii", "file:raw:x.nii", "raw:x.nii", "x.nii", "", "bids:raw:x%00.nii",
        None, 7, ["bids:raw:x.nii"],
    ],
)  # fmt: skip
def test_what_leads_out_of_its_dataset_or_is_no_uri_leads_nowhere(tmp_path, uri):
    assert path_of_uri(uri, {"raw": tmp_path}) is None
