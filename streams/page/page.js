// The page as a whole: keeps the newest state, redraws what changed, moves the selection.

import { actions, alertPanel, subject } from "./alert.js";
import { drawTraffic, sparkline } from "./chart.js";
import { badge, clock, count, day, el, figure, plural, rank, short, time, visible } from "./dom.js";

const ALERTS_SHOWN = 200;
const CLUSTERS_SHOWN = 40;

const state = {
  clock_ms: null, wall_s: 0, events: 0, events_per_s: 0, accounts: 0, traffic: [], clusters: [], alerts: [],
  signals: {}, rejects: {}, story: [], truth_note: null, done: false,
};
let selected = null; // dedup key
let chosen = false; // whether a person chose it, so that new alerts leave it alone
let groups = [];
let drawn = ""; // what the panel shows, to leave text selection and scroll alone while nothing changed
let lastEventAt = null;
let connected = false;
let ended = false;

const byId = (id) => document.getElementById(id);

// One entry per dedup key: the newest alert, the one that opened it, and all in between, newest first.
function groupAlerts(alerts) {
  const found = new Map();
  for (const alert of alerts) {
    const group = found.get(alert.dedup_key) ?? { key: alert.dedup_key, alert, opened: null, all: [] };
    group.all.push(alert);
    if (alert.ts > group.alert.ts) group.alert = alert;
    if (alert.status === "open" && (!group.opened || alert.ts < group.opened.ts)) group.opened = alert;
    found.set(alert.dedup_key, group);
  }
  const over = (group) => (group.alert.status === "resolved" ? 1 : 0);
  return [...found.values()].sort((a, b) =>
    over(a) - over(b) || rank(b.alert.severity) - rank(a.alert.severity) || started(b) - started(a));
}

function started(group) {
  return (group.opened ?? group.all.at(-1)).ts;
}

function put(id, text) {
  const node = byId(id);
  const shown = visible(text);
  if (node.textContent !== shown) node.textContent = shown;
}

function drawVitals() {
  put("clock", clock(state.clock_ms));
  put("events", short(state.events));
  byId("events").title = count(state.events);
  put("rate", `${short(state.events_per_s)}/s`);
  put("accounts", short(state.accounts));
  put("open", String(groups.filter((group) => group.alert.status !== "resolved").length));
  const pill = byId("live");
  const [text, kind] = state.done ? ["finished", "over"] : connected ? ["live", "on"]
    : ended ? ["stopped", "lost"] : ["connection lost, trying again", "lost"];
  put("live", text);
  pill.className = `pill ${kind}`;
  drawLast();
}

