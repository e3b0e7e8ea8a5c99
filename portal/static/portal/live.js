// The socket of a page. It reconnects by itself, notices when it is behind, and fetches what it missed.
// The messages are those of portal/events/messages.py.

import { Connection } from "./connection.js";

const SIGNED_OUT = 4401;
const NO_RIGHT = 4403;

/**
 * Events: "state" (detail: "live", "connecting", "no-right"), "violation" (detail: message, with `isNew`), "camera",
 * "gone", "feeds" (detail: violations to review), "preview" (detail: {header, picture}).
 */
export class Live extends Connection {
  #numbers; // by site: the newest event that this page has
  #first; // by site: the newest event when the page was made
  #toReview = {};
  #versions = new Map(); // by violation: the newest version that was reported
  #known = new Set(); // violations that were new once
  #offsetMs = 0; // the server's clock minus ours
  #wanted = [];
  #wasLive = false;

  constructor(address, numbers) {
    super(address);
    this.#first = { ...numbers };
    this.#numbers = { ...numbers };
  }

  opening() {
    this.#tell("state", "connecting");
  }

  /** Seconds since the epoch, by the server's clock. */
  now() {
    return (Date.now() + this.#offsetMs) / 1000;
  }

  look(cameras) {
    this.#wanted = cameras;
    this.#say({ type: "look", cameras });
  }

  painted(header) {
    this.#say({ type: "ack", camera: header.camera, number: header.number });
  }

  #say(message) {
    this.send(JSON.stringify(message));
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  lost(code) {
    if (code === SIGNED_OUT || (code === NO_RIGHT && this.#wasLive)) {
      location.reload(); // leads to the sign-in page and back, or shows what the user may see now
      return false;
    }
    this.#tell("state", code === NO_RIGHT ? "no-right" : "connecting");
    return code !== NO_RIGHT;
  }

  heard(data) {
    if (typeof data !== "string") {
      this.#tell("preview", readPreview(data));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "hello") this.#hello(message);
    else if (message.type === "heartbeat") this.#compare(message);
    else if (message.type === "violation") this.#violation(message);
    else if (message.type === "gone") this.#gone(message);
    else if (message.type === "camera") this.#tell("camera", message);
    else if (message.type === "caught-up") this.#caughtUp(message);
    else if (message.type === "error") console.warn("the portal did not understand:", message.text);
  }

  #hello(message) {
    this.settle();
    this.#wasLive = true;
    this.#tell("state", "live");
    message.cameras.forEach((camera) => {
      this.#tell("camera", camera);
    });
    this.#compare(message);
    if (this.#wanted.length) this.look(this.#wanted);
  }

  /** What does the server know that we do not? Asked again with each heartbeat, until it is answered. */
  #compare(message) {
    this.#offsetMs = message.now * 1000 - Date.now();
    const after = {};
    for (const [site, feed] of Object.entries(message.feeds)) {
      this.#toReview[site] = feed.to_review;
      if (feed.number > this.#newest(site)) after[site] = this.#newest(site);
    }
    this.#count();
    if (Object.keys(after).length) this.#say({ type: "missed", after });
  }

  #newest(site) {
    return this.#numbers[site] ?? 0;
  }

  #caughtUp(message) {
    for (const [site, number] of Object.entries(message.feeds)) {
      this.#numbers[site] = Math.max(this.#newest(site), number);
    }
  }

  /** An event right after the newest known one is known now; one after a gap waits until the gap is fetched. */
  #advance(message) {
    const newest = this.#newest(message.site);
    if (message.number > newest + 1) this.#say({ type: "missed", after: { [message.site]: newest } });
    else if (message.number === newest + 1) this.#numbers[message.site] = message.number;
    if (message.number < newest) return;
    this.#toReview[message.site] = message.to_review;
    this.#count();
  }

  #violation(message) {
    this.#advance(message);
    if ((this.#versions.get(message.id) ?? 0) >= message.version) return;
    this.#versions.set(message.id, message.version);
    message.isNew = message.opened_number > (this.#first[message.site] ?? 0) && !this.#known.has(message.id);
    this.#known.add(message.id);
    this.#tell("violation", message);
  }

  #gone(message) {
    this.#advance(message);
    this.#tell("gone", message);
  }

  #count() {
    this.#tell(
      "feeds",
      Object.values(this.#toReview).reduce((sum, count) => sum + count, 0),
    );
  }
}

/** Header and picture of a preview; see cameras/watching/preview.py. */
export function readPreview(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { header, picture: new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }) };
}
