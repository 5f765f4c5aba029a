// The traffic chart and the sparklines: inline SVG at the size of its place, redrawn when that changes.

import { clock, count, el, short, svg, time } from "./dom.js";

const LEFT = 46;
const RIGHT = 6;
const HOUR_MS = 3600000;

function steps(points, { x, y, end, base }) {
  if (!points.length) return "";
  let path = `M${x(points[0][0])} ${base}`;
  points.forEach(([ts, value], at) => {
    const until = at + 1 < points.length ? points[at + 1][0] : end;
    path += `V${y(value).toFixed(1)}H${x(until).toFixed(1)}`;
  });
  return `${path}V${base}Z`;
}

function niceMax(value) {
  if (value <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 7.5, 10].map((factor) => factor * unit).find((limit) => limit >= value);
}

function panel(chart, { points, top, height, name, kind, scale }) {
  const highest = niceMax(Math.max(...points.map((point) => point[1]), 0));
  const base = top + height;
  const y = (value) => base - (height * value) / highest;
  chart.append(
    svg("line", { class: "grid", x1: LEFT, x2: scale.right, y1: top, y2: top }),
    svg("line", { class: "axis", x1: LEFT, x2: scale.right, y1: base, y2: base }),
    svg("text", { class: "tick", x: LEFT - 6, y: top + 4, "text-anchor": "end" }, short(highest)),
    svg("text", { class: "tick", x: LEFT - 6, y: base + 3, "text-anchor": "end" }, "0"),
    svg("path", { class: kind, d: steps(points, { x: scale.x, y, end: scale.end, base }) }),
    svg("text", { class: `name ${kind}-name`, x: LEFT + 6, y: top - 4 }, name),
  );
}

function timeTicks(chart, scale, width, bottom) {
  const wanted = Math.max(2, Math.floor(width / 110));
  const choices = [0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 720].map((hours) => hours * HOUR_MS);
  const step = choices.find((choice) => (scale.end - scale.start) / choice <= wanted) ?? choices.at(-1);
  for (let ts = Math.ceil(scale.start / step) * step; ts < scale.end; ts += step) {
    const x = scale.x(ts);
    if (x > width - 40) break;
    const midnight = ts % (24 * HOUR_MS) === 0;
    chart.append(
      svg("line", { class: "grid", x1: x, x2: x, y1: bottom - 14, y2: bottom - 10 }),
      svg("text", { class: "tick", x, y: bottom, "text-anchor": "middle" },
        midnight ? time(ts).slice(5, 10) : time(ts).slice(11)),
    );
  }
}

function drawMarks(chart, marks, scale, bottom) {
  let free = 0;
  for (const mark of marks.filter(({ ts }) => ts >= scale.start && ts <= scale.end)) {
    const x = scale.x(mark.ts);
    chart.append(svg("line", { class: "mark", x1: x, x2: x, y1: 2, y2: bottom - 18 }, svg("title", {}, mark.label)));
    const atEnd = x > scale.right - 40;
    const from = atEnd ? x - 40 : x;
    if (from < free) continue; // the line still shows; two labels on top of each other would not
    chart.append(
      svg("text", { class: "mark-name", x: atEnd ? x - 4 : x + 4, y: 11, "text-anchor": atEnd ? "end" : "start" }, "alert"),
    );
    free = from + 40;
  }
}

function follow(chart, traffic, scale, readout) {
  const cursor = svg("line", { class: "cursor", x1: -9, x2: -9, y1: 18, y2: scale.bottom - 18 });
  chart.append(cursor);
  chart.addEventListener("pointermove", (event) => {
    const ts = scale.start + ((event.offsetX - LEFT) / (scale.right - LEFT)) * (scale.end - scale.start);
    const at = traffic.findLastIndex((point) => point[0] <= ts);
    if (at < 0) return;
    cursor.setAttribute("x1", scale.x(traffic[at][0]));
    cursor.setAttribute("x2", scale.x(traffic[at][0]));
    readout.textContent = describe(traffic[at]);
  });
  chart.addEventListener("pointerleave", () => {
    cursor.setAttribute("x1", -9);
    cursor.setAttribute("x2", -9);
    readout.textContent = describe(traffic.at(-1));
  });
}

function describe([ts, requests, covered]) {
  return `${time(ts)}: ${count(requests)} requests in 15 min, ${count(covered)} inside clusters`;
}

export function drawTraffic(place, readout, traffic, marks) {
  if (!traffic.length) {
    readout.textContent = "";
    place.replaceChildren(el("p", { class: "quiet" }, "No request has been read yet."));
    return;
  }
  const width = Math.max(280, place.clientWidth);
  const height = 188;
  const start = traffic[0][0];
  const end = traffic.at(-1)[0] + 15 * 60000;
  const right = width - RIGHT;
  const scale = { start, end, right, bottom: height - 2, x: (ts) => LEFT + ((right - LEFT) * (ts - start)) / (end - start) };
  const chart = svg("svg", {
    width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Requests per 15 minutes up to ${clock(traffic.at(-1)[0])}. ${describe(traffic.at(-1))}.`,
  });
  const all = traffic.map(([ts, requests]) => [ts, requests]);
  const covered = traffic.map(([ts, , inside]) => [ts, inside]);
  panel(chart, { points: all, top: 32, height: 62, name: "all requests per 15 min", kind: "all", scale });
  panel(chart, { points: covered, top: 116, height: 48, name: "of these, inside clusters (own scale)", kind: "covered", scale });
  timeTicks(chart, scale, width, height - 4);
  drawMarks(chart, marks, scale, scale.bottom);
  follow(chart, traffic, scale, readout);
  readout.textContent = describe(traffic.at(-1));
  place.replaceChildren(chart);
}

export function sparkline(series, label) {
  const width = 84;
  const height = 22;
  const chart = svg("svg", { class: "spark", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  if (series.length < 2) return chart;
  const start = series[0][0];
  const extent = Math.max(1, series.at(-1)[0] - start);
  const highest = Math.max(1, ...series.map((point) => point[1]));
  const line = series.map(([ts, accounts]) =>
    `${(((width - 4) * (ts - start)) / extent + 2).toFixed(1)},${(height - 2 - ((height - 5) * accounts) / highest).toFixed(1)}`);
  chart.append(
    svg("polygon", { class: "spark-fill", points: `2,${height - 1} ${line.join(" ")} ${width - 2},${height - 1}` }),
    svg("polyline", { class: "spark-line", points: line.join(" ") }),
  );
  return chart;
}
