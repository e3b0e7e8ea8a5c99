// The page that is the loudspeaker beside a camera.

import { keepAwake } from "./awake.js";
import { Line } from "./line.js";
import { Voice } from "./voice.js";
import { say } from "./words.js";

const place = document.querySelector("[data-speaker]");
const find = (name) => place.querySelector(`[data-${name}]`);
const line = new Line(place.dataset.socket);
const clock = new Intl.DateTimeFormat(document.documentElement.lang || "en", { timeStyle: "medium" });

new Voice(line, find("sound"), say);

function state(text, kind) {
  find("state").textContent = text;
  place.dataset.state = kind;
}

line.addEventListener("settings", ({ detail }) => {
  find("elsewhere").hidden = detail.speaks;
  state(detail.paused ? say("paused") : say("connected"), detail.paused ? "waiting" : "online");
});
line.addEventListener("lost", () => state(say("reconnecting"), "offline"));
line.addEventListener("say", ({ detail }) => {
  find("text").textContent = detail.text;
  find("text").lang = detail.language;
  find("text").dir = detail.direction;
});
place.addEventListener("said", ({ detail }) => {
  find("last").textContent = say(detail.why === "" ? "said" : detail.why, { time: clock.format(new Date()) });
});

state(say("connecting"), "connecting");
keepAwake(find("note-wake"));
line.begin();
