// The bar at the top of the page: how much of the main part is done.

const header = document.querySelector("#progress");

export function showProgress(done, total, label) {
  header.hidden = false;
  header.querySelector("label").textContent = label;
  Object.assign(header.querySelector("progress"), { value: done, max: total });
}

export function hideProgress() {
  header.hidden = true;
}
