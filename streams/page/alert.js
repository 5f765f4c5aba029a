// The panel of one alert, in the order in which someone just woken asks: what, how bad, how much is gone,
// why do you say so, what speaks against it, what has been done already.

import { badge, clock, count, day, el, figure, plural, span, time } from "./dom.js";

const ATLAS = {
  "AML.T0024.002": "extract AI model",
  "AML.T0024": "exfiltration through the inference API",
  "AML.T0040": "inference API access",
  "AML.T0008.005": "AI service proxies",
  "AML.T0021": "establish accounts",
  "AML.T0012": "valid accounts",
  "AML.T0005.001": "train proxy by replication",
  "AML.T0034.000": "excessive queries",
  "AML.T0048.004": "theft of AI intellectual property",
};

const MODES = {
  off: "The rule is off: nothing acts on this.",
  shadow: "The rule is in shadow: everything is computed, and the limiter is told nothing.",
  alert: "The rule alerts only: a person decides, and no request is slowed by it.",
  enforce: "The rule is enforced: the limiter acts on these until they expire.",
};

const ACTIONS = ["allow", "observe", "throttle", "challenge", "block"];
const MEMBERS_SHOWN = 60;

export function actions(signals) {
  const known = ACTIONS.filter((action) => Object.hasOwn(signals, action));
  const other = Object.keys(signals).filter((action) => !ACTIONS.includes(action));
  return [...known, ...other].map((action) => [action, signals[action]]);
}

function section(title, note, ...children) {
  return el("section", {},
    el("div", { class: "title" }, el("h3", {}, title), note ? el("p", { class: "quiet" }, note) : null), ...children);
}

function tile(name, value, note) {
  return el("div", { class: "tile" }, el("dt", {}, name), el("dd", {}, value), el("dd", { class: "quiet" }, note));
}

// What was answered before anyone was told: the host's own figure, else what the opening alert counted.
export function leaked(group, cluster) {
  if (cluster && cluster.requests_before_alert !== null) return cluster.requests_before_alert;
  return group.opened ? group.opened.requests : null;
}

function tiles(group, cluster, now) {
  const { alert, opened } = group;
  const delay = opened ? opened.ts - alert.first_seen : null;
  const gone = leaked(group, cluster);
  return el("dl", { class: "tiles" },
    tile("accounts", count(alert.accounts), opened && opened !== alert ? `${count(opened.accounts)} when the alert opened` : "so far"),
    tile("requests", count(alert.requests), `last one ${day(alert.last_seen)}`),
    tile("since (UTC)", day(alert.first_seen), now === null ? "" : `${span(now - alert.first_seen)} ago`),
    tile("before the alert", gone === null ? "not known" : count(gone),
      delay === null ? "requests answered" : `requests answered, in ${span(delay)}`));
}

function bar(weight, most) {
  const share = Math.min(1, Math.abs(weight) / (most || 1));
  const fill = el("span", { class: weight < 0 ? "fill against" : "fill for" });
  fill.style.width = `${(share * 50).toFixed(1)}%`;
  const sign = weight < 0 ? "−" : "+";
  return el("div", { class: "bar" },
    el("span", { class: "track", "aria-hidden": "true" }, fill),
    el("span", { class: "weight" }, `${sign}${figure(Math.abs(weight))}`));
}

function evidenceRow(item, weight, most) {
  return el("li", {},
    bar(weight, most),
    el("div", {},
      el("p", {}, item.text),
      el("p", { class: "quiet" }, el("span", { class: "mono" }, item.name),
        `: ${figure(item.value)} ${item.unit}, usual ${figure(item.baseline)}`)));
}

function evidence(alert) {
  const signed = alert.evidence.map((item) => [item, item.weight]);
  // Whatever sign a rule gives its counter-evidence, here it pulls to the other side.
  const counter = alert.counter_evidence.map((item) => [item, -Math.abs(item.weight)]);
  const most = Math.max(0, ...[...signed, ...counter].map(([, weight]) => Math.abs(weight)).filter(Number.isFinite));
  const rows = (items) => el("ul", { class: "evidence" },
    items.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).map(([item, weight]) => evidenceRow(item, weight, most)));
  return [
    section("Why this alert", `score ${figure(alert.score)}; each bar adds its points`,
      signed.length ? rows(signed) : el("p", { class: "quiet" }, "The alert carries no evidence.")),
    section("What speaks against it", null,
      counter.length ? rows(counter)
        : el("p", { class: "quiet" }, "No mark of a benchmark, classroom, viral prompt or batch job was found.")),
  ];
}

