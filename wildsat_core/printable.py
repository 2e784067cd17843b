"""Texts that any file, log and client can take."""


def printable(text: str) -> str:
    """A text that UTF-8 can hold: names of files may have bytes in them that are none, which are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
