// What the pages do beyond plain HTML. Everything works without it.
"use strict";

// A menu closes when something else is clicked, when the focus leaves it, or by Escape, which gives the focus back.
document.addEventListener("click", (e) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(e.target)) menu.open = false;
  }
});
document.addEventListener("focusout", (e) => {
  const menu = e.target.closest("details.menu[open]");
  if (menu && e.relatedTarget && !menu.contains(e.relatedTarget)) menu.open = false;
});
document.addEventListener("keydown", (e) => {
  if (e.key === "Escape") {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
    return;
  }
  // "/" goes to the page's search, unless something is being typed.
  if (e.key === "/" && !e.ctrlKey && !e.metaKey && !e.altKey && !e.target.closest("input, textarea, select, [contenteditable]")) {
    const box = document.querySelector("[data-search], input[type=search]");
    if (box) {
      e.preventDefault();
      box.focus();
      box.select();
    }
  }
});

// A form is sent once, however often its button is pressed; seconds later it may be sent again, as the browser may have been stopped.
document.addEventListener("submit", (e) => {
  const form = e.target;
  if (form.method !== "post") return;
  if (Date.now() - form.dataset.sent < 5000) {
    e.preventDefault();
    return;
  }
  form.dataset.sent = Date.now();
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// What was entered is not lost when it is sent after the session has ended, or when the language is changed: it waits in this tab for the same form and the
// same person, and no longer than until the next page of somebody who is signed in. Passwords are not kept; signing out forgets the rest.
(() => {
  const place = "openway-entered";
  const user = document.body.dataset.user;
  const forms = () => [...document.querySelectorAll("main form[method=post]")];
  const controls = (form) => [...form.elements].filter((c) => c.name && c.matches("input:not([type=password]), select, textarea"));

  const waiting = JSON.parse(sessionStorage.getItem(place) || "null");
  if (waiting && user) {
    sessionStorage.removeItem(place);
    if (waiting.back && waiting.user === user && waiting.path === location.pathname + location.search) refill(waiting.forms);
  } else if (waiting) { // the page to sign in
    sessionStorage.setItem(place, JSON.stringify({ ...waiting, back: true }));
  }

  function refill(entered) {
    let changed = false;
    for (const { nth, values } of entered) {
      const form = forms()[nth];
      const list = form ? controls(form) : [];
      if (list.length !== values.length || list.some((c, i) => c.name !== values[i].name)) continue; // another form
      list.forEach((c, i) => {
        const { value, checked } = values[i];
        const tick = c.type === "checkbox" || c.type === "radio";
        if (tick ? c.value !== value || c.checked === checked : c.value === value) return;
        changed = true;
        if (tick) c.checked = checked;
        else c.value = value; // also the version that was seen, so that nobody's change is overwritten unseen
      });
    }
    if (changed) document.querySelector(".refilled").hidden = false;
  }

  document.addEventListener("submit", (e) => {
    if (e.defaultPrevented || !user || e.target.method !== "post") return;
    const to = e.target.getAttribute("action") || "";
    if (to === "/admin/logout/") {
      sessionStorage.removeItem(place);
      return;
    }
    const back = to === "/admin/preferences/";
    const entered = forms().map((form, nth) => ({ form, nth, values: controls(form).map((c) => ({ name: c.name, value: c.value, checked: c.checked })) }))
      .filter(({ form }) => (back || form === e.target) && controls(form).some((c) => c.type !== "hidden"));
    if (!entered.length) return;
    try {
      sessionStorage.setItem(place, JSON.stringify({ user, path: location.pathname + location.search, back, forms: entered.map(({ nth, values }) => ({ nth, values })) }));
    } catch { // it is too much to be kept
      sessionStorage.removeItem(place);
    }
  });
})();
