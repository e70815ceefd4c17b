"""Node of every graph here: one that seals what it wrote."""

from nipype.pipeline import engine as pe

from mrspec_prep.workflows.running.seals import is_sealed, seal


class Step(pe.Node):
    """Nipype's node; its folder is sealed once it has run, wherever that was."""

    def run(self, updatehash=False):
        """Run, or take what an earlier run left."""
        result = super().run(updatehash=updatehash)
        if not is_sealed(self.output_dir()):
            seal(self.output_dir())
        return result
