"use strict";
// Everything foreign is put into the page as text, never as markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const text = DATA.text, cells = text.cells;
const LN2 = Math.LN2;
const SURPRISE = 10, CHANGE = 1; // bits at which n and N stop
const $ = (id) => document.getElementById(id);
const LINE = 1, COLUMN = 2, TOKENS = 3, OTHERS = 4, PART = 5; // of a cell, after its text
const VIEW = 0, LOGPROB = 1, RANK = 2, ENTROPY = 3; // of a token
const TYPICALITY = 4, TOP = 5, BOUNDS = 6;
const ABOVE = 0, LEAST = 1, MOST = 2; // of bounds, where a server lists only some tokens

const sum = (tokens) => {
  let total = 0;
  for (const token of tokens) {
    if (token[LOGPROB] === null) return null;
    total += token[LOGPROB];
  }
  return tokens.length ? total : null;
};
const bits = (nats) => Math.max(0, -nats) / LN2;
const boundsOf = (token) => token[BOUNDS] || [null, null, null];
// For the shade: the least rank that it can have, and the middle of the range.
const leastRank = (token) => {
  const above = boundsOf(token)[ABOVE];
  return token[RANK] === null && above !== null ? above + 1 : token[RANK];
};
const middleEntropy = (token) => {
  const [, least, most] = boundsOf(token);
  if (token[ENTROPY] !== null || least === null) return token[ENTROPY];
  return most === null ? least : (least + most) / 2;
};
const worst = (tokens, value) => {
  const known = tokens.map(value).filter((each) => each !== null);
  return known.length ? Math.max(...known) : null;
};
const surprisal = (cell) => {
  const total = sum(cell[TOKENS]);
  return total === null ? null : bits(total);
};
const gain = (cell) => {
  const own = sum(cell[TOKENS]), other = sum(cell[OTHERS] || []);
  return own === null || other === null ? null : (other - own) / LN2;
};
// What the part of the text that a cell is in does to the target, in bits; the target
// is the last part.
const effect = (cell) => (text.why && text.why.bits[cell[PART]]) ?? null;
const isTarget = (cell) => Boolean(text.why) && cell[PART] === text.why.bits.length;

// A measure: the value of a cell; bounds, words and classes of its steps are data.
const VALUES = {
  surprisal,
  rank: (cell) => worst(cell[TOKENS], leastRank),
  entropy: (cell) => {
    const most = worst(cell[TOKENS], middleEntropy);
    return most === null ? null : bits(-most);
  },
  probability: (cell) => {
    const total = sum(cell[TOKENS]);
    return total === null ? null : Math.exp(total);
  },
  typicality: (cell) => {
    const known = cell[TOKENS].map((token) => token[TYPICALITY]).filter((z) => z !== null);
    return known.length ? Math.min(...known) : null;
  },
  difference: gain,
  effect,
};
const MEASURES = {};
for (const scale of DATA.scales) {
  const isSigned = scale.name === "difference";
  if (isSigned && text.why) scale.name = "effect";
  else if (isSigned && !text.other) continue;
  const classes = scale.names.map((_, place) =>
    isSigned ? `d${place - (scale.names.length - 1) / 2}` : `s${place}`);
  MEASURES[scale.name] = { ...scale, value: VALUES[scale.name], classes };
}
const step = (measure, value) => {
  if (value === null) return "";
  const below = (bound) => value < bound;
  const beyond = { rank: (bound) => value > bound, probability: below, typicality: below };
  const reached = beyond[measure.name] || ((bound) => value >= bound);
  return measure.classes[measure.bounds.filter(reached).length];
};

let spans, measure, before, pinned = -1, shown = -1;

