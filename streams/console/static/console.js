// What the console adds to its pages where scripts run: they follow what happens, and keys work.
// The server makes every page; this file only fetches the page again and puts in the parts that changed.

const byId = (id) => document.getElementById(id);
const cases = () => [...document.querySelectorAll(".case[data-key]")];
let chosen = null; // data-key of the chosen alert
let loading = false;
let again = false;
let said = null;

async function refresh() {
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  try {
    const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
    if (answer.redirected && new URL(answer.url).pathname === "/login") {
      location.reload();
    } else if (answer.ok) {
      take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    }
  } catch {
    state("connection lost", "lost");
  }
  loading = false;
  if (again) {
    again = false;
    refresh();
  }
}

// A part is left alone while somebody works in it: typing, an open form, a text being marked.
function busy(part) {
  const marked = getSelection();
  return part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea, button")
    || (marked && !marked.isCollapsed && part.contains(marked.anchorNode));
}

function take(fresh) {
  if (fresh.title) document.title = fresh.title;
  for (const part of document.querySelectorAll("[data-part]")) {
    const newer = fresh.getElementById(part.id);
    if (!newer || newer.innerHTML === part.dataset.shown || busy(part)) continue;
    const open = [...part.querySelectorAll("details[open]")].map((node) => node.id);
    part.dataset.shown = newer.innerHTML;
    part.className = newer.className;
    part.replaceChildren(...newer.childNodes);
    for (const node of part.querySelectorAll("details")) node.open = open.includes(node.id);
  }
  const [act, newAct] = [byId("act"), fresh.getElementById("act")];
  // Forms are replaced only where nobody has begun with one and what can be done is another.
  if (act && newAct && forms(act) !== forms(newAct) && !act.querySelector("details[open]") && !busy(act)) {
    act.replaceChildren(...newAct.childNodes);
  }
  mark();
}

const forms = (node) => [...node.querySelectorAll("[name=kind]")].map((field) => field.value).join();

function state(text, kind) {
  const pill = byId("live-state");
  if (!pill) return;
  pill.textContent = text;
  pill.className = `pill ${kind}`;
}

function listen() {
  const stream = new EventSource("/live");
  let first = true;
  stream.onmessage = (message) => {
    const beat = JSON.parse(message.data);
    if (said !== null && beat.said && beat.said !== said) byId("announce").textContent = `New alert: ${beat.said}`;
    said = beat.said;
    if (!first) refresh();
    first = false;
    document.body.dataset.followed = "yes";
  };
  stream.onerror = () => {
    first = false;
    state("connection lost", "lost");
  };
  stream.addEventListener("bye", () => {
    stream.close();
    state("stopped", "lost");
  });
  addEventListener("pagehide", () => stream.close());
}

function mark() {
  for (const node of cases()) node.classList.toggle("chosen", node.dataset.key === chosen);
}

function step(by) {
  const all = cases();
  if (!all.length) return;
  const at = all.findIndex((node) => node.dataset.key === chosen);
  const node = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
  chosen = node.dataset.key;
  mark();
  node.querySelector(".summary").focus({ preventScroll: true });
  node.scrollIntoView({ block: "nearest" });
}

// The alert that keys speak of: the one chosen in the list, or the one this page shows.
const subject = () => (byId("case") ? byId("act") : cases().find((node) => node.dataset.key === chosen));

function unfold(id) {
  const place = byId(id);
  if (place) {
    place.open = true;
    place.scrollIntoView({ block: "center" });
    place.querySelector("input:not([type=hidden]), select")?.focus();
  } else {
    const link = subject()?.querySelector?.("a.summary");
    if (link) location.href = `${link.href}#${id}`;
  }
}

function openWanted() {
  const wanted = location.hash.slice(1);
  if (["close", "silence", "undo"].includes(wanted)) unfold(wanted);
}

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  a: () => subject()?.querySelector("form[data-key-a]")?.requestSubmit(),
  c: () => unfold("close"),
  s: () => unfold("silence"),
  u: () => byId("back")?.click(),
  "/": () => document.querySelector("[role=search] input:not([type=hidden])")?.focus(),
  "?": () => byId("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help")?.open) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const does = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (!does) return;
  event.preventDefault();
  does();
});

document.addEventListener("submit", (event) => {
  // Twice pressed is meant once.
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

if (document.body.dataset.live) {
  const help = byId("help-button");
  help.hidden = false;
  help.addEventListener("click", () => byId("help").showModal());
  for (const part of document.querySelectorAll("[data-part]")) part.dataset.shown = part.innerHTML;
  openWanted();
  addEventListener("hashchange", openWanted);
  listen();
  // A time such as "12 s ago" grows old although nothing happens; when nothing comes at all, that must show.
  setInterval(refresh, 15000);
}
document.body.dataset.ready = "yes";
