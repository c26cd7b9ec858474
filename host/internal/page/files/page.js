// What the page does by itself: it asks for the parts that are in sight again, every two
// seconds, while somebody can see them. All else is HTML. There is no inline script.
"use strict";
document.documentElement.classList.add("live");

const every = 2000;
const inSight = new Set();
const sight = new IntersectionObserver((all) => {
  for (const one of all) {
    if (one.isIntersecting) inSight.add(one.target);
    else inSight.delete(one.target);
  }
});

// busy reports whether a person is in the middle of something there: an open question, or
// a field that is being typed into. Then that part stays as it is.
function busy(part) {
  return part.querySelector("details[open], :popover-open, input:focus, select:focus, textarea:focus") !== null;
}

function tick() {
  if (document.hidden) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    sight.observe(part);
    if ((part.dataset.live === "always" || inSight.has(part)) && !busy(part)) htmx.trigger(part, "tick");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  for (const part of document.querySelectorAll("[data-live]")) sight.observe(part);
  setInterval(tick, every);
});
document.addEventListener("visibilitychange", tick);

// What is shown may be old: say so, and since when.
let heard = new Date();
function silent(why) {
  const note = document.getElementById("stale");
  if (!note) return;
  const text = `${why} What you see is as it was at ${heard.toLocaleTimeString("en-GB")}.`;
  if (note.textContent !== text) note.textContent = text;
  note.hidden = false;
}
document.addEventListener("htmx:error", () => silent("The host does not answer."));
document.addEventListener("htmx:after:request", (event) => {
  const status = event.detail.ctx.response.status;
  if (status === 403) location.reload();
  if (status >= 400) {
    event.detail.ctx.swap = "none";
    silent(`The host answers with status ${status}.`);
    return;
  }
  heard = new Date();
  const note = document.getElementById("stale");
  if (note) note.hidden = true;
});

// The live tail keeps its newest rows. While it is paused, what comes is left out and counted.
const most = 300;
let paused = null;
let missed = 0;
document.addEventListener("htmx:sse:before:message", (event) => {
  if (!paused) return;
  event.preventDefault();
  missed++;
  paused.textContent = "Go on";
});
document.addEventListener("htmx:after:swap", () => {
  const rows = document.getElementById("steps");
  while (rows && rows.childElementCount > most) rows.lastElementChild.remove();
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.clear) document.getElementById(button.dataset.clear).replaceChildren();
  if (!button || !button.dataset.pause) return;
  if (paused && missed > 0) {
    const row = document.getElementById(button.dataset.pause).insertRow(0);
    row.className = "between";
    row.insertCell().textContent = "paused: what happened meanwhile is left out";
    row.cells[0].colSpan = 8;
  }
  paused = paused ? null : button;
  missed = 0;
  button.textContent = paused ? "Go on" : "Pause";
  button.setAttribute("aria-pressed", String(paused !== null));
});

// One box ticks all in a form.
document.addEventListener("change", (event) => {
  const form = event.target.dataset.all && document.getElementById(event.target.dataset.all);
  if (!form) return;
  for (const box of form.querySelectorAll("input[type=checkbox][name=id]")) box.checked = event.target.checked;
});

// Escape closes an open question, and gives the focus back.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of document.querySelectorAll("details.sure[open]")) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});
