// What every signed-in page does: it listens for events, counts, and shows how old things are.

import { startCameraForm, startPlay, startVoiceForm } from "./cameras.js";
import { startDrafts } from "./drafts.js";
import { startChart } from "./figures.js";
import { Live } from "./live.js";
import { startPicks } from "./picks.js";
import { startPush } from "./push.js";
import { startKeySwitch, startList, startNewRows, startProgress, startViolation } from "./review.js";
import { startTiles } from "./tiles.js";
import { startNotifySwitch, Toasts } from "./toasts.js";
import { ago, say } from "./words.js";
import { startZones } from "./zones.js";

const SOCKET = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/live/`;
const STRIP_EVERY_MS = 30_000;
const STRIP_SOON_MS = 300;
const UNDO_MS = 10_000;
const PAIRING_EVERY_MS = 2000;
const KEPT_OFFLINE = "kept-offline"; // in sessionStorage: the language of the page for when there is no connection

const find = (selector) => document.querySelector(selector);
const numbers = JSON.parse(document.body.dataset.feeds || "{}");
const live = new Live(SOCKET, numbers);

function startCounter() {
  const { title } = document;
  live.addEventListener("feeds", ({ detail: toReview }) => {
    document.title = toReview ? `(${toReview}) ${title}` : title;
    document.querySelectorAll("[data-count]").forEach((count) => {
      count.querySelector("[data-number]").textContent = toReview;
      count.hidden = !toReview;
    });
    document.querySelectorAll("[data-count-big]").forEach((count) => {
      count.textContent = toReview;
      count.closest("li").classList.toggle("alarm", toReview > 0);
    });
  });
}

function startConnectionNote(note) {
  let timer = 0;
  live.addEventListener("state", ({ detail: state }) => {
    if (document.body.dataset.live === state) return; // each attempt to reconnect reports “connecting” again
    const fine = state === "live";
    document.body.classList.toggle("not-live", !fine);
    document.body.dataset.live = state;
    clearTimeout(timer);
    const show = () => {
      note.hidden = fine;
      note.textContent = fine ? "" : say(state === "no-right" ? "noRight" : "connecting");
    };
    timer = setTimeout(show, fine ? 0 : 1000); // a page that was just opened is not “reconnecting”
  });
}

/** The strip is fetched every 30 s, and at once when a camera changes; it is replaced only if it differs. */
function startStrip(place) {
  let shown = place.innerHTML;
  let timer = 0;
  const refresh = async () => {
    if (document.hidden) return;
    const answer = await fetch("/strip/", { credentials: "same-origin" }).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    const strip = await answer.text();
    if (strip.trim() === shown.trim() || place.contains(document.activeElement)) return;
    place.innerHTML = shown = strip;
  };
  setInterval(refresh, STRIP_EVERY_MS);
  live.addEventListener("camera", ({ detail }) => {
    if (place.dataset[`camera${detail.camera}`] === detail.state) return;
    place.dataset[`camera${detail.camera}`] = detail.state;
    clearTimeout(timer);
    timer = setTimeout(refresh, STRIP_SOON_MS);
  });
}

/** “Undo” is there for ten seconds, and for as long as somebody is about to press it. */
function startUndo() {
  document.querySelectorAll("[data-undo]").forEach((message) => {
    const end = () => {
      if (message.matches(":hover, :focus-within")) setTimeout(end, 1000);
      else message.remove();
    };
    setTimeout(end, UNDO_MS);
  });
}

function startCopy(button) {
  button.hidden = false;
  button.onclick = async () => {
    const link = find("#link");
    link.select();
    await navigator.clipboard?.writeText(link.value).catch(() => null);
    find("[data-copied]").textContent = say("copied");
  };
}

/** A pairing link's page says when the device was paired, or that the link has expired. */
function startPairing(card) {
  const place = card.querySelector("[data-pairing-state]");
  const end = Date.parse(card.dataset.expires);
  const ask = async () => {
    const answer = await fetch(card.dataset.pairing, { credentials: "same-origin" }).catch(() => null);
    const said = answer?.ok ? await answer.json().catch(() => null) : null;
    if (said?.used) {
      const link = Object.assign(document.createElement("a"), { href: said.address, textContent: said.camera });
      place.replaceChildren(`${say("paired")} `, link);
      card.querySelector(".waits").classList.add("paired");
    } else if (Date.now() > end) {
      place.textContent = say("linkOver");
    } else {
      setTimeout(ask, PAIRING_EVERY_MS);
    }
  };
  ask();
}

/** A new site is most likely where the person is who creates it. */
function startOwnZone(form) {
  const choice = form.elements.time_zone;
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if ([...choice.options].some((option) => option.value === own)) choice.value = own;
}

/** An installed app has a page of its own for when the portal cannot be reached, in the language of its pages. */
function startOffline() {
  const language = document.documentElement.lang;
  const kept = "serviceWorker" in navigator ? sessionStorage.getItem(KEPT_OFFLINE) : language;
  if (kept === language) return;
  sessionStorage.setItem(KEPT_OFFLINE, language);
  navigator.serviceWorker
    .register(document.body.dataset.worker)
    .then(() => navigator.serviceWorker.ready)
    .then((registration) => registration.active.postMessage("keep-offline"))
    .catch(() => sessionStorage.removeItem(KEPT_OFFLINE)); // an untrusted certificate, say: then without it
}

startCounter();
startOffline();
startConnectionNote(find("[data-connection]"));
startTiles(live);
startNotifySwitch(find("[data-notify]"), find("[data-notify-note]"));
startUndo();
startKeySwitch(find("[data-keys]"));
startNewRows(find("[data-new-rows]"), live);
startPicks([...document.querySelectorAll(".pick")]);
if (find("[data-copy]")) startCopy(find("[data-copy]"));
if (find("[data-pairing]")) startPairing(find("[data-pairing]"));
if (find("[data-camera-form]")) startCameraForm(find("[data-camera-form]"));
if (find("[data-own-zone]")) startOwnZone(find("[data-own-zone]"));
startDrafts(document.body.dataset.person);
if (find("[data-voice-form]")) startVoiceForm(find("[data-voice-form]"));
document.querySelectorAll("[data-chart]").forEach(startChart);
if (find("[data-zones]")) startZones(find("[data-zones]"));
if (find("[data-push]")) startPush(find("[data-push]"));
if (find("[data-play]")) startPlay(find("[data-play]"));
if (find("[data-strip-place]")) startStrip(find("[data-strip-place]"));
document.querySelectorAll("[data-bulk]").forEach(startProgress);
if (find("[data-list]")) startList(find("[data-list]"), live);
if (find("[data-page=violation]")) startViolation(find("[data-page=violation]"), live);
// Reviewers have the counter, and the list its note: a toast would cover the very buttons they need.
new Toasts(find("[data-toasts]"), live, { quiet: Boolean(find("[data-page]")) });
if (matchMedia("(max-width: 640px)").matches) find("[data-filters]")?.removeAttribute("open");

setInterval(() => {
  document.querySelectorAll("time[data-ago]").forEach((time) => {
    time.textContent = ago(live.now() - Date.parse(time.dateTime) / 1000);
  });
}, 15_000);

if (Object.keys(numbers).length) {
  live.begin();
}
