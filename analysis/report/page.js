"use strict";

// On a narrow screen the long parts are folded; whatever leads to one unfolds it.
if (matchMedia("(max-width: 40rem)").matches)
  for (const part of document.querySelectorAll(".folds")) part.open = false;

function unfold(hash) {
  const target = document.getElementById(decodeURIComponent(hash.slice(1)));
  for (let element = target; element; element = element.parentElement)
    if (element.tagName === "DETAILS") element.open = true;
  return target;
}

if (location.hash) unfold(location.hash)?.scrollIntoView();
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link) unfold(link.hash);
});

// Choosing another seed shows its metamers in the gallery.
for (const seeds of document.querySelectorAll(".seeds:not(.choice)")) {
  const gallery = document.getElementById(seeds.dataset.for);
  seeds.addEventListener("change", (event) => {
    for (const cell of gallery.querySelectorAll(".seed")) cell.hidden = cell.dataset.seed !== event.target.value;
  });
}

// Choosing another measure shows its table.
for (const choice of document.querySelectorAll(".choice")) {
  const tables = document.getElementById(choice.dataset.for);
  choice.addEventListener("change", (event) => {
    for (const table of tables.querySelectorAll("[data-choice]")) table.hidden = table.dataset.choice !== event.target.value;
  });
}

// Selecting a picture shows it beside its original; the arrow keys go through the row and the column.
const viewer = document.getElementById("viewer");
let current = null;

function put(target, button) {
  target.hidden = !button;
  if (!button) return target.replaceChildren();
  const title = document.createElement("h3");
  title.textContent = button.dataset.title;
  const figure = button.parentElement.cloneNode(true);
  const copy = figure.querySelector(".enlarge");
  copy.replaceWith(...copy.childNodes);
  for (const number of figure.querySelectorAll(".place")) number.replaceWith(...number.childNodes);
  target.replaceChildren(title, figure);
}

function show(button) {
  current = button;
  const row = button.closest("tr");
  const natural = row.cells[0].querySelector(".enlarge");
  document.getElementById("viewer-title").textContent = row.querySelector(".stimulus").textContent;
  put(document.getElementById("viewer-natural"), natural);
  put(document.getElementById("viewer-metamer"), button === natural ? null : button);
  if (natural) document.querySelector("#viewer-natural h3").textContent = "natural";
  viewer.querySelector(".pair").classList.toggle("alone", button === natural || !natural);
  if (!viewer.open) viewer.showModal();
}

function step(across, down) {
  const cell = current.closest("td, th");
  let row = cell.parentElement;
  let column = cell.cellIndex;
  for (;;) {
    column += across;
    row = row.parentElement.rows[row.sectionRowIndex + down];
    if (!row || column < 0 || column >= row.cells.length) return;
    const button = row.cells[column].querySelector(":scope > figure .enlarge, .seed:not([hidden]) .enlarge");
    if (button) return show(button);
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest(".enlarge");
  if (button) show(button);
  else if (event.target === viewer || event.target.id === "viewer-close") viewer.close();
});

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
viewer.addEventListener("keydown", (event) => {
  if (!(event.key in arrows) || event.target.tagName === "AUDIO") return;
  event.preventDefault();
  step(...arrows[event.key]);
});
viewer.addEventListener("close", () => {
  viewer.querySelectorAll("audio").forEach((sound) => sound.pause());
  current.focus();
});
