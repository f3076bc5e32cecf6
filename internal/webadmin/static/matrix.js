// The access matrix is changed in place: arrow keys move, a click or the space bar goes on to the next state, and each change can be undone for ten
// seconds. Without this file the heads of rows and columns lead to lists with forms.
"use strict";

(() => {
  const table = document.querySelector("table.matrix[data-url]");
  if (!table) return;
  const bar = document.querySelector(".matrix-bar");
  const [status, look, undo] = [bar.querySelector("p"), bar.querySelector("a"), bar.querySelector("button")];
  const rows = table.tBodies[0].rows;
  const heads = table.tHead.rows[0].cells;
  const states = ["none", "allowed", "suspended"];
  const undoFor = 10000;
  let timer = 0;
  let undone = null; // what the undo button does

  table.setAttribute("role", "grid");
  table.classList.add("toggles");
  document.querySelector(".matrix-scroll").removeAttribute("tabindex"); // the cells have the focus now
  for (const hint of document.querySelectorAll(".needs-script")) hint.hidden = false;

  const stateOf = (cell) => states.find((s) => cell.classList.contains(s)) || "none";
  const groupOf = (cell) => cell.parentNode.cells[0].textContent;
  const gateOf = (cell) => heads[cell.cellIndex].textContent;

  const wordOf = (cell) => cell.textContent || table.dataset.none;

  // One cell can be reached by Tab: the one that had the focus last.
  let current = rows[0].cells[1];
  current.tabIndex = 0;
  // Readers of the screen name the row and the column themselves; only an empty cell needs a word.
  const name = (cell) => cell.textContent ? cell.removeAttribute("aria-label") : cell.setAttribute("aria-label", table.dataset.none);
  name(current);
  const go = (row, column) => {
    const to = rows[Math.max(0, Math.min(row, rows.length - 1))].cells[Math.max(1, Math.min(column, heads.length - 1))];
    current.tabIndex = -1;
    current = to;
    current.tabIndex = 0;
    name(current);
    current.focus();
    current.scrollIntoView({ block: "nearest", inline: "nearest" }); // the focus alone may stay under the sticky head or column
  };

  // say tells what happened. failed = nothing was saved; again = what the undo button does; path = where to look more closely.
  const say = (text, { failed = false, again = null, path = "" } = {}) => {
    clearTimeout(timer);
    bar.hidden = false;
    bar.classList.toggle("bad", failed);
    status.textContent = text;
    undone = again;
    undo.hidden = !again;
    look.hidden = !path;
    if (path) look.href = path;
    timer = setTimeout(() => {
      undone = null;
      if (document.activeElement === undo) current.focus();
      undo.hidden = true;
      if (!path) bar.hidden = true;
    }, undoFor);
  };

  const show = (cell, answer) => {
    cell.className = answer.state === "none" && !answer.dated ? "" : answer.state + (answer.dated ? " mixed" : "");
    cell.dataset.v = answer.seen;
    cell.textContent = answer.state === "none" && !answer.dated ? "" : answer.word;
    name(cell);
    cell.title = "";
  };

  const change = async (cell, state, canUndo) => {
    if (cell.getAttribute("aria-busy")) return;
    const before = stateOf(cell);
    cell.setAttribute("aria-busy", "true");
    try {
      let response;
      let answer;
      try {
        response = await fetch(table.dataset.url, {
          method: "POST",
          headers: { Accept: "application/json" },
          body: new URLSearchParams({ group: cell.parentNode.dataset.id, gate: heads[cell.cellIndex].dataset.id, seen: cell.dataset.v || "0", state }),
        });
        answer = await response.json();
      } catch { // there was no answer, or none of the server's
        say(table.dataset.failed, { failed: true });
        return;
      }
      if (response.status === 401) { // signed out meanwhile; the page to sign in says so
        location.assign(answer.to);
        return;
      }
      if (answer.state) {
        show(cell, answer);
        cell.classList.add(response.ok ? "saved" : "overtaken");
      }
      say(answer.text, { failed: !response.ok, again: response.ok && canUndo ? () => change(cell, before, false) : null });
    } finally {
      cell.removeAttribute("aria-busy");
    }
  };

  const press = (cell) => {
    if (cell.classList.contains("mixed")) {
      say(groupOf(cell) + ", " + gateOf(cell) + ": " + table.dataset.mixed, { path: cell.parentNode.cells[0].querySelector("a").getAttribute("href") + "#cell-" + heads[cell.cellIndex].dataset.id });
      return;
    }
    change(cell, states[(states.indexOf(stateOf(cell)) + 1) % states.length], true);
  };

  const cellAt = (e) => e.target.closest("tbody td");

  table.addEventListener("click", (e) => {
    const cell = cellAt(e);
    if (!cell) return;
    go(cell.parentNode.sectionRowIndex, cell.cellIndex);
    press(cell);
  });
  table.addEventListener("keydown", (e) => {
    const cell = cellAt(e);
    if (!cell || e.altKey || e.metaKey) return;
    const row = cell.parentNode.sectionRowIndex;
    const column = cell.cellIndex;
    const moves = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      PageUp: [row - 10, column], PageDown: [row + 10, column],
      Home: [e.ctrlKey ? 0 : row, 1], End: [e.ctrlKey ? rows.length - 1 : row, heads.length - 1],
    };
    if (moves[e.key]) go(...moves[e.key]);
    else if (e.key === " " || e.key === "Enter") press(cell);
    else return;
    e.preventDefault();
  });
  // What a cell is about is told where the pointer is, not written 40,000 times.
  table.addEventListener("mouseover", (e) => {
    const cell = cellAt(e);
    if (cell) cell.title = groupOf(cell) + ", " + gateOf(cell) + ": " + wordOf(cell);
  });
  undo.addEventListener("click", () => {
    const again = undone;
    undone = null;
    current.focus();
    if (again) again();
  });
})();
