"""The API reference: every body has an example that runs as it is, every tag says what it is."""

from __future__ import annotations

from tests.conftest import MakeGateway

PASSED_ON = {
    "/v1/embeddings",
    "/v1/approvals/{approval_id}",
    "/v1/sessions/{session_id}/tell",
}
"""Answered by another server, or about what only a running turn has; tested with these."""

CHANGES = ("post", "put", "patch")


async def test_every_body_has_an_example_that_runs(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        gateway.http.headers["authorization"] = "Bearer sk-operator"
        document = gateway.app.openapi()
        names = {"session_id": "given", "name": "alice"}
        await gateway.http.post("/v1/sessions", json={"id": "given"})
        conversation = await gateway.http.post("/v1/conversations", json={})
        names["conversation_id"] = conversation.json()["id"]
        for path, operations in document["paths"].items():
            for method in CHANGES:
                content = operations.get(method, {}).get("requestBody", {}).get("content", {})
                if "application/json" not in content:
                    continue
                example = content["application/json"]["example"]
                if path in PASSED_ON:
                    continue
                url = path.format(**names)
                response = await gateway.http.request(method, url, json=example)
                assert response.status_code in (200, 201), (method, path, response.text)


async def test_every_operation_has_a_summary_and_a_described_tag(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway:
        document = gateway.app.openapi()
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert set(operation["tags"]) <= described, (method, path)
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
