// Where a pairing link leads. The secret is in the address after “#”: it is posted, and taken out of the address.

import { say } from "./words.js";

const place = document.querySelector("[data-pair]");
const form = place.querySelector("[data-form]");
const secret = location.hash.slice(1);

function fail(text) {
  const error = place.querySelector("[data-error]");
  error.textContent = text;
  error.hidden = false;
  form.hidden = true;
}

async function post(address, fields) {
  const body = new FormData(form);
  Object.entries({ secret, ...fields }).forEach(([name, value]) => body.set(name, value));
  const answer = await fetch(address, { method: "POST", body, credentials: "same-origin" }).catch(() => null);
  const said = answer ? await answer.json().catch(() => null) : null;
  if (!said || said.error) {
    fail(said?.error ?? say("noAnswer"));
    return null;
  }
  return said;
}

async function start() {
  if (!secret) {
    fail(say("noSecret"));
    return;
  }
  const asked = await post(place.dataset.look, {});
  if (!asked) return;
  const why = place.querySelector("[data-why]");
  why.textContent = say(asked.name ? "asksAgain" : "asks", asked);
  why.hidden = form.hidden = false;
  form.elements.name.value = asked.name || say(navigator.maxTouchPoints > 1 ? "phone" : "computer");
  form.elements.name.closest(".field").hidden = Boolean(asked.name);
  form.onsubmit = async (event) => {
    event.preventDefault();
    form.querySelector("button").disabled = true;
    const paired = await post(place.dataset.redeem, {});
    if (paired) location.replace(paired.next);
  };
}

history.replaceState(null, "", location.pathname); // nobody reads it over a shoulder, or finds it in the history
start();
