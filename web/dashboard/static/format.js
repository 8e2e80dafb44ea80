const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (n) => (n === null || n === undefined ? "–" : whole.format(n));
export const compact = (n) => (n === null || n === undefined ? "–" : n < 10000 ? whole.format(n) : short.format(n));
export const usd = (n) => {
  if (n === null || n === undefined) return "–";
  if (n === 0) return "$0";
  return n < 0.01 ? `$${n.toFixed(5)}` : n < 0.1 ? `$${n.toFixed(3)}` : `$${n.toFixed(2)}`;
};
export const ms = (n) => {
  if (n === null || n === undefined) return "–";
  return n < 1000 ? `${Math.round(n)} ms` : `${(n / 1000).toFixed(n < 10000 ? 2 : 1)} s`;
};
export const when = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleString() : "–");
export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString();
export const until = (seconds) => {
  const left = Math.max(0, seconds - Date.now() / 1000);
  if (left < 90) return `in ${Math.round(left)} s`;
  if (left < 5400) return `in ${Math.round(left / 60)} min`;
  return left < 172800 ? `in ${Math.round(left / 3600)} h` : `in ${Math.round(left / 86400)} days`;
};
export const bytes = (n) => (n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(0)} KB` : `${(n / 1048576).toFixed(1)} MB`);
