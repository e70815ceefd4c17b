"""Nipype's plugins for PBS, SGE, LSF and OAR, which take their jobs out of the queue when the run is interrupted."""

from nipype.pipeline.plugins.lsf import LSFPlugin
from nipype.pipeline.plugins.oar import OARPlugin
from nipype.pipeline.plugins.pbs import PBSPlugin
from nipype.pipeline.plugins.sge import SGEPlugin

from mrspec_prep.interfaces.interrupts import held
from mrspec_prep.workflows.running.slurm_queue import cancel


class _Cancelling:
    """What they share; ``command`` is the scheduler's own for taking jobs out."""

    command = "qdel"

    def run(self, graph, config, updatehash=False):
        """Run a graph; where that is interrupted, its jobs are cancelled."""
        try:
            super().run(graph, config, updatehash=updatehash)
        except BaseException:
            cancel(self._pending, self.command)
            raise

    def _submit_batchtask(self, scriptfile, node):
        with held("a job is submitted"):
            return super()._submit_batchtask(scriptfile, node)

    def _is_pending(self, taskid):
        with held("the scheduler is asked"):
            return super()._is_pending(taskid)


class CancellingPBS(_Cancelling, PBSPlugin):
    """Cancels with qdel."""


class CancellingSGE(_Cancelling, SGEPlugin):
    """Cancels with qdel."""


class CancellingLSF(_Cancelling, LSFPlugin):
    """Cancels with bkill."""

    command = "bkill"


class CancellingOAR(_Cancelling, OARPlugin):
    """Cancels with oardel."""

    command = "oardel"
