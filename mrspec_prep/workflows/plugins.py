"""Nipype's MultiProc, made to end when a worker is killed."""

from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from multiprocessing import get_context

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer

WORKER_DIED = (
    "WorkerDied: the process computing this step was killed from outside, most often for lack of memory. "
    "Remedy: give more memory (--mem and the job's own limit) or fewer processes (--nprocs), then run the same "
    "command again"
)


class ResilientMultiProc(MultiProcPlugin):
    """MultiProc that reports a killed worker as the failure of the steps in flight.

    Nipype's own waits for ever for the result of a worker that was SIGKILLed (out of
    memory). Here the broken pool is replaced, the steps in flight fail with a cause, and
    the other participants go on.
    """

    def _async_callback(self, args):
        try:
            result = args.result()
        except (BrokenProcessPool, CancelledError):
            taskid = next((key for key, future in self._task_obj.items() if future is args), None)
            if taskid is not None:
                self._taskresult[taskid] = {"result": None, "traceback": [WORKER_DIED + "\n"], "taskid": taskid}
            return
        self._taskresult[result["taskid"]] = result

    def _submit_job(self, node, updatehash=False):
        try:
            return super()._submit_job(node, updatehash=updatehash)
        except BrokenProcessPool:
            self._taskid -= 1
            self.pool.shutdown(wait=False)
            self.pool = ProcessPoolExecutor(
                max_workers=self.processors,
                initializer=process_initializer,
                initargs=(self._cwd,),
                mp_context=get_context(self.plugin_args.get("mp_context")),
            )
            return super()._submit_job(node, updatehash=updatehash)

    def _get_result(self, taskid):
        future = self._task_obj[taskid]
        if future.done() and taskid not in self._taskresult:
            self._async_callback(future)
        return super()._get_result(taskid)
