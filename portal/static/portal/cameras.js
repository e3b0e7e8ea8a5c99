// The camera's forms: only the fields that its make needs; the test, step by step, while the page stays usable; where
// its reminders sound, and the outcome of one that was played by hand.

import { say } from "./words.js";

const POLL_MS = 400;
const GIVE_UP_MS = 35_000; // a door that is silent for 30 s is reported as such before that

export function startCameraForm(form) {
  const make = form.elements.make;
  const others = form.dataset.others.split(" ");
  const part = (name) => form.querySelector(`[data-part=${name}]`);
  if (!part("host")) return; // a device: it has no address, and nothing to test

  const show = () => {
    const kind = make.value;
    const written = others.includes(kind);
    part("host").hidden = part("stream").hidden = written;
    part("address").hidden = !written;
    part("login").hidden = kind === "usb" || kind === "clip";
    part("transport").hidden = kind === "http" || kind === "usb" || kind === "clip" || kind === "mobotix";
    form.querySelectorAll("[data-make-note]").forEach((note) => {
      note.hidden = note.dataset.makeNote !== kind;
    });
  };
  make.addEventListener("change", show);
  show();
  startTest(form);
}

function startTest(form) {
  const button = form.querySelector("[data-test-now]");
  const report = document.querySelector("[data-test-report]");
  const intro = document.querySelector("[data-test-intro]");
  button.hidden = false;

  button.onclick = async () => {
    button.disabled = true;
    button.textContent = say("testing");
    intro.hidden = true;
    report.closest("section").scrollIntoView({ block: "nearest" }); // on a phone it is below the form
    forgetErrors(form);
    try {
      await runTest(form, report);
    } finally {
      button.disabled = false;
      button.textContent = say("testAgain");
    }
  };
}

async function runTest(form, report) {
  const fields = new FormData(form);
  if (form.dataset.cameraId) fields.set("camera", form.dataset.cameraId);
  const answer = await fetch(form.dataset.test, { method: "POST", body: fields, credentials: "same-origin" }).catch(
    () => null,
  );
  const body = answer ? await answer.json().catch(() => null) : null;
  if (!body) {
    report.replaceChildren(sentence(say("testFailed")));
    return;
  }
  if (body.errors) {
    showErrors(form, report, body.errors);
    return;
  }
  if (body.moved.address) moveLogin(form, body.moved);
  await follow(body.report, report);
}

/** A pasted address held a login: each part goes into its own field. The password is taken from what was typed here. */
function moveLogin(form, { address, user }) {
  const typed = form.elements.address.value.trim();
  const login = typed.slice(
    typed.indexOf("://") + 3,
    typed.length - address.slice(address.indexOf("://") + 3).length - 1,
  );
  const written = login.slice(login.indexOf(":") + 1);
  if (login.includes(":")) form.elements.password.value = decoded(written);
  form.elements.user.value = user;
  form.elements.address.value = address;
}

/** Percent-decoded; anything that is not a valid escape stays as it is. */
function decoded(text) {
  return text.replace(/(%[0-9a-f]{2})+/gi, (part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
}

/** Poll the report until it is done; `lost` is the text shown if that never happens. */
async function follow(address, report, lost = say("testFailed")) {
  const began = performance.now();
  let shown = "";
  while (performance.now() - began < GIVE_UP_MS) {
    const answer = await fetch(address, { credentials: "same-origin" }).catch(() => null);
    if (answer?.ok) {
      const text = await answer.text();
      if (text !== shown) report.innerHTML = shown = text;
      if (answer.headers.get("X-Done") === "1") return;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  report.append(sentence(lost));
}

function sentence(text) {
  return Object.assign(document.createElement("p"), { className: "error", textContent: text });
}

function forgetErrors(form) {
  form.querySelectorAll("[data-test-error]").forEach((error) => {
    error.remove();
  });
  form.querySelectorAll(".wrong").forEach((field) => {
    field.classList.remove("wrong");
  });
}

/** Each error beside its field, in words; an error that belongs to no field is shown in place of the report. */
function showErrors(form, report, errors) {
  report.replaceChildren();
  let first = null;
  for (const [name, text] of Object.entries(errors)) {
    const input = form.elements[name];
    const field = input?.closest?.(".field");
    if (!field || field.closest("[hidden]")) {
      report.append(sentence(text));
      continue;
    }
    field.classList.add("wrong");
    const error = Object.assign(document.createElement("span"), {
      className: "error",
      textContent: text,
      id: `${input.id}_test_error`,
    });
    error.dataset.testError = "";
    input.after(error);
    input.setAttribute("aria-describedby", error.id);
    first ??= input;
  }
  first?.focus();
}

/** Only the fields that this output, and this make of loudspeaker, need. */
export function startVoiceForm(form) {
  const show = () => {
    const output = new FormData(form).get("output") ?? "nowhere";
    const preset = form.elements.preset.value || "written";
    form.querySelectorAll("[data-for]").forEach((part) => {
      part.hidden = !part.dataset.for.split(" ").includes(output);
    });
    form.querySelectorAll("[data-preset]").forEach((part) => {
      part.hidden = !part.dataset.preset.split(" ").includes(preset);
    });
  };
  form.addEventListener("change", show);
  show();
}

/** “Play it now”: the page stays, and shows the progress. */
export function startPlay(form) {
  const place = document.querySelector("[data-said]");
  const button = form.querySelector("button");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    place.querySelectorAll(":scope > .error").forEach((error) => {
      error.remove();
    });
    const asked = {
      method: "POST",
      body: new FormData(form),
      credentials: "same-origin",
      headers: { Accept: "application/json" },
    };
    const answer = await fetch(form.action, asked).catch(() => null);
    const body = answer ? await answer.json().catch(() => null) : null;
    if (body?.follow) await follow(body.follow, place, say("playLost"));
    else place.prepend(sentence(body?.error ?? say("playLost")));
    button.disabled = false;
  });
}
