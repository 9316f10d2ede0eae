"""Status: where a run stands, from the files alone."""

import shutil
import time

from rhoflow.status.read import read as read_status
from rhoflow.status.render import render as render_status
from rhoflow.status.render import show as show_status


include: "status_layout.smk"


rule status:
    """Where a run stands, at any time: `snakemake status`, while another Snakemake runs too."""
    input:
        [],


if status_asked():
    forget_own_log()
    width = shutil.get_terminal_size((80, 24)).columns
    page = render_status(read_status(status_layout(), time.time()), min(width, 100))
    show_status(page, sys.stdout)
    raise SystemExit(0)
