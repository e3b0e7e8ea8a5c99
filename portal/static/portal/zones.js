// Drawing a zone on a camera's picture, by mouse, finger or keyboard. What is drawn is typed into the form's own field.

import { say } from "./words.js";

const STEP = 10; // thousandths of the picture that an arrow key moves the cross by
const FAR_STEP = 50;
const NEAR = 28; // px: a press so close to a corner takes hold of it
const SVG = "http://www.w3.org/2000/svg";

const clamp = (value) => Math.min(1000, Math.max(0, Math.round(value)));

/** The corners that a text like "10,20 60.5,20" names, in thousandths; none if it is unreadable. */
export function readCorners(text) {
  const corners = text
    .trim()
    .split(/\s+/)
    .filter(Boolean)
    .map((pair) => pair.split(",").map((value) => Number(value) * 10));
  return corners.every((pair) => pair.length === 2 && pair.every(Number.isFinite)) ? corners : [];
}

/** The same, written. */
export const writeCorners = (corners) => corners.map(([x, y]) => `${x / 10},${y / 10}`).join(" ");

export function startZones(page) {
  const find = (name) => page.querySelector(`[data-zone-${name}]`);
  const place = find("picture");
  const field = find("form").elements.points;
  const aspect = find("form").elements.aspect;
  let corners = readCorners(field.value);
  let cross = [500, 500];
  let held = -1;

  function paint() {
    find("drawing").setAttribute("points", corners.map((corner) => corner.join(",")).join(" "));
    find("corners").replaceChildren(
      ...corners.map(([x, y]) => {
        const dot = document.createElementNS(SVG, "path");
        dot.setAttribute("d", `M${x} ${y}h0`);
        dot.setAttribute("class", "zone-corner");
        return dot;
      }),
    );
    const [x, y] = cross;
    find("cursor").setAttribute("d", `M${x} ${y - 30}V${y + 30}M${x - 30} ${y}H${x + 30}`);
    find("back").hidden = corners.length === 0;
  }

  function change(next, word) {
    corners = next;
    field.value = writeCorners(corners);
    paint();
    find("said").textContent = say(word, { count: corners.length });
  }

  function at(event) {
    const box = place.getBoundingClientRect();
    return [
      clamp(((event.clientX - box.left) / box.width) * 1000),
      clamp(((event.clientY - box.top) / box.height) * 1000),
    ];
  }

  function cornerAt(event) {
    const box = place.getBoundingClientRect();
    return corners.findIndex(([x, y]) => {
      const across = box.left + (x / 1000) * box.width - event.clientX;
      const down = box.top + (y / 1000) * box.height - event.clientY;
      return Math.hypot(across, down) < NEAR;
    });
  }

  place.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    place.focus();
    place.setPointerCapture(event.pointerId);
    held = cornerAt(event);
    cross = at(event);
    if (held < 0) {
      change([...corners, cross], "corners");
      held = corners.length - 1;
    }
  });
  place.addEventListener("pointermove", (event) => {
    if (held < 0) return;
    cross = at(event);
    change(corners.with(held, cross), "corners");
  });
  for (const end of ["pointerup", "pointercancel"]) {
    place.addEventListener(end, () => {
      held = -1;
    });
  }

  const takeBack = () => change(corners.slice(0, -1), "corners");
  find("back").onclick = takeBack;
  place.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? FAR_STEP : STEP;
    const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (move) {
      cross = [clamp(cross[0] + move[0]), clamp(cross[1] + move[1])];
      find("cursor").removeAttribute("hidden");
      paint();
    } else if (event.key === " " || event.key === "Enter") {
      change([...corners, cross], "corners");
    } else if (event.key === "Backspace" && corners.length) {
      takeBack();
    } else {
      return;
    }
    event.preventDefault();
  });
  field.addEventListener("input", () => {
    corners = readCorners(field.value);
    paint();
  });

  const image = find("image");
  const loaded = () => {
    if (image.naturalWidth) aspect.value = (image.naturalWidth / image.naturalHeight).toFixed(4);
  };
  const failed = () => {
    image.hidden = true;
    find("none").hidden = false;
    place.classList.add("no-picture");
  };
  image.addEventListener("load", loaded);
  image.addEventListener("error", failed);
  if (image.complete) (image.naturalWidth ? loaded : failed)();
  paint();
}
