// The detector on the visitor's own device: camera or a picture; nothing leaves it.

import { Detector } from "./detect.js";
import { paintFace } from "./tiles.js";
import { say } from "./words.js";

const RATE_SHARE = 0.1; // of the newest picture in the smoothed rate
const LONGEST_PX = 1280;

const place = document.querySelector("[data-try]");
const find = (name) => place.querySelector(`[data-${name}]`);
const canvas = find("picture");
const video = document.createElement("video");
video.muted = video.playsInline = true;
let detector = null;
let watching = false;
let turn = 0; // counts requests: the result of an older one is no longer drawn

function tell(text, isError = false) {
  const note = find("note");
  note.textContent = text;
  note.classList.toggle("error", isError);
}

async function load() {
  const { ort: address, mjs, wasm, model, manifest } = place.dataset;
  const ort = await import(address);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = { mjs: new URL(mjs, location.href).href, wasm: new URL(wasm, location.href).href };
  const [session, described] = await Promise.all([
    ort.InferenceSession.create(model, { executionProviders: ["wasm"] }),
    fetch(manifest).then((answer) => answer.json()),
  ]);
  return new Detector(ort, session, described);
}

/** Put a picture on the canvas, find the faces, and draw them in; returns how long the detection took, in ms. */
async function look(source, sourceWidth, sourceHeight, mine) {
  const scale = Math.min(1, LONGEST_PX / Math.max(sourceWidth, sourceHeight));
  canvas.width = Math.round(sourceWidth * scale);
  canvas.height = Math.round(sourceHeight * scale);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const began = performance.now();
  const faces = await detector.detect(pixels);
  const took = performance.now() - began;
  if (mine !== turn) return took;
  faces.forEach((face) => {
    paintFace(context, face, canvas.width, canvas.height);
  });
  find("found").replaceChildren(
    ...faces.map(({ label, confidence, box }) => {
      const row = document.createElement("li");
      row.textContent = `${say(label)} ${confidence.toFixed(2)}`;
      row.dataset.face = JSON.stringify({ label, confidence, box });
      return row;
    }),
  );
  find("nobody").hidden = faces.length > 0;
  find("stage").dataset.looks = Number(find("stage").dataset.looks ?? 0) + 1;
  return took;
}

async function lookAtFile(file) {
  stop();
  const mine = turn;
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) {
    tell(say("noPicture"), true);
    return;
  }
  const took = await look(bitmap, bitmap.width, bitmap.height, mine);
  bitmap.close();
  tell(say("took", { ms: Math.round(took) }));
}

async function watch() {
  const wasWatching = watching;
  stop();
  if (wasWatching) return;
  const mine = turn;
  try {
    if (!navigator.mediaDevices) throw new DOMException("", "NotSupportedError");
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" }, audio: false });
    await video.play();
    if (mine !== turn) return;
  } catch (error) {
    if (mine !== turn) return;
    tell(
      say(
        { NotAllowedError: "denied", NotFoundError: "noCamera", NotSupportedError: "insecure" }[error.name] ?? "busy",
      ),
      true,
    );
    return;
  }
  watching = true;
  find("camera").textContent = say("stop");
  let every = 0;
  let before = performance.now();
  while (watching) {
    await look(video, video.videoWidth, video.videoHeight, mine);
    if (mine !== turn) return;
    const now = performance.now();
    every = every ? every + RATE_SHARE * (now - before - every) : now - before;
    before = now;
    tell(say("rate", { rate: (1000 / every).toFixed(0) }));
    await new Promise(requestAnimationFrame);
  }
}

function stop() {
  turn += 1;
  watching = false;
  video.srcObject?.getTracks().forEach((track) => {
    track.stop();
  });
  video.srcObject = null;
  find("camera").textContent = say("start");
}

function startDropping() {
  const stage = find("stage");
  stage.ondragover = (event) => event.preventDefault();
  stage.ondrop = (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) lookAtFile(file);
  };
  find("file").onchange = ({ target }) => target.files[0] && lookAtFile(target.files[0]);
}

try {
  detector = await load();
  find("camera").onclick = watch;
  find("camera").disabled = find("file").disabled = false;
  startDropping();
  tell(say("ready"));
} catch (error) {
  console.warn(error);
  tell(say("notLoaded"), true);
}
