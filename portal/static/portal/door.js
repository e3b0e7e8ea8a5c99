// A device as a camera: it sends pictures at the rate that the portal asks for, shows what the portal finds in them,
// and reconnects by itself. The messages are those of portal/devices/messages.py.

import { keepAwake } from "./awake.js";
import { Line } from "./line.js";
import { paintFace } from "./tiles.js";
import { Voice } from "./voice.js";
import { say } from "./words.js";

const BUSY_RETRY_MS = 5000;
const QUIET_MS = 4000; // without an answer for this long: no worker is looking
const SNAP_MS = 2000;
const LOW_BATTERY = 0.2;
const QUALITY = 0.8;
const SAME_SHAPE = 0.05; // as detection/zones.py has it

const place = document.querySelector("[data-door]");
const find = (name) => place.querySelector(`[data-${name}]`);
const video = find("video");
const boxes = find("boxes");
const blinds = find("private"); // over the video
const picture = document.createElement("canvas");

/** What is shown over the picture: nothing, or why there is no picture. */
function veil(title, text = "") {
  find("veil").hidden = !title;
  find("veil-title").textContent = title;
  find("veil-text").textContent = text;
}

function state(text, kind) {
  find("state").textContent = text;
  place.dataset.state = kind;
}

/** The camera of this device: a word of cameras/states.py says why it gives no picture. */
class Eye {
  word = null;
  #retry = 0;
  #opening = 0; // a counter: of two attempts under way, the older one gives up

  constructor(changed) {
    this.changed = changed;
  }

  /** Whether a moving picture is coming in; a phone call mutes a camera without ending it. */
  get isOpen() {
    const [track] = video.srcObject?.getVideoTracks() ?? [];
    const moving = track?.readyState === "live" && !track.muted && !video.paused;
    return this.word === null && moving && video.videoWidth > 0 && !document.hidden;
  }

  async open() {
    clearTimeout(this.#retry);
    const mine = ++this.#opening;
    this.close();
    if (!window.isSecureContext || !navigator.mediaDevices) {
      this.#tell("insecure");
      return;
    }
    const wanted = { facingMode: find("facing").value, width: { ideal: 1280 }, height: { ideal: 720 } };
    let stream = null;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
      if (mine !== this.#opening) throw new DOMException("", "AbortError");
      video.srcObject = stream;
      stream.getVideoTracks()[0].onended = () => this.open(); // unplugged, or taken by another program
      await video.play();
      this.#tell(null);
    } catch (error) {
      if (mine !== this.#opening) {
        letGo(stream);
        return;
      }
      this.#tell(
        { NotAllowedError: "denied", NotFoundError: "no-camera", OverconstrainedError: "no-camera" }[error.name] ??
          "busy",
      );
      if (this.word !== "denied") this.#retry = setTimeout(() => this.open(), BUSY_RETRY_MS);
    }
  }

  close() {
    letGo(video.srcObject);
    video.srcObject = null;
  }

  #tell(word) {
    this.word = word;
    this.changed();
  }
}

function letGo(stream) {
  stream?.getTracks().forEach((track) => {
    track.onended = null;
    track.stop();
  });
}

const line = new Line(place.dataset.socket);
const voice = new Voice(line, find("sound"), say);
const eye = new Eye(told);
let answeredAt = 0;
let nextAt = 0;

function told() {
  if (eye.word) {
    const name = eye.word.replace(/(^|-)(\w)/g, (_whole, _dash, letter) => letter.toUpperCase());
    veil(say(`word${name}`), say(`meaning${name}`));
    line.tell({ type: "word", word: eye.word });
  } else if (!line.settings) {
    return; // until it is known what nobody may see
  } else if (line.settings.paused) {
    veil(say("paused"), say("pausedText"));
  } else {
    veil("");
    if (document.hidden) line.tell({ type: "word", word: "asleep" });
    return;
  }
  quiet();
}

/** Results from a while ago are no longer shown or said. */
function quiet() {
  boxes.width = 0;
  boxes.dataset.faces = 0;
  greet([]);
}

/** Black out what nobody may see; all of it, if the picture has another shape than the one the zones were drawn on. */
function blackOut(canvas) {
  const { width, height } = canvas;
  const zones = line.settings?.private ?? [];
  const turned = zones.some(({ aspect }) => aspect && Math.abs(Math.log((aspect * height) / width)) > SAME_SHAPE);
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  if (turned) context.fillRect(0, 0, width, height);
  for (const { points } of zones) {
    context.beginPath();
    points.forEach(([x, y]) => {
      context.lineTo(x * width, y * height);
    });
    context.fill("evenodd");
  }
}

