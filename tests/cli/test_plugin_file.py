import pytest

from mrspec_prep.bids.errors import InputError
from mrspec_prep.cli.plugin_file import read_plugin


def test_name_and_settings_are_read(tmp_path):
    path = tmp_path / "plugin.yml"
    path.write_text("plugin: MultiProc\nplugin_args: {n_procs: 2}\n")
    assert read_plugin(path) == ("MultiProc", {"n_procs": 2})
    path.write_text("plugin: Linear\n")
    assert read_plugin(path) == ("Linear", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plugin: [", "not valid YAML"),
        ("just words", "needs the key plugin"),
        ("plugins: Linear", "found keys plugins"),
        ("plugin: MultiPrco", "did you mean MultiProc"),
        ("plugin: Linear\nplugin_args: 3", "settings by name"),
    ],
)
def test_a_wrong_file_is_refused_with_what_would_do(tmp_path, text, message):
    path = tmp_path / "plugin.yml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_plugin(path)
