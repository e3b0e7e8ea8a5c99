// The detector in the browser: what detection/detector.py does before and after the network, on the same numbers.

const CANDIDATES = 512;

/** Rounds as Python does: a half goes to the even neighbour. */
function round(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

/** A picture as bytes, red first: from the RGBA of a canvas. */
export function fromRgba({ data, width, height }) {
  const bytes = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < bytes.length; from += 4, to += 3) {
    bytes[to] = data[from];
    bytes[to + 1] = data[from + 1];
    bytes[to + 2] = data[from + 2];
  }
  return { data: bytes, width, height };
}

/** Each pixel is the mean of the area that it covers: exact where sides are even, else like OpenCV's INTER_AREA. */
function byArea(image, width, height) {
  const across = spans(image.width, width);
  const down = spans(image.height, height);
  const out = new Uint8Array(width * height * 3);
  let at = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (const [row, tall] of down[y]) {
          const start = row * image.width;
          for (const [column, wide] of across[x]) sum += image.data[(start + column) * 3 + channel] * tall * wide;
        }
        out[at++] = Math.round(sum);
      }
    }
  }
  return { data: out, width, height };
}

/** For each target pixel, the source pixels under it and their shares, which add up to 1. */
function spans(source, target) {
  const scale = source / target;
  return Array.from({ length: target }, (_, index) => {
    const from = index * scale;
    const to = Math.min(source, from + scale);
    const parts = [];
    for (let pixel = Math.floor(from); pixel < to; pixel++) {
      const share = (Math.min(to, pixel + 1) - Math.max(from, pixel)) / (to - from);
      if (share > 1e-6) parts.push([pixel, share]);
    }
    return parts;
  });
}

function halved(image, width, height) {
  let now = image;
  while (now.width >= 2 * width && now.height >= 2 * height) {
    now = byArea(now, Math.ceil(now.width / 2), Math.ceil(now.height / 2));
  }
  return now;
}

/** Where each target pixel lies between two source pixels; pixels are square, and measured from their centres. */
function steps(source, target) {
  return Array.from({ length: target }, (_, index) => {
    const place = ((index + 0.5) * source) / target - 0.5;
    const low = Math.min(source - 1, Math.max(0, Math.floor(place)));
    const high = Math.min(source - 1, low + 1);
    return { low, high, share: Math.min(1, Math.max(0, place - low)) };
  });
}

function linear(image, width, height) {
  if (image.width === width && image.height === height) return image;
  const across = steps(image.width, width);
  const down = steps(image.height, height);
  const out = new Uint8Array(width * height * 3);
  let at = 0;
  for (const row of down) {
    for (const column of across) {
      for (let channel = 0; channel < 3; channel++) {
        const value = (y, x) => image.data[(y * image.width + x) * 3 + channel];
        const top = value(row.low, column.low) * (1 - column.share) + value(row.low, column.high) * column.share;
        const bottom = value(row.high, column.low) * (1 - column.share) + value(row.high, column.high) * column.share;
        out[at++] = Math.round(top * (1 - row.share) + bottom * row.share);
      }
    }
  }
  return { data: out, width, height };
}

/** The network's input for a picture, its dimensions, and the factors from the picture's pixels to the input's. */
export function prepare(image, { longer_side: longer, multiple_of: multiple, pad, channels }) {
  const factor = longer / Math.max(image.width, image.height);
  const width = Math.max(1, round(image.width * factor));
  const height = Math.max(1, round(image.height * factor));
  const outer = { width: Math.ceil(width / multiple) * multiple, height: Math.ceil(height / multiple) * multiple };
  const small = linear(halved(image, width, height), width, height);
  const plane = outer.width * outer.height;
  const tensor = new Float32Array(3 * plane).fill(pad);
  const order = channels === "BGR" ? [2, 1, 0] : [0, 1, 2];
  order.forEach((channel, index) => {
    for (let y = 0; y < height; y++) {
      const from = y * width;
      const to = index * plane + y * outer.width;
      for (let x = 0; x < width; x++) tensor[to + x] = small.data[(from + x) * 3 + channel];
    }
  });
  return { tensor, dims: [1, 3, outer.height, outer.width], scale: [width / image.width, height / image.height] };
}

