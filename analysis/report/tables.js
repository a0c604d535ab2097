// Selecting a column's head sorts by it, and again the other way round; what is missing stays last.
{
  const collator = new Intl.Collator("en", { numeric: true });

  function key(cell) {
    const text = cell.dataset.key ?? cell.textContent;
    if (text === "" || text === "–") return null;
    if (!("key" in cell.dataset)) return text;
    return text === "inf" ? Infinity : text === "-inf" ? -Infinity : Number(text);
  }

  function compare(one, other) {
    return typeof one === "number" && typeof other === "number" ? one - other : collator.compare(one, other);
  }

  for (const table of document.querySelectorAll(".sortable")) {
    table.tHead.addEventListener("click", (event) => {
      const head = event.target.closest("th");
      if (!event.target.closest("button")) return;
      const falling = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const keyed = [...table.tBodies[0].rows].map((row) => [key(row.cells[head.cellIndex]), row]);
      keyed.sort(([one], [other]) => {
        if (one === null || other === null) return (one === null) - (other === null);
        return falling ? -compare(one, other) : compare(one, other);
      });
      table.tBodies[0].append(...keyed.map(([, row]) => row));
    });
  }
}
