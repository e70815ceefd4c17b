"""JSON files: sidecars, descriptions, filters."""

import json

from mrspec_prep.bids.errors import InputError, read_text


def read_json(path):
    """Content of a JSON file that holds an object.

    Raises
    ------
    InputError
        Unreadable, not JSON (line and column are named), text that cannot be stored again, or not an object.

    """
    text = read_text(path, "the JSON file")
    try:
        content = json.loads(text)
        if "\\ud" in text.lower():  # escapes of halves of characters, which no file can hold
            json.dumps(content, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"not valid JSON: {error.msg}", file=path, value=place, remedy="correct the file") from error
    except UnicodeEncodeError as error:
        raise InputError(
            "half of a character is escaped", file=path, value=error.object[error.start], remedy="correct the file"
        ) from error
    except ValueError as error:
        raise InputError("a number with thousands of digits", file=path, remedy="correct the file") from error
    except RecursionError as error:
        raise InputError("the JSON file is nested too deeply", file=path, remedy="correct the file") from error
    if not isinstance(content, dict):
        raise InputError(
            "the JSON file must hold an object", file=path, value=type(content).__name__, remedy="use {...}"
        )
    return content
