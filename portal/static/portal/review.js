// Reviewing: keys j k c d (and x, Enter in the list), and what others decide in the meantime.

import { say } from "./words.js";

const KEYS = "keys"; // in localStorage: "off" if the user switched single keys off (WCAG 2.1.4)

const BOX = "box"; // in localStorage: "off" if the frame around the face is switched off
const PROGRESS_EVERY_MS = 1000;
const REASONS = ["nobody", "masked", "exempt", "unclear"]; // by the keys 1 to 4

const keysAreOff = () => localStorage.getItem(KEYS) === "off";

const typing = (target) => target.closest("input:not([type=checkbox]), textarea, select") !== null;

/** Send a review's form once: a second press, or a key that is held down, decides nothing. */
function press(form, decision) {
  const button = form.querySelector(`button[value="${decision}"]:not(:disabled)`);
  if (button && !form.dataset.sent) form.requestSubmit(button);
}

function sendOnce(form) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
  window.addEventListener("pageshow", () => delete form.dataset.sent);
}

function onKeys(keys) {
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const act = keys[event.key];
    if (!act || keysAreOff()) return;
    event.preventDefault();
    act();
  });
}

/** Keys that dismiss with a reason. */
function forReasons(decide) {
  return Object.fromEntries(REASONS.map((reason, at) => [`${at + 1}`, () => decide(`dismiss:${reason}`)]));
}

/** The button that switches single keys off and on. */
export function startKeySwitch(button) {
  if (!button) return;
  const update = () => (button.textContent = say(keysAreOff() ? "keysOff" : "keysOn"));
  button.hidden = false;
  button.onclick = () => {
    localStorage.setItem(KEYS, keysAreOff() ? "on" : "off");
    update();
  };
  update();
}

// -- the list -------------------------------------------------------------------------------------------------------

/** j and k go up and down, x chooses, c and d decide about the chosen rows, or else about the current one. */
export function startList(form, live) {
  sendOnce(form);
  const rows = () => [...form.querySelectorAll(".row")].filter((row) => row.offsetParent); // not in closed groups
  const current = () => rows().findIndex((row) => row.contains(document.activeElement));
  const go = (step) => {
    const [all, at] = [rows(), current()];
    const next = at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + step));
    all[next].querySelector(".row-link").focus();
  };
  const choosing = startChoosing(form);
  const decide = (decision) => {
    const box = rows()[current()]?.querySelector("[name=seen]");
    if (!choosing.count() && !form.querySelector("[data-all-fitting]:checked") && box) {
      box.click();
    }
    press(form, decision);
  };
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches("input[type=checkbox]")) return;
    event.preventDefault(); // otherwise the form would be sent, by its first button
    event.target.closest(".row")?.querySelector(".row-link").click();
  });
  onKeys({
    j: () => go(1),
    k: () => go(-1),
    x: () => rows()[current()]?.querySelector("[name=seen]")?.click(),
    c: () => decide("confirm"),
    d: () => decide("dismiss"),
    ...forReasons(decide),
  });
  live.addEventListener("violation", ({ detail }) => updateRow(detail) && choosing.update());
  live.addEventListener("gone", ({ detail }) => {
    detail.ids.forEach(markGone);
    choosing.update();
  });
}

/** How far a decision about all that fit has come. The list stays as it is: nothing shifts under anybody's hand. */
export function startProgress(banner) {
  if ("over" in banner.dataset) return;
  const ask = async () => {
    const answer = await fetch(banner.dataset.bulk, { credentials: "same-origin" }).catch(() => null);
    const now = answer?.ok ? await answer.json().catch(() => null) : null;
    if (now) {
      banner.querySelector("[data-told]").textContent = now.told;
      banner.querySelector("progress").value = now.position;
    }
    if (!now?.is_over) {
      setTimeout(ask, PROGRESS_EVERY_MS);
      return;
    }
    banner.querySelector("progress").remove();
    banner.querySelector("[data-again]").hidden = false;
    banner.querySelector("[data-undo-all]").hidden = !now.may_undo;
  };
  setTimeout(ask, PROGRESS_EVERY_MS);
}

/** The checkboxes, the one for all, and how many rows the buttons apply to. */
function startChoosing(form) {
  const all = form.querySelector("[data-all]");
  const boxes = () => [...form.querySelectorAll("[name=seen]")];
  const count = () => boxes().filter((box) => box.checked).length;
  const update = () => {
    if (!all) return;
    const chosen = count();
    all.checked = chosen > 0 && chosen === boxes().length;
    all.indeterminate = chosen > 0 && !all.checked;
    const everything = form.querySelector("[data-all-fitting]")?.checked;
    for (const box of [all, ...boxes()]) box.disabled = Boolean(everything); // they are among all that fit
    form.querySelectorAll("[data-chosen]").forEach((note) => {
      note.textContent = everything ? say("all") : chosen || "";
    });
  };
  all?.addEventListener("change", () => {
    boxes().forEach((box) => {
      box.checked = all.checked;
    });
    update();
  });
  form.addEventListener("change", ({ target }) => {
    const group = target.closest(".row")?.nextElementSibling?.querySelector("[data-group]:not([open])");
    if (target.name === "seen" && group) {
      for (const box of group.querySelectorAll("[name=seen]")) box.checked = target.checked; // the closed group with it
    }
    update();
  });
  window.addEventListener("pageshow", update);
  return { count, update };
}

