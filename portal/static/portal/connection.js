// A socket that reconnects by itself; live.js (pages) and line.js (doors) build on it. Events of an earlier socket, or
// of one that was dropped, are ignored.

const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
const SILENCE_MS = 25_000; // the server sends something every 10 s: after this long the connection is dead

/** Subclasses implement `opening()`, `heard(data)` and `lost(code, reason)`; the last returns whether to reconnect. */
export class Connection extends EventTarget {
  #socket = null;
  #tries = 0;
  #retry = 0;
  #silence = 0;
  isLive = false;

  constructor(address) {
    super();
    this.address = address;
  }

  /** Connect, and from now on reconnect whenever the connection is lost. */
  begin() {
    window.addEventListener("online", () => this.hurry());
    window.addEventListener("pageshow", (event) => event.persisted && this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.isLive || this.hurry());
    this.#open();
  }

  #open() {
    clearTimeout(this.#retry);
    this.#socket?.close(); // one that hangs while it connects
    const socket = new WebSocket(this.address);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onmessage = (event) => {
      if (socket !== this.#socket) return;
      this.#listen();
      this.heard(event.data);
    };
    socket.onclose = (event) => socket === this.#socket && this.#ended(event);
    this.#listen();
    this.opening();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  send(data) {
    if (this.isOpen) this.#socket.send(data);
  }

  /** The server accepted us: the next pause is short again. */
  settle() {
    this.#tries = 0;
    this.isLive = true;
  }

  /** Connect now rather than at the end of the pause, as when the network is back: an open socket may be dead. */
  hurry() {
    if (this.isLive) this.#drop();
    else this.#open();
  }

  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#drop(), SILENCE_MS);
  }

  #drop() {
    const socket = this.#socket;
    this.#ended({ code: 0, reason: "" });
    socket?.close();
  }

  #ended({ code, reason }) {
    clearTimeout(this.#silence);
    clearTimeout(this.#retry);
    this.#socket = null;
    this.isLive = false;
    if (!this.lost(code, reason)) return;
    const pause = BACKOFF_MS[Math.min(this.#tries++, BACKOFF_MS.length - 1)];
    this.#retry = setTimeout(() => this.#open(), pause * (0.75 + Math.random() / 2));
  }
}
