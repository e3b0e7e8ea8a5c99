// What somebody typed into a form and did not save yet survives: a session that ended, a portal that was restarted, a page
// that was left by mistake. It is kept in this tab alone, never a password, and for the person who typed it.

import { say } from "./words.js";

const KEPT = "draft:";
const KEPT_FOR_MS = 12 * 3600 * 1000;
const TYPED = "input:not([type=hidden], [type=password], [type=file], [type=submit]), select, textarea";

const fields = (form) => [...form.querySelectorAll(TYPED)].filter((field) => field.name && !field.readOnly);

const contentOf = (field) => {
  if (field.type === "checkbox" || field.type === "radio") return field.checked;
  if (field.type === "select-multiple") return [...field.selectedOptions].map((option) => option.value);
  return field.value;
};

const values = (form) => fields(form).map((field) => [field.name, contentOf(field)]);

function put(field, value) {
  if (JSON.stringify(contentOf(field)) === JSON.stringify(value)) return false;
  if (field.type === "checkbox" || field.type === "radio") field.checked = value;
  else if (field.type === "select-multiple")
    for (const option of field.options) option.selected = value.includes(option.value);
  else field.value = value;
  for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, { bubbles: true }));
  return true;
}

/** Whether the page that is shown now says that what was sent from `path` was taken. */
function wasTaken(path, form) {
  if (document.querySelector(".message.success")) return true;
  const from = document.referrer ? new URL(document.referrer).pathname : "";
  return from === path && (location.pathname !== path || !form?.querySelector(".error, [aria-invalid]"));
}

function read(key) {
  try {
    const draft = JSON.parse(sessionStorage.getItem(key));
    return draft && Date.now() - draft.at < KEPT_FOR_MS ? draft : null;
  } catch {
    return null;
  }
}

/** Bring back what was typed, and say so. */
function restore(form, key, draft) {
  const typed = fields(form);
  const same = typed.length === draft.values.length && typed.every((field, at) => field.name === draft.values[at][0]);
  const before = values(form);
  const changed = same && draft.values.map(([, value], at) => put(typed[at], value)).includes(true);
  if (!changed) {
    sessionStorage.removeItem(key);
    return;
  }
  const note = Object.assign(document.createElement("p"), { className: "banner draft" });
  note.setAttribute("role", "status");
  const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet" });
  button.textContent = say("discard");
  button.onclick = () => {
    for (const [at, [, value]] of before.entries()) put(typed[at], value);
    sessionStorage.removeItem(key);
    note.remove();
  };
  note.append(`${say("draft")} `, button);
  form.prepend(note);
}

/** `person` is whose drafts these are; whoever signs in next in this tab does not see them. */
export function startDrafts(person) {
  const forms = [...document.querySelectorAll("main form[method=post][novalidate]")].filter(
    (form) => fields(form).length,
  );
  const keyOf = (form) => `${KEPT}${person}:${location.pathname}:${forms.indexOf(form)}`;
  for (const key of Object.keys(sessionStorage).filter((name) => name.startsWith(KEPT))) {
    const [draft, path] = [read(key), key.split(":")[2]];
    const form = path === location.pathname ? forms[Number(key.split(":")[3])] : undefined;
    if (!draft || !key.startsWith(`${KEPT}${person}:`) || (draft.sent && wasTaken(path, form)))
      sessionStorage.removeItem(key);
  }
  let leaving = false;
  const dirty = new Set();
  for (const form of forms) {
    const key = keyOf(form);
    const draft = read(key);
    if (draft) restore(form, key, draft);
    const keep = (sent) => sessionStorage.setItem(key, JSON.stringify({ at: Date.now(), values: values(form), sent }));
    form.addEventListener("input", () => {
      dirty.add(form);
      keep(false);
    });
    form.addEventListener("submit", () => {
      leaving = true;
      if (dirty.has(form) || read(key)) keep(true);
    });
  }
  window.addEventListener("beforeunload", (event) => {
    if (dirty.size && !leaving) event.preventDefault();
  });
  window.addEventListener("pageshow", () => {
    leaving = false;
  });
}
