"""Words of others, made fit for a line of a log and a terminal."""

CHARS = 500  # of an error's words: a person reads that much


def plain(text: str, most: int = CHARS) -> str:
    """The text without a sign that moves a cursor, colours, turns the direction of writing or ends the line: these are shown by
    their number. At most so many characters; where some are missing, the last is an ellipsis."""
    cut = text[: most + 1]
    shown = cut if cut.isprintable() else "".join(one if one.isprintable() else f"<{ord(one):X}>" for one in cut)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