const make = (name, className, content) => {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (content !== undefined) element.textContent = content;
  return element;
};
// As lmtui/notation.py writes numbers: the minus sign is U+2212, and 0 has no sign.
const number = (value, digits) => {
  if (value === null || value === undefined) return "–";
  const written = Math.abs(value).toLocaleString("en-US",
    { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return (value < 0 && /[1-9]/.test(written) ? "−" : "") + written;
};
const signed = (value) =>
  (value > 0 && /[1-9]/.test(number(value, 1)) ? "+" : "") + number(value, 1);
const percent = (value) => {
  if (value === null || value === undefined) return "–";
  if (value > 0 && value < 0.0005) return "<0.1%";
  if (value >= 0.9995 && value < 1) return ">99.9%";
  return number(100 * value, value === 0 || value === 1 ? 0 : 1) + "%";
};
// A probability, to be read: `1 in 20,000` where a percentage would be 0.0.
const chance = (value) => {
  if (!(value > 0 && value < 0.0005)) return percent(value);
  const times = Number((1 / value).toPrecision(2));
  if (times >= 9.95e14) {
    const [digits, power] = times.toExponential(1).split("e+");
    return `1 in ${digits} × 10${power.replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])}`;
  }
  const form = times < 1e6 ? {} : { notation: "compact", compactDisplay: "long" };
  return `1 in ${times.toLocaleString("en-US", form)}`;
};
const rank = (token) => {
  const above = boundsOf(token)[ABOVE];
  return token[RANK] === null && above !== null ? `>${number(above, 0)}` : number(token[RANK], 0);
};
// A number of the entropy, or of both ends of its range.
const ofEntropy = (token, form) => {
  const [, least, most] = boundsOf(token);
  if (token[ENTROPY] !== null) return form(bits(-token[ENTROPY]));
  if (least === null) return "–";
  const low = form(bits(-least));
  if (most === null) return `≥${low}`;
  const high = form(bits(-most));
  return low === high ? low : `${low}–${high}`;
};
const flat = (words) => words.replaceAll("\n", "⏎").replaceAll(" ", "·");
const label = (model) => model.adapter ? `${model.model} + ${model.adapter}` : model.model;

// The text.

const drawCell = (cell, index) => {
  const span = make("span");
  span.dataset.i = index;
  span.toggleAttribute("data-ends", cell[0].endsWith("\n"));
  cell[0].split("\n").forEach((part, place) => {
    if (place) span.append(make("span", "nl", "\n"));
    span.append(part);
  });
  return span;
};
const shade = () => {
  spans.forEach((span, index) => {
    const cell = cells[index];
    const name = cell[TOKENS].length ? step(measure, measure.value(cell)) : "";
    span.className = `c ${name}${isTarget(cell) ? " target" : ""}${index === shown ? " here" : ""}`;
  });
};
const chooseMeasure = (name) => {
  measure = MEASURES[name];
  for (const button of $("measures").children) {
    button.setAttribute("aria-checked", button.dataset.name === name);
    button.tabIndex = button.dataset.name === name ? 0 : -1;
  }
  const legend = $("legend");
  legend.replaceChildren(make("b", "", name));
  measure.names.forEach((words, place) =>
    legend.append(make("span", `k ${measure.classes[place]}`, words)));
  legend.append(make("span", "", measure.unit));
  shade();
};
const draw = () => {
  const models = [text.own, ...(text.other ? [text.other] : [])];
  $("about").textContent =
    models.map((each) => `${label(each)} (${each.precision}, ${each.dtype})`).join(" against ") +
    (text.comparison && text.comparison.unit === "span"
      ? " · their tokens differ: compared by the parts of the text that both cut alike" : "");
  const all = document.createDocumentFragment();
  spans = cells.map(drawCell);
  all.append(...spans);
  $("text").replaceChildren(all);
  pinned = shown = -1;
  shade();
  drawSummary();
  const scored = cells.findIndex((cell) => surprisal(cell) !== null);
  show(scored >= 0 ? scored : cells.findIndex((cell) => cell[TOKENS].length));
};

// The token that is looked at.

const show = (index) => {
  if (spans[shown]) spans[shown].classList.remove("here");
  shown = index;
  const detail = $("detail");
  if (index < 0 || !cells[index]) {
    detail.replaceChildren(make("p", "", "There is no token here."));
    return;
  }
  spans[index].classList.add("here");
  const cell = cells[index], parts = [];
  parts.push(make("div", "token", flat(cell[0]) || "∅"));
  parts.push(make("div", "", `line ${cell[LINE]}, column ${cell[COLUMN]}`));
  if (isTarget(cell)) parts.push(...drawEffects());
  if (cell[OTHERS]) {
    const more = gain(cell);
    parts.push(facts([["difference", more === null ? "–" : `${signed(more)} bits`]]));
    parts.push(make("h2", "", label(text.own)));
  }
  cell[TOKENS].forEach((token) => parts.push(...drawToken(token, cell[TOKENS].length > 1)));
  if (cell[OTHERS]) {
    parts.push(make("h2", "", label(text.other)));
    cell[OTHERS].forEach((token) => parts.push(...drawToken(token, cell[OTHERS].length > 1)));
  }
  detail.replaceChildren(...parts);
};
const facts = (pairs) => {
  const list = make("dl");
  for (const [name, value] of pairs) list.append(make("dt", "", name), make("dd", "", value));
  return list;
};
const drawEffects = () => {
  const { by, logprob, rows, count } = text.why;
  const at = (part) => part === null ? -1 : cells.findIndex((cell) => cell[PART] === part);
  const target = cells.filter(isTarget).map((cell) => cell[0]).join("");
  const from = rows.length < count ? `, the strongest of ${number(count, 0)}` : "";
  return [
    make("h2", "", `Effect of each ${by}${from}`),
    make("div", "", `${flat(target)}: ${number(bits(logprob), 1)} bits`),
    placeTable(rows.map(([part, ...rest]) => [at(part), ...rest]), signed, "bits",
      (index) => spans[index].scrollIntoView({ block: "center" })),
    make("p", "", "+ made it likelier, − less likely. An effect is no explanation: of two that say the same, each can have none."),
  ];
};
const drawToken = (token, several) => {
  const parts = several ? [make("div", "token", token[VIEW])] : [];
  if (token[LOGPROB] === null) {
    return [...parts, make("p", "", "Nothing comes before it: it has no probability.")];
  }
  const entropy = ofEntropy(token, (value) => number(value, 1));
  parts.push(facts([
    ["probability", chance(Math.exp(token[LOGPROB]))],
    ["log P", `${number(token[LOGPROB], 2)} nats`],
    ["surprisal", `${number(bits(token[LOGPROB]), 1)} bits`],
    ["rank", rank(token)],
    ["entropy", entropy === "–" ? entropy : `${entropy} bits`],
    ["perplexity here", ofEntropy(token, (value) => number(2 ** value, 1))],
    ["typicality", number(token[TYPICALITY], 1)],
  ]));
  if (token[TOP] && token[TOP].length) {
    const table = make("table", "top");
    for (const [view, logprob, came] of token[TOP]) {
      const row = make("tr", came ? "came" : "");
      const bar = make("span", "bar"), cell = make("td", "b");
      bar.style.width = `${100 * Math.exp(logprob)}%`;
      cell.append(bar);
      row.append(make("td", "t", view + (came ? " ✓" : "")),
        make("td", "n", chance(Math.exp(logprob))), cell);
      table.append(row);
    }
    parts.push(table);
  }
  return parts;
};

// Walking.

const pin = (index) => {
  pinned = index;
  show(index);
  if (index < 0) return;
  spans[index].scrollIntoView({ block: "nearest" });
  // The effects are those on the target, so they are shown while it is chosen.
  if (isTarget(cells[index])) {
    if (measure !== MEASURES.effect) before = measure.name;
    chooseMeasure("effect");
  } else if (measure === MEASURES.effect) {
    chooseMeasure(before || "surprisal");
  }
};
const walk = (by, wanted = () => true) => {
  for (let index = shown + by; cells[index]; index += by) {
    if (cells[index][TOKENS].length && wanted(cells[index])) return pin(index);
  }
  return undefined;
};
const surprises = (cell) => {
  const other = measure === MEASURES.difference;
  const value = other ? gain(cell) : surprisal(cell);
  return value !== null && Math.abs(value) >= (other ? CHANGE : SURPRISE);
};
const walkLine = (by) => {
  if (!spans[shown]) return;
  const own = spans[shown].getClientRects(), from = by < 0 ? own[0] : own[own.length - 1];
  const middle = (from.left + from.right) / 2;
  let best = -1, nearest = Infinity, line = null;
  for (let index = shown + by; cells[index]; index += by) {
    const boxes = spans[index].getClientRects();
    const box = by < 0 ? boxes[boxes.length - 1] : boxes[0];
    if (!box || !cells[index][TOKENS].length) continue;
    if (by < 0 ? box.bottom > from.top + 2 : box.top < from.bottom - 2) continue;
    if (line === null) line = box.top;
    if (Math.abs(box.top - line) > from.height / 2) break;
    const away = Math.abs((box.left + box.right) / 2 - middle);
    if (away < nearest) [best, nearest] = [index, away];
  }
  if (best >= 0) pin(best);
};
const nextMeasure = () => {
  const names = Object.keys(MEASURES);
  const now = names.findIndex((name) => MEASURES[name] === measure);
  chooseMeasure(names[(now + 1) % names.length]);
};
const KEYS = {
  ArrowRight: () => walk(1), ArrowLeft: () => walk(-1),
  ArrowDown: () => walkLine(1), ArrowUp: () => walkLine(-1),
  n: () => walk(1, surprises), N: () => walk(-1, surprises),
  Home: () => { shown = -1; walk(1); }, End: () => { shown = cells.length; walk(-1); },
  m: () => nextMeasure(), s: () => nextMeasure(),
  Escape: () => { pinned = -1; },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const within = $("measures").contains(event.target);
  if (within && event.key.startsWith("Arrow")) {
    const next = event.key === "ArrowRight" || event.key === "ArrowDown"
      ? event.target.nextElementSibling : event.target.previousElementSibling;
    if (next) { next.focus(); chooseMeasure(next.dataset.name); }
    event.preventDefault();
  } else if (KEYS[event.key]) {
    KEYS[event.key]();
    event.preventDefault();
  }
});
const cellOf = (target) => {
  const span = target.closest ? target.closest(".c") : null;
  return span && cells[span.dataset.i][TOKENS].length ? Number(span.dataset.i) : -1;
};
$("text").addEventListener("mouseover", (event) => {
  const index = cellOf(event.target);
  if (index >= 0 && index !== shown) show(index);
});
$("text").addEventListener("mouseleave", () => { if (pinned >= 0) show(pinned); });
$("text").addEventListener("click", (event) => {
  const index = cellOf(event.target);
  if (index >= 0) pin(index);
});

// The summary.

const card = (title, ...content) => {
  const box = make("div", "card");
  box.append(make("h2", "", title), ...content);
  return box;
};
const rows = (lines, heads) => {
  const table = make("table");
  if (heads) {
    const row = make("tr");
    heads.forEach((head, place) => row.append(make("th", place ? "n" : "", head)));
    table.append(row);
  }
  for (const [name, ...values] of lines) {
    const row = make("tr");
    row.append(make("th", "", name), ...values.map((value) => make("td", "n", value)));
    table.append(row);
  }
  return table;
};
const bars = (names, counts) => {
  const table = make("table"), whole = Math.max(1, counts.reduce((a, b) => a + b, 0));
  const most = Math.max(1, ...counts);
  table.style.width = "100%";
  counts.forEach((count, place) => {
    const row = make("tr"), cell = make("td", "b"), bar = make("span", "bar");
    bar.style.width = `${100 * count / most}%`;
    cell.append(bar);
    row.append(make("th", "", names[place]), make("td", "n", number(count, 0)),
      make("td", "n", percent(count / whole)), cell);
    table.append(row);
  });
  return table;
};
const places = (value, order, form, head) => {
  const found = cells.map((cell, index) => [index, cell[TOKENS].length ? value(cell) : null])
    .filter(([, each]) => each !== null && order(each) > 0)
    .sort((a, b) => order(b[1]) - order(a[1]) || a[0] - b[0]).slice(0, 20)
    .map(([index, each]) => [index, each, cells[index][0]]);
  return placeTable(found, form, head, (index) => { pin(index); $("text").focus({ preventScroll: true }); });
};
const placeTable = (found, form, head, open) => {
  const table = make("table"), heads = make("tr");
  heads.append(make("th", "n", "line:col"), make("th", "n", head), make("th", "", "text"));
  table.append(heads);
  for (const [index, each, words] of found) {
    const cell = cells[index], row = make("tr"), last = make("td", "t");
    const go = make(cell ? "button" : "span", cell ? "go" : "", flat(words).slice(0, 40));
    if (cell) go.addEventListener("click", () => open(index));
    last.append(go);
    const place = cell ? `${cell[LINE]}:${cell[COLUMN]}` : "–"; // – is before the text
    row.append(make("td", "n", place), make("td", "n", form(each)), last);
    table.append(row);
  }
  return table;
};
const along = () => {
  const known = [];
  cells.forEach((cell, index) => {
    const value = surprisal(cell);
    if (value !== null) known.push([index, value]);
  });
  const size = Math.max(1, Math.ceil(known.length / 120)), box = make("div", "along");
  const means = [];
  for (let from = 0; from < known.length; from += size) {
    const part = known.slice(from, from + size);
    means.push([part[0][0], part.reduce((total, [, value]) => total + value, 0) / part.length]);
  }
  const most = Math.max(1, ...means.map(([, mean]) => mean));
  for (const [index, mean] of means) {
    const go = make("button"), bar = make("span");
    go.tabIndex = -1;
    go.title = `line ${cells[index][LINE]}: ${number(mean, 1)} bits a token`;
    go.setAttribute("aria-label", go.title);
    bar.style.height = `${100 * mean / most}%`;
    go.append(bar);
    go.addEventListener("click", () => pin(index));
    box.append(go);
  }
  return card("Surprise along the text", box,
    make("p", "", `The mean of ${size === 1 ? "each token" : `${size} tokens`}, up to ${number(most, 1)} bits.`));
};
const SETUP = [
  ["window", (each) => number(each.window, 0)],
  ["stride", (each) => number(each.stride, 0)],
  ["BOS", (each) => each.bos ? "with" : "without"],
];
const measured = (models, heads) => rows([
  ...Object.keys(models[0].figures).map((name) =>
    [name, ...models.map((each) => each.figures[name])]),
  ...SETUP.map(([name, value]) => [name, ...models.map(value)]),
], heads);
const drawSummary = () => {
  const models = [text.own, ...(text.other ? [text.other] : [])];
  const heads = text.other ? ["", ...models.map(label)] : null;
  const parts = [card("Totals", measured(models, heads))];
  for (const model of models.filter((each) => each.known_by_heart)) {
    const name = text.other ? `, ${label(model)}` : "";
    parts.push(card(`Known by heart${name}?`, make("p", "", model.known_by_heart)));
  }
  if (text.comparison) {
    const told = text.comparison;
    parts.push(card("Difference", rows([
      ["the other expected the text", told.bits === null ? "–" : `${signed(told.bits)} bits`],
      ["compared", `${number(told.compared, 0)} ${told.unit === "token" ? "tokens" : "parts"}`],
      ["by +1 bit or more", number(told.more, 0)],
      ["by −1 bit or more", number(told.less, 0)],
    ])));
    parts.push(card("Changed most", places(gain, Math.abs, signed, "bits")));
  }
  for (const model of models) {
    const name = text.other ? `, ${label(model)}` : "";
    const unlisted = model.unlisted ? [model.unlisted] : [];
    parts.push(card(`Ranks${name}`,
      bars(["first", "2–10", "11–100", "101–1,000", "rest", "not listed"],
        [...Object.values(model.ranks), ...unlisted])));
    const bits = model.entropy_bits;
    parts.push(card(`Entropy, bits${name}`, bits === null
      ? make("p", "", "A range for each token, as the server lists only some.")
      : bars(bits.map((_, low) => low + 1 < bits.length ? `${low}–${low + 1}` : `${low} and more`),
        bits)));
  }
  parts.push(along());
  parts.push(card("Most surprising", places(surprisal, (each) => each,
    (each) => number(each, 1), "bits")));
  $("summary").replaceChildren(...parts);
};

for (const name of Object.keys(MEASURES)) {
  const button = make("button", "", name);
  button.setAttribute("role", "radio");
  button.dataset.name = name;
  button.addEventListener("click", () => chooseMeasure(name));
  $("measures").append(button);
}
measure = MEASURES.surprisal;
draw();
chooseMeasure(MEASURES.difference ? "difference" : "surprisal");
if (MEASURES.effect) pin(cells.findIndex(isTarget));
