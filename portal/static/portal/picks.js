// Lists of which several can be chosen: how many are, and closed again by a press elsewhere, or by Escape.

export function startPicks(picks) {
  for (const pick of picks) {
    const shown = pick.querySelector(".pick-chosen");
    pick.addEventListener("change", () => {
      const count = pick.querySelectorAll(":checked").length;
      shown.textContent = count ? shown.dataset.some.replace("#", count) : shown.dataset.all;
    });
    pick.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !pick.open) return;
      pick.open = false;
      pick.querySelector("summary").focus();
    });
  }
  document.addEventListener("pointerdown", (event) => {
    for (const pick of picks) if (pick.open && !pick.contains(event.target)) pick.open = false;
  });
}
