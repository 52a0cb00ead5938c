"""The dashboard, the alert rules, what docs ask Prometheus: metrics in them are told; alerts fire when they should."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tcpsight.output.feeds.metrics import METRICS, Metric
from tests.conftest import ROOT

FOLDER = ROOT / "contrib" / "grafana"
ALERTS = FOLDER / "alerts.yaml"
DASHBOARD = json.loads((FOLDER / "tcpsight.json").read_text("utf-8"))

# What Prometheus adds.
ADDED = {"instance", "job"}


def names_of(metric: Metric) -> dict[str, set[str]]:
    """Give the names under which Prometheus has it, each with its labels."""
    labels = set(metric.labels)
    if metric.kind != "histogram":
        return {metric.name: labels}
    return {f"{metric.name}_bucket": labels | {"le"}, f"{metric.name}_sum": labels, f"{metric.name}_count": labels}


LABELS = {name: labels for metric in METRICS for name, labels in names_of(metric).items()}
WORDS = {
    (metric.name, label): set(metric.values)
    for metric in METRICS
    for label in metric.labels
    if metric.values and label != "service"
}


def alert_expressions() -> dict[str, str]:
    text = ALERTS.read_text("utf-8")
    found = re.findall(r"- alert: (\w+)\n +expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", text)
    expressions = {name: block or line for name, block, line in found}
    assert len(expressions) == text.count("- alert:")
    return expressions


def panel_expressions() -> dict[str, str]:
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    }


def shown_expressions() -> dict[str, str]:
    text = (ROOT / "docs" / "how-to" / "metrics.md").read_text("utf-8")
    found = dict(re.findall(r"^\| ([^|]+) \| `(.*tcpsight_.*)` \|$", text, re.MULTILINE))
    assert len(found) >= 5
    return found


EXPRESSIONS = alert_expressions() | panel_expressions() | shown_expressions()


def selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for name, inside in re.findall(r"(tcpsight_\w+)(?:\{([^}]*)\})?", expression):
        yield name, re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', inside)


@pytest.mark.parametrize("title", EXPRESSIONS)
def test_every_metric_in_an_expression_is_told_with_those_labels(title: str):
    expression = EXPRESSIONS[title]
    used = list(selectors(expression))
    assert used
    for name, conditions in used:
        assert name in LABELS, name
        for label, value in conditions:
            assert label in LABELS[name], (name, label)
            if (known := WORDS.get((name, label))) is not None:
                assert set(value.split("|")) <= known, (name, label, value)
    grouped = {
        label.strip() for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in group.split(",")
    }
    for name, _ in used:
        assert grouped <= LABELS[name] | ADDED, (name, grouped)


def test_legends_show_labels_that_are_there():
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            for name, _ in selectors(target["expr"]):
                assert wanted <= LABELS[name] | ADDED, panel["title"]


def test_the_dashboard_has_a_variable_for_services_and_panels_that_do_not_overlap():
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["service"]["query"]["query"] == "label_values(tcpsight_requests_total, service)"
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert {"timeseries", "heatmap"} <= {panel["type"] for panel in panels}


def promtool(require_program: Callable[[str], str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = require_program("promtool")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_promtool_accepts_the_alerts(require_program):
    run = promtool(require_program, "check", "rules", ALERTS)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{len(alert_expressions())} rules found" in run.stdout


def test_prometheus_can_read_every_expression_of_the_dashboard_and_the_docs(require_program, tmp_path):
    expressions = [e.replace("$__rate_interval", "1m").replace("$service", ".*") for e in panel_expressions().values()]
    expressions += shown_expressions().values()
    rules = [{"record": f"panel:{i}", "expr": expression} for i, expression in enumerate(expressions)]
    path = tmp_path / "panels.yaml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))  # JSON is YAML
    run = promtool(require_program, "check", "rules", path)
    assert run.returncode == 0, run.stdout + run.stderr


# What is scraped every 15 s for half an hour, and which alerts it is for.
SERVICE = 'service="10.0.0.9:3306",instance="a"'
FINE = {
    "tcpsight_build_info": "1x120",
    "tcpsight_slice_end_timestamp_seconds": "0+15x120",
    f"tcpsight_requests_total{{{SERVICE}}}": "0+1500x120",
    f"tcpsight_waiting_requests{{{SERVICE}}}": "3x120",
    f'tcpsight_response_time_seconds_bucket{{{SERVICE},le="0.5"}}': "0+1500x120",
    f'tcpsight_response_time_seconds_bucket{{{SERVICE},le="2.5"}}': "0+1500x120",
    f'tcpsight_response_time_seconds_bucket{{{SERVICE},le="+Inf"}}': "0+1500x120",
    f"tcpsight_unanswered_requests_total{{{SERVICE}}}": "0x120",
    f"tcpsight_connections_total{{{SERVICE}}}": "0+15x120",
    f'tcpsight_failed_connections_total{{{SERVICE},outcome="server_reset"}}': "0x120",
    f'tcpsight_failed_connections_total{{{SERVICE},outcome="refused"}}': "0x120",
    f'tcpsight_segments_total{{{SERVICE},direction="server"}}': "0+1500x120",
    f'tcpsight_retransmissions_total{{{SERVICE},direction="server"}}': "0+1x120",
    'tcpsight_findings_total{kind="stall",severity="critical"}': "0x120",
    "tcpsight_captured_frames_total": "0+1500x120",
    "tcpsight_capture_dropped_frames_total": "0x120",
    'tcpsight_interface_up{interface="eth0"}': "1x120",
    'tcpsight_feed_dropped_total{feed="tcp://h:1"}': "0x120",
}
WRONG = {
    "ResponsesAreSlow": {f'tcpsight_response_time_seconds_bucket{{{SERVICE},le="0.5"}}': "0+1200x120"},
    "ServiceHangs": {f"tcpsight_requests_total{{{SERVICE}}}": "1500x120"},
    "RequestsAreNotAnswered": {f"tcpsight_unanswered_requests_total{{{SERVICE}}}": "0+30x120"},
    "ConnectionsAreRefused": {f'tcpsight_failed_connections_total{{{SERVICE},outcome="refused"}}': "0+15x120"},
    "ConnectionsAreReset": {f'tcpsight_failed_connections_total{{{SERVICE},outcome="server_reset"}}': "0+5x120"},
    "SegmentsAreSentAgain": {f'tcpsight_retransmissions_total{{{SERVICE},direction="server"}}': "0+60x120"},
    "CriticalFinding": {'tcpsight_findings_total{kind="stall",severity="critical"}': "0x110 1x9"},
    "TcpsightIsGone": {"tcpsight_build_info": "_x120"},
    "TcpsightTellsNothingNew": {"tcpsight_slice_end_timestamp_seconds": "60x120"},
    "NothingIsCaptured": {"tcpsight_captured_frames_total": "0x120"},
    "InterfaceIsDown": {'tcpsight_interface_up{interface="eth0"}': "1x80 0x39"},
    "CaptureLosesFrames": {"tcpsight_capture_dropped_frames_total": "0+15x120"},
    "FeedDropsSlices": {'tcpsight_feed_dropped_total{feed="tcp://h:1"}': "0+1x120"},
}


def test_every_alert_is_tried():
    assert set(WRONG) == set(alert_expressions())


def test_alerts_fire_for_what_they_name_and_for_nothing_else(require_program, tmp_path):
    tests: list[dict[str, Any]] = []
    for wrong in ("", *WRONG):
        series = FINE | WRONG.get(wrong, {})
        tests.append(
            {
                "interval": "15s",
                "name": wrong or "all is well",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": f'count by (alertname) (ALERTS{{alertname="{name}",alertstate="firing"}})',
                        "eval_time": "29m",
                        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1}] if name == wrong else [],
                    }
                    for name in WRONG
                ],
            }
        )
    path = tmp_path / "tests.yaml"
    path.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": tests}))
    run = promtool(require_program, "test", "rules", path)
    assert run.returncode == 0, run.stdout + run.stderr
