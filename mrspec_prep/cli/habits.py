"""What users of fMRIPrep, QSIPrep and QSIRecon type by habit: other spellings, and options that mean nothing here."""

import difflib

_NO_SURFACES = "no surfaces are reconstructed here: leave it out"
_PREPROCESS = "images are taken as they are: preprocess them first (docs/derivatives.md) and leave it out"
_GRID = "maps keep the grid of their images: leave it out"
_NO_TEMPLATE = "nothing is brought to a template: leave it out"
#: options of the family that are none of ours -> what to do instead
ELSEWHERE = {
    "--fs-license-file": _NO_SURFACES,
    "--fs-no-reconall": _NO_SURFACES,
    "--fs-subjects-dir": _NO_SURFACES,
    "--freesurfer-input": _NO_SURFACES,
    "--cifti-output": _NO_SURFACES,
    "--submm-recon": _NO_SURFACES,
    "--output-resolution": _GRID,
    "--output-spaces": _GRID,
    "--output-layout": "outputs follow BIDS: leave it out",
    "--anatomical-template": _NO_TEMPLATE,
    "--skull-strip-template": _NO_TEMPLATE,
    "--skip-anat-based-spatial-normalization": _NO_TEMPLATE,
    "--denoise-method": _PREPROCESS,
    "--dwi-denoise-window": _PREPROCESS,
    "--unringing-method": _PREPROCESS,
    "--hmc-model": _PREPROCESS,
    "--eddy-config": _PREPROCESS,
    "--b0-motion-corr-to": _PREPROCESS,
    "--b1-biascorrect-stage": _PREPROCESS,
    "--dwi-no-biascorr": _PREPROCESS,
    "--no-b0-harmonization": "it is an option of QSIPrep, the right one for several echo times: leave it out here",
    "--separate-all-dwis": "it is an option of QSIPrep; here scans are joined by what their sidecars say: leave it out",
    "--distortion-group-merge": "it is an option of QSIPrep: give it there, and leave it out here",
    "--use-syn-sdc": _PREPROCESS,
    "--ignore": "choose images with --bids-filter-file or --set select.datatype=...",
    "--anat-only": "choose images with --set select.datatype=anat",
    "--dwi-only": "choose images with --set select.datatype=dwi",
    "--task-id": "choose images with --bids-filter-file",
    "--echo-idx": 'choose images with --bids-filter-file, e.g. {"mese": {"echo": "1"}}',
    "--low-mem": "say how much there is with --mem",
    "--longitudinal": "every session is fitted on its own: leave it out",
    "--recon-spec": "name a workflow with --workflow",
    "--recon-input": "give the preprocessed images with --derivatives qsiprep=PATH",
    "--recon-only": "that is what is done: leave it out",
    "--input-type": "what made the derivatives is recognised: leave it out",
    "--b0-threshold": "volumes are unweighted up to b = 50 s/mm2: leave it out",
    "--gpu": "choose with --device cuda",
    "--nipype-resource-monitor": "the option is --resource-monitor",
    "--md-only-boilerplate": "all forms of the methods text are written: leave it out",
    "--error-on-aroma-warnings": "leave it out",
    "--track-carbon": "nothing is tracked: leave it out",
    "--config": "the option is --config-file",
    "--no-submm-recon": _NO_SURFACES,
}
#: other words for options of ours that no letters in common lead to
OTHER_WORDS = {"--seed": "--random-seed", "--subject": "--participant-label", "--subjects": "--participant-label",
               "--subject-id": "--participant-label", "--session": "--session-label", "--jobs": "--nprocs",
               "--threads": "--nprocs", "--cpus": "--nprocs", "--memory": "--mem", "--work": "--work-dir",
               "--preview": "--dry-run", "--filter": "--bids-filter-file", "--bids-filters": "--bids-filter-file",
               "--plugin": "--use-plugin", "--spec": "--workflow"}  # fmt: skip


def with_hyphens(words, options):
    """Command line in which options of ours that were written with underscores have hyphens.

    Parameters
    ----------
    words : sequence of str
    options : collection of str
        Of ours.

    Returns
    -------
    list of str

    """
    spelt = []
    for number, word in enumerate(words):
        if word == "--":
            return [*spelt, *words[number:]]
        option, separator, value = word.partition("=")
        hyphened = "--" + option[2:].replace("_", "-")
        known = option.startswith("--") and option not in options and hyphened in options
        spelt.append(hyphened + separator + value if known else word)
    return spelt


def advice(word, options):
    """What to type instead of an option that is none of ours, or an empty text.

    Parameters
    ----------
    word : str
        As typed, with or without ``=value``.
    options : collection of str
        Of ours.

    """
    option = word.partition("=")[0]
    hyphened = "--" + option[2:].replace("_", "-") if option.startswith("--") else option
    if hyphened in ELSEWHERE:
        return f"{option} does not apply: {ELSEWHERE[hyphened]}"
    if hyphened in OTHER_WORDS:
        return f"did you mean {OTHER_WORDS[hyphened]}?"
    close = difflib.get_close_matches(hyphened, options, n=1, cutoff=0.5) if option.startswith("-") else []
    return f"did you mean {close[0]}?" if close else ""
