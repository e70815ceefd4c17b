"""``--use-plugin``: a YAML file that names a Nipype plugin and its settings, as in fMRIPrep."""

import difflib

import yaml
from nipype.pipeline import plugins

from mrspec_prep.bids.errors import InputError, read_text

EXAMPLES = "see workflows/hpc for examples"


def read_plugin(path):
    """Name of the plugin and its settings.

    Raises
    ------
    InputError
        Not YAML, not a plugin file, or a plugin that Nipype does not have.

    """
    try:
        content = yaml.safe_load(read_text(path, "the plugin file"))
    except yaml.YAMLError as error:
        raise InputError("not valid YAML", file=path, value=" ".join(str(error).split()), remedy=EXAMPLES) from error
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
    return content["plugin"], settings


def plugin_of(path, resources):
    """Nipype plugin and its settings: those of ``--use-plugin``, or MultiProc with what the job was given.

    Parameters
    ----------
    path : Path or None
    resources : Resources

    """
    multiproc = {"n_procs": resources.nprocs, "memory_gb": resources.mem_gb}
    if path:
        plugin, plugin_args = read_plugin(path)
        return plugin, (multiproc | plugin_args if plugin == "MultiProc" else plugin_args)
    return ("Linear", {}) if resources.nprocs == 1 else ("MultiProc", multiproc)
