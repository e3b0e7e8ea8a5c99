// The sentences that scripts show: translated by the server, in components/words.html and in pages that have their own.

const given = [...document.querySelectorAll("template[data-words]")];
const words = Object.assign({}, ...given.reverse().map((template) => ({ ...template.dataset }))); // the page's own win

/** The sentence of this name, its {holes} filled in. */
export function say(name, holes = {}) {
  const sentence = words[name] ?? name;
  return sentence.replace(/\{(\w+)\}/g, (whole, hole) => holes[hole] ?? whole);
}

const language = document.documentElement.lang || "en";
const relative = new Intl.RelativeTimeFormat(language, {
  numeric: "auto",
  style: "short",
});

/** “2 min. ago”, for seconds that have passed. */
export function ago(seconds) {
  const past = Math.max(0, seconds);
  if (past < 60) return say("justNow");
  if (past < 3600) return relative.format(-Math.round(past / 60), "minute");
  if (past < 86400) return relative.format(-Math.round(past / 3600), "hour");
  return relative.format(-Math.round(past / 86400), "day");
}

const inUnit = (count, unit) =>
  new Intl.NumberFormat(language, { style: "unit", unit, maximumFractionDigits: 0 }).format(count);

/** “12 sec”, “3 min”: a length of time. */
export function duration(seconds) {
  if (seconds < 60) return inUnit(seconds, "second");
  if (seconds < 3600) return inUnit(seconds / 60, "minute");
  return inUnit(seconds / 3600, "hour");
}

/** The time of day here, by one clock everywhere. */
export function clock(date) {
  return new Intl.DateTimeFormat("en-GB", { timeStyle: "short" }).format(date);
}
