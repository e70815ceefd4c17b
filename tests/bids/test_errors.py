import errno
import os
import pickle
from pathlib import Path

import pytest

from mrspec_prep.bids.errors import InputError, read_text, unreadable


def test_an_error_names_file_value_and_remedy():
    error = InputError("EchoTime is wrong", file=Path("a/b.json"), value=60, remedy="write 0.06")
    assert str(error) == "a/b.json: EchoTime is wrong (found 60). Remedy: write 0.06"
    assert str(InputError("nothing here")) == "nothing here"
    assert isinstance(error, ValueError)


def test_an_error_survives_the_way_between_processes():
    error = InputError("EchoTime is wrong", file=Path("a/b.json"), value=[1, 2], remedy="write 0.06", unseen=True)
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == str(error)
    assert vars(back) == vars(error) and back.unseen


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.EACCES, "no permission.*chmod"),
        (errno.ENOENT, "not here"),
        (errno.ELOOP, "symbolic links form a loop"),
        (errno.EIO, "cannot be read: Input/output error"),
        (errno.ESTALE, "cannot be read: Stale file handle"),
    ],
)
def test_what_the_system_refuses_is_said_in_words(code, message):
    with pytest.raises(InputError, match=message) as caught:
        raise unreadable(Path("x.nii"), OSError(code, os.strerror(code)))
    assert caught.value.remedy and caught.value.unseen


def test_text_is_read_with_or_without_byte_order_mark(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert read_text(path, "the sidecar") == "{}"
    path.write_bytes(b"{\xff}")
    with pytest.raises(InputError, match="the sidecar is not UTF-8"):
        read_text(path, "the sidecar")
    with pytest.raises(InputError, match="not here"):
        read_text(tmp_path / "y.json", "the sidecar")
