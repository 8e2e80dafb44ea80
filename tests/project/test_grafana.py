"""The Grafana dashboard asks for metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import MakeGateway
from tests.support.wire import URL, asking

DASHBOARD = Path(__file__).parents[2] / "deploy/grafana/dashboard.json"


async def test_every_panel_of_the_dashboard_has_its_metric(make_gateway: MakeGateway) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]  # a small file
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"\bclaude_\w+", target["expr"])
    }
    async with make_gateway() as gateway:
        await gateway.http.post(URL, json=asking("hi"))
        report = {"rateLimitType": "five_hour", "utilization": 0.5, "status": "allowed"}
        gateway.engine.windows.note(report)
        text = (await gateway.http.get("/metrics")).text
    families = text_string_to_metric_families(text)
    given = {sample.name for family in families for sample in family.samples}
    assert len(asked) > 8
    assert asked - given == set()
