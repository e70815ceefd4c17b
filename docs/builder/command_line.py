"""Reference of the command line, from its parser."""

from docs.builder.tables import table
from mrspec_prep.cli.parser import build_parser


def text():
    """Markdown: usage, then a table for every group of options."""
    parser = build_parser()
    parts = []
    for group in parser._action_groups:
        rows = [(_names(action), _meaning(parser, action)) for action in group._group_actions if action.help]
        if rows:
            title = group.title.capitalize()
            parts.append(f"## {title}\n\n{table(['option', 'meaning'], rows)}\n")
    return "\n".join([f"{parser.description}\n", *parts, f"```text\n{parser.epilog.strip()}\n```\n"])


def _names(action):
    """Names of an option with what follows it."""
    if not action.option_strings:
        return f"`{action.metavar or action.dest.upper()}`"
    value = action.metavar or ("" if action.nargs == 0 else "|".join(action.choices or [action.dest.upper()]))
    return ", ".join(f"`{name}`" for name in action.option_strings) + (f" `{value}`" if value else "")


def _meaning(parser, action):
    """Help text of an option as the terminal shows it."""
    return parser._get_formatter()._expand_help(action)
