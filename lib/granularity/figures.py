"""One style for every figure of the book, and the colours that mean the same in all of them."""

import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib_inline.backend_inline import set_matplotlib_formats

# Okabe and Ito's palette: told apart with any of the common kinds of colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"

COLOURS = {
    "coarse": VERMILION,
    "fine": BLUE,
    "easy": SKY,
    "hard": PURPLE,
    "baseline": "#666666",
    "paper": BLACK,
    "random": ORANGE,
    "cluster": GREEN,
}


def style() -> None:
    """Sets matplotlib up for a page column and a phone: vector output, large text, quiet axes."""
    set_matplotlib_formats("svg")
    plt.rcParams.update(
        {
            "figure.figsize": (7.2, 4.2),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "font.size": 12,
            "axes.titlesize": 13,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.color": "#E5E5E5",
            "axes.axisbelow": True,
            "axes.prop_cycle": cycler(color=[BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK]),
            "lines.linewidth": 2,
            "legend.frameon": False,
            "svg.hashsalt": "granularity",  # the same figure is the same file
            "savefig.bbox": None,
        }
    )
