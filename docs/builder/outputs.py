"""Reference of the maps, from `data/maps.toml`."""

import re
from itertools import chain

from docs.builder.tables import table
from mrspec_prep.bids.output.catalogue import load_bibliography, load_catalogue

#: heading: which keys of `[maps]` it holds
GROUPS = {
    "Signals, mask and noise": ("roi", "reference", "noise", "snr"),
    "Voxelwise spectra": (
        *("fraction", "visible", "mwf", "s0", "t2", "t2star", "t1", "diffusivity", "kurtosis"),
        *("residual", "gap", "alpha", "shared"),
        *("peakdiffusivity", "peakt2star", "peakt2", "peakt1", "peakkurtosis"),
    ),
    "Clusters and components": ("dseg", "probseg", "component", "mixture"),
    "Group": ("groupdseg", "groupprobseg", "groupcomponent", "groupresidual", "groupmixture"),
    "Fingerprinting series": ("frames",),
}
COLUMNS = ("`MapKey`", "map", "unit on disk", "what it holds", "how", "papers")


def text():
    """Markdown: the maps by kind, then kinds of uncertainty, methods, models and columns of tables."""
    catalogue = load_catalogue()
    maps = catalogue["maps"]
    groups = GROUPS | {
        "Parameter maps": tuple(key for key in maps if key.startswith("model-")),
        "Number of compartments": tuple(key for key in maps if key.startswith("ncomp-")),
    }
    left = set(maps) - {key for keys in groups.values() for key in keys}
    if left:
        raise ValueError(f"maps that no group of the outputs page names: {', '.join(sorted(left))}")
    parts = [f"### {title}\n\n{_maps(maps, keys)}\n" for title, keys in groups.items()]
    return "\n".join([*parts, _uncertainties(catalogue), _methods(catalogue), _models(catalogue), _columns(catalogue)])


def _maps(maps, keys):
    """Table of some maps."""
    rows = []
    for key in keys:
        entry = maps[key]
        papers = [*entry["references"], *chain(*entry.get("papers", {}).values())]
        rows.append(
            (f"`{key}`", f"{entry['title']} ({entry['symbol']})", entry["disk_unit"], _plain(entry["description"]))
            + (_algorithm(entry), _papers(papers))
        )
    return table(COLUMNS, rows)


def _uncertainties(catalogue):
    """Table of the kinds of uncertainty."""
    rows = [
        (f"`{key}`", entry["title"], _plain(entry["description"]), _algorithm(entry))
        for key, entry in catalogue["uncertainties"].items()
    ]
    return f"## How sure\n\n{table(['kind', 'name', 'what it holds', 'how'], rows)}\n"


def _methods(catalogue):
    """Table of the methods of parameter maps, whose names stand behind `desc-`."""
    rows = [
        (f"`desc-{key}`", entry["title"], entry["algorithm"], entry["std"], _papers(entry["references"]))
        for key, entry in catalogue["methods"].items()
    ]
    columns = ("entity", "method", "how", "standard deviation", "papers")
    return f"## Methods of parameter maps\n\n{table(columns, rows)}\n"


def _models(catalogue):
    """Table of the signal models, whose names stand behind `model-`."""
    rows = [
        (f"`model-{key}`", model["title"], f"`{model['equation']}`", _papers(model["references"]))
        for key, model in catalogue["models"].items()
        if "equation" in model
    ]
    return f"## Signal models\n\n{table(['entity', 'model', 'signal', 'papers'], rows)}\n"


def _columns(catalogue):
    """Table of the columns that tables may have."""
    rows = [
        (f"`{name}`", entry.get("LongName", ""), entry.get("Units", ""), entry.get("Description", ""))
        for name, entry in catalogue["columns"].items()
    ]
    return f"## Columns of tables\n\n{table(['column', 'name', 'unit', 'what it holds'], rows)}\n"


def _algorithm(entry):
    """How a map is made."""
    return entry["algorithm"].replace("See Method", "see its method")


def _plain(description):
    """Description with its blanks named: {AlphaRule} becomes *alpha rule*."""
    return re.sub(r"\{(\w+)[^}]*\}", lambda m: f"*{re.sub('(?<=[a-z])(?=[A-Z])', ' ', m[1]).lower()}*", description)


def _papers(keys):
    """First author and year of each reference, as a link where it has a DOI."""
    entries = load_bibliography()
    cited = []
    for key in keys:
        entry = entries[key]
        name = entry["author"].split(" and ")[0].split(",")[0].strip("{} ")
        words = f"{name} {entry.get('year', '')}".strip()
        cited.append(f"[{words}](https://doi.org/{entry['doi']})" if "doi" in entry else words)
    return ", ".join(cited)
