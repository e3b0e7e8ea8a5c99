// What a page at a door says aloud: by the browser's own voice, or by the sound that the portal rendered.

const VOICE_STARTS_MS = 1500; // some browsers list voices that never start
const SOUND_STARTS_MS = 4000;
const SLACK_MS = 5000; // beyond the length of the sound
const LONGEST_MS = 60_000;
const STALE_MS = 3000;

/** Speaks what arrives on `line`, one after the other, and reports back how it went. */
export class Voice {
  speaking = null; // the message being spoken
  #audio = new Audio();
  #queue = Promise.resolve();
  #isUnlocked = false;
  #endPlay = null; // of the sound that is playing
  #untold = []; // what was said while the connection was down

  /** `bar` asks for the one tap that browsers require before a page may play sound; its data-chime is played then. */
  constructor(line, bar, sentence) {
    this.line = line;
    this.bar = bar;
    this.sentence = sentence;
    this.#audio.preload = "auto";
    bar.querySelector("button").onclick = () => this.#unlock();
    line.addEventListener("settings", () => {
      this.#untold.splice(0).forEach((heard) => {
        line.tell(heard);
      });
      this.#show();
    });
    line.addEventListener("say", ({ detail }) => this.#enqueue(detail, performance.now()));
  }

  #show(isUnlocked = this.#isUnlocked) {
    this.#isUnlocked = isUnlocked;
    this.bar.hidden = !this.line.settings?.speaks;
    this.bar.dataset.sound = isUnlocked ? "on" : "off";
    this.bar.querySelector("[data-sound-text]").textContent = this.sentence(isUnlocked ? "soundOn" : "soundOff");
  }

  async #unlock() {
    if (this.speaking) return; // it can be heard
    const chime = this.#play(this.bar.dataset.chime); // within the tap, or it would not count
    this.#queue = this.#queue.then(() => chime);
    const fault = await chime;
    this.#show(fault === "");
    if (fault) this.bar.querySelector("[data-sound-text]").textContent = this.sentence("soundFault");
  }

  #enqueue(message, came) {
    this.#queue = this.#queue.then(async () => {
      this.speaking = message;
      const why = performance.now() - came > STALE_MS ? "late" : await this.#say(message);
      this.speaking = null;
      const heard = { type: "heard", reminder: message.reminder, why };
      if (this.line.isLive) this.line.tell(heard);
      else this.#untold.push(heard);
      if (why === "" || why === "locked") this.#show(why === "");
      this.bar.dispatchEvent(new CustomEvent("said", { bubbles: true, detail: { message, why } }));
    });
  }

  /** Empty if it was said to the end; otherwise why it was not. */
  async #say({ text, language, audio }) {
    const voice = voiceFor(language);
    const why = voice ? await this.#speak(text, voice) : "dumb";
    return why === "dumb" ? this.#play(audio) : why;
  }

  /** Like #say; "dumb" if the voice never started. */
  #speak(text, voice) {
    return new Promise((resolve) => {
      const spoken = new SpeechSynthesisUtterance(text);
      let timer = 0;
      const end = (why) => {
        clearTimeout(timer);
        spoken.onstart = spoken.onerror = spoken.onend = null;
        speechSynthesis.cancel(); // one that hangs would block the next
        resolve(why);
      };
      spoken.voice = voice;
      spoken.lang = voice.lang;
      spoken.onstart = () => {
        clearTimeout(timer);
        timer = setTimeout(end, LONGEST_MS, "unplayed");
      };
      spoken.onend = () => end("");
      spoken.onerror = ({ error }) => end(error === "not-allowed" ? "locked" : "dumb");
      timer = setTimeout(end, VOICE_STARTS_MS, "dumb");
      speechSynthesis.speak(spoken);
    });
  }

  /** Like #say, for a sound. One that does not start in time is dropped: nobody would be there any longer. */
  #play(address) {
    const audio = this.#audio; // always the same: some phones unlock only one element
    this.#endPlay?.("unplayed");
    return new Promise((resolve) => {
      let timer = 0;
      const end = (why) => {
        if (this.#endPlay !== end) return;
        this.#endPlay = null;
        clearTimeout(timer);
        audio.onplaying = audio.onended = audio.onerror = null;
        if (why) {
          audio.pause();
          audio.removeAttribute("src");
        }
        resolve(why);
      };
      this.#endPlay = end;
      audio.onplaying = () => {
        clearTimeout(timer);
        const lengthMs = Number.isFinite(audio.duration) ? audio.duration * 1000 : LONGEST_MS;
        timer = setTimeout(end, lengthMs + SLACK_MS, "unplayed");
      };
      audio.onended = () => end("");
      audio.onerror = () => end("unplayed");
      timer = setTimeout(end, SOUND_STARTS_MS, "unplayed");
      audio.src = address;
      audio.play().catch((error) => end(error.name === "NotAllowedError" ? "locked" : "unplayed"));
    });
  }
}

/** A voice of this browser for the language, preferably one that needs no network; for Chinese, a Mandarin one. */
function voiceFor(language) {
  const wanted = (window.speechSynthesis?.getVoices() ?? []).filter(
    ({ lang }) => lang.toLowerCase().split(/[-_]/)[0] === language,
  );
  const mandarin = wanted.filter(({ lang }) => /cn$/i.test(lang));
  const fitting = mandarin.length ? mandarin : wanted;
  return fitting.find((voice) => voice.localService) ?? fitting[0] ?? null;
}

window.speechSynthesis?.getVoices(); // some browsers load them only when they are asked for
