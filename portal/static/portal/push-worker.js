// Shows notifications while no page of the portal is open. What it gets was encrypted for this browser alone.

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
