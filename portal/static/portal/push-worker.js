// Shows notifications while no page of the portal is open: what it gets was encrypted for this browser alone. And a page
// that says so while the portal cannot be reached: that page is all that is kept, never a picture, nor anybody's name.

const KEPT = "offline";
const OFFLINE = "/offline/";

/** Keep the page, and what it is drawn with, instead of those of an earlier version or language. */
async function keepOffline() {
  const answer = await fetch(OFFLINE, { cache: "no-store" });
  if (!answer.ok) return;
  const page = await answer.clone().text();
  const drawn = [...page.matchAll(/(?:href|src)="([^"]+\.(?:css|svg)[^"]*)"/g)].map((found) => found[1]);
  await caches.delete(KEPT);
  const cache = await caches.open(KEPT);
  await cache.put(OFFLINE, answer);
  await cache.addAll([...new Set(drawn)]); // it refuses what is named twice
}

self.addEventListener("install", (event) => {
  event.waitUntil(keepOffline().then(() => self.skipWaiting()));
});

self.addEventListener("message", (event) => {
  if (event.data === "keep-offline") event.waitUntil(keepOffline());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.mode === "navigate" && request.method === "GET") {
    event.respondWith(fetch(request).catch(() => caches.match(OFFLINE).then((page) => page ?? Response.error())));
  } else if (request.destination === "style" || request.destination === "image") {
    event.respondWith(fetch(request).catch(() => caches.match(request).then((kept) => kept ?? Response.error())));
  }
});

self.addEventListener("push", (event) => {
  let told;
  try {
    told = event.data.json();
  } catch {
    return;
  }
  const { title, body, tag, silent, link, image, quiet } = told;
  const options = { body, tag, silent, renotify: Boolean(tag) && !silent, data: { link }, timestamp: Date.now() };
  if (image) options.image = image;
  if (quiet) options.actions = [{ action: "quiet", title: quiet }];
  event.waitUntil(self.registration.showNotification(title, options));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const { link } = event.notification.data;
  event.waitUntil(self.clients.openWindow(event.action === "quiet" ? `${link}quiet/` : link));
});
