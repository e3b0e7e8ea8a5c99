// Reviewing: keys j k c d (and x, Enter in the list), and what others decide meanwhile.

import { say } from "./words.js";

const typing = (target) => target.closest("input:not([type=checkbox]), textarea, select") !== null;

function press(form, decision) {
  const button = form.querySelector(`button[value=${decision}]`);
  if (button) form.requestSubmit(button);
}

/** The list: j and k go up and down, x chooses, c and d decide about what is chosen, or about the current row. */
export function startList(form, live) {
  const rows = [...form.querySelectorAll(".row")];
  const boxes = [...form.querySelectorAll("[name=seen]")];
  form.querySelector("[data-all]")?.addEventListener("change", (event) => {
    boxes.forEach((box) => (box.checked = event.target.checked));
  });
  const current = () => rows.findIndex((row) => row.contains(document.activeElement));
  const go = (step) => {
    const at = current();
    const next = at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step));
    rows[next].querySelector(".row-link").focus();
  };
  const decide = (decision) => {
    const row = rows[current()];
    if (!boxes.some((box) => box.checked) && row) row.querySelector("[name=seen]").checked = true;
    press(form, decision);
  };
  const keys = {
    j: () => go(1),
    k: () => go(-1),
    x: () => rows[current()]?.querySelector("[name=seen]")?.click(),
    c: () => decide("confirm"),
    d: () => decide("dismiss"),
  };
  onKeys(keys);
  live.addEventListener("violation", ({ detail }) => updateRow(detail));
  live.addEventListener("gone", ({ detail }) => detail.ids.forEach(markGone));
}

function updateRow(message) {
  const row = document.querySelector(`.row[data-violation="${message.id}"]`);
  if (!row) {
    const note = document.querySelector("[data-new-rows]");
    if (note && message.isNew) {
      note.hidden = false;
      note.querySelector("a").textContent = say("newRows");
    }
    return;
  }
  if (Number(row.dataset.reviewVersion) >= message.review_version) return;
  row.dataset.reviewVersion = message.review_version;
  const box = row.querySelector("[name=seen]");
  if (box) {
    box.value = `${message.id}:${message.review_version}`;
    box.checked = false; // chosen for what it was; it is something else now
  }
  const status = row.querySelector("[data-status]");
  status.replaceChildren(badge(message), small(message.reviewed_by));
}

function markGone(id) {
  const row = document.querySelector(`.row[data-violation="${id}"]`);
  if (!row) return;
  row.classList.add("gone");
  row.querySelector("[name=seen]")?.remove();
  row.querySelector("[data-status]").textContent = say("gone");
}

function badge(message) {
  const made = document.createElement("span");
  made.className = `badge ${message.status}`;
  const shape = document.createElement("span");
  shape.className = "shape";
  shape.setAttribute("aria-hidden", "true");
  made.append(shape, message.status_name);
  return made;
}

function small(text) {
  const made = document.createElement("span");
  made.className = "soft";
  made.textContent = text;
  return made;
}

/** One violation: c and d decide, j and k go to the next; somebody else's decision is told at once. */
export function startViolation(page, live) {
  const follow = (rel) => page.querySelector(`a[rel=${rel}]`)?.click();
  const form = page.querySelector(".decide");
  onKeys({
    j: () => follow("next"),
    k: () => follow("prev"),
    c: () => form && press(form, "confirm"),
    d: () => form && press(form, "dismiss"),
  });
  live.addEventListener("violation", ({ detail }) => {
    if (detail.id !== page.dataset.violation) return;
    if (Number(page.dataset.reviewVersion) >= detail.review_version) return;
    const banner = page.querySelector("[data-changed]");
    banner.hidden = false;
    banner.textContent = say("changed", { who: detail.reviewed_by, status: detail.status_name });
    page.querySelector("[data-status]").replaceChildren(badge(detail), " ", small(detail.reviewed_by));
  });
}

function onKeys(keys) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
