// What every signed-in page does: it listens, counts, and says how old things are.

import { Live } from "./live.js";
import { startList, startViolation } from "./review.js";
import { startTiles } from "./tiles.js";
import { startNotifySwitch, Toasts } from "./toasts.js";
import { ago, say } from "./words.js";

const SOCKET = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/live/`;
const STRIP_EVERY_MS = 30_000;
const UNDO_MS = 10_000;

const live = new Live(SOCKET, JSON.parse(document.body.dataset.feeds || "{}"));
const title = document.title;

live.addEventListener("feeds", ({ detail: toReview }) => {
  document.title = toReview ? `(${toReview}) ${title}` : title;
  document.querySelectorAll("[data-count]").forEach((count) => {
    count.textContent = toReview;
    count.hidden = !toReview;
  });
  document.querySelectorAll("[data-count-big]").forEach((count) => {
    count.textContent = toReview;
    count.closest("li").classList.toggle("alarm", toReview > 0);
  });
});

live.addEventListener("state", ({ detail: state }) => {
  const note = document.querySelector("[data-connection]");
  const fine = state === "live";
  document.body.classList.toggle("not-live", !fine);
  document.body.dataset.live = state;
  clearTimeout(note.timer);
  note.timer = setTimeout(
    () => {
      note.hidden = fine;
      note.textContent = fine ? say("live") : say(state === "no-right" ? "noRight" : "connecting");
    },
    fine ? 0 : 1000, // a page that has just been opened is not “reconnecting”
  );
});

new Toasts(document.querySelector("[data-toasts]"), live);
startTiles(live);
startNotifySwitch(document.querySelector("[data-notify]"));
const list = document.querySelector("[data-list]");
if (list) startList(list, live);
const page = document.querySelector("[data-page=violation]");
if (page) startViolation(page, live);

setInterval(() => {
  document.querySelectorAll("time[data-ago]").forEach((time) => {
    time.textContent = ago(live.now() - Date.parse(time.dateTime) / 1000);
  });
}, 15_000);

setTimeout(() => document.querySelectorAll("[data-undo] form").forEach((form) => form.remove()), UNDO_MS);

const strip = document.querySelector("[data-strip-place]");
if (strip) {
  setInterval(async () => {
    if (document.hidden) return;
    const answer = await fetch("/strip/", { credentials: "same-origin" }).catch(() => null);
    if (answer?.ok && !answer.redirected) strip.innerHTML = await answer.text();
  }, STRIP_EVERY_MS);
}

window.addEventListener("online", () => live.hurry());
document.addEventListener("visibilitychange", () => document.hidden || live.hurry());
live.open();
