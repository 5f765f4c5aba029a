// Building the page out of text, and writing numbers and times for people.
// Every string from outside reaches the document through a text node, never as markup.

const SVG = "http://www.w3.org/2000/svg";

// Characters that could hide or reorder what stands beside them are shown by number instead.
const INVISIBLE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

export function visible(value) {
  return String(value ?? "–").replace(
    INVISIBLE,
    (mark) => "\\u" + mark.codePointAt(0).toString(16).padStart(4, "0"),
  );
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : visible(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    node.append(child instanceof Node ? child : document.createTextNode(visible(child)));
  }
  return node;
}

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function count(value) {
  return Number.isFinite(value) ? Math.round(value).toLocaleString("en-US") : "–";
}

// Up to three significant digits, and plain digits rather than an exponent where people read them.
export function figure(value) {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 1000) return count(value);
  return String(Number(value.toPrecision(3)));
}

export function short(value) {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 1e6) return figure(value / 1e6) + " M";
  if (Math.abs(value) >= 1e4) return figure(value / 1e3) + " k";
  return count(value);
}

function iso(ms) {
  const date = new Date(ms);
  return ms === null || Number.isNaN(date.getTime()) ? null : date.toISOString();
}

export function time(ms) {
  const text = iso(ms);
  return text === null ? "–" : `${text.slice(0, 10)} ${text.slice(11, 16)}`;
}

// Without the year, where space is short and the year is plain from elsewhere.
export function day(ms) {
  return time(ms).slice(5) || "–";
}

export function clock(ms) {
  const text = iso(ms);
  return text === null ? "–" : `${text.slice(0, 10)} ${text.slice(11, 19)}`;
}

export function span(ms) {
  if (!Number.isFinite(ms)) return "–";
  const minutes = Math.round(Math.abs(ms) / 60000);
  if (minutes < 1) return "under a minute";
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

const SEVERITIES = ["info", "low", "medium", "high", "critical"];

// A value from outside picks a class only from this list; anything else is drawn as "info".
export function rank(severity) {
  return Math.max(0, SEVERITIES.indexOf(severity));
}

export function badge(severity) {
  return el("span", { class: `badge s-${SEVERITIES[rank(severity)]}` }, severity);
}

export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}
