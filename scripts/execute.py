"""papermill's own command, whose kernels speak through sockets that are files.

    python -P scripts/execute.py notebook.ipynb out.ipynb …       papermill's words

By default a kernel's TCP ports are looked for, given back, and taken again a moment later. Jobs
that start at once were given one port in between, and the second died before its first cell.
A folder of its own for each kernel cannot be shared; other users of a machine cannot reach it.
"""

import tempfile

from papermill.cli import papermill
from papermill.engines import NBClientEngine, papermill_engines
from traitlets.config import Config

FOLDERS = "/tmp"  # the path of a socket may have some 100 characters; a job's TMPDIR may have more


class OwnSockets(NBClientEngine):
    """papermill's engine for one notebook, with the sockets in a folder that goes with it."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **words) -> object:
        """Executes the notebook; raises what a cell raises."""
        with tempfile.TemporaryDirectory(prefix="kernel-", dir=FOLDERS) as folder:
            manager = {"transport": "ipc", "ip": f"{folder}/socket"}
            words["config"] = Config(KernelManager=manager)
            return super().execute_managed_notebook(nb_man, kernel_name, **words)


if __name__ == "__main__":
    papermill_engines.register(None, OwnSockets)
    papermill(prog_name="papermill")
