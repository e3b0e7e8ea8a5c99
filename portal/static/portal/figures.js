// A chart says the value under the pointer, and, with the arrow keys, the next and the one before.

export function startChart(chart) {
  const reading = chart.parentElement.querySelector("[data-reading]");
  const marks = [...chart.querySelectorAll("[data-text]")];
  let at = -1;

  const show = (number) => {
    marks[at]?.classList.remove("at");
    at = number;
    const mark = marks[at];
    mark?.classList.add("at");
    reading.textContent = mark ? mark.dataset.text : "";
  };

  chart.addEventListener("pointermove", ({ target }) => {
    const number = marks.indexOf(target);
    if (number >= 0 && number !== at) show(number);
  });
  chart.addEventListener("pointerleave", () => show(-1));
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !marks.length) return;
    event.preventDefault();
    const { text } = marks[at]?.dataset ?? {};
    let next = at;
    do next = (next + step + marks.length) % marks.length;
    while (marks[next].dataset.text === text && next !== at);
    show(next);
  });
  chart.addEventListener("blur", () => show(-1));
}
