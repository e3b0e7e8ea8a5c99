// Alerts: one toast per violation, one toast for many at once, and “while you were away” for old ones.

import { say } from "./words.js";

const GATHER_MS = 600; // violations that arrive within this time share a toast
const OLD_S = 60;
const SHOWN_MS = 20_000;
const MOST_TOASTS = matchMedia("(max-width: 640px)").matches ? 1 : 3;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const address = (violation) => `/violations/${violation.id}/`;

/** The picture that came with the message, or nothing. */
function picture(violation) {
  return violation.picture ? [element("img", { src: violation.picture, alt: "" })] : [];
}

export class Toasts {
  #waiting = [];
  #timer = 0;
  #shown = []; // {element, violations}

  /** With `quiet` nothing is shown on the page itself, only the browser's own notifications. */
  constructor(place, live, { quiet = false } = {}) {
    this.place = place;
    this.quiet = quiet;
    live.addEventListener("violation", ({ detail }) => {
      if (detail.isNew && detail.status === "open" && !detail.quiet) this.#gather(detail, live);
      else if (detail.status !== "open") this.#forget(detail.id);
    });
    live.addEventListener("gone", ({ detail }) =>
      detail.ids.forEach((id) => {
        this.#forget(id);
      }),
    );
  }

  #gather(violation, live) {
    violation.old = live.now() - Date.parse(violation.opened_at) / 1000 > OLD_S;
    this.#waiting.push(violation);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#show(this.#waiting.splice(0)), GATHER_MS);
  }

  #show(violations) {
    const old = violations.filter((violation) => violation.old);
    const fresh = violations.filter((violation) => !violation.old);
    if (this.quiet) {
      if (fresh.length) notify(fresh);
      return;
    }
    if (old.length) this.#add(awayToast(old), old);
    if (!fresh.length) return;
    const together = this.#shown.length >= MOST_TOASTS ? this.#takeAll() : [];
    const all = [...together, ...fresh];
    this.#add(all.length === 1 ? oneToast(all[0]) : manyToast(all), all);
    notify(fresh);
  }

  #add(toast, violations) {
    const entry = { toast, violations };
    const close = element("button", { type: "button", className: "close", textContent: "×" });
    close.setAttribute("aria-label", say("close"));
    close.onclick = () => this.#remove(entry);
    toast.append(close);
    this.place.append(toast);
    this.#shown.push(entry);
    if (toast.classList.contains("away")) return;
    let timer = setTimeout(() => this.#remove(entry), SHOWN_MS);
    const hold = () => clearTimeout(timer);
    toast.addEventListener("pointerenter", hold);
    toast.addEventListener("focusin", hold);
    const release = () => {
      hold();
      timer = setTimeout(() => this.#remove(entry), SHOWN_MS);
    };
    toast.addEventListener("pointerleave", release);
    toast.addEventListener("focusout", release);
  }

  #remove(entry) {
    entry.toast.remove();
    this.#shown = this.#shown.filter((other) => other !== entry);
  }

  #takeAll() {
    const fresh = this.#shown.filter((entry) => !entry.toast.classList.contains("away"));
    fresh.forEach((entry) => {
      this.#remove(entry);
    });
    return fresh.flatMap((entry) => entry.violations);
  }

  /** Somebody decided about it, or it is deleted: a toast about it alone has nothing more to say. */
  #forget(id) {
    this.#shown
      .filter((entry) => entry.violations.length === 1 && entry.violations[0].id === id)
      .forEach((entry) => {
        this.#remove(entry);
      });
  }
}

function sentence(violation) {
  const name = violation.label === "incorrect" ? "oneIncorrect" : "oneBare";
  return say(name, { camera: violation.camera_name, site: violation.site_name });
}

function oneToast(violation) {
  const toast = element("article", { className: "toast" });
  toast.dataset.toast = violation.id;
  const link = element("a", { href: address(violation), textContent: say("review") });
  toast.append(...picture(violation));
  toast.append(element("div", { className: "text" }, element("p", { textContent: sentence(violation) }), link));
  return toast;
}

function manyToast(violations) {
  const text = element("div", { className: "text" });
  text.append(element("p", { textContent: say("many", { count: violations.length }) }));
  text.append(element("div", { className: "shots" }, ...violations.slice(-4).flatMap(picture)));
  text.append(element("a", { href: "/violations/?status=open", textContent: say("reviewAll") }));
  const toast = element("article", { className: "toast many" }, text);
  toast.dataset.toast = "many";
  return toast;
}

function awayToast(violations) {
  const name = violations.length === 1 ? "awayOne" : "awayMany";
  const text = element("div", { className: "text" });
  text.append(element("p", { textContent: say(name, { count: violations.length }) }));
  const href = violations.length === 1 ? address(violations[0]) : "/violations/?status=open";
  text.append(element("a", { href, textContent: say(violations.length === 1 ? "review" : "reviewAll") }));
  const toast = element("article", { className: "toast away" }, text);
  toast.dataset.toast = "away";
  return toast;
}

// -- the browser's own notifications, where the user switched them on -----------------------------------------------

const SWITCH = "notify";

function notify(violations) {
  if (!document.hidden || !notifies()) return;
  const text = violations.length === 1 ? sentence(violations[0]) : say("many", { count: violations.length });
  let shown;
  try {
    shown = new Notification(text, { tag: "violations", icon: violations[0].picture || undefined });
  } catch {
    return; // phone browsers allow them only for installed pages
  }
  shown.onclick = () => {
    window.focus();
    location.href = violations.length === 1 ? address(violations[0]) : "/violations/?status=open";
  };
}

function notifies() {
  return "Notification" in window && Notification.permission === "granted" && localStorage.getItem(SWITCH) === "on";
}

/** The button that switches them on and off, and a note beside it; hidden where the browser does not support them. */
export function startNotifySwitch(button, note) {
  if (!button || !("Notification" in window)) return;
  const update = () => (button.textContent = say(notifies() ? "notifyOff" : "notifyOn"));
  button.hidden = false;
  button.onclick = async () => {
    const on = !notifies() && (await Notification.requestPermission()) === "granted";
    localStorage.setItem(SWITCH, on ? "on" : "off");
    note.textContent = Notification.permission === "denied" ? say("notifyDenied") : "";
    update();
  };
  update();
}
