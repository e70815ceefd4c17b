"""YAML files of settings, read so that neither a type nor a reference in them can do anything."""

import yaml

from mrspec_prep.bids.errors import InputError, read_text


class _PlainLoader(yaml.SafeLoader):
    """Knows plain values only; references, with which a few lines make gigabytes, are refused."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "references (*name) are not read", event.start_mark)
        return super().compose_node(parent, index)


def read_yaml(path, what, remedy):
    """Content of a YAML file.

    Raises
    ------
    InputError
        Unreadable, not YAML, nested too deeply, or with references.

    """
    text = read_text(path, what)
    try:
        return yaml.load(text, _PlainLoader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        value = str(error) or type(error).__name__
        raise InputError("not valid YAML", file=path, value=" ".join(value.split()), remedy=remedy) from error
