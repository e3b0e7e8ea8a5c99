// A device as a camera: it sends pictures at the rate that the portal asks for, shows what the portal finds in them,
// and comes back by itself. The messages are those of portal/live/devices.py.

import { paintFace } from "./tiles.js";
import { say } from "./words.js";

const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
const MOST_UNACKED = 2;
const UNACKED_MS = 5000; // what is not acknowledged by then is lost
const BUSY_RETRY_MS = 5000;
const QUIET_MS = 4000; // without an answer: no worker looks
const LOW_BATTERY = 0.2;
const QUALITY = 0.8;
const UNPAIRED = 4401;

const place = document.querySelector("[data-door]");
const find = (name) => place.querySelector(`[data-${name}]`);
const video = find("video");
const boxes = find("boxes");
const picture = document.createElement("canvas");

/** What stands over the picture: nothing, or why there is none. */
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

  constructor(changed) {
    this.changed = changed;
  }

  get isOpen() {
    return this.word === null && video.videoWidth > 0 && !document.hidden;
  }

  async open() {
    clearTimeout(this.#retry);
    this.close();
    if (!window.isSecureContext || !navigator.mediaDevices) {
      this.#tell("insecure");
      return;
    }
    const wanted = { facingMode: find("facing").value, width: { ideal: 1280 }, height: { ideal: 720 } };
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
      video.srcObject.getVideoTracks()[0].onended = () => this.open(); // unplugged, or taken by another program
      await video.play();
      this.#tell(null);
    } catch (error) {
      this.#tell({ NotAllowedError: "denied", NotFoundError: "no-camera", OverconstrainedError: "no-camera" }[error.name] ?? "busy");
      if (this.word !== "denied") this.#retry = setTimeout(() => this.open(), BUSY_RETRY_MS);
    }
  }

  close() {
    video.srcObject?.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
    video.srcObject = null;
  }

  #tell(word) {
    this.word = word;
    this.changed();
  }
}

/** The socket. It comes back by itself, at once where the network or the page does. */
class Line extends EventTarget {
  settings = null;
  #socket = null;
  #tries = 0;
  #retry = 0;
  #sentAt = []; // of what is not acknowledged

  constructor(address) {
    super();
    this.address = address;
  }

  open() {
    clearTimeout(this.#retry);
    const socket = new WebSocket(this.address);
    this.#socket = socket;
    this.#sentAt = [];
    socket.onmessage = (event) => this.#heard(JSON.parse(event.data));
    socket.onclose = (event) => socket === this.#socket && this.#closed(event);
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN && this.settings !== null;
  }

  get hasRoom() {
    const now = performance.now();
    this.#sentAt = this.#sentAt.filter((at) => now - at < UNACKED_MS);
    return this.isOpen && this.#sentAt.length < MOST_UNACKED;
  }

  send(frame) {
    if (!this.isOpen) return;
    this.#sentAt.push(performance.now());
    this.#socket.send(frame);
  }

  word(word) {
    if (this.isOpen) this.#socket.send(JSON.stringify({ type: "word", word }));
  }

  hurry() {
    if (this.#socket?.readyState === WebSocket.CLOSED) this.open();
  }

  #heard(message) {
    if (message.type === "ack") this.#sentAt.shift();
    if (message.type === "settings") {
      this.settings = message;
      this.#tries = 0;
    }
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }

  #closed({ code, reason }) {
    this.settings = null;
    if (code === UNPAIRED) {
      location.reload(); // says that it is paired no more
      return;
    }
    this.dispatchEvent(new CustomEvent("lost", { detail: reason }));
    const pause = BACKOFF_MS[Math.min(this.#tries++, BACKOFF_MS.length - 1)];
    this.#retry = setTimeout(() => this.open(), pause * (0.75 + Math.random() / 2));
  }
}

const scheme = location.protocol === "https:" ? "wss" : "ws";
const line = new Line(`${scheme}://${location.host}${place.dataset.socket}`);
const eye = new Eye(told);
let answeredAt = 0;
let nextAt = 0;

function told() {
  if (eye.word) {
    const name = eye.word.replace(/(^|-)(\w)/g, (_whole, _dash, letter) => letter.toUpperCase());
    veil(say(`word${name}`), say(`meaning${name}`));
    line.word(eye.word);
  } else if (line.settings?.paused) {
    veil(say("paused"), say("pausedText"));
  } else {
    veil("");
  }
}

/** The picture as it is sent: whole, its longer side as wide as was chosen. */
function snap() {
  const scale = Math.min(1, Number(find("width").value) / Math.max(video.videoWidth, video.videoHeight));
  picture.width = Math.round(video.videoWidth * scale);
  picture.height = Math.round(video.videoHeight * scale);
  picture.getContext("2d").drawImage(video, 0, 0, picture.width, picture.height);
  return new Promise((done) => picture.toBlob(done, "image/jpeg", QUALITY));
}

/** One picture a tick of the asked rate, as long as the portal acknowledges them. */
async function tick() {
  const now = performance.now();
  const { settings } = line;
  if (settings && !settings.paused && eye.isOpen && line.hasRoom && now >= nextAt) {
    nextAt = Math.max(nextAt + 1000 / settings.rate, now);
    const frame = await snap();
    if (frame && line.hasRoom) line.send(frame);
    if (answeredAt && now - answeredAt > QUIET_MS) state(say("unanswered"), "waiting");
  }
  setTimeout(tick, 20);
}

function show({ faces }) {
  answeredAt = performance.now();
  state(say("sending", { rate: line.settings?.rate ?? "" }), "online");
  boxes.width = video.videoWidth;
  boxes.height = video.videoHeight;
  faces.forEach((face) => paintFace(boxes.getContext("2d"), face, boxes.width, boxes.height));
  boxes.dataset.faces = faces.length;
  greet(faces.map((face) => face.label));
}

/** What the door says: to who wears none first, and nothing while it is unsure. */
function greet(labels) {
  const label = ["no_mask", "incorrect", "mask"].find((one) => labels.includes(one)) ?? (labels.length ? null : "nobody");
  if (!label) return;
  const greeting = find("greeting");
  greeting.dataset.label = label;
  const text = say(`greet${label[0].toUpperCase()}${label.slice(1)}`);
  if (greeting.textContent !== text) greeting.textContent = text;
}

async function doorMode() {
  place.classList.add("full");
  find("greeting").hidden = false;
  await document.documentElement.requestFullscreen?.().catch(() => null);
}

document.addEventListener("fullscreenchange", () => {
  if (document.fullscreenElement) return;
  place.classList.remove("full");
  find("greeting").hidden = true;
});

/** The screen stays on, if the browser can do that; it lets go whenever the page is hidden. */
async function keepAwake() {
  const lock = await navigator.wakeLock?.request("screen").catch(() => null);
  find("note-wake").hidden = Boolean(lock);
}

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
line.addEventListener("settings", () => {
  answeredAt = performance.now();
  state(say("connecting"), "connecting");
  told();
});
line.addEventListener("answer", ({ detail }) => (detail.fault ? null : show(detail)));
line.addEventListener("lost", ({ detail }) => {
  state(detail ? say("refused", { reason: detail }) : say("reconnecting"), "offline");
  boxes.width = 0; // boxes of a while ago are none
});
window.addEventListener("online", () => line.hurry());
window.addEventListener("pageshow", (event) => event.persisted && line.hurry());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    line.word("asleep");
    return;
  }
  line.hurry();
  keepAwake();
  if (!video.srcObject?.active) eye.open();
});

state(say("connecting"), "connecting");
line.open();
eye.open();
keepAwake();
watchBattery();
tick();
