// Requests to this server as who is signed in: the cookie goes by itself, the token proves the page.

const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

export class ApiError extends Error {}

export function headers(extra = {}) {
  return token ? { "x-csrf-token": token, ...extra } : extra;
}

export async function api(path, { method = "GET", body, signal } = {}) {
  const sent = body === undefined ? headers() : headers({ "content-type": "application/json" });
  const response = await fetch(path, {
    method, signal, headers: sent, body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.status === 401) location.reload();
  if (!response.ok) throw new ApiError(await problem(response));
  return response.status === 204 ? null : response.json();
}

export async function problem(response) {
  try {
    const { error } = await response.json();
    return error.message;
  } catch {
    return `The server answered ${response.status}.`;
  }
}
