"""``--use-plugin``: a YAML file that names a Nipype plugin and its settings, as in fMRIPrep."""

import difflib

from nipype.pipeline import plugins

from mrspec_prep.bids.errors import InputError
from mrspec_prep.bids.yaml_files import read_yaml

EXAMPLES = "see workflows/hpc for examples"
HERE = ("Linear", "MultiProc")  # plugins that compute on this machine
CONTEXTS = ("forkserver", "spawn", "fork")
#: settings of MultiProc: what they may be, also in words
MULTIPROC = {
    "n_procs": (lambda v: isinstance(v, int) and v is not True and v >= 1, "a number of at least 1"),
    "memory_gb": (lambda v: isinstance(v, (int, float)) and v is not True and 0 < v < 1e9, "gigabytes, a number > 0"),
    "mp_context": (lambda v: v in CONTEXTS, f"one of {', '.join(CONTEXTS)}"),
    "raise_insufficient": (lambda v: isinstance(v, bool), "true or false"),
}


def read_plugin(path):
    """Name of the plugin and its settings.

    Raises
    ------
    InputError
        Not YAML, not a plugin file, or a plugin that Nipype does not have.

    """
    content = read_yaml(path, "the plugin file", EXAMPLES)
    if not isinstance(content, dict) or not isinstance(content.get("plugin"), str):
        found = f"keys {', '.join(map(str, content))}" if isinstance(content, dict) else type(content).__name__
        raise InputError("a plugin file needs the key plugin, a name", file=path, value=found, remedy=EXAMPLES)
    known = sorted(name.removesuffix("Plugin") for name in dir(plugins) if name.endswith("Plugin"))
    if content["plugin"] not in known:
        close = difflib.get_close_matches(content["plugin"], known, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        raise InputError("Nipype has no such plugin", file=path, value=content["plugin"], remedy=remedy)
    settings = content.get("plugin_args") or {}
    if not isinstance(settings, dict):
        raise InputError("plugin_args must be settings by name", file=path, value=settings, remedy=EXAMPLES)
    if content["plugin"] == "MultiProc":
        _check_multiproc(settings, path)
    return content["plugin"], settings


def _check_multiproc(settings, path):
    """Raise InputError where a setting of the plugin that we know has no value that it could have."""
    for key, (allowed, words) in MULTIPROC.items():
        if key in settings and not allowed(settings[key]):
            raise InputError(f"{key} must be {words}", file=path, value=settings[key], remedy=EXAMPLES)


def plugin_of(path, resources):
    """Nipype plugin and its settings: those of ``--use-plugin``, or MultiProc with what the job was given.

    Parameters
    ----------
    path : Path or None
    resources : Resources

    """
    multiproc = {"n_procs": resources.nprocs, "memory_gb": resources.steps_gb}
    if path:
        plugin, plugin_args = read_plugin(path)
        return plugin, (multiproc | plugin_args if plugin == "MultiProc" else plugin_args)
    return ("Linear", {}) if resources.nprocs == 1 else ("MultiProc", multiproc)


def plugin_and_room(path, resources):
    """Plugin, its settings, and resources that know what this process itself holds, where steps run on this machine.

    Parameters
    ----------
    path, resources
        As of ``plugin_of``.

    Returns
    -------
    plugin : str
    plugin_args : dict
    resources : Resources

    Raises
    ------
    InputError
        As ``read_plugin``; or no step fits beside this process.

    """
    plugin, _ = plugin_of(path, resources)
    if plugin in HERE:
        resources = resources.beside_this_process()
        resources.check()
    return *plugin_of(path, resources), resources