function limiter(alert, cluster) {
  const told = cluster ? actions(cluster.signals) : [];
  return section("What the limiter was told", null,
    told.length
      ? el("p", {}, told.map(([action, number]) => `${action}: ${plural(number, "account")}`).join(" · "))
      : null,
    el("p", { class: told.length ? "quiet" : "" }, MODES[alert.mode]));
}

function templates(alert) {
  if (!alert.templates.length) return null;
  return section("Shared templates", "keyed digests and redacted shapes; prompt words never leave the detector",
    el("ul", { class: "templates" }, alert.templates.map((template) => el("li", {},
      el("pre", {}, template.skeleton || "(no shape kept)"),
      el("p", { class: "quiet" },
        `${plural(template.accounts, "account")} · ${plural(template.requests, "request")} · length ${count(template.length)} · `
        + `first seen ${time(template.first_seen)}`),
      el("p", { class: "quiet mono wrap" }, template.digests.join("  "))))));
}

function attributes(alert) {
  if (!alert.attributes.length) return null;
  return section("Shared attributes", "what several members have in common",
    el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "kind"), el("th", {}, "value"), el("th", { class: "number" }, "accounts"))),
      el("tbody", {}, alert.attributes.map((attribute) => el("tr", {},
        el("td", {}, attribute.kind), el("td", { class: "mono wrap" }, attribute.value),
        el("td", { class: "number" }, count(attribute.accounts)))))));
}

function members(alert) {
  const shown = alert.members_sample.slice(0, MEMBERS_SHOWN);
  if (!shown.length) return null;
  return section("Members", `${count(shown.length)} of ${plural(alert.accounts, "account")}`,
    el("ul", { class: "members mono" }, shown.map((member) => el("li", {}, member))));
}

function history(group) {
  if (group.all.length < 2) return null;
  return section("How it grew", null,
    el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "UTC"), el("th", {}, "status"),
      el("th", { class: "number" }, "accounts"), el("th", { class: "number" }, "requests"), el("th", { class: "number wide" }, "score"))),
    el("tbody", {}, group.all.slice(0, 20).map((alert) => el("tr", {},
      el("td", { class: "number left" }, day(alert.ts)), el("td", {}, `${alert.status}, ${alert.severity}`),
      el("td", { class: "number" }, count(alert.accounts)), el("td", { class: "number" }, count(alert.requests)),
      el("td", { class: "number wide" }, figure(alert.score)))))));
}

function fact(name, ...value) {
  return [el("dt", {}, name), el("dd", { class: "wrap" }, ...value)];
}

function facts(alert) {
  const atlas = alert.atlas.map((id) => (Object.hasOwn(ATLAS, id) ? `${id} (${ATLAS[id]})` : id));
  return section("For the record", null, el("dl", { class: "facts" },
    fact("rule", `${alert.rule}, version ${alert.rule_version}, mode ${alert.mode}`),
    fact("window", alert.window),
    fact("decided", `${clock(alert.ts)} UTC (event time)`),
    atlas.length ? fact("MITRE ATLAS", atlas.join(", ")) : null,
    fact("alert id", el("span", { class: "mono" }, alert.alert_id)),
    fact("dedup key", el("span", { class: "mono" }, alert.dedup_key))));
}

// Only a web address becomes a link: anything else, such as javascript:, stays text.
function runbook(address) {
  if (!address) return null;
  if (/^https?:\/\//i.test(address) && URL.canParse(address)) {
    return el("a", { class: "runbook", href: address, rel: "noopener noreferrer", target: "_blank" }, "Runbook ↗");
  }
  return el("span", { class: "quiet wrap" }, "Runbook: ", address);
}

export function subject(alert) {
  return alert.cluster_id !== null ? `cluster ${alert.cluster_id}` : `account ${alert.account_id ?? "–"}`;
}

export function alertPanel(group, cluster, now) {
  const { alert } = group;
  return [
    el("div", { class: "headline" }, badge(alert.severity),
      el("span", { class: `state ${alert.status === "resolved" ? "over" : "on"}` }, alert.status === "resolved" ? "resolved" : "open"),
      el("span", { class: "quiet wrap" }, subject(alert)), runbook(alert.runbook_url)),
    el("h2", { class: "summary" }, alert.summary || "An alert without a summary."),
    tiles(group, cluster, now),
    ...evidence(alert), limiter(alert, cluster), templates(alert), attributes(alert), members(alert), history(group), facts(alert),
  ].filter(Boolean);
}
