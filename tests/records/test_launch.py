"""Jobs: what is refused before any work."""

import pytest

from granularity.records import launch


@pytest.mark.fault("a job file with a field too many", "refused")
def test_a_job_with_a_field_too_many_is_refused():
    with pytest.raises(ValueError, match="a job has"):
        launch.run_job({"entry": "x:y", "settings": [], "places": {}, "folder": "x", "more": 1})
