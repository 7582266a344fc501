"use strict";
const told = document.getElementById("told");
let on = null, reach = null;

// What is pointed at, or reached by keys: its words, and of a point of a graph the pictures behind it.
function tell(part) {
  on?.classList.remove("on");
  reach?.remove();
  reach = null;
  on = part;
  told.replaceChildren();
  if (!part) return;
  told.append(part.dataset.tell);
  if (part.tagName !== "circle") return;
  part.classList.add("on");
  const strip = document.getElementById(part.dataset.entry)?.querySelector(".strip");
  if (strip) told.append(strip.cloneNode(true));
  surround(part);
}

// The second threshold around a point.
function surround(part) {
  const svg = part.ownerSVGElement;
  if (!svg.dataset.reach) return;
  const [rx, ry, shape] = svg.dataset.reach.split(" "), x = +part.getAttribute("cx"), y = +part.getAttribute("cy");
  reach = document.createElementNS("http://www.w3.org/2000/svg", shape);
  const place = shape === "rect" ? { x: x - rx, y: y - ry, width: 2 * rx, height: 2 * ry } : { cx: x, cy: y, rx, ry };
  for (const [name, value] of Object.entries(place)) reach.setAttribute(name, value);
  reach.setAttribute("class", "reach");
  reach.setAttribute("pointer-events", "none");
  svg.append(reach);
}

function step(svg, by) {
  const points = [...svg.querySelectorAll("circle:not([hidden])")];
  points.sort((a, b) => a.getAttribute("cx") - b.getAttribute("cx"));
  if (!points.length) return;
  const at = points.indexOf(on);
  tell(points[at < 0 ? 0 : (at + by + points.length) % points.length]);
  document.documentElement.style.scrollPaddingBottom = `${told.offsetHeight}px`;  // the drawing is not below the line
  svg.scrollIntoView({ block: "nearest" });
}

let pointer = "";
function rests(event) {
  const before = pointer;
  pointer = `${event.clientX} ${event.clientY}`;
  return pointer === before;
}
document.addEventListener("pointermove", rests);
document.addEventListener("pointerover", event => {
  if (rests(event)) return;  // the page was moved below it
  if (!told.contains(event.target)) tell(event.target.closest("[data-tell]"));
});
document.addEventListener("focusin", event => {
  if (event.target.matches("svg.points:focus-visible")) step(event.target, 0);
});
document.addEventListener("focusout", () => tell(null));
document.addEventListener("keydown", event => {
  const svg = document.activeElement?.closest("svg.points"), by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "Escape") tell(null);
  if (!svg || !by) return;
  event.preventDefault();
  step(svg, by);
});

// What the field at the top and the choices of each gallery leave.
const field = document.getElementById("filter");
function left() {
  const words = field.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
  for (const part of document.querySelectorAll("[data-words]")) {
    const text = part.dataset.words.toLowerCase();
    part.toggleAttribute("hidden", !words.every(word => text.includes(word)));
  }
  for (const gallery of document.querySelectorAll(".gallery")) {
    const choices = [...gallery.querySelectorAll("select")].filter(choice => choice.value !== "");
    const cards = [...gallery.querySelectorAll(".card")];
    const chosen = cards.filter(card =>
      !card.hidden && choices.every(choice => JSON.parse(card.dataset[choice.dataset.by]).includes(choice.value)));
    const most = gallery.dataset.all ? Infinity : +gallery.dataset.most;
    for (const card of cards) card.toggleAttribute("hidden", chosen.indexOf(card) < 0 || chosen.indexOf(card) >= most);
    gallery.querySelector("output").textContent = `${Math.min(most, chosen.length)} of ${chosen.length} shown`;
    gallery.querySelector("button").hidden = chosen.length <= most;
  }
}
field.addEventListener("input", left);
document.addEventListener("change", event => event.target.matches(".gallery select") && left());
document.addEventListener("click", event => {
  if (!event.target.matches(".gallery button")) return;
  event.target.closest(".gallery").dataset.all = "yes";
  left();
});
left();
