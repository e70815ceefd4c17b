"""How ``--help`` reads: names on one line, every default said, examples at the end."""

import argparse

EXAMPLES = """\
examples:
  what was found and what would run, nothing computed
      mrspec_prep BIDS_DIR OUT_DIR participant --dry-run
  two participants, with masks, on 4 processors and 8 GB
      mrspec_prep BIDS_DIR OUT_DIR participant --participant-label 01 02 -d masks=MASK_DIR --nprocs 4 --mem 8g
  images preprocessed by QSIPrep; echo times come from BIDS_DIR
      mrspec_prep BIDS_DIR OUT_DIR participant -d qsiprep=QSIPREP_DIR
  the same run again, from the file that it left
      mrspec_prep BIDS_DIR OUT_DIR participant --config-file OUT_DIR/sub-01/log/RUN/mrspec_prep.toml
  the group, from what the participant level left in OUT_DIR
      mrspec_prep BIDS_DIR OUT_DIR group

Options may be spelt with hyphens or underscores. Exit codes: 0 all done; 1 something failed; 2 usage or input error
found before anything was computed; 130 or 143 interrupted (the same command goes on from there).
"""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Names of an option first, then its value once; examples as they are written."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=30, width=110)

    def _format_action_invocation(self, action):
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"
