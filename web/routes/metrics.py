"""`GET /metrics` for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from turns.metrics import CONTENT_TYPE
from web.dependencies import Metrics, MetricsReader

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    summary="Metrics for Prometheus",
)
async def metrics(reader: MetricsReader, metrics: Metrics) -> Response:
    """Needs a key (`authorization` in Prometheus's scrape configuration), unless METRICS_PUBLIC."""
    return Response(metrics.text(), media_type=CONTENT_TYPE)
