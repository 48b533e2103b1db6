// Comforts only: every page works without this file. No code is made from text, and no markup from data.
"use strict";
(() => {
  const each = (selector, act, root = document) => root.querySelectorAll(selector).forEach(act);
  const inZone = (root) => {
    const forms = {
      moment: { dateStyle: "medium", timeStyle: "medium" },
      short: { timeStyle: "medium" },
      exact: { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 },
    };
    const today = new Date().toDateString();
    each("time[datetime]", (element) => {
      const at = new Date(element.dateTime);
      const isOld = element.dataset.form === "short" && at.toDateString() !== today;
      const form = isOld ? { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" } : forms[element.dataset.form];
      element.textContent = new Intl.DateTimeFormat(document.documentElement.lang, { ...form, hour12: false }).format(at);
    }, root);
  };
  inZone(document);
  document.addEventListener("placed", (event) => { inZone(event.detail); listen(); });
  const zone = document.getElementById("zone");
  if (zone) zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;

  // The slider: the number moves with it, and its release shows that version.
  const heard = new WeakSet();
  const listen = () => {
    const range = document.getElementById("version");
    if (!range || heard.has(range)) return;
    heard.add(range);
    range.addEventListener("input", () => { document.getElementById("version-shown").textContent = range.value; });
    range.addEventListener("change", () => {
      if (range.value === range.max) range.removeAttribute("name");
      range.form.requestSubmit();
    });
  };
  listen();

  // Letters can be switched off: somebody who speaks to the browser types them without meaning to.
  if (document.documentElement.dataset.keys !== "off") document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
    const go = {
      "/": () => document.getElementById("search")?.focus(),
      f: () => document.getElementById("filter")?.click(),
      "[": () => document.querySelector("a[rel=prev]")?.click(),
      "]": () => document.querySelector("a[rel=next]")?.click(),
      j: () => step(1), k: () => step(-1),
      ".": () => document.querySelector(".newer")?.click(),
    }[event.key.toLowerCase()];
    if (go) { event.preventDefault(); go(); }
  });
  const step = (by) => {
    const links = [...document.querySelectorAll("#rows a.id")];
    const at = links.indexOf(document.activeElement);
    links[Math.min(links.length - 1, Math.max(0, at + by))]?.focus();
  };
})();
