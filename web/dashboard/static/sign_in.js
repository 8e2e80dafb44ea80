const form = document.getElementById("sign-in");

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = document.getElementById("problem");
  problem.textContent = "";
  const key = new FormData(form).get("key").trim();
  const response = await fetch("/sign-in", { method: "POST", headers: { authorization: `Bearer ${key}` } });
  if (response.ok) location.reload();
  else problem.textContent = await said(response);
});

async function said(response) {
  try { return (await response.json()).error.message; } catch { return "The server did not let you in."; }
}
