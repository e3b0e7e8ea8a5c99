// Keeps the screen on while a page is shown at a door, if the browser can do that.

/** `note` is shown where it cannot. Browsers drop the lock whenever the page is hidden, so it is requested again. */
export function keepAwake(note) {
  const ask = async () => {
    if (document.hidden) return;
    const lock = await navigator.wakeLock?.request("screen").catch(() => null);
    note.hidden = Boolean(lock);
  };
  document.addEventListener("visibilitychange", ask);
  ask();
}
