"""matplotlib's SVG -> SVG for a page: no style of its own, colors by name, few bytes.

The page's content policy allows no `style` attributes, so each becomes presentation attributes
(https://www.w3.org/TR/SVG2/styling.html#PresentationAttributes), which may hold a variable of the page's style sheet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_URL = re.compile(r"url\(#([^)]+)\)")
_NUMBER = re.compile(r"-?\d+\.\d+")
_LEFT_TO_THE_PAGE = ("font-family", "stroke-linejoin", "stroke-linecap")

ElementTree.register_namespace("", _SVG)


def page_markup(svg: str, name: str, title: str, colors: Mapping[str, str]) -> str:
    """Return the markup of a plot.

    Args:
        svg: as matplotlib writes it.
        name: what its ids begin with, so that those of several plots in a page differ.
        title: what the plot shows, for those who cannot see it.
        colors: the style sheet's variable for each color (`#rrggbb`) that the plot is drawn with.
    """
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    used = {found for element in root.iter() for found in _references(element)}
    for element in root.iter():
        _clean(element, name, used, colors)
    view = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": view, "class": "plot", "role": "img", "aria-label": title})
    return ElementTree.tostring(root, encoding="unicode")


def _references(element: ElementTree.Element) -> list[str]:
    """Yield the ids that an element refers to."""
    return [*_URL.findall(" ".join(element.attrib.values())), *filter(None, [element.get(_HREF, "")[1:]])]


def _clean(element: ElementTree.Element, name: str, used: set[str], colors: Mapping[str, str]) -> None:
    attributes = dict(element.attrib)
    element.attrib.clear()
    for declaration in attributes.pop("style", "").split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key and key not in _LEFT_TO_THE_PAGE:
            attributes[key] = f"var({colors[value]})" if value.startswith("#") else value
    for key, value in attributes.items():
        if key == _HREF:
            element.set("href", f"#{name}-{value[1:]}")
        elif key != "id":
            element.set(key, _rounded(_URL.sub(rf"url(#{name}-\1)", value)))
        elif value in used:
            element.set("id", f"{name}-{value}")
    if element.text is not None and not element.text.strip():
        element.text = None
    element.tail = None


def _rounded(value: str) -> str:
    """Return the text on one line, its numbers with two decimals at most."""
    return _NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), " ".join(value.split()))
