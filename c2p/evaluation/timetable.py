"""The report's section on timing, which is not part of the report itself: it differs from run to run."""

import re
from collections.abc import Sequence

from jinja2 import Environment, StrictUndefined

from c2p.timings import Timing

BEGIN, END = "<!-- timings -->", "<!-- /timings -->"
"""What stands around the section's content in the report."""
TEMPLATE = """\
<p class="sub">The last time each stage's body ran to its end: {{ "%.0f" | format(total) }} s in all. Memory is the
largest sum over the stage's processes, seen once a second.</p>
<div class="scroll" role="region" tabindex="0" aria-label="Timing by stage"><table>
<thead><tr><th scope="col" class="head">Stage</th><th scope="col">Seconds</th><th scope="col">Peak memory, MB</th>\
<th scope="col">Finished (UTC)</th><th scope="col" class="head">Machine</th></tr></thead>
<tbody>
{% for row in timings %}
<tr><th scope="row" class="head">{{ row.stage }}</th><td>{{ "%.1f" | format(row.seconds) }}</td>\
<td>{{ "{:,.0f}".format(row.peak_memory_mb) }}</td><td>{{ row.finished[:19].replace("T", " ") }}</td>\
<td class="head wide">{{ row.machine }}</td></tr>
{% endfor %}
</tbody></table></div>
"""


def fill_timings(page: str, timings: Sequence[Timing]) -> str:
    """Put a table of timings into a report's page, in order of time.

    Raises ValueError: there are none, or the page is not a report of this version.
    """
    if not timings:
        raise ValueError("no stage has run here, so there are no timings; run the pipeline with `dvc repro`")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError("the page has no place for timings: it is of another version; run `dvc repro -f tables`")
    environment = Environment(autoescape=True, trim_blocks=True, undefined=StrictUndefined)
    ordered = sorted(timings, key=lambda timing: (timing.finished, timing.stage))
    total = sum(timing.seconds for timing in timings)
    table = environment.from_string(TEMPLATE).render(timings=ordered, total=total)
    between = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    return between.sub(lambda _: f"{BEGIN}\n{table}\n{END}", page)
