// The screen stays on while a page stands at a door, if the browser can do that.

/** `note` is shown where it cannot. A browser lets go whenever the page is hidden, so it is asked again. */
export function keepAwake(note) {
  const ask = async () => {
    if (document.hidden) return;
    const lock = await navigator.wakeLock?.request("screen").catch(() => null);
    note.hidden = Boolean(lock);
  };
  document.addEventListener("visibilitychange", ask);
  ask();
}