function updateRow(message) {
  const row = document.querySelector(`.row[data-violation="${message.id}"]`);
  if (!row || Number(row.dataset.reviewVersion) >= message.review_version) return false;
  row.dataset.reviewVersion = message.review_version;
  const box = row.querySelector("[name=seen]");
  if (box) {
    box.value = `${message.id}:${message.review_version}`;
    box.checked = false; // chosen for what it was; it is something else now
  }
  showStatus(row.querySelector("[data-status]"), message);
  return true;
}

function markGone(id) {
  const row = document.querySelector(`.row[data-violation="${id}"]`);
  if (!row) return;
  row.classList.add("gone");
  row.querySelector("[name=seen]")?.remove();
  row.querySelector("[data-status]").textContent = say("gone");
}

/** “There are new violations”, if they would appear on this list's first page. */
export function startNewRows(note, live) {
  if (!note) return;
  const wanted = note.dataset;
  live.addEventListener("violation", ({ detail }) => {
    const fits = ["status", "site", "camera", "label"].every(
      (name) => !wanted[name] || wanted[name].split(" ").includes(`${detail[name]}`),
    );
    if (detail.isNew && fits && !("hidesNew" in wanted)) note.hidden = false;
  });
}

function showStatus(place, message) {
  place.replaceChildren(badge(message), " ");
  if (message.status !== "open") place.append(element("span", "soft", message.reviewed_by));
}

function badge(message) {
  const shape = element("span", "shape", "");
  shape.setAttribute("aria-hidden", "true");
  const made = element("span", `badge ${message.status}`, "");
  made.append(shape, message.status_name);
  return made;
}

function element(name, className, text) {
  return Object.assign(document.createElement(name), { className, textContent: text });
}

/** A note that was typed and not sent: the browser asks before another page takes its place. */
function askBeforeNoteIsLost(form) {
  const note = form.querySelector("textarea");
  const stored = note.defaultValue;
  window.addEventListener("beforeunload", (event) => {
    if (!form.dataset.sent && note.value !== stored) event.preventDefault();
  });
}

// -- one violation --------------------------------------------------------------------------------------------------

/** Who it is about is framed in each picture, until that is switched off. Returns the switch. */
function startBoxes(page) {
  const button = page.querySelector("[data-box-switch]");
  const isOn = () => localStorage.getItem(BOX) !== "off";
  const show = () => {
    for (const drawing of page.querySelectorAll("[data-framed]")) drawing.toggleAttribute("hidden", !isOn());
    button.setAttribute("aria-pressed", isOn());
  };
  const frame = (drawing, picture) => {
    const box = drawing.dataset.accused.split(" ").map(Number);
    if (box.length !== 4) return;
    const [width, height] = [picture.naturalWidth, picture.naturalHeight];
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const edges = {
      x: box[0] * width,
      y: box[1] * height,
      width: (box[2] - box[0]) * width,
      height: (box[3] - box[1]) * height,
    };
    for (const [name, value] of Object.entries(edges)) drawing.firstElementChild.setAttribute(name, value);
    drawing.dataset.framed = "";
    button.hidden = false;
    show();
  };
  for (const drawing of page.querySelectorAll("[data-accused]")) {
    const picture = drawing.parentElement.querySelector("img");
    if (picture.complete && picture.naturalWidth) frame(drawing, picture);
    else picture.addEventListener("load", () => frame(drawing, picture));
  }
  const flip = () => {
    localStorage.setItem(BOX, isOn() ? "off" : "on");
    show();
  };
  button.onclick = flip;
  return flip;
}

/** c and d decide, j and k go to the next; somebody else's decision is shown at once. */
export function startViolation(page, live) {
  const follow = (rel) => page.querySelector(`a[rel=${rel}]`)?.click();
  const form = page.querySelector(".decide");
  if (form) {
    sendOnce(form);
    askBeforeNoteIsLost(form);
  }
  onKeys({
    j: () => follow("next"),
    k: () => follow("prev"),
    b: startBoxes(page),
    c: () => form && press(form, "confirm"),
    d: () => form && press(form, "dismiss"),
    ...forReasons((decision) => form && press(form, decision)),
  });
  live.addEventListener("violation", ({ detail }) => {
    if (detail.id !== page.dataset.violation) return;
    if (Number(page.dataset.reviewVersion) >= detail.review_version) return;
    const banner = page.querySelector("[data-changed]");
    banner.hidden = false;
    banner.textContent = say("changed", { who: detail.reviewed_by, status: detail.status_name });
    showStatus(page.querySelector("[data-status]"), detail);
  });
}
