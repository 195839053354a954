"""HTML of the pages from the templates beside this file. How it looks is said in `book.css`."""

from jinja2 import Environment, PackageLoader, StrictUndefined

# Every text is escaped, and a name that a template misspells is an error.
TEMPLATES = Environment(
    loader=PackageLoader("granularity.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **content: object) -> str:
    """A template's HTML with this content.

    Raises jinja2.UndefinedError for a name that is not given, TemplateNotFound for no template.
    """
    return TEMPLATES.get_template(template).render(content)
