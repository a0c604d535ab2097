// Selecting a number shows the code that reads it from the store; the arrow keys go from number to number.
{
  const codes = JSON.parse(document.querySelector("main").dataset.codes);
  const bar = document.getElementById("place");
  const shown = bar.querySelector("pre");
  const copy = document.getElementById("place-copy");
  let current = null;

  function columnHead(item) {
    const cell = item.closest("td, th");
    return cell && cell.closest("table").tHead.rows[cell.closest("table").tHead.rows.length - 1].cells[cell.cellIndex];
  }

  function codeOf(item) {
    return item.dataset.code ?? columnHead(item)?.dataset.code ?? item.closest("table")?.dataset.code;
  }

  function told(item) {
    const values = JSON.parse(columnHead(item)?.dataset.at ?? "{}");
    for (let element = item; element; element = element.parentElement)
      if (element.dataset.at) Object.assign(values, JSON.parse(element.dataset.at));
    return values;
  }

  // The report lies in the study's folder.
  function folder() {
    if (location.protocol !== "file:") return "STUDY";
    const path = decodeURIComponent(location.pathname).replace(/\/[^/]*$/, "");
    if (location.host) return `//${location.host}${path}`;
    return /^\/[A-Za-z]:/.test(path) ? path.slice(1) : path;
  }

  function code(item) {
    const name = codeOf(item);
    const values = told(item);
    const filled = (codes[name] ?? name).replace(/\{(\w+)\}/g, (_, gap) =>
      gap === "study" ? `open_study(${JSON.stringify(folder())})` : JSON.stringify(values[gap]));
    return `from metamery.framework import open_study\n\n${filled}`;
  }

  function items(table) {
    const selector = table.classList.contains("gallery") ? ".place" : "td[tabindex]";
    return [...table.querySelectorAll(selector)].filter((item) => item.offsetParent !== null);
  }

  function reach(item, table) {
    for (const other of table.querySelectorAll("td[tabindex='0'], .place[tabindex='0']")) other.tabIndex = -1;
    item.tabIndex = 0;
  }

  // The number to the left or right, or in the same place of the nearest row above or below that has one.
  function neighbour(item, table, across, down) {
    const all = items(table);
    if (across) return all[all.indexOf(item) + across];
    const cell = item.closest("td, th");
    const alike = (other) => [...cell.querySelectorAll(".place")].filter((one) => one.offsetParent).indexOf(item) ===
      [...other.closest("td, th").querySelectorAll(".place")].filter((one) => one.offsetParent).indexOf(other);
    const column = all.filter((other) => other.closest("td, th").cellIndex === cell.cellIndex && alike(other));
    return column[column.indexOf(item) + down];
  }

  function show(item) {
    current?.classList.remove("current");
    current = item;
    current.classList.add("current");
    const text = (item.firstChild?.textContent ?? "").trim();
    document.getElementById("place-title").textContent =
      folder() === "STUDY" ? `Where ${text} comes from; STUDY is the study’s folder` : `Where ${text} comes from`;
    shown.textContent = code(item);
    copy.textContent = "Copy";
    bar.hidden = false;
    document.body.style.paddingBottom = `${bar.offsetHeight + 32}px`;
    document.documentElement.style.scrollPaddingBottom = `${bar.offsetHeight + 16}px`;
    copy.focus({ preventScroll: true });
  }

  function close() {
    bar.hidden = true;
    document.body.style.paddingBottom = "";
    document.documentElement.style.scrollPaddingBottom = "";
    current?.classList.remove("current");
    current?.focus();
  }

  async function copyShown() {
    try {
      await navigator.clipboard.writeText(shown.textContent);
    } catch {
      getSelection().selectAllChildren(shown);
      document.execCommand("copy");
    }
    copy.textContent = "Copied";
  }

  for (const table of document.querySelectorAll("table.places, table.gallery")) {
    if (table.classList.contains("places")) {
      for (const cell of table.querySelectorAll("td.n"))
        if (cell.textContent.trim() !== "–" && codeOf(cell) !== undefined) cell.tabIndex = -1;
      table.setAttribute("role", "grid");
    }
    const first = table.querySelector("td[tabindex], .place");
    if (first) first.tabIndex = 0;
    table.addEventListener("keydown", (event) => {
      const item = event.target.closest("td[tabindex], .place");
      if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (step) {
        event.preventDefault();
        const next = neighbour(item, table, ...step);
        if (next) (reach(next, table), next.focus());
      } else if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        show(item);
      }
    });
  }
  for (const alone of document.querySelectorAll(".place.reading")) alone.tabIndex = 0;

  document.addEventListener("click", (event) => {
    const item = event.target.closest("td[tabindex], .place");
    if (!item || !getSelection().isCollapsed) return;
    const table = item.closest("table");
    if (table) reach(item, table);
    show(item);
  });
  copy.addEventListener("click", copyShown);
  document.getElementById("place-close").addEventListener("click", close);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !bar.hidden && !viewer.open) close();
  });
}
