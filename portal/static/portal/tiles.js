// Live tiles: the newest picture of each camera with boxes, its state and its age. Only tiles in view are asked for.

import { ago, clock, duration, say } from "./words.js";

const OLD_S = 3; // for an older picture the age is shown
const STALE_S = 10; // an even older one is greyed out
const NOT_KNOWN_MS = 2000; // without a connection for longer, nobody knows whether a camera is online
const FIRST = 8; // of many cameras that need somebody
const SEEN = new Set(["online", "unknown"]);
const LOOKS = {
  mask: { colour: "#3fbfae", mark: "✓" },
  no_mask: { colour: "#ff6b5e", mark: "!" },
  incorrect: { colour: "#f2b23e", mark: "~" },
  unsure: { colour: "#c3cbcd", mark: "?" },
};

class Tile {
  constructor(element, live) {
    this.element = element;
    this.live = live;
    this.camera = Number(element.dataset.camera);
    this.canvas = element.querySelector("canvas");
    this.capturedAt = null;
    this.visible = false;
    this.told = "";
    this.name = element.querySelector("[data-state-name]").textContent;
    this.lostAt = null;
  }

  /** The page's connection: while it is lost, the last word about a camera is no longer true. */
  connection(isLive) {
    if (isLive) this.lostAt = null;
    else this.lostAt ??= Date.now();
    this.tick();
  }

  async show({ header, picture }) {
    const bitmap = await createImageBitmap(picture).catch(() => null);
    requestAnimationFrame(() => {
      if (bitmap) this.#paint(bitmap, header);
      this.live.painted(header); // even if it could not be painted: the next one may come
    });
  }

  #paint(bitmap, { faces, captured_at: capturedAt, number }) {
    const { canvas } = this;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    faces.forEach((face) => {
      paintFace(context, face, canvas.width, canvas.height);
    });
    canvas.dataset.number = number;
    this.capturedAt = capturedAt;
    this.#describe(faces);
    this.tick();
  }

  #describe(faces) {
    const bare = faces.filter((face) => face.label === "no_mask" || face.label === "incorrect").length;
    const total = faces.length;
    const text = total ? say(total === 1 ? "face" : "faces", { total, bare }) : say("nobody");
    if (text !== this.told) {
      this.told = text;
      this.canvas.setAttribute("aria-label", text);
    }
  }

  /** A camera's state, as the server reports it; a change is also announced to screen readers. */
  state(message) {
    const changed = this.message && this.message.state !== message.state;
    this.message = message;
    this.element.dataset.state = message.state;
    this.name = message.state_name;
    if (changed)
      this.#write("said", say("cameraState", { camera: this.element.dataset.name, state: message.state_name }));
    this.tick();
    return changed;
  }

  #write(name, text) {
    const place = this.element.querySelector(`[data-${name}]`);
    if (place.textContent !== text) place.textContent = text;
  }

  /** Show the picture's age, and grey out what is too old to be called live. */
  tick() {
    const online = this.element.dataset.state === "online";
    const known = this.lostAt === null || Date.now() - this.lostAt < NOT_KNOWN_MS;
    this.element.toggleAttribute("data-not-known", !known);
    this.#write("state-name", known ? this.name : say("notKnown"));
    const age = this.capturedAt === null ? null : Math.max(0, this.live.now() - this.capturedAt);
    const fresh = online && this.live.isLive && age !== null && age < STALE_S;
    this.element.toggleAttribute("data-fresh", fresh);
    const remark = this.message?.detail ?? ""; // for an online camera: its picture is black
    this.#write("age", fresh ? remark || (age < OLD_S ? say("ageNow") : say("age", { age: duration(age) })) : "");
    if (!fresh) this.#veil(online, age);
  }

  /** What covers a picture that is not live: what is wrong, since when, and what to do. */
  #veil(online, age) {
    const { message } = this;
    if (!online && message) {
      this.#write("veil-title", message.state_name);
      this.#write("veil-text", message.meaning);
    } else {
      this.#write("veil-title", say(!this.live.isLive ? "connecting" : age === null ? "waiting" : "standsStill"));
      this.#write("veil-text", "");
    }
    const time = age === null ? "" : clock(new Date(this.capturedAt * 1000));
    const out = !online && message?.since ? this.live.now() - Date.parse(message.since) / 1000 : 0;
    const never = out > 5 ? say("noPictureFor", { time: duration(out) }) : "";
    const since = age === null ? never : say("lastSeen", { time, ago: ago(age) });
    const retrying = message?.state === "offline" ? say("retrying") : "";
    this.#write("veil-since", [since, retrying].filter(Boolean).join(" "));
    const remedy = ["offline", "waiting", "unknown"].includes(message?.state) ? message.remedy : "";
    this.#write("veil-remedy", online ? "" : message?.detail || remedy); // a reason already says what to do
  }
}

