import { api } from "./api.js";
import { h, table } from "./dom.js";

export async function tools(root, signal) {
  const [found, servers] = await Promise.all([api("/v1/tools", { signal }), api("/v1/mcp/servers", { signal }).catch(() => ({ data: [] }))]);
  root.append(h("h1", {}, "Tools and MCP servers"),
    h("section", { class: "card" }, h("h2", {}, "Claude Code's built-in tools, for this key"),
      h("p", { class: "muted" }, found.sandbox.active ? "Commands run in Claude Code's sandbox." : `Commands run without a sandbox: ${found.sandbox.why_not ?? ""}`),
      table([
        { title: "Tool", cell: (tool) => h("strong", {}, tool.name) }, { title: "Risk", cell: (tool) => tool.risk },
        { title: "Allowed", cell: (tool) => h("span", { class: tool.allowed ? "badge good" : "badge" }, tool.allowed ? "yes" : "no") },
        { title: "Rules", cell: (tool) => (tool.allowed ? tool.rules.join(", ") : tool.why_not ?? "") }, { title: "What it does", cell: (tool) => tool.description },
      ], found.data)),
    h("section", { class: "card" }, h("h2", {}, "MCP servers"), table([
      { title: "Name", cell: (server) => h("strong", {}, server.name) }, { title: "Type", cell: (server) => server.type ?? "stdio" },
      { title: "Where", cell: (server) => h("code", {}, server.url ?? server.command ?? "–") },
    ], servers.data ?? [], "None. They are added with POST /v1/mcp/servers, or in .mcp.json.")));
}