/** The raw score of a confidence, and back: logit(confidence) = logit(score) / temperature + shift. */
function scoreOf(confidence, { temperature, shift }) {
  return 1 / (1 + Math.exp(-(Math.log(confidence / (1 - confidence)) - shift) * temperature));
}

function confidenceOf(score, { temperature, shift }) {
  const held = Math.min(1 - 1e-6, Math.max(1e-6, score));
  return 1 / (1 + Math.exp(-(Math.log(held / (1 - held)) / temperature + shift)));
}

export function intersectionOverUnion(a, b) {
  const common =
    Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const area = (box) => Math.max(0, box[2] - box[0]) * Math.max(0, box[3] - box[1]);
  const union = area(a) + area(b) - common;
  return union > 0 ? common / union : 0;
}

/** What is left, best first: a box that overlaps a better one by more than the threshold is the same face. */
export function suppress(found, threshold) {
  const kept = [];
  const ordered = [...found].sort((a, b) => b.score - a.score).slice(0, CANDIDATES);
  for (const one of ordered) {
    if (kept.every((better) => intersectionOverUnion(better.box, one.box) <= threshold)) kept.push(one);
  }
  return kept;
}

/** What the network found: boxes in the picture's pixels, scores, labels; the least score as the manifest says. */
function candidates(boxes, scores, manifest, scale) {
  const labels = manifest.labels.length;
  const least = scoreOf(manifest.confidence_threshold, manifest.calibration);
  const found = [];
  for (let point = 0; point * labels < scores.length; point++) {
    let best = 0;
    for (let label = 1; label < labels; label++) {
      if (scores[point * labels + label] > scores[point * labels + best]) best = label;
    }
    const score = scores[point * labels + best];
    if (score < least) continue;
    const box = Array.from(boxes.subarray(point * 4, point * 4 + 4), (value, index) => value / scale[index % 2]);
    found.push({ box, score, label: manifest.labels[best] });
  }
  return found;
}

/** The looks that are taken in a browser: the whole picture, and again at a small size for a face that fills it. */
export function looksOf({ input, looks }) {
  const plan = [{ input, counts: () => true }];
  if (looks.near_side && looks.near_side < input.longer_side) {
    const counts = ({ box }, longer) => Math.max(box[2] - box[0], box[3] - box[1]) > looks.near_least * longer;
    plan.push({ input: { ...input, longer_side: looks.near_side }, counts });
  }
  return plan;
}

/** Faces, best first, of what all looks found: boxes relative to the picture. */
export function faces(found, manifest, image) {
  const sides = [image.width, image.height, image.width, image.height];
  return suppress(found, manifest.iou_threshold)
    .map(({ box, score, label }) => ({
      box: box.map((value, index) => Math.min(1, Math.max(0, value / sides[index]))),
      label,
      confidence: confidenceOf(score, manifest.calibration),
    }))
    .filter(({ box }) => box[2] > box[0] && box[3] > box[1]);
}

/** A loaded model. `ort` is onnxruntime-web; `session` one of its sessions. */
export class Detector {
  constructor(ort, session, manifest) {
    Object.assign(this, { ort, session, manifest });
  }

  async detect(rgba) {
    const image = fromRgba(rgba);
    const longer = Math.max(image.width, image.height);
    const found = [];
    for (const { input, counts } of looksOf(this.manifest)) {
      const { tensor, dims, scale } = prepare(image, input);
      const { boxes, scores } = this.manifest.outputs;
      const given = { [input.name]: new this.ort.Tensor("float32", tensor, dims) };
      const results = await this.session.run(given, [boxes, scores]);
      const seen = candidates(results[boxes].data, results[scores].data, this.manifest, scale);
      found.push(...seen.filter((one) => counts(one, longer)));
    }
    return faces(found, this.manifest, image);
  }
}
