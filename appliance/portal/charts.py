"""Charts as SVG, drawn here: no script, no style of their own (the Content-Security-Policy allows neither), read out as words."""

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, ROW, LABEL, NUMBER = 420, 28, 130, 60
"""In SVG's units: the whole, the height of a row, the room for its label and for its number."""
LABEL_CHARACTERS = 18  # what the room takes; the whole name is in the title of the row


def bars(title: str, rows: Sequence[tuple[str, int]]) -> Markup:
    """A bar for each (label, number) of `rows`, the longest over the whole width; the numbers stand behind them."""
    most = max((number for _label, number in rows), default=0) or 1
    room = WIDTH - LABEL - NUMBER
    words = ", ".join(f"{label} {number}" for label, number in rows) or "nothing"
    drawn = [
        Markup(
            '<svg class="chart" role="img" viewBox="0 0 {width} {height}" aria-label="{title}: {words}" '
            'preserveAspectRatio="xMinYMin meet">'
        ).format(width=WIDTH, height=max(1, len(rows)) * ROW, title=title, words=words)
    ]
    for place, (label, number) in enumerate(rows):
        middle = place * ROW + ROW // 2
        drawn.append(
            Markup(
                '<g><title>{label}: {number}</title><text x="0" y="{text}">{short}</text>'
                '<rect class="bar bar-{place}" x="{left}" y="{top}" width="{length}" height="16" rx="2"/>'
                '<text x="{behind}" y="{text}">{number}</text></g>'
            ).format(
                label=label,
                short=label if len(label) <= LABEL_CHARACTERS else f"{label[: LABEL_CHARACTERS - 1]}…",
                number=number,
                text=middle + 5,
                place=place % 6,
                left=LABEL,
                top=middle - 8,
                length=max(2, room * number // most) if number else 0,
                behind=LABEL + (room * number // most) + 6,
            )
        )
    return Markup("").join([*drawn, Markup("</svg>")])