function drawLast() {
  if (lastEventAt === null) return put("last", "none yet");
  if (state.done) return put("last", "all read");
  const seconds = Math.round((performance.now() - lastEventAt) / 1000);
  put("last", seconds < 2 ? "just now" : seconds < 120 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`);
  byId("last").className = seconds >= 30 ? "warn" : "";
}

function drawAlerts() {
  const list = byId("alert-list");
  list.replaceChildren(...groups.slice(0, ALERTS_SHOWN).map((group, at) => el("li", {
    id: `alert-${at}`, role: "option", "data-at": String(at),
    class: group.alert.status === "resolved" ? "resolved" : "", "aria-selected": String(group.key === selected),
  },
  el("div", {}, badge(group.alert.severity), el("time", {}, time(started(group))),
    group.alert.status === "resolved" ? el("span", { class: "quiet" }, "resolved") : null,
    group.all.length > 1 ? el("span", { class: "quiet" }, plural(group.all.length - 1, "update")) : null),
  el("p", {}, group.alert.summary || subject(group.alert)))));
  list.hidden = groups.length === 0;
  markSelected();
  const more = byId("alerts-more");
  more.hidden = groups.length <= ALERTS_SHOWN && groups.length > 0;
  more.textContent = groups.length ? `and ${count(groups.length - ALERTS_SHOWN)} more` : "None so far.";
}

function markSelected() {
  const at = groups.findIndex((group) => group.key === selected);
  for (const item of byId("alert-list").children) {
    item.setAttribute("aria-selected", String(Number(item.dataset.at) === at));
  }
  if (at >= 0) byId("alert-list").setAttribute("aria-activedescendant", `alert-${at}`);
}

function drawPanel() {
  const group = groups.find((one) => one.key === selected);
  const place = byId("alert");
  if (!group) {
    drawn = "";
    place.replaceChildren(...emptyPanel());
    return;
  }
  const cluster = state.clusters.find((one) => one.cluster_id === group.alert.cluster_id);
  const wanted = JSON.stringify([group.alert.alert_id, group.all.length, cluster?.signals, cluster?.requests_before_alert,
    Math.floor((state.clock_ms ?? 0) / 900000)]);
  if (wanted === drawn) return;
  drawn = wanted;
  place.replaceChildren(...alertPanel(group, cluster, state.clock_ms));
}

function emptyPanel() {
  const title = state.done ? "No campaign was found"
    : state.events ? "Reading; no campaign found so far" : "Waiting for the first request";
  return [
    el("h2", { class: "summary" }, title),
    el("p", {}, "An alert appears here when many accounts that should have nothing to do with each other send requests cut "
      + "from the same template, each too few to stand out alone, and enough else speaks for one hand behind them: even "
      + "load over the accounts, no follow-up questions, shared payment or network, accounts of one age."),
    el("p", {}, "That takes time. At 25 requests a day an account sends about one an hour, so a group shows after it has "
      + "repeated itself: minutes where thousands of accounts take part, an hour or two of event time where hundreds do."),
    el("p", { class: "quiet" }, "Popular prompts, agent products, classrooms and benchmarks share templates too, and are "
      + "not alerts. Clusters being watched are listed as soon as they form."),
  ];
}

function drawClusters() {
  const shown = [...state.clusters]
    .sort((a, b) => rank(b.severity) - rank(a.severity) || b.accounts - a.accounts).slice(0, CLUSTERS_SHOWN);
  put("clusters-note", state.clusters.length > shown.length
    ? `${shown.length} largest of ${count(state.clusters.length)}` : "");
  byId("cluster-table").replaceChildren(shown.length === 0
    ? el("p", { class: "quiet" }, "No group of accounts is being watched yet.")
    : el("table", {},
      el("thead", {}, el("tr", {}, el("th", {}, "cluster"), el("th", { class: "number" }, "accounts"),
        el("th", { class: "number" }, "requests"), el("th", { class: "number widest" }, "score"),
        el("th", { class: "wide" }, "since"), el("th", {}, "over time"))),
      el("tbody", {}, shown.map(clusterRow))));
}

function clusterRow(cluster) {
  const at = groups.findIndex((group) => group.alert.cluster_id === cluster.cluster_id);
  const name = at < 0 ? el("span", { class: "mono wrap" }, cluster.cluster_id)
    : el("button", { class: "mono wrap", "data-at": String(at) }, cluster.cluster_id);
  return el("tr", {},
    el("td", {}, name, el("div", {}, badge(cluster.severity), el("span", { class: "quiet" }, cluster.status))),
    el("td", { class: "number" }, count(cluster.accounts)),
    el("td", { class: "number" }, count(cluster.requests)),
    el("td", { class: "number widest" }, figure(cluster.score)),
    el("td", { class: "wide" }, day(cluster.first_seen)),
    el("td", {}, sparkline(cluster.series, `${plural(cluster.accounts, "account")} since ${time(cluster.first_seen)}`)));
}

function drawTotals() {
  const table = (title, rows, none) => el("div", {}, el("h2", {}, title), rows.length
    ? el("table", {}, el("tbody", {}, rows.map(([name, number]) =>
      el("tr", {}, el("td", { class: "wrap" }, name), el("td", { class: "number" }, count(number))))))
    : el("p", { class: "quiet" }, none));
  const rejects = Object.entries(state.rejects).sort((a, b) => b[1] - a[1]);
  byId("totals").replaceChildren(
    table("Limiter, all accounts", actions(state.signals), "Nothing has been said to the limiter."),
    table("Input not used", rejects, "Every record was readable."));
}

function drawStory() {
  const newestFirst = [...state.story].reverse();
  byId("story-lines").replaceChildren(...newestFirst.map((line) =>
    el("li", {}, el("time", {}, day(line.ts)), el("span", {}, line.text))));
  byId("story-none").hidden = state.story.length > 0;
  const truth = byId("truth");
  truth.hidden = !state.truth_note;
  put("truth", state.truth_note ? `From the simulator, never seen by the detector: ${state.truth_note}` : "");
}

function drawChart() {
  const marks = groups.filter((group) => group.opened)
    .map((group) => ({ ts: group.opened.ts, label: group.alert.summary })).sort((a, b) => a.ts - b.ts);
  drawTraffic(byId("traffic-chart"), byId("traffic-readout"), state.traffic, marks);
}

function select(at, { byPerson }) {
  const group = groups[at];
  if (!group) return;
  selected = group.key;
  chosen = chosen || byPerson;
  markSelected();
  drawPanel();
  if (!byPerson) return;
  byId(`alert-${at}`)?.scrollIntoView({ block: "nearest" });
  history.replaceState(null, "", `#alert=${encodeURIComponent(group.key)}`);
}

function announce(before) {
  const known = new Set(before.map((group) => group.key));
  const fresh = groups.find((group) => !known.has(group.key));
  if (fresh) put("announce", `New alert: ${fresh.alert.summary}`);
  const open = groups.filter((group) => group.alert.status !== "resolved").length;
  document.title = open ? `(${open}) distilwatch` : "distilwatch";
}

function takeAlerts() {
  const before = groups;
  groups = groupAlerts(state.alerts);
  announce(before);
  const wanted = /^#alert=(.*)$/.exec(location.hash);
  if (!chosen && wanted) {
    const at = groups.findIndex((group) => encodeURIComponent(group.key) === wanted[1]);
    if (at >= 0) [selected, chosen] = [groups[at].key, true];
  }
  if (!chosen || !groups.some((group) => group.key === selected)) selected = groups[0]?.key ?? null;
}

function take(changes) {
  if ("events" in changes && changes.events !== state.events) lastEventAt = performance.now();
  Object.assign(state, changes);
  const has = (...names) => names.some((name) => name in changes);
  if (has("alerts")) takeAlerts();
  drawVitals();
  if (has("alerts")) drawAlerts();
  if (has("traffic", "alerts")) drawChart();
  if (has("clusters", "alerts")) drawClusters();
  if (has("signals", "rejects")) drawTotals();
  if (has("story", "truth_note")) drawStory();
  drawPanel();
  document.body.dataset.drawn = "yes";
}

function listen() {
  const stream = new EventSource("/stream");
  stream.onmessage = (message) => {
    connected = true;
    take(JSON.parse(message.data));
  };
  stream.onerror = () => {
    connected = false;
    drawVitals();
  };
  stream.addEventListener("bye", () => {
    ended = true;
    connected = false;
    stream.close();
    drawVitals();
  });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inList = document.activeElement === byId("alert-list");
  const step = { j: 1, k: -1, ...(inList ? { ArrowDown: 1, ArrowUp: -1 } : {}) }[event.key];
  if (!step || !groups.length) return;
  event.preventDefault();
  const at = groups.findIndex((group) => group.key === selected);
  const last = Math.min(groups.length, ALERTS_SHOWN) - 1;
  select(Math.min(last, Math.max(0, at + step)), { byPerson: true });
});
document.addEventListener("click", (event) => {
  const place = event.target instanceof Element ? event.target.closest("[data-at]") : null;
  if (place) select(Number(place.dataset.at), { byPerson: true });
});
new ResizeObserver(drawChart).observe(byId("traffic-chart"));
setInterval(drawLast, 1000);
listen();