export function paintFace(context, face, width, height) {
  const { colour, mark } = LOOKS[face.label] ?? LOOKS.unsure;
  const [x1, y1, x2, y2] = face.box.map((value, index) => value * (index % 2 ? height : width));
  const unit = width / 480;
  context.save();
  context.lineWidth = 2 * unit;
  context.strokeStyle = colour;
  context.setLineDash(face.label === "unsure" ? [4 * unit, 3 * unit] : []);
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.setLineDash([]);
  const text = say(face.label);
  context.font = `600 ${11 * unit}px system-ui, sans-serif`;
  const tag = { width: context.measureText(text).width + 22 * unit, height: 16 * unit };
  const top = y1 >= tag.height ? y1 - tag.height : y2;
  context.fillStyle = "#0b0e0f";
  context.fillRect(x1 - unit, top, tag.width, tag.height);
  context.fillStyle = colour;
  paintShape(context, face.label, x1 + 8 * unit, top + tag.height / 2, 6 * unit);
  context.fillText(text, x1 + 17 * unit, top + 12 * unit);
  context.fillStyle = "#0b0e0f";
  context.font = `800 ${9 * unit}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.fillText(mark, x1 + 8 * unit, top + (face.label === "no_mask" ? 12.5 : 11.5) * unit);
  context.restore();
}

/** A circle, a triangle or a square, so that nobody has to rely on colours. */
function paintShape(context, label, x, y, radius) {
  context.beginPath();
  if (label === "no_mask") {
    context.moveTo(x, y - radius);
    context.lineTo(x + radius, y + radius);
    context.lineTo(x - radius, y + radius);
  } else if (label === "incorrect") {
    context.rect(x - radius * 0.85, y - radius * 0.85, radius * 1.7, radius * 1.7);
  } else {
    context.arc(x, y, radius, 0, 2 * Math.PI);
  }
  context.fill();
}

/** Among many cameras, paused ones are folded away. */
function startPaused(tiles) {
  const button = document.querySelector("[data-show-paused]");
  if (!button) return;
  const show = (isShown) => {
    tiles.toggleAttribute("data-hides-paused", !isShown);
    button.setAttribute("aria-expanded", String(isShown));
  };
  button.addEventListener("click", () => show(tiles.hasAttribute("data-hides-paused")));
  button.hidden = false;
  show(false);
}

/** Of many that need somebody, the first few are shown until all are asked for. Returns what to call after a change. */
function startMore(tiles, elements) {
  const line = tiles.querySelector("[data-more-line]");
  if (!line) return () => {};
  const button = line.querySelector("button");
  const fold = () => {
    let needy = 0;
    elements.forEach((each) => {
      const isNeedy = !SEEN.has(each.dataset.state) && each.dataset.state !== "paused";
      if (isNeedy) needy += 1;
      each.toggleAttribute("data-more", isNeedy && needy > FIRST);
    });
    line.hidden = needy <= FIRST;
    line.querySelector("[data-more-count]").textContent = needy;
  };
  const show = (isShown) => {
    tiles.toggleAttribute("data-hides-more", !isShown);
    button.setAttribute("aria-expanded", String(isShown));
  };
  button.addEventListener("click", () => show(tiles.hasAttribute("data-hides-more")));
  show(false);
  fold();
  return fold;
}

/** Which cameras to show is asked for as soon as it is chosen. */
function startChoice() {
  const form = document.querySelector("[data-choice]");
  form?.elements.site.addEventListener("change", () => form.requestSubmit());
}

export function startTiles(live) {
  const place = document.querySelector("[data-tiles]");
  startChoice();
  startPaused(place);
  const elements = [...document.querySelectorAll(".tile")];
  if (!elements.length) return;
  const fold = startMore(place, elements);
  const tiles = new Map(elements.map((element) => [Number(element.dataset.camera), new Tile(element, live)]));

  const look = () => {
    const seen = document.hidden ? [] : [...tiles.values()].filter((tile) => tile.visible).map((tile) => tile.camera);
    live.look(seen);
  };
  const observer = new IntersectionObserver((entries) => {
    entries.forEach((entry) => {
      tiles.get(Number(entry.target.dataset.camera)).visible = entry.isIntersecting;
    });
    look();
  });
  elements.forEach((element) => {
    observer.observe(element);
  });
  document.addEventListener("visibilitychange", look);

  live.addEventListener("preview", ({ detail }) => tiles.get(detail.header.camera)?.show(detail));
  live.addEventListener("camera", ({ detail }) => {
    tiles.get(detail.camera)?.state(detail);
    fold();
  });
  live.addEventListener("state", ({ detail: state }) =>
    tiles.forEach((tile) => {
      tile.connection(state === "live");
    }),
  );
  setInterval(
    () =>
      tiles.forEach((tile) => {
        tile.tick();
      }),
    1000,
  );
}
