// The socket of a page at a door. The messages are those of portal/devices/sockets.py; each becomes an event of its type.

const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
const MOST_UNACKED = 2;
const UNACKED_MS = 5000; // what is not acknowledged by then is lost
const SILENCE_MS = 25_000; // without a word of the server: the connection is dead
const UNPAIRED = 4401;

/** It comes back by itself, at once where the network or the page does. */
export class Line extends EventTarget {
  settings = null;
  #socket = null;
  #tries = 0;
  #retry = 0;
  #silence = 0;
  #sentAt = []; // of what is not acknowledged

  constructor(path) {
    super();
    this.address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
    window.addEventListener("online", () => this.hurry());
    window.addEventListener("pageshow", (event) => event.persisted && this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.settings || this.hurry());
  }

  open() {
    clearTimeout(this.#retry);
    this.#socket?.close(); // one that hangs while it connects
    const socket = new WebSocket(this.address);
    this.#socket = socket;
    this.#sentAt = [];
    socket.onmessage = (event) => socket === this.#socket && this.#heard(JSON.parse(event.data));
    socket.onclose = (event) => socket === this.#socket && this.#closed(event);
    this.#listen();
  }

  /** The server says something every 10 s; a connection that is dead says nothing, not even that. */
  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#drop(), SILENCE_MS);
  }

  #drop() {
    const socket = this.#socket;
    this.#closed({ code: 0, reason: "" });
    socket.close();
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

  tell(message) {
    if (this.isOpen) this.#socket.send(JSON.stringify(message));
  }

  /** Connect now rather than later, as when the network is back: what was open before may be dead. */
  hurry() {
    if (this.settings === null) this.open();
    else this.#drop();
  }

  #heard(message) {
    this.#listen();
    if (message.type === "ack") this.#sentAt.shift();
    if (message.type === "settings") {
      this.settings = message;
      this.#tries = 0;
    }
    this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
  }

  #closed({ code, reason }) {
    clearTimeout(this.#silence);
    this.#socket = null;
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
