// The live feed of the overview. Rows come as HTML from our own server, newest first, with a cursor that the browser names when it comes back.
"use strict";

(() => {
  const list = document.querySelector("[data-stream]");
  if (!list || !window.EventSource) return;
  const most = 100; // rows on the page
  const news = document.querySelector("[data-feed-news]");
  const state = document.querySelector("[data-feed-state]");
  const empty = document.querySelector("[data-feed-empty]");
  let held = []; // what came while the reader was looking
  let cursor = "";
  let source;

  // While the pointer rests on the list, or the page is not looked at, nothing moves.
  const resting = () => document.hidden || list.matches(":hover") || list.contains(document.activeElement);

  const add = (html) => {
    if (empty) empty.remove();
    list.hidden = false;
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    for (const row of fresh.content.children) row.classList.add("fresh");
    list.prepend(fresh.content);
    while (list.children.length > most) list.lastElementChild.remove();
  };
  const count = (html) => (html.match(/<li[ >]/g) || []).length;
  const show = () => {
    for (const html of held) add(html);
    held = [];
    news.hidden = true;
  };
  const settle = () => {
    if (held.length && !resting()) show();
  };

  const connect = () => {
    const url = new URL(list.dataset.stream, location.href);
    if (cursor) url.searchParams.set("after", cursor);
    source = new EventSource(url);
    source.addEventListener("open", () => { state.dataset.state = "live"; });
    source.addEventListener("rows", (e) => {
      cursor = e.lastEventId;
      if (!resting()) {
        add(e.data);
        return;
      }
      held.push(e.data);
      if (held.length > most) held.shift();
      const n = held.reduce((sum, html) => sum + count(html), 0);
      news.textContent = news.dataset.text.replace("%s", n);
      news.hidden = false;
    });
    // The cursor is too old to go on from: the page is read anew, when somebody looks.
    source.addEventListener("reset", () => { source.close(); location.reload(); });
    source.addEventListener("end", () => { source.close(); location.reload(); });
    source.onerror = () => {
      state.dataset.state = "away";
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000); // refused outright: browsers come back by themselves only after a break
    };
  };

  list.addEventListener("pointerleave", settle);
  list.addEventListener("focusout", () => setTimeout(settle));
  document.addEventListener("visibilitychange", settle);
  news.addEventListener("click", show);
  window.addEventListener("pagehide", () => source && source.close());
  window.addEventListener("pageshow", (e) => { if (e.persisted) connect(); });
  connect();
})();
