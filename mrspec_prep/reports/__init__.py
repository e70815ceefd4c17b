"""Reports: finished derivatives in, one self-contained page per participant or study out.

A run asks here for its pages. What draws them is loaded with the first one: it takes a second, and most processes of a
run draw none.
"""


def build_subject_report(out_dir, subject):
    """Write ``sub-<label>.html``; see ``mrspec_prep.reports.subject``."""
    from mrspec_prep.reports import subject as pages

    return pages.build_subject_report(out_dir, subject)


def build_boilerplate(out_dir, subject):
    """Write the methods text of what is finished; see ``mrspec_prep.reports.subject``."""
    from mrspec_prep.reports import subject as pages

    return pages.build_boilerplate(out_dir, subject)


def build_group_report(out_dir):
    """Write ``group.html``; see ``mrspec_prep.reports.group.page``."""
    from mrspec_prep.reports.group import page

    return page.build_group_report(out_dir)
