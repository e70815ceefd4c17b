"""Reports as nodes."""

from nipype.interfaces.base import BaseInterfaceInputSpec, InputMultiObject, TraitedSpec

from mrspec_prep.interfaces.base import File, SimpleInterface, traits
from mrspec_prep.reports import build_group_report, build_subject_report


class _ReportInputSpec(BaseInterfaceInputSpec):
    out_dir = traits.Str(mandatory=True, desc="derivatives folder")
    subject = traits.Str(mandatory=True, desc="label without sub-")
    out_files = InputMultiObject(File(exists=True), desc="derivatives that must exist before the report")


class _ReportOutputSpec(TraitedSpec):
    report = File(exists=True, desc="sub-<label>.html")


class SubjectReport(SimpleInterface):
    """Report of one participant, from its finished derivatives."""

    input_spec = _ReportInputSpec
    output_spec = _ReportOutputSpec
    _always_run = True  # the work directory cannot know whether the page is still there
    _loaded_late = ("mrspec_prep.reports.subject",)

    def _run_interface(self, runtime):
        self._results["report"] = str(build_subject_report(self.inputs.out_dir, self.inputs.subject))
        return runtime


class _GroupReportInputSpec(BaseInterfaceInputSpec):
    out_dir = traits.Str(mandatory=True, desc="derivatives folder")
    out_files = InputMultiObject(File(exists=True), desc="files that must exist before the report")


class _GroupReportOutputSpec(TraitedSpec):
    report = File(exists=True, desc="group.html")


class GroupReport(SimpleInterface):
    """Report of the group, from its finished files."""

    input_spec = _GroupReportInputSpec
    output_spec = _GroupReportOutputSpec
    _always_run = True
    _loaded_late = ("mrspec_prep.reports.group.page",)

    def _run_interface(self, runtime):
        self._results["report"] = str(build_group_report(self.inputs.out_dir))
        return runtime
