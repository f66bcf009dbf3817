"use strict";
(() => {
  const form = document.getElementById("find");
  const list = document.getElementById("cards");
  const count = document.getElementById("count");
  const none = document.getElementById("none");
  const search = form.elements.q;
  const cards = Array.from(list.children, (line) => ({
    line,
    link: line.querySelector("a"),
    text: `${line.querySelector(".model").textContent} ${line.dataset.also || ""} ${line.dataset.task} ${line.dataset.framework} ${line.dataset.licence}`.toLowerCase(),
    size: line.dataset.size === undefined ? Infinity : Number(line.dataset.size),
    top1: line.dataset.top1 === undefined ? -1 : Number(line.dataset.top1),
  }));
  const orders = {
    size: (a, b) => (a.size === b.size ? 0 : a.size - b.size),
    top1: (a, b) => b.top1 - a.top1,
  };
  let ordered = cards;

  function fits(card, chosen, words) {
    const data = card.line.dataset;
    return (
      (!chosen.task || data.task === chosen.task) &&
      (!chosen.framework || data.framework === chosen.framework) &&
      (!chosen.licence || data.licence === chosen.licence) &&
      (!chosen.size || card.size <= Number(chosen.size) * 1e6) &&
      (!chosen.pinned || data.trust === "pinned") &&
      (!chosen.built || data.built !== undefined) &&
      words.every((word) => card.text.includes(word))
    );
  }

  function show() {
    const chosen = Object.fromEntries(new FormData(form));
    const words = chosen.q.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const fit = fits(card, chosen, words);
      if (card.line.hidden === fit) card.line.hidden = !fit;
      shown += fit ? 1 : 0;
    }
    const order = orders[chosen.order];
    const wanted = order ? cards.slice().sort(order) : cards;
    if (wanted.some((card, n) => card !== ordered[n])) {
      ordered = wanted;
      list.append(...ordered.map((card) => card.line));
    }
    const all = `${cards.length} ${cards.length === 1 ? "model" : "models"}`;
    count.textContent = shown === cards.length ? all : `${shown} of ${all}`;
    none.hidden = shown > 0;
    return chosen;
  }

  function change() {
    const kept = new URLSearchParams(Object.entries(show()).filter(([, value]) => value));
    try {
      history.replaceState(null, "", `#${kept}`);
    } catch {
      // An address that may not change only costs the way back to this search.
    }
  }

  function restore() {
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
      const control = form.elements.namedItem(name);
      if (!control) continue;
      if (control.type === "checkbox") control.checked = value === "1";
      else control.value = value;
      if (control.selectedIndex === -1) control.value = "";
    }
  }

  function step(event) {
    const down = event.key === "ArrowDown";
    if (!down && event.key !== "ArrowUp") return;
    const links = ordered.filter((card) => !card.line.hidden).map((card) => card.link);
    const at = links.indexOf(document.activeElement);
    if (at === -1 && !(down && document.activeElement === search)) return;
    event.preventDefault();
    const next = at + (down ? 1 : -1);
    if (next < 0) search.focus();
    else if (next < links.length) links[next].focus();
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", change);
  form.addEventListener("reset", () => setTimeout(() => (change(), search.focus())));
  document.addEventListener("keydown", step);
  restore();
  show();
})();
