// Live pages. One stream for each visible tab; where the server has none to give, a question every few seconds. What
// changed is asked for as a part of the page, and put in place without moving what somebody reads.
"use strict";
(() => {
  const main = document.getElementById("main");
  const state = document.getElementById("live-state");
  if (!main.dataset.live || !state) return;
  const POLL_MS = 5000, LEAST_MS = 1000, LATER_MS = 2000, STREAM_AGAIN = 24, ANNOUNCE_MS = 10000;
  let position = main.dataset.position, stream = null, timer = 0, due = 0, polled = 0, announced = 0, fresh = null;

  const say = (what, more = "") => {
    state.hidden = false;
    state.className = `meta live-${what}`;
    state.textContent = state.dataset[what] + more;
  };
  const announce = () => {
    if (Date.now() - announced < ANNOUNCE_MS) return;
    announced = Date.now();
    document.getElementById("announced").textContent = state.dataset.changed;
  };

  // ── Putting in place ──────────────────────────────────────────────────────────────────────────────────────────────

  const busy = (element) => {
    const chosen = document.getSelection();
    return element.contains(document.activeElement) || element.matches(":hover") ||
      (!chosen.isCollapsed && chosen.containsNode(element, true)) || element.querySelector("details[open]") !== null;
  };
  // As the server sent it: the script writes times in the viewer's zone.
  const plain = (node, ...without) => {
    const own = node.cloneNode(true);
    own.querySelectorAll("time").forEach((time) => { time.textContent = time.dateTime; });
    without.forEach((selector) => own.querySelectorAll(selector).forEach((found) => found.remove()));
    return own.innerHTML;
  };
  const placed = (own) => document.dispatchEvent(new CustomEvent("placed", { detail: own }));
  const copy = (node) => document.importNode(node, true);

  const swap = {
    whole(old, now) {
      if (plain(old) === plain(now)) return true;
      if (busy(old)) return false;
      const own = copy(now);
      old.replaceWith(own);
      placed(own);
      return true;
    },
    rows(old, now) {
      const rowsOf = (root) => new Map([...root.querySelectorAll("tbody tr")].map((row) => [row.dataset.key, row]));
      const [before, after] = [rowsOf(old), rowsOf(now)];
      let isDone = true;
      for (const [key, row] of before) {
        const its = after.get(key);
        if (!its) { if (!now.dataset.more) row.classList.add("gone"); continue; }
        row.classList.remove("gone");
        if (plain(row) === plain(its)) continue;
        if (busy(row)) { isDone = false; continue; }
        if (plain(row, ".c-took") !== plain(its, ".c-took")) row.classList.add("changed");
        row.replaceChildren(...copy(its).children);
        placed(row);
      }
      const unseen = [...after.keys()].filter((key) => !before.has(key));
      fresh = unseen.length ? [old, now] : null;
      const newer = document.querySelector(".newer");
      newer.hidden = !fresh;
      newer.textContent = state.dataset.newer.replace("{n}", unseen.length);
      return isDone;
    },
    tail(old, now) {
      const isAtEnd = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 40;
      const body = old.querySelector("tbody");
      const last = Number((body.lastElementChild?.id ?? "p0").slice(1));
      for (const row of [...now.querySelectorAll("tbody tr")].filter((row) => Number(row.id.slice(1)) > last)) {
        const own = copy(row);
        own.classList.add("fresh");
        body.append(own);
        placed(own);
      }
      while (body.childElementCount > 1000) body.firstElementChild.remove();
      old.querySelector(".empty")?.remove();
      if (isAtEnd) window.scrollTo(0, document.documentElement.scrollHeight);
      return true;
    },
  };
  document.querySelector(".newer")?.addEventListener("click", () => {
    if (!fresh) return;
    const [old, now] = fresh, own = copy(now);
    old.replaceWith(own);
    placed(own);
    document.querySelector(".newer").hidden = true;
    own.querySelector("a.id")?.focus();
    fresh = null;
  });

  // ── Asking ────────────────────────────────────────────────────────────────────────────────────────────────────────

  // Not sooner than ten times as long as the last answer took: a slow server is not asked more for being slow.
  let pause = LEAST_MS;
  const refresh = async () => {
    timer = 0;
    const began = performance.now();
    try {
      const answer = await fetch(main.dataset.part || location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      let isDone = true;
      for (const old of document.querySelectorAll("[data-swap]")) {
        const now = page.getElementById(old.id);
        if (now) isDone = swap[old.dataset.swap](old, now) && isDone;
      }
      announce();
      pause = Math.max(LEAST_MS, 10 * (performance.now() - began));
      due = performance.now() + pause;
      if (!isDone) wanted(LATER_MS);
    } catch { due = performance.now() + POLL_MS; wanted(POLL_MS); }
  };
  const wanted = (after = 0) => {
    if (!timer) timer = setTimeout(refresh, Math.max(after, due - performance.now(), 0));
  };

  const address = () => `${main.dataset.live}${main.dataset.live.includes("?") ? "&" : "?"}after=${position}`;
  const told = (text) => {
    const change = JSON.parse(text);
    position = change.position;
    if (change.changed) wanted();
  };
  const listen = () => {
    stream = new EventSource(address());
    stream.onopen = () => say("live");
    stream.onmessage = (event) => told(event.data);
    stream.onerror = () => {
      if (stream?.readyState !== EventSource.CLOSED) { say("again"); return; }
      stream = null;
      polled = 0;
      poll();
    };
  };
  let polling = 0;
  const poll = async () => {
    if (document.hidden) return;
    if (polled++ >= STREAM_AGAIN) { listen(); return; }
    say("polling");
    try {
      const answer = await fetch(address(), { headers: { Accept: "application/json" } });
      if (answer.ok) told(await answer.text()); else say("again");
    } catch { say("again"); }
    polling = setTimeout(poll, POLL_MS);
  };
  const stop = () => { stream?.close(); stream = null; clearTimeout(polling); };
  document.addEventListener("visibilitychange", () => {
    stop();
    if (document.hidden) say("away"); else listen();
  });
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
  if (!document.hidden) listen();
})();
