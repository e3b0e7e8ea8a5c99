// Where a pairing link leads. The secret is in the address after “#”: it is posted, and taken out of the address.

import { say } from "./words.js";

const place = document.querySelector("[data-pair]");
const form = place.querySelector("[data-form]");
const secret = location.hash.slice(1);

const again = place.querySelector("[data-again]");

/** Say what is wrong. Only this page has the secret now, so it must not need reloading. */
function fail(text, mayTryAgain) {
  const error = place.querySelector("[data-error]");
  error.textContent = text;
  error.hidden = false;
  form.hidden = true;
  again.hidden = !mayTryAgain;
}

async function post(address, fields) {
  const body = new FormData(form);
  Object.entries({ secret, ...fields }).forEach(([name, value]) => {
    body.set(name, value);
  });
  const answer = await fetch(address, { method: "POST", body, credentials: "same-origin" }).catch(() => null);
  const said = answer ? await answer.json().catch(() => null) : null;
  if (!said || said.error) {
    fail(said?.error ?? say("noAnswer"), answer?.status !== 410);
    return null;
  }
  return said;
}

async function start() {
  if (!secret) {
    fail(say("noSecret"), false);
    return;
  }
  place.querySelector("[data-error]").hidden = again.hidden = true;
  const asked = await post(place.dataset.look, {});
  if (!asked) return;
  const why = place.querySelector("[data-why]");
  const isSpeaker = asked.purpose === "loudspeaker";
  if (isSpeaker) why.textContent = say("asksLoudspeaker", asked);
  else why.textContent = say(asked.name ? "asksAgain" : "asks", asked);
  form.querySelectorAll("[data-for]").forEach((part) => {
    part.hidden = part.dataset.for !== asked.purpose;
  });
  why.hidden = form.hidden = false;
  form.elements.name.value = asked.name || say(navigator.maxTouchPoints > 1 ? "phone" : "computer");
  form.elements.name.closest(".field").hidden = Boolean(asked.name);
  form.onsubmit = async (event) => {
    event.preventDefault();
    const button = form.querySelector("button:not([hidden])");
    button.disabled = true;
    const paired = await post(place.dataset.redeem, {});
    button.disabled = false;
    if (paired) location.replace(paired.next);
  };
}

again.onclick = start;
window.addEventListener("hashchange", () => location.reload()); // another link was opened in the same tab
history.replaceState(null, "", location.pathname); // not to be read over a shoulder, or found in the history
start();
