// The socket of a page at a door. The messages are those of portal/devices/messages.py; each becomes an event of its type.

import { Connection } from "./connection.js";

const MOST_UNACKED = 2;
const UNACKED_MS = 5000; // frames not acknowledged by then are lost
const UNPAIRED = 4401;

export class Line extends Connection {
  settings = null;
  #sentAt = []; // of frames that are not acknowledged yet

  constructor(path) {
    super(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`);
  }

  opening() {
    this.#sentAt = [];
  }

  get hasRoom() {
    const now = performance.now();
    this.#sentAt = this.#sentAt.filter((at) => now - at < UNACKED_MS);
    return this.isLive && this.isOpen && this.#sentAt.length < MOST_UNACKED;
  }

  sendFrame(frame) {
    if (!this.isLive || !this.isOpen) return;
    this.#sentAt.push(performance.now());
    this.send(frame);
  }

  tell(message) {
    if (this.isLive) this.send(JSON.stringify(message));
  }

  heard(data) {
    const message = JSON.parse(data);
    if (message.type === "ack") this.#sentAt.shift();
    if (message.type === "settings") {
      this.settings = message;
      this.settle();
    }
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }

  lost(code, reason) {
    this.settings = null;
    if (code === UNPAIRED) {
      location.reload(); // says that it is no longer paired
      return false;
    }
    this.dispatchEvent(new CustomEvent("lost", { detail: reason }));
    return true;
  }
}
