"""A section of a page between two marks, so that what stands around it is left alone. Pure."""

from __future__ import annotations

BEGIN, END = "<!-- gateways: begin, written by make bench-gateway -->", "<!-- gateways: end -->"


def block(page: str) -> str:
    """The section with its marks; empty where the page has none.

    Raises:
        ValueError: one of the marks is missing, or they are in the wrong order.
    """
    begin, end = page.find(BEGIN), page.find(END)
    if begin < 0 and end < 0:
        return ""
    if begin < 0 or end < begin:
        raise ValueError(f"the page needs both {BEGIN} and, after it, {END}, or neither")
    return page[begin : end + len(END)]


def rewritten(page: str, section: str, before: str) -> str:
    """The page with the section in its place: where it was, else in front of the heading `before`, else at the end."""
    new = f"{BEGIN}\n{section.strip()}\n{END}"
    old = block(page)
    if old:
        return page.replace(old, new)
    head, found, rest = page.partition(before)
    return f"{head.rstrip()}\n\n{new}\n" + (f"\n{found}{rest}" if found else "")