/** The same over the moving picture; setting a canvas' size clears it. */
function coverVideo() {
  blinds.width = video.videoWidth;
  blinds.height = video.videoHeight;
  blackOut(blinds);
}

/** The picture as it is sent: whole, its longer side as wide as was chosen. */
function snap() {
  const scale = Math.min(1, Number(find("width").value) / Math.max(video.videoWidth, video.videoHeight));
  picture.width = Math.round(video.videoWidth * scale);
  picture.height = Math.round(video.videoHeight * scale);
  picture.getContext("2d").drawImage(video, 0, 0, picture.width, picture.height);
  blackOut(picture);
  return new Promise((done) => {
    setTimeout(done, SNAP_MS, null);
    picture.toBlob(done, "image/jpeg", QUALITY);
  });
}

/** One picture per tick of the requested rate, as long as the portal acknowledges them. */
async function tick() {
  try {
    await sendIfDue(performance.now());
  } catch (error) {
    console.warn(error); // one picture is lost, the next one follows
  }
  setTimeout(tick, 20);
}

async function sendIfDue(now) {
  const { settings } = line;
  if (!settings || settings.paused || !eye.isOpen) return;
  if (answeredAt && now - answeredAt > QUIET_MS) {
    state(say("unanswered"), "waiting");
    quiet();
  }
  if (!line.hasRoom || now < nextAt) return;
  nextAt = Math.max(nextAt + 1000 / settings.rate, now);
  const frame = await snap();
  if (frame && line.hasRoom) line.sendFrame(frame);
}

function show({ faces }) {
  answeredAt = performance.now();
  state(say("sending", { rate: line.settings?.rate ?? "" }), "online");
  boxes.width = video.videoWidth;
  boxes.height = video.videoHeight;
  faces.forEach((face) => {
    paintFace(boxes.getContext("2d"), face, boxes.width, boxes.height);
  });
  boxes.dataset.faces = faces.length;
  greet(faces.map((face) => face.label));
}

/** What the door says: first to anyone without a mask; while it is unsure, the same as to nobody. */
function greet(labels) {
  if (voice.speaking) {
    write(voice.speaking.step === "thanks" ? "mask" : "no_mask", voice.speaking.text);
    return;
  }
  const label = ["no_mask", "incorrect", "mask"].find((one) => labels.includes(one)) ?? "nobody";
  write(label, say(`greet${label[0].toUpperCase()}${label.slice(1)}`));
}

function write(label, text) {
  const greeting = find("greeting");
  greeting.dataset.label = label;
  if (greeting.textContent !== text) greeting.textContent = text;
}

async function doorMode() {
  place.classList.add("full");
  find("greeting").hidden = false;
  await document.documentElement.requestFullscreen?.().catch(() => null);
}

/** A tap leads back; on some phones there is no other way to leave full screen. */
function leaveDoorMode() {
  place.classList.remove("full");
  find("greeting").hidden = true;
  if (document.fullscreenElement) document.exitFullscreen();
}

document.addEventListener("fullscreenchange", () => document.fullscreenElement || leaveDoorMode());
find("stage").addEventListener("click", () => place.classList.contains("full") && leaveDoorMode());

async function watchBattery() {
  const battery = await navigator.getBattery?.().catch(() => null);
  if (!battery) return;
  const tell = () => {
    const note = find("note-battery");
    note.hidden = battery.charging || battery.level > LOW_BATTERY;
    note.textContent = say("battery", { level: Math.round(battery.level * 100) });
  };
  battery.onlevelchange = battery.onchargingchange = tell;
  tell();
}

function keep(name) {
  const choice = find(name);
  choice.value = localStorage.getItem(`door-${name}`) ?? choice.value;
  choice.addEventListener("change", () => localStorage.setItem(`door-${name}`, choice.value));
}

["facing", "width"].forEach(keep);
find("facing").addEventListener("change", () => eye.open());
find("door-mode").onclick = doorMode;
video.addEventListener("resize", coverVideo);
line.addEventListener("settings", () => {
  coverVideo();
  if (place.dataset.state !== "online" && place.dataset.state !== "waiting") {
    answeredAt = performance.now();
    state(say("connecting"), "connecting");
  }
  told();
});
line.addEventListener("answer", ({ detail }) => (detail.fault ? null : show(detail)));
line.addEventListener("lost", ({ detail }) => {
  state(detail ? say("refused", { reason: detail }) : say("reconnecting"), "offline");
  quiet();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    line.tell({ type: "word", word: "asleep" });
    return;
  }
  if (!eye.isOpen) eye.open();
});

state(say("connecting"), "connecting");
line.begin();
eye.open();
keepAwake(find("note-wake"));
watchBattery();
tick();
