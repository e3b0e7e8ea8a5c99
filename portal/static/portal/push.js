// Switches notifications on in this browser, on the profile's page.

import { say } from "./words.js";

const raw = (text) => {
  const base64 = text.replace(/-/g, "+").replace(/_/g, "/");
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
};

async function switchOn(card) {
  if ((await Notification.requestPermission()) !== "granted") throw new Error(say("pushDenied"));
  const registration = await navigator.serviceWorker.register(card.dataset.worker);
  await navigator.serviceWorker.ready;
  const subscription = await registration.pushManager.subscribe({
    userVisibleOnly: true,
    applicationServerKey: raw(card.dataset.push),
  });
  const body = { ...subscription.toJSON(), with_picture: card.querySelector("[data-push-picture]").checked };
  const answer = await fetch(card.dataset.to, {
    method: "POST",
    headers: { "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error((await answer.json()).error);
}

export function startPush(card) {
  if (!("serviceWorker" in navigator && "PushManager" in window)) return;
  card.hidden = false;
  const error = card.querySelector("[data-push-error]");
  card.querySelector("[data-push-on]").addEventListener("click", async ({ currentTarget: button }) => {
    button.disabled = true;
    error.hidden = true;
    try {
      await switchOn(card);
      location.reload();
    } catch ({ message }) {
      error.textContent = message || say("pushFailed");
      error.hidden = false;
      button.disabled = false;
    }
  });
}
